//! What the brake leaves of a write, and what it takes note of.

use super::*;
use crate::sync::TOO_MANY;

impl Town {
    /// Kari has lost what she bought, as far as Sesamy tells, and so have all whom the brake has seen.
    async fn braked() -> Self {
        let town = Self::with_kari().await;
        let ours = ["vip", "sesamy_active_sku_plus", "sesamy_tag_gone"];
        town.sandbox.mailmojo.edit("kari@example.com", |it| it.tags = ours.map(str::to_owned).to_vec());
        town.sandbox.sesamy.set_contracts("u1", Vec::<Value>::new());
        town.sandbox.sesamy.set_entitlements("u1", Vec::<Value>::new());
        for number in 0..TOO_MANY {
            town.syncer.brake().note(&UserId::new(format!("other{number}")).unwrap(), Sign::Suspect);
        }
        town
    }

    async fn sync(&self, memory: &Memory) -> Report {
        self.syncer.sync(&id(), &context(memory)).await.unwrap()
    }

    fn tags_of(&self, email: &str) -> Vec<String> {
        self.sandbox.mailmojo.contact(email).unwrap().tags
    }
}

fn remembered(email: &str) -> Memory {
    let contact =
        Some(Seen { status: Some("a".to_owned()), on_list: true, list_status: Some("a".to_owned()) });
    Memory { email: Some(crate::personal::Personal::new(email)), contact, ..Memory::default() }
}

#[tokio::test]
async fn no_tag_of_ours_goes_and_the_rest_is_written() {
    let town = Town::braked().await;
    let report = town.sync(&Memory::default()).await;
    assert_eq!((report.outcome, report.held_back, report.braked), (Outcome::Updated, true, true));
    assert_eq!(report.changed, ["first_name", "tags"]);
    assert_eq!(
        (&report.tags_added[..], report.tags_removed.len()),
        (&["sesamy_tag_early-bird".to_owned()][..], 0)
    );
    let kept = ["vip", "sesamy_active_sku_plus", "sesamy_tag_early-bird", "sesamy_tag_gone"];
    assert_eq!(town.tags_of("kari@example.com"), kept);
    assert!(report.memory.email.is_some());

    // Nothing is left to write; but she is not as she should be.
    let again = town.sync(&report.memory).await;
    assert_eq!((again.outcome, again.held_back), (Outcome::Skipped(Reason::Brake), true));
    assert_eq!(town.tags_of("kari@example.com"), kept);
}

#[tokio::test]
async fn who_loses_nothing_is_synced_as_ever_and_whoever_is_put_on_the_list_keeps_what_was_found_there() {
    let town = Town::braked().await;
    // The contact is made by somebody between our look and our write, with an old tag of ours.
    town.sandbox.mailmojo.delete("kari@example.com");
    town.sandbox.sesamy.set_field("u1", "tags", json!([]));
    let decision = town.decide().await;
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").tags(["sesamy_active_sku_plus"]));
    let report = town.syncer.write(decision, &context(&Memory::default())).await.unwrap();
    assert_eq!((report.outcome, report.held_back), (Outcome::Created, false));
    assert_eq!(town.tags_of("kari@example.com"), ["sesamy_active_sku_plus"]);
}

#[tokio::test]
async fn a_changed_address_and_a_deletion_are_held_wholly_and_nothing_is_forgotten() {
    let town = Town::braked().await;
    town.sandbox
        .mailmojo
        .put_contact(contact("old@example.com").tags(["sesamy_active_sku_plus"]).on_list(Mailmojo::LIST));
    let before = Memory { missing_since: Some(Millis(5)), ..remembered("old@example.com") };
    let moved = town.sync(&before).await;
    assert_eq!((moved.outcome, moved.held_back), (Outcome::Skipped(Reason::Brake), true));
    assert_eq!((moved.changed.len(), moved.tags_added.len(), moved.old_tags_removed.len()), (0, 0, 0));
    let known_again = Memory {
        list: moved.memory.list.clone(),
        earlier: moved.memory.earlier.clone(),
        ..remembered("old@example.com")
    };
    assert_eq!(moved.memory, known_again, "known again, and all else as it was");
    assert_eq!(moved.memory.earlier.len(), 1, "and the new address's contact was seen");

    town.sandbox.sesamy.remove_user("u1");
    let gone = town.sync(&before).await;
    assert_eq!((gone.outcome, gone.held_back), (Outcome::Skipped(Reason::Brake), true));
    assert_eq!(gone.memory, Memory { list: gone.memory.list.clone(), ..before });
    assert_eq!(town.sandbox.writes(), 0);
}

#[tokio::test]
async fn who_is_suddenly_unknown_is_marked_too_and_the_second_look_comes_all_the_same() {
    let town = Town::braked().await;
    town.sandbox.sesamy.remove_user("u1");
    let known = remembered("kari@example.com");
    let first = town.sync(&known).await;
    assert_eq!(
        (first.outcome, first.held_back, first.braked),
        (Outcome::Skipped(Reason::UserNotFound), true, true)
    );
    let missing_since = first.memory.missing_since;
    assert!(missing_since.is_some() && first.changes_at.is_some() && first.memory.email.is_some());
    // Looked at again, she is as unknown as before, since when she was.
    let second = town.sync(&first.memory).await;
    assert_eq!((second.held_back, second.memory.missing_since), (true, missing_since));
    assert_eq!(town.syncer.brake().suspects().len(), 2, "and who has turned it on");

    let stranger = town.sync(&Memory::default()).await;
    assert_eq!((stranger.outcome, stranger.held_back), (Outcome::Skipped(Reason::UserNotFound), false));
}

#[tokio::test]
async fn a_look_and_a_dry_run_say_nothing_about_the_source() {
    let mut town = Town::braked().await;
    town.syncer.brake().adopt(town.syncer.brake().asks(), None); // it has yet to be told, so it stays on
    assert!(town.syncer.brake().since().is_some());
    let fresh = Brake::new(Clock::system());
    town.syncer.brake = Arc::new(fresh);
    for number in 0..TOO_MANY - 1 {
        town.syncer.brake().note(&UserId::new(format!("other{number}")).unwrap(), Sign::Suspect);
    }
    town.decide().await;
    town.syncer.options.dry_run = true;
    let dry = town.sync(&Memory::default()).await;
    assert_eq!((dry.held_back, dry.braked, dry.tags_removed.len()), (true, false, 2));
    assert_eq!(town.syncer.brake().since(), None);
    town.syncer.options.dry_run = false;
    town.sync(&Memory::default()).await;
    assert!(town.syncer.brake().since().is_some());
}

#[tokio::test]
async fn what_a_sync_says_about_the_source() {
    let town = Town::with_kari().await;
    let sign = async |memory: &Memory| town.syncer.decide(&id(), &context(memory)).await.unwrap().sign();
    let known = remembered("kari@example.com");
    let missing = Memory { missing_since: Some(Millis(5)), ..known.clone() };
    let has = |tags: &[&str]| {
        let tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
        town.sandbox.mailmojo.edit("kari@example.com", |it| it.tags = tags);
    };
    assert_eq!(sign(&known).await, Sign::Restored, "she gets the tags of what she bought");
    has(&[
        "sesamy_active_subscriber",
        "sesamy_active_sku_plus",
        "sesamy_active_entitlement_plus",
        "sesamy_old",
    ]);
    assert_eq!(sign(&known).await, Sign::Sound, "a tag goes, but none of access");
    assert_eq!(sign(&missing).await, Sign::Restored, "known again");
    has(&["sesamy_active_sku_other"]);
    assert_eq!(sign(&known).await, Sign::Suspect, "one goes, whatever comes");

    let past = entitlement("e2", "other").ended().expires_at("2026-01-01T00:00:00Z");
    town.sandbox.sesamy.set_entitlements("u1", [past]);
    town.sandbox.sesamy.set_contracts("u1", Vec::<Value>::new());
    has(&["sesamy_active_sku_other"]);
    assert_eq!(sign(&known).await, Sign::Plain, "its time was over");
    has(&["sesamy_active_sku_other", "sesamy_active_subscriber"]);
    assert_eq!(sign(&known).await, Sign::Suspect, "but not that of the subscription");

    town.sandbox.sesamy.remove_user("u1");
    assert_eq!(sign(&known).await, Sign::Suspect, "suddenly unknown");
    assert_eq!(
        sign(&Memory { missing_since: Some(Clock::system().now()), ..known.clone() }).await,
        Sign::StillUnknown
    );
    assert_eq!(sign(&Memory::default()).await, Sign::Plain, "never known");
    assert_eq!(
        sign(&missing).await,
        Sign::Suspect,
        "to be taken for deleted, with the tags of what was bought"
    );
}
