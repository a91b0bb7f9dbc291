//! Every setting, as a constant of its own. Sources, checks, error messages, the list of settings in force and the
//! README's table all follow from these. Defaults are in `config/default.toml`; a test holds the two to the same names.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::custom_fields::custom_fields;
use super::parse::{
    QueueUrl, admin_tokens, boolean, client_id, concurrency, days, duration, duration_or_never,
    duration_or_zero, header_name, http_url, log_filter, log_format, positive, queue_url, secret, secrets,
    socket_address, text, texts,
};
use super::setting::{AnySetting, Setting, Spec, setting};
use crate::fields::{CustomFields, source};
use crate::telemetry::Format;

const HTTP_ADDRESS: &str = "an http or https address without a query, such as https://api.example.com";
const DURATION: &str = "a duration with its unit, such as 500ms, 10s or 1h 30m";
const COUNT: &str = "a whole number above 0";
const YES_OR_NO: &str = "true or false";

/// Declares the settings, and [`ALL`] of them in the same order.
macro_rules! settings {
    ($($name:ident: $type:ty = $setting:expr;)*) => {
        $(pub(super) static $name: Setting<$type> = $setting;)*

        /// All settings, in the order in which problems are reported.
        pub(super) static ALL: &[&dyn AnySetting] = &[$(&$name),*];
    };
}

settings! {
    LISTEN: SocketAddr = setting("server.listen", socket_address)
        .wants("an IP address and a port, such as 0.0.0.0:8080 or [::]:8080")
        .help("where the service listens; port 0: any that is free");
    BODY_LIMIT_BYTES: usize = setting("server.body_limit_bytes", positive)
        .wants("a number of bytes above 0, such as 65536")
        .help("a larger event is answered 413");
    BEARER_TOKENS: Vec<SecretString> = setting("webhook.bearer_tokens", secrets).list().secret().optional()
        .wants("the tokens that Sesamy may send")
        .help("accepted `Authorization: Bearer` values");
    HMAC_SECRETS: Vec<SecretString> = setting("webhook.hmac_secrets", secrets).list().secret().optional()
        .wants("the secrets that Sesamy may sign with")
        .help("accepted keys of HMAC-SHA256 over the raw body");
    SIGNATURE_HEADER: String = setting("webhook.signature_header", header_name)
        .wants("the name of an HTTP header, such as X-Sesamy-Signature")
        .help("where the signature is: hex, with or without `sha256=`");
    ALLOW_UNAUTHENTICATED: bool = setting("webhook.allow_unauthenticated", boolean)
        .wants(YES_OR_NO)
        .help("must be true to start with neither token nor secret; for trials only");
    SESAMY_API_URL: Url = setting("sesamy.api_url", http_url)
        .wants(HTTP_ADDRESS)
        .help("the Management API (staging: `https://staging-api.sesamy.com`)");
    SESAMY_TOKEN_URL: Url = setting("sesamy.token_url", http_url)
        .wants(HTTP_ADDRESS)
        .help("where client credentials become a token");
    SESAMY_AUDIENCE: String = setting("sesamy.audience", text)
        .wants("the audience that tokens are asked for")
        .help("the audience that the token is asked for");
    SESAMY_CLIENT_ID: String = setting("sesamy.client_id", client_id).secret().optional()
        .wants("the client id that Sesamy gave you")
        .help("client credentials, with the next; or instead of both `sesamy.access_token`");
    SESAMY_CLIENT_SECRET: SecretString = setting("sesamy.client_secret", secret).secret().optional()
        .wants("the client secret that Sesamy gave you")
        .help("the other half of the client credentials");
    SESAMY_ACCESS_TOKEN: SecretString = setting("sesamy.access_token", secret).secret().optional()
        .wants("a token for Sesamy's Management API")
        .help("a fixed token. It ends one day, client credentials do not");
    SESAMY_VENDOR_ID: String = setting("sesamy.vendor_id", text).optional()
        .wants("your vendor id at Sesamy")
        .help("if set, another vendor's event is answered 403");
    DERIVE_TAGS: bool = setting("sesamy.derive_tags", boolean)
        .wants(YES_OR_NO)
        .help("false: only the profile's own tags count; one Sesamy call a sync instead of three");
    GUEST_USER_ID_PREFIXES: Vec<String> = setting("sesamy.guest_user_id_prefixes", texts).list()
        .wants("what the user ids of guests start with")
        .help("users whose id starts so are guests, and never synced");
    SESAMY_REQUESTS_PER_MINUTE: NonZeroU32 = setting("sesamy.requests_per_minute", positive)
        .wants(COUNT)
        .help("calls a minute in the long run (Sesamy allows 100)");
    SESAMY_BURST: NonZeroU32 = setting("sesamy.burst", positive)
        .wants(COUNT)
        .help("calls at once after a pause (Sesamy allows 200)");
    MAILMOJO_API_URL: Url = setting("mailmojo.api_url", http_url).alias("apiUrl")
        .wants(HTTP_ADDRESS)
        .help("Mailmojo's API");
    MAILMOJO_API_TOKEN: SecretString = setting("mailmojo.api_token", secret).alias("apiToken").secret().optional()
        .wants("an API token of your Mailmojo account")
        .help("a fixed token. It ends after some months; or instead of it client credentials");
    MAILMOJO_CLIENT_ID: String = setting("mailmojo.client_id", client_id).secret().optional()
        .wants("the client id of your Mailmojo application")
        .help("client credentials, with the next");
    MAILMOJO_CLIENT_SECRET: SecretString = setting("mailmojo.client_secret", secret).secret().optional()
        .wants("the client secret of your Mailmojo application")
        .help("the other half of the client credentials");
    LIST_ID: u64 = setting("mailmojo.list_id", positive).alias("listId")
        .wants("the number of the list to keep in step")
        .help("the number of the list to keep in step");
    CUSTOM_FIELDS: CustomFields = setting("mailmojo.custom_fields", custom_fields).table().optional()
        .wants(source::NAMES)
        .help("names of custom fields, each with its source: see [Custom fields](#custom-fields). Each name is a \
             variable of its own, `MAILMOJO__CUSTOM_FIELDS__NAME`, and is then taken in lower case");
    MAILMOJO_REQUESTS_PER_MINUTE: NonZeroU32 = setting("mailmojo.requests_per_minute", positive)
        .wants(COUNT)
        .help("calls a minute in the long run");
    MAILMOJO_BURST: NonZeroU32 = setting("mailmojo.burst", positive)
        .wants(COUNT)
        .help("calls at once after a pause");
    QUEUE_URL: QueueUrl = setting("queue.url", queue_url).secret()
        .wants("sqlite://relative/path, sqlite:///absolute/path or postgres://user:password@host/database")
        .help("the queue's file; in the image `sqlite:///data/sesamy-mailmojo.db`. Or a database: \
             `postgres://user:password@host/database`");
    CONCURRENCY: NonZeroUsize = setting("sync.concurrency", concurrency)
        .wants("a whole number from 1 to 1000")
        .help("users synced at a time; more gains nothing where an API's rate is the limit");
    DEBOUNCE: Duration = setting("sync.debounce", duration_or_zero)
        .wants(DURATION)
        .help("events of one user within this time make one sync");
    REQUEST_TIMEOUT: Duration = setting("sync.request_timeout", duration)
        .wants(DURATION)
        .help("one call to an API, to the last byte of its answer");
    DEADLINE: Duration = setting("sync.deadline", duration)
        .wants(DURATION)
        .help("one whole sync; longer than `sync.request_timeout`");
    BACKOFF_BASE: Duration = setting("sync.backoff_base", duration)
        .wants(DURATION)
        .help("the ceiling of the first wait after a failure; it doubles with each further one (full jitter \
             below it)");
    BACKOFF_CAP: Duration = setting("sync.backoff_cap", duration)
        .wants(DURATION)
        .help("the highest that this ceiling gets");
    MAX_ATTEMPTS: u32 = setting("sync.max_attempts", positive)
        .wants(COUNT)
        .help("failures of one user, while others succeed, before it is parked");
    RESYNC_EVERY: Option<Duration> = setting("sync.resync_every", duration_or_never)
        .wants("a duration with its unit, such as 168h, 7d or 2w; or 0 for never")
        .help("so long after a user's last sync the user is checked again, with the pace that events leave; 0: \
             never");
    DRY_RUN: bool = setting("sync.dry_run", boolean)
        .wants(YES_OR_NO)
        .help("do everything but write");
    CREATE_CONTACTS: bool = setting("sync.create_contacts", boolean)
        .wants(YES_OR_NO)
        .help("false: only contacts that Mailmojo has already are kept in step; nobody is created or subscribed");
    KEEP_TAGS: Vec<String> = setting("sync.keep_tags", texts).list()
        .wants("tags that start with sesamy_")
        .help("`sesamy_` tags never removed; `*` at the end matches any ending");
    HISTORY_DAYS: u16 = setting("history.days", days)
        .wants("a whole number of days from 1 to 3650")
        .help("for how many days each user's syncs are remembered");
    ADMIN_LISTEN: SocketAddr = setting("admin.listen", socket_address)
        .wants("an IP address and a port, such as 127.0.0.1:8081")
        .help("where the operations page listens, if there is a token for it");
    ADMIN_TOKENS: Vec<SecretString> = setting("admin.tokens", admin_tokens).list().secret().optional()
        .wants("the tokens that open the operations page, 16 characters or more each")
        .help("tokens that open the operations page and its API, 16 characters or more; without one there is \
             neither");
    LOG_FORMAT: Format = setting("log.format", log_format).optional()
        .wants("json or pretty")
        .help("`json` or `pretty`; where it is not set: `pretty` on a terminal, `json` elsewhere");
    LOG_LEVEL: String = setting("log.level", log_filter)
        .wants("a level (error, warn, info, debug, trace) or a filter such as info,hyper=debug")
        .help("a `tracing` filter; libraries stay at warn unless named");
}

/// What is known of each setting.
pub(super) fn specs() -> impl Iterator<Item = &'static Spec> {
    ALL.iter().map(|setting| setting.spec())
}

/// The setting of `section` whose key or alias is the `same` as `key`.
pub(super) fn find(section: &str, key: &str, same: fn(&str, &str) -> bool) -> Option<&'static Spec> {
    specs().find(|spec| {
        let (own_section, own_key) = spec.path();
        own_section == section && (own_key == key || spec.alias.is_some_and(|alias| same(alias, key)))
    })
}

/// The sections, each once.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = specs().map(|spec| spec.path().0).collect();
    sections.dedup(); // the settings of a section stand together
    sections
}
