//! How the service authenticates to an API: one value from three settings.

use secrecy::SecretString;

use super::parse::{client_id, secret};
use super::setting::{AnyField, Field, Setting, setting};
use super::spec::Spec;
use super::values::Values;

/// Either a fixed token or client credentials.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    Token(SecretString),
    /// OAuth 2 client credentials, for which tokens are fetched.
    Client {
        id: String,
        secret: SecretString,
    },
}

/// The settings of one API's credentials: either the token, or id and secret, and not both.
pub(crate) struct CredentialsField {
    pub token: Setting<Option<SecretString>>,
    pub id: Setting<Option<String>>,
    pub secret: Setting<Option<SecretString>>,
}

/// A token or secret that may be left out.
pub(super) const fn optional_secret(name: &'static str) -> Setting<Option<SecretString>> {
    setting(name, |value| secret(value).map(Some)).secret().or(|| None)
}

/// A client id that may be left out.
pub(super) const fn optional_client_id(name: &'static str) -> Setting<Option<String>> {
    setting(name, |value| client_id(value).map(Some)).secret().or(|| None)
}

impl Field for CredentialsField {
    type Value = Credentials;

    fn read(&self, values: &Values) -> Option<Credentials> {
        match (self.token.read(values)?, self.id.read(values)?, self.secret.read(values)?) {
            (Some(token), None, None) => Some(Credentials::Token(token)),
            (None, Some(id), Some(secret)) => Some(Credentials::Client { id, secret }),
            _ => None,
        }
    }
}

impl AnyField for CredentialsField {
    fn specs(&self) -> Vec<&Spec> {
        vec![&self.token.spec, &self.id.spec, &self.secret.spec]
    }

    fn check(&self, values: &mut Values) {
        self.token.check(values);
        self.id.check(values);
        self.secret.check(values);
        let [token, id, secret] = [&self.token.spec, &self.id.spec, &self.secret.spec];
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
                let what =
                    format!("is set together with client credentials: remove it, or {id} and {secret}");
                values.fault(token, what);
            }
        }
    }
}
