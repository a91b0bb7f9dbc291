//! The rules between settings, and what works but needs attention.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::parse::{SHORTEST_SAFE_SECRET, shown};
use super::setting::Field;
use super::spec::Spec;
use super::table::{ALL, Settings, log, mailmojo, sesamy, sync, webhook};
use super::values::Values;
use crate::fields::ReadFrom;
use crate::upstream::is_loopback;

/// Checks that users more often costs more than it repairs.
const SHORTEST_SENSIBLE_RESYNC: Duration = Duration::from_secs(3_600);
const TAG_PREFIX: &str = "sesamy_";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The settings; `None` if anything is wrong, all of which is then in the problems of `values`.
pub(super) fn settings(values: &mut Values) -> Option<Settings> {
    ALL.iter().for_each(|field| field.check(values));
    check_together(values);
    Settings::read(values).filter(|_| values.problems.is_empty())
}

/// Notes what is wrong with settings that are right one by one.
fn check_together(values: &mut Values) {
    let (tokens, secrets) = (&webhook::bearer_tokens.spec, &webhook::hmac_secrets.spec);
    let unauthenticated = &webhook::allow_unauthenticated;
    if values.given(tokens).is_none()
        && values.given(secrets).is_none()
        && unauthenticated.read(values) != Some(true)
    {
        let what = format!(
            "is missing, and so is {}: Sesamy's calls cannot be told from others. Set either it or {}; for a trial, \
             {} = true does without",
            secrets.name,
            secrets.variable(),
            unauthenticated.spec.name
        );
        values.missing(tokens, what);
    }
    if let (Some(false), Some(fields)) =
        (sesamy::derive_tags.read(values), mailmojo::custom_fields.read(values))
    {
        for (name, source) in fields.iter().filter(|(_, source)| source.read_from() != ReadFrom::Profile) {
            let what = format!(
                "has {} from {source}, which is read from contracts and entitlements, while {} is false: only the \
                 profile is read",
                shown(name),
                sesamy::derive_tags.spec.name
            );
            values.fault(&mailmojo::custom_fields.spec, what);
        }
    }
    if let (Some(timeout), Some(deadline)) = (sync::request_timeout.read(values), sync::deadline.read(values))
        && deadline <= timeout
    {
        let name = sync::request_timeout.spec.name;
        let what = format!("is {deadline:?}, but has to be longer than {name}, which is {timeout:?}");
        values.fault(&sync::deadline.spec, what);
    }
    if let (Some(base), Some(cap)) = (sync::backoff_base.read(values), sync::backoff_cap.read(values))
        && base > cap
    {
        let name = sync::backoff_cap.spec.name;
        let what = format!("is {base:?}, but may not be longer than {name}, which is {cap:?}");
        values.fault(&sync::backoff_base.spec, what);
    }
}

/// What works but needs attention: a sentence each, without any secret.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |spec: &Spec, what: &str| warnings.push(format!("{} {what}", spec.name));
    for (spec, secrets) in [
        (&webhook::bearer_tokens.spec, &settings.webhook.bearer_tokens),
        (&webhook::hmac_secrets.spec, &settings.webhook.hmac_secrets),
    ] {
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
    let is_open = settings.webhook.bearer_tokens.is_empty() && settings.webhook.hmac_secrets.is_empty();
    match (settings.webhook.allow_unauthenticated, is_open) {
        (true, true) => {
            warn(
                &webhook::allow_unauthenticated.spec,
                "is true: whoever reaches the service can send events",
            );
        }
        (true, false) => warn(
            &webhook::allow_unauthenticated.spec,
            "is true, but does nothing: there are tokens or secrets, and they are asked for",
        ),
        (false, _) => {}
    }
    for (spec, url) in [
        (&sesamy::api_url.spec, &settings.sesamy.api_url),
        (&sesamy::token_url.spec, &settings.sesamy.token_url),
        (&mailmojo::api_url.spec, &settings.mailmojo.api_url),
    ] {
        if url.scheme() == "http" && !is_loopback(url) {
            warn(
                spec,
                "is plain http to another machine: tokens and addresses go over the network unencrypted",
            );
        }
    }
    if settings.sync.resync_every.is_some_and(|every| every < SHORTEST_SENSIBLE_RESYNC) {
        let what =
            "is less than an hour: checking every user that often uses up the rate of both APIs for nothing";
        warn(&sync::resync_every.spec, what);
    }
    for tag in &settings.sync.keep_tags {
        let pattern = tag.strip_suffix('*').unwrap_or(tag);
        if !pattern.starts_with(TAG_PREFIX) {
            let what =
                format!("has {}, which keeps nothing: only {TAG_PREFIX} tags are ever removed", shown(tag));
            warn(&sync::keep_tags.spec, &what);
        } else if pattern.contains('*') {
            warn(&sync::keep_tags.spec, &format!("has {}: a * counts only at the end", shown(tag)));
        }
    }
    for word in targets_like_levels(&settings.log.level) {
        let what = format!("has {}, taken for a target: the levels are {}", shown(word), LEVELS.join(", "));
        warn(&log::level.spec, &what);
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
