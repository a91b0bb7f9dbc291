//! A schema of the version before: its rows, and a replica of that version that is at work beside.

use super::*;
use crate::queue::postgres::schema;

pub(super) const ONE_STEP: &[&str] = schema::STEPS;
/// With a step that only tests have.
pub(super) const TWO_STEPS: &[&str] =
    &[schema::STEPS[0], "ALTER TABLE users ADD COLUMN remark text NOT NULL DEFAULT 'none'"];

#[tokio::test]
async fn a_replica_of_the_version_before_goes_on_beside_a_newer_schema() {
    let Some(ground) = Ground::new() else { return };
    let before = open(&ground, &ground.url, QUICK);
    push(&before, "kari").await.unwrap();
    count(&before, &["kari", "ola"], &["count"]).await.unwrap(); // its statements are prepared

    let clock = Clock::manual(NOW);
    ground.wait_for(postgres::open::open(&ground.url, Role::Service, &clock, TWO_STEPS)).unwrap();
    ground.sql("UPDATE users SET remark = 'of a newer version'");
    push(&before, "kari").await.unwrap();
    push(&before, "liv").await.unwrap();
    count(&before, &["kari", "ola"], &["count"]).await.unwrap();
    let generations: Vec<_> =
        rows(&before, &["kari", "liv", "ola"]).await.iter().map(|row| row.generation).collect();
    assert_eq!(generations, [4, 1, 2]);
    let kept = "SELECT count(*) FROM users WHERE remark = 'of a newer version'";
    assert_eq!(ground.number(kept), 2, "a column that it does not know is left as it is");
    before.close().await;
}

#[test]
fn a_step_that_fails_leaves_the_version_before() {
    const BROKEN: &[&str] = &[schema::STEPS[0], "CREATE TABLE half (); SELECT 1 / 0"];
    let Some(ground) = Ground::new() else { return };
    let opens =
        |steps| ground.wait_for(postgres::open::open(&ground.url, Role::Service, &Clock::manual(NOW), steps));
    opens(ONE_STEP).unwrap();
    assert!(opens(BROKEN).is_err());
    assert_eq!(ground.number("SELECT max(version)::bigint FROM sesamy_mailmojo_schema"), 1);
    assert_eq!(
        ground.number(
            "SELECT count(*) FROM pg_class WHERE relname = 'half' AND
        relnamespace = current_schema()::regnamespace"
        ),
        0
    );
    opens(ONE_STEP).unwrap();
}
