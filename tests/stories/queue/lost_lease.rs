//! A service that is suspended while it writes, for longer than its lease lasts: another process syncs the user meanwhile,
//! and the write arrives after that sync.

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use sesamy_mailmojo::sandbox::{Route, contact, contract, user};

use crate::support::faults::{address, events, synced, told};
use crate::support::harness::{LIST, PATIENCE, Town};
use crate::support::shell::run;

const TAG: &str = "sesamy_active_subscriber";

#[tokio::test]
async fn a_write_that_arrives_after_a_newer_sync_is_put_right() {
    let town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "3s")]).await;
    town.sandbox.sesamy.put_user(user("kari").email(&address("kari")).contract(contract("c1")));
    town.sandbox.mailmojo.put_contact(contact(&address("kari")).tags(["vip"]).on_list(LIST));
    let gate = town.sandbox.mailmojo.hold(Route::ContactPatch);
    events(&town, &["kari"]).await;
    gate.arrived().await;
    kill_process(town.service.pid(), Signal::STOP).unwrap();

    town.sandbox.sesamy.set_contracts("kari", [contract("c1").cancelled()]);
    let newer = run(&["sync", "kari"], town.settings()).await; // waits for the end of the lease
    assert_eq!(newer.code, Some(0), "{newer:?}");
    assert_eq!(town.contact(&address("kari")).tags, ["vip"]);
    gate.release();
    town.sandbox.wait_until(PATIENCE, |sandbox| sandbox.in_flight() == 0).await.unwrap();
    assert_eq!(town.contact(&address("kari")).tags, ["vip", TAG], "old over new");

    kill_process(town.service.pid(), Signal::CONT).unwrap();
    let is_warning = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.starts_with("a sync wrote to Mailmojo and ended after its lease")
    };
    let warning = town.service.output.wait_for("a warning of the lost lease", is_warning).await;
    assert_eq!(warning["user_id"], "kari");
    town.sandbox.wait_until(PATIENCE, |_| town.contact(&address("kari")).tags == ["vip"]).await.unwrap();
    synced(&town, "kari", "updated", 1).await;
    town.settled().await;
    let causes = told(&town, "kari", "event_type");
    assert!(causes.iter().all(|cause| cause == "userVendor.1#update"), "{causes:?}");
    town.sandbox.clear_findings(); // two syncs of one user did meet
}
