//! The HTTP client under both APIs' clients.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::crypto::ring;

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot set up HTTPS: {0}; the system's CA certificates are probably missing (Debian: install ca-certificates)"
)]
pub struct ClientError(String);

/// A client for `url`: it follows no redirect (a POST would become a GET on the way), waits at most `timeout` for a
/// connection, and goes through no proxy to this machine itself.
///
/// # Errors
/// [`ClientError`] where the system has no CA certificates and `url` is not plain HTTP.
pub fn client(url: &reqwest::Url, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    let error = |error: &dyn std::fmt::Display| ClientError(error.to_string());
    let mut builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .connect_timeout(timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("sesamy-mailmojo/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // Plain HTTP needs no CA certificates, and must work where the system has none.
        let tls = rustls::ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|e| error(&e))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder = builder.tls_backend_preconfigured(tls);
    } else {
        // Only the first caller installs it; later ones find it there.
        let _ = ring::default_provider().install_default();
    }
    builder.build().map_err(|e| error(&e))
}

/// What went wrong on the way, without the URL, which has the user's address in it.
pub(super) fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within the time limit".to_owned();
    }
    // The chain's links repeat each other; the last one is the cause. None but reqwest's own holds the URL.
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection failed" };
    cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"))
}

/// Whether `url` leads to this machine itself.
fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
