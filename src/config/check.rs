//! From the merged values to [`Settings`]: the rules between settings, and what works but needs attention.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::parse::{SHORTEST_SAFE_SECRET, shown};
use super::sections::{
    Admin, Credentials, History, Log, Mailmojo, Queue, Server, Sesamy, Settings, Sync, Webhook,
};
use super::setting::{Setting, Spec};
use super::table::*;
use super::values::Values;
use crate::fields::Answer;
use crate::upstream::is_loopback;

/// Checks that users more often costs more than it repairs.
const SHORTEST_SENSIBLE_RESYNC: Duration = Duration::from_secs(3_600);
const TAG_PREFIX: &str = "sesamy_";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The settings; `None` if anything is wrong, all of which is then in the problems of `values`.
pub(super) fn settings(values: &mut Values) -> Option<Settings> {
    ALL.iter().for_each(|setting| values.check(*setting));
    check_together(values);
    build(values).filter(|_| values.problems.is_empty())
}

/// Notes what is wrong with settings that are right one by one.
fn check_together(values: &mut Values) {
    let (tokens, secrets) = (&BEARER_TOKENS.spec, &HMAC_SECRETS.spec);
    if values.given(tokens).is_none()
        && values.given(secrets).is_none()
        && values.get(&ALLOW_UNAUTHENTICATED) != Some(true)
    {
        let what = format!(
            "is missing, and so is {}: Sesamy's calls cannot be told from others. Set either it or {}; for a trial, \
             {} = true does without",
            secrets.name,
            secrets.variable(),
            ALLOW_UNAUTHENTICATED.spec.name
        );
        values.missing(tokens, what);
    }
    check_credentials(values, &SESAMY_ACCESS_TOKEN.spec, &SESAMY_CLIENT_ID.spec, &SESAMY_CLIENT_SECRET.spec);
    check_credentials(
        values,
        &MAILMOJO_API_TOKEN.spec,
        &MAILMOJO_CLIENT_ID.spec,
        &MAILMOJO_CLIENT_SECRET.spec,
    );
    if values.get(&DERIVE_TAGS) == Some(false)
        && let Some(fields) = values.get(&CUSTOM_FIELDS)
    {
        for (name, source) in fields.iter().filter(|(_, source)| source.answer() != Answer::Profile) {
            let what = format!(
                "has {} from {source}, which is read from contracts and entitlements, while {} is false: only the \
                 profile is read",
                shown(name),
                DERIVE_TAGS.spec.name
            );
            values.fault(&CUSTOM_FIELDS.spec, what);
        }
    }
    if let (Some(timeout), Some(deadline)) = (values.get(&REQUEST_TIMEOUT), values.get(&DEADLINE))
        && deadline <= timeout
    {
        let name = REQUEST_TIMEOUT.spec.name;
        let what = format!("is {deadline:?}, but has to be longer than {name}, which is {timeout:?}");
        values.fault(&DEADLINE.spec, what);
    }
    if let (Some(base), Some(cap)) = (values.get(&BACKOFF_BASE), values.get(&BACKOFF_CAP))
        && base > cap
    {
        let name = BACKOFF_CAP.spec.name;
        let what = format!("is {base:?}, but may not be longer than {name}, which is {cap:?}");
        values.fault(&BACKOFF_BASE.spec, what);
    }
}

/// There has to be either the fixed token, or client id and secret, and not both.
fn check_credentials(values: &mut Values, token: &Spec, id: &Spec, secret: &Spec) {
    match [token, id, secret].map(|spec| values.given(spec).is_some()) {
        [true, false, false] | [false, true, true] => {}
        [false, false, false] => {
            let other = format!("{} and {}", id.variable(), secret.variable());
            let what = format!("is missing, and so are client credentials: set either it, or {other}");
            values.missing(token, what);
        }
        [false, true, false] => values.missing(secret, format!("is missing, while {} is set", id.name)),
        [false, false, true] => values.missing(id, format!("is missing, while {} is set", secret.name)),
        [true, _, _] => {
            let (id, secret) = (id.name, secret.name);
            let what = format!("is set together with client credentials: remove it, or {id} and {secret}");
            values.fault(token, what);
        }
    }
}

/// All sections; `None` if any value is missing or wrong.
fn build(values: &Values) -> Option<Settings> {
    Some(Settings {
        server: Server { listen: values.get(&LISTEN)?, body_limit_bytes: values.get(&BODY_LIMIT_BYTES)? },
        webhook: Webhook {
            bearer_tokens: values.get(&BEARER_TOKENS).unwrap_or_default(),
            hmac_secrets: values.get(&HMAC_SECRETS).unwrap_or_default(),
            signature_header: values.get(&SIGNATURE_HEADER)?,
            allow_unauthenticated: values.get(&ALLOW_UNAUTHENTICATED)?,
        },
        sesamy: Sesamy {
            api_url: values.get(&SESAMY_API_URL)?,
            token_url: values.get(&SESAMY_TOKEN_URL)?,
            audience: values.get(&SESAMY_AUDIENCE)?,
            credentials: credentials(values, &SESAMY_ACCESS_TOKEN, &SESAMY_CLIENT_ID, &SESAMY_CLIENT_SECRET)?,
            vendor_id: values.get(&SESAMY_VENDOR_ID),
            derive_tags: values.get(&DERIVE_TAGS)?,
            guest_user_id_prefixes: values.get(&GUEST_USER_ID_PREFIXES)?,
            requests_per_minute: values.get(&SESAMY_REQUESTS_PER_MINUTE)?,
            burst: values.get(&SESAMY_BURST)?,
        },
        mailmojo: Mailmojo {
            api_url: values.get(&MAILMOJO_API_URL)?,
            credentials: credentials(
                values,
                &MAILMOJO_API_TOKEN,
                &MAILMOJO_CLIENT_ID,
                &MAILMOJO_CLIENT_SECRET,
            )?,
            list_id: values.get(&LIST_ID)?,
            custom_fields: values.get(&CUSTOM_FIELDS).unwrap_or_default(),
            requests_per_minute: values.get(&MAILMOJO_REQUESTS_PER_MINUTE)?,
            burst: values.get(&MAILMOJO_BURST)?,
        },
        queue: Queue { url: values.get(&QUEUE_URL)? },
        sync: Sync {
            concurrency: values.get(&CONCURRENCY)?,
            debounce: values.get(&DEBOUNCE)?,
            request_timeout: values.get(&REQUEST_TIMEOUT)?,
            deadline: values.get(&DEADLINE)?,
            backoff_base: values.get(&BACKOFF_BASE)?,
            backoff_cap: values.get(&BACKOFF_CAP)?,
            max_attempts: values.get(&MAX_ATTEMPTS)?,
            resync_every: values.get(&RESYNC_EVERY)?,
            dry_run: values.get(&DRY_RUN)?,
            create_contacts: values.get(&CREATE_CONTACTS)?,
            keep_tags: values.get(&KEEP_TAGS)?,
        },
        history: History { days: values.get(&HISTORY_DAYS)? },
        admin: Admin {
            listen: values.get(&ADMIN_LISTEN)?,
            tokens: values.get(&ADMIN_TOKENS).unwrap_or_default(),
        },
        log: Log { format: values.get(&LOG_FORMAT), level: values.get(&LOG_LEVEL)? },
        in_force: super::in_force::list(values),
    })
}

fn credentials(
    values: &Values,
    token: &Setting<SecretString>,
    id: &Setting<String>,
    secret: &Setting<SecretString>,
) -> Option<Credentials> {
    match values.get(token) {
        Some(token) => Some(Credentials::Token(token)),
        None => Some(Credentials::Client { id: values.get(id)?, secret: values.get(secret)? }),
    }
}

/// What works but needs attention: a sentence each, without any secret.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let Settings { webhook, sesamy, mailmojo, sync, log, .. } = settings;
    let mut warnings = Vec::new();
    let mut warn = |spec: &Spec, what: &str| warnings.push(format!("{} {what}", spec.name));
    for (spec, secrets) in
        [(&BEARER_TOKENS.spec, &webhook.bearer_tokens), (&HMAC_SECRETS.spec, &webhook.hmac_secrets)]
    {
        let is_short = |secret: &&SecretString| secret.expose_secret().len() < SHORTEST_SAFE_SECRET;
        let (short, all) = (secrets.iter().filter(is_short).count(), secrets.len());
        if short > 0 {
            let what = format!(
                "has {short} of {all} shorter than {SHORTEST_SAFE_SECRET} characters, which could be guessed: \
                 `openssl rand -hex 32` makes a good one"
            );
            warn(spec, &what);
        }
    }
    let is_open = webhook.bearer_tokens.is_empty() && webhook.hmac_secrets.is_empty();
    match (webhook.allow_unauthenticated, is_open) {
        (true, true) => {
            warn(&ALLOW_UNAUTHENTICATED.spec, "is true: whoever reaches the service can send events");
        }
        (true, false) => warn(
            &ALLOW_UNAUTHENTICATED.spec,
            "is true, but does nothing: there are tokens or secrets, and they are asked for",
        ),
        (false, _) => {}
    }
    for (spec, url) in [
        (&SESAMY_API_URL.spec, &sesamy.api_url),
        (&SESAMY_TOKEN_URL.spec, &sesamy.token_url),
        (&MAILMOJO_API_URL.spec, &mailmojo.api_url),
    ] {
        if url.scheme() == "http" && !is_loopback(url) {
            warn(
                spec,
                "is plain http to another machine: tokens and addresses go over the network unencrypted",
            );
        }
    }
    if sync.resync_every.is_some_and(|every| every < SHORTEST_SENSIBLE_RESYNC) {
        let what =
            "is less than an hour: checking every user that often uses up the rate of both APIs for nothing";
        warn(&RESYNC_EVERY.spec, what);
    }
    for tag in &sync.keep_tags {
        let pattern = tag.strip_suffix('*').unwrap_or(tag);
        if !pattern.starts_with(TAG_PREFIX) {
            let what =
                format!("has {}, which keeps nothing: only {TAG_PREFIX} tags are ever removed", shown(tag));
            warn(&KEEP_TAGS.spec, &what);
        } else if pattern.contains('*') {
            warn(&KEEP_TAGS.spec, &format!("has {}: a * counts only at the end", shown(tag)));
        }
    }
    for word in targets_like_levels(&log.level) {
        let what = format!("has {}, taken for a target: the levels are {}", shown(word), LEVELS.join(", "));
        warn(&LOG_LEVEL.spec, &what);
    }
    warnings
}

/// A filter takes any word that is no level for the name of a target, and logs all of that target: a slip such as
/// `warning` would silence everything else.
fn targets_like_levels(filter: &str) -> impl Iterator<Item = &str> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_bare = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
    filter.split(',').map(str::trim).filter(move |word| is_bare(word) && !is_level(word))
}
