//! Encrypted: the connection to Postgres is what `sslmode` asks for, or there is none.

use reqwest::StatusCode;
use sesamy_mailmojo::sandbox::user;

use crate::support::harness::Town;
use crate::support::postgres::Database;
use crate::support::shell::{changed, run};

/// The certificate of an authority that has signed no server's; its key is thrown away.
const ANOTHER_AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjjCCATWgAwIBAgIUaHlJHuJL3WZ1LgilTc5z6hBJBj4wCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRYW5vdGhlciBhdXRob3JpdHkwIBcNMjYxMTIzMjE1MDQ1WhgP
MjEyNjEwMzAyMTUwNDVaMBwxGjAYBgNVBAMMEWFub3RoZXIgYXV0aG9yaXR5MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETWI3gWKux7lBS4lSgi9OAvPGd0wZR4z0
/QyN/xbpvLevXBMZRPfNv0Qoh3X2HwoNwlzoQYwWRdEz70I/dzkOJKNTMFEwHQYD
VR0OBBYEFD2Fh+M/ZkuTYDy788dY3uzqNirmMB8GA1UdIwQYMBaAFD2Fh+M/ZkuT
YDy788dY3uzqNirmMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIg
RrAugMOoAkpc2AH2Ouk7LNhTYOvbCXPetqeY2/P9Ny0CIGunXjO8RC4hu4hPPffL
qNWZYeOdQ8U7Nnb3/KxO1SAi
-----END CERTIFICATE-----
";

#[tokio::test]
async fn every_connection_is_encrypted_where_sslmode_asks_for_it_and_none_where_it_forbids_it() {
    let Some(database) = Database::create().await else { return };
    for (mode, encrypted) in [("require", true), ("disable", false)] {
        let town = Town::with(&[("QUEUE__URL", &database.url_with(&[("sslmode", mode)]))]).await;
        // An address each: both services use one database, which remembers whose contact was there.
        let email = format!("{mode}@example.com");
        town.sandbox.sesamy.put_user(user(mode).email(&email));
        assert_eq!(town.event("userVendor.1#update", mode).await, StatusCode::ACCEPTED);
        database.settled().await;
        town.contact(&email);
        assert_eq!(town.service.get("/readyz").await.0, StatusCode::OK); // counts on a connection of its own
        assert!(database.connections(encrypted).await >= 2, "{mode}");
        assert_eq!(database.connections(!encrypted).await, 0, "{mode}");
    }
}

/// Needs the certificate of whoever signed the server's; `.ci/postgres` tells where it is.
#[tokio::test]
async fn a_server_is_believed_only_with_a_certificate_from_the_authority_that_was_named() {
    let Some(database) = Database::create().await else { return };
    let authority = std::env::var("TEST_POSTGRES_CA").unwrap_or_default();
    let checked =
        |authority: &str| database.url_with(&[("sslmode", "verify-full"), ("sslrootcert", authority)]);
    let settings = if authority.is_empty() {
        Town::start().await.settings().clone() // somebody's own server: only that a wrong one is refused
    } else {
        let town = Town::with(&[("QUEUE__URL", &checked(&authority))]).await;
        town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
        assert_eq!(town.event("userVendor.1#update", "kari").await, StatusCode::ACCEPTED);
        database.settled().await;
        assert!(database.connections(true).await >= 2);
        assert_eq!(database.connections(false).await, 0);
        town.settings().clone()
    };

    let folder = tempfile::tempdir().unwrap();
    let another = folder.path().join("another.pem");
    std::fs::write(&another, ANOTHER_AUTHORITY).unwrap();
    let missing = folder.path().join("missing.pem");
    for (authority, why) in [(&another, "certificate"), (&missing, "No such file")] {
        let settings = changed(&settings, &[("QUEUE__URL", &checked(authority.to_str().unwrap()))]);
        let ended = run(&["serve"], &settings).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let address = database.url().parse::<reqwest::Url>().unwrap();
        for part in [why, address.host_str().unwrap(), "sslmode", "sslrootcert", "queue.url"] {
            assert!(ended.stderr.contains(part), "{part} is not in {}", ended.stderr);
        }
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!all.contains(address.password().unwrap()), "the password is told");
    }
}
