//! `healthcheck`: asks a running service's `/healthz`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::error::CommandError;
use crate::config;
use crate::upstream::http_client;

/// Docker's HEALTHCHECK gives up after 3 s.
const LIMIT: Duration = Duration::from_secs(2);

/// Succeeds if the service that these settings would start on this machine says that it is healthy.
pub(super) async fn run(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), CommandError> {
    let address = on_this_machine(config::listen_address(file, environment)?);
    let unhealthy = |what: String| CommandError::Unhealthy(format!("http://{address}/healthz {what}"));
    let url: reqwest::Url =
        format!("http://{address}/healthz").parse().map_err(|_| unhealthy("is no address".to_owned()))?;
    let client = http_client(&url, LIMIT).map_err(|error| unhealthy(error.to_string()))?;
    match client.get(url).timeout(LIMIT).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(unhealthy(format!("answered {}", answer.status().as_u16()))),
        Err(_) => Err(unhealthy("did not answer; is the service running, and on this port?".to_owned())),
    }
}

/// The address at which a service that listens on `listen` is reached from its own machine.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_all_addresses_is_asked_on_loopback() {
        for (listen, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(on_this_machine(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
