//! Forgetting on Postgres, with more than one service.

use serde_json::json;
use sesamy_mailmojo::sandbox::contact;

use crate::forget::command::{forget, hand};
use crate::support::faults::{address, people};
use crate::support::harness::{LIST, Service, Town};
use crate::support::postgres::Database;

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "5ms");

#[tokio::test]
async fn what_one_command_forgets_no_replica_takes_up_and_no_table_has() {
    let Some(database) = Database::create().await else { return };
    let town = Town::with(&[("QUEUE__URL", database.url()), AT_ONCE]).await;
    let other = Service::start(town.settings()).await;
    people(&town, &["u1", "u2"]);
    town.sandbox.mailmojo.put_contact(contact(&address("u1")).tags(["vip", "sesamy_old"]).on_list(LIST));
    for user in ["u1", "u2"] {
        assert_eq!(town.event("userVendor.1#update", user).await, 202);
    }
    database.settled().await;
    town.sandbox.mailmojo.add_tag(&address("u1"), "sesamy_odd");

    let (code, answer) = forget(&town, &["--mailmojo", "u1"]).await;
    let one = &answer["users"][0];
    assert_eq!(
        (code, &one["outcome"], &one["was_known"]),
        (Some(0), &json!("forgotten"), &json!(true)),
        "{answer}"
    );
    assert_eq!(one["mailmojo"][0]["tags_removed"], json!(["sesamy_odd"]));
    assert_eq!(town.contact(&address("u1")).tags, ["vip"]);

    town.sandbox.clear_calls();
    let event =
        |user: &str| json!({"eventType": "contract.1#purchased", "vendorId": "vendor_1", "userId": user});
    for service in [&town.service, &other] {
        assert_eq!(service.post(&event("u1")).await, 202);
        assert_eq!(service.post(&event("u2")).await, 202);
    }
    database.settled().await;
    let about = town.sandbox.calls().into_iter().filter(|call| format!("{call:?}").contains("u1")).count();
    assert_eq!(about, 0);
    for table in ["users", "history"] {
        let left = format!("SELECT count(*) FROM {table} WHERE user_id = 'u1'");
        assert_eq!(database.query(&left).await.unwrap(), 0, "{table}");
    }
    let (code, answer) = forget(&town, &["u1"]).await;
    assert_eq!((code, &answer["users"][0]["outcome"]), (Some(0), &json!("already_forgotten")), "{answer}");

    let again = hand(&town, &["sync", "--again", "u1"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(database.query("SELECT count(*) FROM forgotten").await.unwrap(), 0);
    assert_eq!(database.query("SELECT count(*) FROM users WHERE user_id = 'u1'").await.unwrap(), 1);
}
