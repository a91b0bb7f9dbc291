//! The table of settings: each one's name, its kind, and what a right value looks like.
//!
//! Sources ask it which names are ours, errors ask it how a setting is set. Defaults are not here but in
//! `config/default.toml`; a test holds the two to the same names.

/// One setting.
#[derive(Debug)]
pub(super) struct Spec {
    /// The table it is in.
    pub section: &'static str,
    /// Its key in that table.
    pub key: &'static str,
    /// What a right value looks like; completes "set it to …". Of a table: what each of its values may be.
    pub wants: &'static str,
    /// Another key that is taken for it in a file; in the environment, in any letter case.
    pub alias: Option<&'static str>,
    /// Whether it is a list: separated by commas in the environment, one a line in a file of secrets.
    pub list: bool,
    /// Whether it may be read from a file that a `…_FILE` variable names, and is never shown.
    pub secret: bool,
    /// Whether it is a table of names that the publisher chooses, each a variable of its own.
    pub table: bool,
}

impl Spec {
    const fn plain(section: &'static str, key: &'static str, wants: &'static str) -> Self {
        Self { section, key, wants, alias: None, list: false, secret: false, table: false }
    }

    const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    const fn list(self) -> Self {
        Self { list: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn table(self) -> Self {
        Self { table: true, ..self }
    }

    /// As in `mailmojo.list_id`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// As in `MAILMOJO__LIST_ID`.
    pub fn variable(&self) -> String {
        format!("{}__{}", self.section, self.key).to_uppercase()
    }

    /// A sentence that tells how to set it.
    pub fn how(&self) -> String {
        let Self { section, key, wants, .. } = self;
        let variable = self.variable();
        if self.table {
            return format!(
                "set {variable}__NAME (the name is taken in lower case), or `name` under [{section}.{key}] in the \
                 settings file, to one of these: {wants}"
            );
        }
        let (brackets, commas) = if self.list { (" (a list)", ", separated by commas") } else { ("", "") };
        let file = if self.secret {
            let lines = if self.list { ", one a line" } else { "" };
            format!("; or {variable}_FILE to the path of a file that holds it{lines}")
        } else {
            String::new()
        };
        format!(
            "set {variable}, or `{key}`{brackets} under [{section}] in the settings file, to {wants}{commas}{file}"
        )
    }
}

const HTTP_ADDRESS: &str = "an http or https address without a query, such as https://api.example.com";
const DURATION: &str = "a duration with its unit, such as 500ms, 10s or 1h 30m";
const COUNT: &str = "a whole number above 0";
const YES_OR_NO: &str = "true or false";

/// Every setting, in the order in which problems are told.
pub(super) static SETTINGS: &[Spec] = &[
    Spec::plain("server", "listen", "an IP address and a port, such as 0.0.0.0:8080 or [::]:8080"),
    Spec::plain("server", "body_limit_bytes", "a number of bytes above 0, such as 65536"),
    Spec::plain("webhook", "bearer_tokens", "the tokens that Sesamy may send").list().secret(),
    Spec::plain("webhook", "hmac_secrets", "the secrets that Sesamy may sign with").list().secret(),
    Spec::plain("webhook", "signature_header", "the name of an HTTP header, such as X-Sesamy-Signature"),
    Spec::plain("webhook", "allow_unauthenticated", YES_OR_NO),
    Spec::plain("sesamy", "api_url", HTTP_ADDRESS),
    Spec::plain("sesamy", "token_url", HTTP_ADDRESS),
    Spec::plain("sesamy", "audience", "the audience that tokens are asked for"),
    Spec::plain("sesamy", "client_id", "the client id that Sesamy gave you").secret(),
    Spec::plain("sesamy", "client_secret", "the client secret that Sesamy gave you").secret(),
    Spec::plain("sesamy", "access_token", "a token for Sesamy's Management API").secret(),
    Spec::plain("sesamy", "vendor_id", "your vendor id at Sesamy"),
    Spec::plain("sesamy", "derive_tags", YES_OR_NO),
    Spec::plain("sesamy", "guest_user_id_prefixes", "what the user ids of guests start with").list(),
    Spec::plain("sesamy", "requests_per_minute", COUNT),
    Spec::plain("sesamy", "burst", COUNT),
    Spec::plain("mailmojo", "api_url", HTTP_ADDRESS).alias("apiUrl"),
    Spec::plain("mailmojo", "api_token", "an API token of your Mailmojo account").alias("apiToken").secret(),
    Spec::plain("mailmojo", "client_id", "the client id of your Mailmojo application").secret(),
    Spec::plain("mailmojo", "client_secret", "the client secret of your Mailmojo application").secret(),
    Spec::plain("mailmojo", "list_id", "the number of the list to keep in step").alias("listId"),
    Spec::plain("mailmojo", "custom_fields", crate::fields::source::NAMES).table(),
    Spec::plain("mailmojo", "requests_per_minute", COUNT),
    Spec::plain("mailmojo", "burst", COUNT),
    Spec::plain(
        "queue",
        "url",
        "sqlite://relative/path, sqlite:///absolute/path or postgres://user:password@host/database",
    )
    .secret(),
    Spec::plain("sync", "concurrency", "a whole number from 1 to 1000"),
    Spec::plain("sync", "debounce", DURATION),
    Spec::plain("sync", "request_timeout", DURATION),
    Spec::plain("sync", "deadline", DURATION),
    Spec::plain("sync", "backoff_base", DURATION),
    Spec::plain("sync", "backoff_cap", DURATION),
    Spec::plain("sync", "max_attempts", COUNT),
    Spec::plain("sync", "resync_every", "a duration with its unit, such as 168h, 7d or 2w; or 0 for never"),
    Spec::plain("sync", "dry_run", YES_OR_NO),
    Spec::plain("sync", "create_contacts", YES_OR_NO),
    Spec::plain("sync", "keep_tags", "tags that start with sesamy_").list(),
    Spec::plain("history", "days", "a whole number of days from 1 to 3650"),
    Spec::plain("admin", "listen", "an IP address and a port, such as 127.0.0.1:8081"),
    Spec::plain("admin", "tokens", "the tokens that open the operations page, 16 characters or more each")
        .list()
        .secret(),
    Spec::plain("log", "format", "json or pretty"),
    Spec::plain(
        "log",
        "level",
        "a level (error, warn, info, debug, trace) or a filter such as info,hyper=debug",
    ),
];

/// The setting of that full name, as in `mailmojo.list_id`.
pub(super) fn by_name(name: &str) -> Option<&'static Spec> {
    let (section, key) = name.split_once('.')?;
    SETTINGS.iter().find(|spec| spec.section == section && spec.key == key)
}

/// Whether there is a section of that name.
pub(super) fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|spec| spec.section == name)
}

/// The name out of `known` that `wrong` was probably meant to be; none where nothing is like it.
pub(super) fn nearest<S: AsRef<str>>(wrong: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let wrong = wrong.to_lowercase();
    let slips = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let bound = (wrong.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (slips(name.as_ref()), name))
        .filter(|(slips, _)| *slips <= bound)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_set_names_key_variable_and_for_secrets_the_file() {
        let plain = by_name("mailmojo.list_id").unwrap().how();
        assert!(
            plain.contains("MAILMOJO__LIST_ID")
                && plain.contains("`list_id`")
                && plain.contains("[mailmojo]")
        );
        assert!(!plain.contains("_FILE"), "{plain}");

        let secret = by_name("webhook.bearer_tokens").unwrap().how();
        assert!(secret.contains("WEBHOOK__BEARER_TOKENS_FILE") && secret.contains("one a line"), "{secret}");
        assert!(secret.contains("separated by commas"), "{secret}");
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        let known = ["list_id", "api_token", "burst"];
        assert_eq!(nearest("lst_id", known), Some("list_id"));
        assert_eq!(nearest("APITOKEN", known), Some("api_token"));
        assert_eq!(nearest("bursts", known), Some("burst"));
        assert_eq!(nearest("colour", known), None);
    }
}
