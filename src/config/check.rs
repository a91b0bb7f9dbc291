//! From the merged settings to [`Settings`]: one function per section, with the rules between settings.
//!
//! Every setting is read before any is missed, so that everything wrong is told at once.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderName;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::filter::EnvFilter;

use super::custom_fields::custom_fields;
use super::reader::Reader;
use super::table;
use super::{
    Admin, Credentials, History, Log, LogFormat, Mailmojo, Queue, Server, Sesamy, Settings, Sync, Webhook,
    parse,
};

/// A secret that is shorter could be found by trying.
const SHORTEST_SAFE_SECRET: usize = 16;
/// More at a time gains nothing beside the APIs' rate limits, and costs a connection each.
const MOST_AT_A_TIME: usize = 1_000;
/// Longer than any question reaches back, and short enough to add to any time.
const MOST_DAYS: u16 = 3_650;
/// Below this a round costs more than what it repairs.
const SHORTEST_SENSIBLE_ROUND: Duration = Duration::from_secs(3_600);
const TAG_PREFIX: &str = "sesamy_";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// All sections. None: the reader's problems tell why.
pub(super) fn settings(reader: &mut Reader) -> Option<Settings> {
    let server = server(reader);
    let webhook = webhook(reader);
    let sesamy = sesamy(reader);
    let mailmojo = mailmojo(reader);
    let queue = reader.required("queue.url", parse::queue_url).map(|url| Queue { url });
    let sync = sync(reader);
    let history = history(reader);
    let admin = admin(reader);
    let log = log(reader);
    Some(Settings {
        server: server?,
        webhook: webhook?,
        sesamy: sesamy?,
        mailmojo: mailmojo?,
        queue: queue?,
        sync: sync?,
        history: history?,
        admin: admin?,
        log: log?,
        in_force: Vec::new(), // listed once all is known to be right
    })
}

fn server(reader: &mut Reader) -> Option<Server> {
    let listen = reader.required("server.listen", parse::socket_address);
    let body_limit_bytes = reader.required("server.body_limit_bytes", parse::positive);
    Some(Server { listen: listen?, body_limit_bytes: body_limit_bytes? })
}

fn webhook(reader: &mut Reader) -> Option<Webhook> {
    let bearer_tokens = webhook_secrets(reader, "webhook.bearer_tokens");
    let hmac_secrets = webhook_secrets(reader, "webhook.hmac_secrets");
    let signature_header = reader.required("webhook.signature_header", |value| {
        let name = parse::text(value)?;
        let wrong = |_| format!("is {}, which is no name of an HTTP header", parse::shown(&name));
        HeaderName::from_bytes(name.as_bytes()).map_err(wrong)?;
        Ok(name)
    });
    let allow_unauthenticated = reader.required("webhook.allow_unauthenticated", parse::boolean);
    let open = matches!((&bearer_tokens, &hmac_secrets), (Some(a), Some(b)) if a.is_empty() && b.is_empty());
    let everybody = "webhook.allow_unauthenticated";
    match (open, allow_unauthenticated) {
        (true, Some(true)) => reader.warn(everybody, "is true: whoever reaches the service can send events"),
        (true, _) => {
            let other = variable("webhook.hmac_secrets");
            let what = format!(
                "is missing, and so is webhook.hmac_secrets: Sesamy's calls cannot be told from others. Set either it \
                 or {other}; for a trial, {everybody} = true does without"
            );
            reader.missing("webhook.bearer_tokens", what);
        }
        (false, Some(true)) => {
            let what = "is true, but does nothing: there are tokens or secrets, and they are asked for";
            reader.warn(everybody, what);
        }
        (false, _) => {}
    }
    Some(Webhook {
        bearer_tokens: bearer_tokens?,
        hmac_secrets: hmac_secrets?,
        signature_header: signature_header?,
        allow_unauthenticated: allow_unauthenticated?,
    })
}

fn webhook_secrets(reader: &mut Reader, name: &str) -> Option<Vec<SecretString>> {
    let secrets = reader.optional(name, parse::secrets)?.unwrap_or_default();
    let short = secrets.iter().filter(|secret| secret.expose_secret().len() < SHORTEST_SAFE_SECRET).count();
    if short > 0 {
        let what = format!(
            "has {short} of {} shorter than {SHORTEST_SAFE_SECRET} characters, which could be guessed: \
             `openssl rand -hex 32` makes a good one",
            secrets.len()
        );
        reader.warn(name, what);
    }
    Some(secrets)
}

fn sesamy(reader: &mut Reader) -> Option<Sesamy> {
    let api_url = address(reader, "sesamy.api_url");
    let token_url = address(reader, "sesamy.token_url");
    let audience = reader.required("sesamy.audience", parse::text);
    let credentials = credentials(reader, "sesamy", "sesamy.access_token");
    let vendor_id = reader.optional("sesamy.vendor_id", parse::text);
    let derive_tags = reader.required("sesamy.derive_tags", parse::boolean);
    let guests = reader.required("sesamy.guest_user_id_prefixes", parse::texts);
    let requests_per_minute = reader.required("sesamy.requests_per_minute", parse::positive);
    let burst = reader.required("sesamy.burst", parse::positive);
    Some(Sesamy {
        api_url: api_url?,
        token_url: token_url?,
        audience: audience?,
        credentials: credentials?,
        vendor_id: vendor_id?,
        derive_tags: derive_tags?,
        guest_user_id_prefixes: guests?,
        requests_per_minute: requests_per_minute?,
        burst: burst?,
    })
}

fn mailmojo(reader: &mut Reader) -> Option<Mailmojo> {
    let api_url = address(reader, "mailmojo.api_url");
    let credentials = credentials(reader, "mailmojo", "mailmojo.api_token");
    let list_id = reader.required("mailmojo.list_id", parse::positive);
    let custom_fields = custom_fields(reader);
    let requests_per_minute = reader.required("mailmojo.requests_per_minute", parse::positive);
    let burst = reader.required("mailmojo.burst", parse::positive);
    Some(Mailmojo {
        api_url: api_url?,
        credentials: credentials?,
        list_id: list_id?,
        custom_fields: custom_fields?,
        requests_per_minute: requests_per_minute?,
        burst: burst?,
    })
}

fn address(reader: &mut Reader, name: &str) -> Option<Url> {
    let url = reader.required(name, parse::http_url)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        let what = "is plain http to another machine: tokens and addresses go over the network unencrypted";
        reader.warn(name, what);
    }
    Some(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Either the fixed token named `token_name`, or client id and secret, and not both.
fn credentials(reader: &mut Reader, section: &str, token_name: &str) -> Option<Credentials> {
    let (id_name, secret_name) = (format!("{section}.client_id"), format!("{section}.client_secret"));
    let token = reader.optional(token_name, parse::secret);
    let id = reader.optional(&id_name, parse::client_id);
    let secret = reader.optional(&secret_name, parse::secret);
    match (reader.given(token_name), reader.given(&id_name), reader.given(&secret_name)) {
        (true, false, false) => return Some(Credentials::Token(token??)),
        (false, true, true) => return Some(Credentials::Client { id: id??, secret: secret?? }),
        (false, false, false) => {
            let other = [&id_name, &secret_name].map(|name| variable(name)).join(" and ");
            let what = format!("is missing, and so are client credentials: set either it, or {other}");
            reader.missing(token_name, what);
        }
        (false, true, false) => reader.missing(&secret_name, format!("is missing, while {id_name} is set")),
        (false, false, true) => reader.missing(&id_name, format!("is missing, while {secret_name} is set")),
        (true, _, _) => {
            let what =
                format!("is set together with client credentials: remove it, or {id_name} and {secret_name}");
            reader.fault(token_name, what);
        }
    }
    None
}

fn variable(name: &str) -> String {
    table::by_name(name).map_or_else(|| name.to_owned(), table::Spec::variable)
}

fn sync(reader: &mut Reader) -> Option<Sync> {
    let concurrency = reader.required("sync.concurrency", |value| {
        let number = parse::positive::<std::num::NonZeroUsize>(value)?;
        let too_many = || format!("is {number}, more than {MOST_AT_A_TIME}");
        if number.get() > MOST_AT_A_TIME { Err(too_many()) } else { Ok(number) }
    });
    let debounce = reader.required("sync.debounce", parse::duration_or_zero);
    let request_timeout = reader.required("sync.request_timeout", parse::duration);
    let deadline = reader.required("sync.deadline", parse::duration);
    let backoff_base = reader.required("sync.backoff_base", parse::duration);
    let backoff_cap = reader.required("sync.backoff_cap", parse::duration);
    let max_attempts = reader.required("sync.max_attempts", parse::positive);
    let resync_every = resync_every(reader);
    let dry_run = reader.required("sync.dry_run", parse::boolean);
    let create_contacts = reader.required("sync.create_contacts", parse::boolean);
    let keep_tags = keep_tags(reader);
    if let (Some(timeout), Some(deadline)) = (request_timeout, deadline)
        && deadline <= timeout
    {
        let what =
            format!("is {deadline:?}, but has to be longer than sync.request_timeout, which is {timeout:?}");
        reader.fault("sync.deadline", what);
    }
    if let (Some(base), Some(cap)) = (backoff_base, backoff_cap)
        && base > cap
    {
        let what = format!("is {base:?}, but may not be longer than sync.backoff_cap, which is {cap:?}");
        reader.fault("sync.backoff_base", what);
    }
    Some(Sync {
        concurrency: concurrency?,
        debounce: debounce?,
        request_timeout: request_timeout?,
        deadline: deadline?,
        backoff_base: backoff_base?,
        backoff_cap: backoff_cap?,
        max_attempts: max_attempts?,
        resync_every: resync_every?,
        dry_run: dry_run?,
        create_contacts: create_contacts?,
        keep_tags: keep_tags?,
    })
}

/// None within: there are no rounds.
fn resync_every(reader: &mut Reader) -> Option<Option<Duration>> {
    let every = reader.required("sync.resync_every", parse::duration_or_never)?;
    if every.is_some_and(|every| every < SHORTEST_SENSIBLE_ROUND) {
        let what =
            "is less than an hour: looking at everybody that often uses up the rate of both APIs for nothing";
        reader.warn("sync.resync_every", what);
    }
    Some(every)
}

fn keep_tags(reader: &mut Reader) -> Option<Vec<String>> {
    let tags = reader.required("sync.keep_tags", parse::texts)?;
    for tag in &tags {
        let pattern = tag.strip_suffix('*').unwrap_or(tag);
        if !pattern.starts_with(TAG_PREFIX) {
            let what = format!(
                "has {}, which keeps nothing: only {TAG_PREFIX} tags are ever removed",
                parse::shown(tag)
            );
            reader.warn("sync.keep_tags", what);
        } else if pattern.contains('*') {
            reader.warn("sync.keep_tags", format!("has {}: a * counts only at the end", parse::shown(tag)));
        }
    }
    Some(tags)
}

fn history(reader: &mut Reader) -> Option<History> {
    let days = reader.required("history.days", |value| {
        let days = parse::positive::<u64>(value)?;
        u16::try_from(days)
            .ok()
            .filter(|days| *days <= MOST_DAYS)
            .ok_or(format!("is {days}, more than {MOST_DAYS}"))
    });
    Some(History { days: days? })
}

/// A token that could be guessed is refused and not only warned of: whoever guesses it rules the list.
fn admin(reader: &mut Reader) -> Option<Admin> {
    let listen = reader.required("admin.listen", parse::socket_address);
    let tokens = reader.optional("admin.tokens", |value| {
        let tokens = parse::secrets(value)?;
        match tokens.iter().position(|token| token.expose_secret().len() < SHORTEST_SAFE_SECRET) {
            None => Ok(tokens),
            Some(at) => Err(format!(
                "has a wrong item, number {}: it is shorter than {SHORTEST_SAFE_SECRET} characters and could be \
                 guessed; `openssl rand -hex 32` makes a good one",
                at + 1
            )),
        }
    });
    Some(Admin { listen: listen?, tokens: tokens?.unwrap_or_default() })
}

fn log(reader: &mut Reader) -> Option<Log> {
    let format = reader.optional("log.format", |value| match parse::text(value)?.as_str() {
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        other => Err(format!("is {}, which is neither json nor pretty", parse::shown(other))),
    });
    let level = reader.required("log.level", |value| {
        let level = parse::text(value)?;
        EnvFilter::try_new(&level)
            .map_err(|error| format!("is {}, which is no filter: {error}", parse::shown(&level)))?;
        Ok(level)
    });
    if let Some(level) = &level {
        warn_of_levels_that_are_targets(reader, level);
    }
    Some(Log { format: format?, level: level? })
}

/// A filter takes any word that is no level for the name of a target, and logs all of that target: a slip such as
/// `warning` would silence everything else.
fn warn_of_levels_that_are_targets(reader: &mut Reader, filter: &str) {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let bare = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
    for word in filter.split(',').map(str::trim).filter(bare).filter(|word| !is_level(word)) {
        let what =
            format!("has {}, taken for a target: the levels are {}", parse::shown(word), LEVELS.join(", "));
        reader.warn("log.level", what);
    }
}
