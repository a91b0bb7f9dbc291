//! The table of settings: each is one constant, `sync::deadline`, and one field of [`Settings`]. Sources, checks,
//! messages, the list of settings in force and the README's table all follow from it. Defaults are in
//! `config/default.toml`; a test holds the two to the same names.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::credentials::{CredentialsField, optional_client_id, optional_secret};
use super::custom_fields;
use super::in_force::{self, InForce};
use super::parse::{self, QueueUrl};
use super::setting::{AnyField, Field, Setting, setting};
use super::spec::Spec;
use super::values::Values;
use crate::fields::{CustomFields, source};
use crate::telemetry::Format;

const HTTP_ADDRESS: &str = "an http or https address without a query, such as https://api.example.com";
const DURATION: &str = "a duration with its unit, such as 500ms, 10s or 1h 30m";
const COUNT: &str = "a whole number above 0";
const YES_OR_NO: &str = "true or false";

/// Declares a struct and a module of constants for each section, [`Settings`] and [`ALL`] fields.
macro_rules! settings {
    ($($section:ident: $name:ident { $($field:ident: $kind:ty = $setting:expr;)* })*) => {
        /// All settings. A debug print shows `[REDACTED]` for every secret.
        #[derive(Debug, Clone)]
        pub(crate) struct Settings {
            $(pub $section: $name,)*
            /// All of them once more, as an operator may see them.
            pub in_force: Vec<InForce>,
        }

        impl Settings {
            /// `None` if any setting is missing or wrong.
            pub(super) fn read(values: &Values) -> Option<Self> {
                Some(Self {
                    $($section: $name { $($field: $section::$field.read(values)?,)* },)*
                    in_force: in_force::list(specs(), values),
                })
            }
        }

        $(
            #[derive(Debug, Clone)]
            pub(crate) struct $name {
                $(pub $field: <$kind as Field>::Value,)*
            }

            #[allow(non_upper_case_globals, reason = "named as the fields that they stand behind")]
            pub(super) mod $section {
                use super::*;

                $(pub static $field: $kind = $setting;)*
            }
        )*

        /// The fields of all sections, in the order of `config/default.toml`.
        pub(super) static ALL: &[&dyn AnyField] = &[$($(&$section::$field,)*)*];
    };
}

settings! {
    server: Server {
        listen: Setting<SocketAddr> = setting("server.listen", parse::socket_address)
            .wants("an IP address and a port, such as 0.0.0.0:8080 or [::]:8080")
            .help("where the service listens; port 0: any that is free");
        body_limit_bytes: Setting<usize> = setting("server.body_limit_bytes", parse::positive)
            .wants("a number of bytes above 0, such as 65536")
            .help("a larger event is answered 413");
    }

    // At least one token or secret, unless `allow_unauthenticated`, which else means nothing.
    webhook: Webhook {
        bearer_tokens: Setting<Vec<SecretString>> = setting("webhook.bearer_tokens", parse::secrets)
            .list().secret().or(Vec::new)
            .wants("the tokens that Sesamy may send")
            .help("accepted `Authorization: Bearer` values");
        hmac_secrets: Setting<Vec<SecretString>> = setting("webhook.hmac_secrets", parse::secrets)
            .list().secret().or(Vec::new)
            .wants("the secrets that Sesamy may sign with")
            .help("accepted keys of HMAC-SHA256 over the raw body");
        signature_header: Setting<String> = setting("webhook.signature_header", parse::header_name)
            .wants("the name of an HTTP header, such as X-Sesamy-Signature")
            .help("where the signature is: hex, with or without `sha256=`");
        allow_unauthenticated: Setting<bool> = setting("webhook.allow_unauthenticated", parse::boolean)
            .wants(YES_OR_NO)
            .help("must be true to start with neither token nor secret; for trials only");
    }

    sesamy: Sesamy {
        api_url: Setting<Url> = setting("sesamy.api_url", parse::http_url).wants(HTTP_ADDRESS)
            .help("the Management API (staging: `https://staging-api.sesamy.com`)");
        token_url: Setting<Url> = setting("sesamy.token_url", parse::http_url).wants(HTTP_ADDRESS)
            .help("where client credentials become a token");
        audience: Setting<String> = setting("sesamy.audience", parse::text)
            .wants("the audience that tokens are asked for")
            .help("the audience that the token is asked for");
        credentials: CredentialsField = CredentialsField {
            token: optional_secret("sesamy.access_token")
                .wants("a token for Sesamy's Management API")
                .help("a fixed token. It ends one day; or instead of it client credentials, which do not"),
            id: optional_client_id("sesamy.client_id")
                .wants("the client id that Sesamy gave you")
                .help("client credentials, with the next"),
            secret: optional_secret("sesamy.client_secret")
                .wants("the client secret that Sesamy gave you")
                .help("the other half of the client credentials"),
        };
        vendor_id: Setting<Option<String>> = setting("sesamy.vendor_id", |value| parse::text(value).map(Some))
            .or(|| None)
            .wants("your vendor id at Sesamy")
            .help("if set, another vendor's event is answered 403");
        derive_tags: Setting<bool> = setting("sesamy.derive_tags", parse::boolean).wants(YES_OR_NO)
            .help("false: only the profile's own tags count; one Sesamy call a sync instead of three");
        guest_user_id_prefixes: Setting<Vec<String>> = setting("sesamy.guest_user_id_prefixes", parse::texts).list()
            .wants("what the user ids of guests start with")
            .help("users whose id starts so are guests, and never synced");
        requests_per_minute: Setting<NonZeroU32> = setting("sesamy.requests_per_minute", parse::positive)
            .wants(COUNT)
            .help("calls a minute in the long run (Sesamy allows 100)");
        burst: Setting<NonZeroU32> = setting("sesamy.burst", parse::positive).wants(COUNT)
            .help("calls at once after a pause (Sesamy allows 200)");
    }

    mailmojo: Mailmojo {
        api_url: Setting<Url> = setting("mailmojo.api_url", parse::http_url).alias("apiUrl").wants(HTTP_ADDRESS)
            .help("Mailmojo's API");
        credentials: CredentialsField = CredentialsField {
            token: optional_secret("mailmojo.api_token").alias("apiToken")
                .wants("an API token of your Mailmojo account")
                .help("a fixed token. It ends after some months; or instead of it client credentials, which do not"),
            id: optional_client_id("mailmojo.client_id")
                .wants("the client id of your Mailmojo application")
                .help("client credentials, with the next"),
            secret: optional_secret("mailmojo.client_secret")
                .wants("the client secret of your Mailmojo application")
                .help("the other half of the client credentials"),
        };
        list_id: Setting<u64> = setting("mailmojo.list_id", parse::positive).alias("listId")
            .wants("the number of the list to keep in step")
            .help("the number of the list to keep in step");
        custom_fields: Setting<CustomFields> = setting("mailmojo.custom_fields", custom_fields::parse)
            .table().or(CustomFields::default)
            .wants(source::NAMES)
            .help("names of custom fields, each with its source: see [Custom fields](#custom-fields). Each name is a \
                 variable of its own, `MAILMOJO__CUSTOM_FIELDS__NAME`, and is then taken in lower case");
        requests_per_minute: Setting<NonZeroU32> = setting("mailmojo.requests_per_minute", parse::positive)
            .wants(COUNT)
            .help("calls a minute in the long run");
        burst: Setting<NonZeroU32> = setting("mailmojo.burst", parse::positive).wants(COUNT)
            .help("calls at once after a pause");
    }

    queue: Queue {
        url: Setting<QueueUrl> = setting("queue.url", parse::queue_url).secret()
            .wants("sqlite://relative/path, sqlite:///absolute/path or postgres://user:password@host/database")
            .help("the queue's file; in the image `sqlite:///data/sesamy-mailmojo.db`. Or a database: \
                 `postgres://user:password@host/database`");
    }

    // Durations are at most a year; all but `debounce` are a millisecond or more.
    sync: Sync {
        concurrency: Setting<NonZeroUsize> = setting("sync.concurrency", parse::concurrency)
            .wants("a whole number from 1 to 1000")
            .help("users synced at a time; more gains nothing where an API's rate is the limit");
        debounce: Setting<Duration> = setting("sync.debounce", parse::duration_or_zero).wants(DURATION)
            .help("events of one user within this time make one sync");
        request_timeout: Setting<Duration> = setting("sync.request_timeout", parse::duration).wants(DURATION)
            .help("one call to an API, to the last byte of its answer");
        deadline: Setting<Duration> = setting("sync.deadline", parse::duration).wants(DURATION)
            .help("one whole sync; longer than `sync.request_timeout`");
        backoff_base: Setting<Duration> = setting("sync.backoff_base", parse::duration).wants(DURATION)
            .help("the ceiling of the first wait after a failure; it doubles with each further one (full jitter \
                 below it)");
        backoff_cap: Setting<Duration> = setting("sync.backoff_cap", parse::duration).wants(DURATION)
            .help("the highest that this ceiling gets");
        max_attempts: Setting<u32> = setting("sync.max_attempts", parse::positive).wants(COUNT)
            .help("failures of one user, while others succeed, before it is parked");
        resync_every: Setting<Option<Duration>> = setting("sync.resync_every", parse::duration_or_never)
            .wants("a duration with its unit, such as 168h, 7d or 2w; or 0 for never")
            .help("so long after a user's last sync the user is checked again, with the pace that events leave; 0: \
                 never");
        dry_run: Setting<bool> = setting("sync.dry_run", parse::boolean).wants(YES_OR_NO)
            .help("do everything but write");
        create_contacts: Setting<bool> = setting("sync.create_contacts", parse::boolean).wants(YES_OR_NO)
            .help("false: only contacts that Mailmojo has already are kept in step; nobody is created or subscribed");
        keep_tags: Setting<Vec<String>> = setting("sync.keep_tags", parse::texts).list()
            .wants("tags that start with sesamy_")
            .help("`sesamy_` tags never removed; `*` at the end matches any ending");
    }

    history: History {
        days: Setting<u16> = setting("history.days", parse::days)
            .wants("a whole number of days from 1 to 3650")
            .help("for how many days each user's syncs are remembered");
    }

    admin: Admin {
        listen: Setting<SocketAddr> = setting("admin.listen", parse::socket_address)
            .wants("an IP address and a port, such as 127.0.0.1:8081")
            .help("where the operations page listens, if there is a token for it");
        tokens: Setting<Vec<SecretString>> = setting("admin.tokens", parse::admin_tokens)
            .list().secret().or(Vec::new)
            .wants("the tokens that open the operations page, 16 characters or more each")
            .help("tokens that open the operations page and its API, 16 characters or more; without one there is \
                 neither");
    }

    log: Log {
        format: Setting<Option<Format>> = setting("log.format", |value| parse::log_format(value).map(Some))
            .or(|| None)
            .wants("json or pretty")
            .help("`json` or `pretty`; where it is not set: `pretty` on a terminal, `json` elsewhere");
        level: Setting<String> = setting("log.level", parse::log_filter)
            .wants("a level (error, warn, info, debug, trace) or a filter such as info,hyper=debug")
            .help("a `tracing` filter; libraries stay at warn unless named");
    }
}

/// What is known of each setting.
pub(super) fn specs() -> impl Iterator<Item = &'static Spec> {
    ALL.iter().flat_map(|field| field.specs())
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
