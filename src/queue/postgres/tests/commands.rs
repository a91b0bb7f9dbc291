//! A command opens the queue beside a service, and changes nothing by that.

use super::*;
use crate::queue::PostgresError;

const READS: Role = Role::Command { may_create: false };
const BEGINS: Role = Role::Command { may_create: true };

#[tokio::test]
async fn a_command_makes_nothing_where_it_only_reads() {
    let Some(ground) = Ground::new() else { return };
    let opens = |role: Role| {
        let clock = Clock::manual(NOW);
        ground.wait_for(postgres::open(&ground.url, role, DEBOUNCE, clock, Arc::default(), QUICK))
    };
    let error = opens(READS).unwrap_err();
    assert!(matches!(error, PostgresError::NoQueue(_)), "{error}");
    assert!(error.to_string().contains("when it first starts"), "{error}");
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace";
    assert_eq!(ground.number(tables), 0);

    let (store, key) = opens(BEGINS).unwrap();
    push(&store, "kari").await.unwrap();
    store.close().await;
    let (store, same) = opens(READS).unwrap();
    assert_eq!(rows(&store, &["kari"]).await.len(), 1);
    assert_eq!(same.hash("kari"), key.hash("kari"));
    store.close().await;
}

#[test]
fn a_schema_of_an_older_version_is_brought_up_to_date_by_a_service_alone() {
    let Some(ground) = Ground::new() else { return };
    let opens = |role: Role, steps: &'static [&'static str]| {
        let clock = Clock::manual(NOW);
        ground
            .wait_for(postgres::open::open(&ground.url, role, &clock, steps))
            .map(|opened| opened.erasure_key.hash("kari"))
    };
    let key = opens(Role::Service, upgrading::ONE_STEP).unwrap();
    for role in [READS, BEGINS] {
        let error = opens(role, upgrading::TWO_STEPS).unwrap_err();
        assert!(matches!(error, PostgresError::Older { found: 1, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("start the service of this version"), "{error}");
    }
    assert_eq!(ground.number("SELECT max(version)::bigint FROM sesamy_mailmojo_schema"), 1);
    assert_eq!(opens(Role::Service, upgrading::TWO_STEPS).unwrap(), key);
    assert_eq!(ground.number("SELECT max(version)::bigint FROM sesamy_mailmojo_schema"), 2);
    assert_eq!(opens(READS, upgrading::TWO_STEPS).unwrap(), key);
}
