//! What the removal guard leaves of a write, and what a sync says of its source.

use super::*;
use crate::fields::Source;
use crate::model::{ContactKeys, SeenByOthers, SeenContact, TagKinds};
use futures_util::future::BoxFuture;

const ACTIVE: TagKinds = TagKinds { active: true, of_profile: false };
const BOTH: TagKinds = TagKinds { active: true, of_profile: true };

/// A queue whose removal guard has tripped.
#[derive(Debug)]
struct Tripped;

impl AddressIndex for Tripped {
    fn others_at<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<UserId>, String>> {
        NoOtherUsers.others_at(user, address, most)
    }

    fn seen_by_others<'a>(
        &'a self,
        user: &'a UserId,
        address: &'a str,
        list: &'a str,
    ) -> BoxFuture<'a, Result<SeenByOthers, String>> {
        NoOtherUsers.seen_by_others(user, address, list)
    }

    fn contact_keys(&self, list: String) -> ContactKeys {
        NoOtherUsers.contact_keys(list)
    }

    fn holds_removals(&self) -> bool {
        true
    }
}

impl Town {
    /// Kari has lost what she bought, as far as Sesamy says.
    async fn whose_source_is_broken() -> Self {
        let town = Self::with_kari().await;
        town.has(&["vip", "sesamy_active_sku_plus", "sesamy_tag_gone"]);
        town.buys_nothing();
        town
    }

    /// With custom fields that hold what `source` says.
    fn with_fields(mut self, fields: &[(&str, Source)]) -> Self {
        let fields = fields.iter().map(|(name, source)| ((*name).to_owned(), *source)).collect();
        let mailmojo = upstream(Api::Mailmojo, self.sandbox.mailmojo.url(), Mailmojo::FIXED_TOKEN);
        let list = Mailmojo::LIST.try_into().unwrap();
        let shared = self.shared();
        shared.settings.custom_fields = CustomFields::new(fields);
        shared.mailmojo = mailmojo::Client::new(mailmojo, list).reading_custom(true);
        self
    }

    fn tripped(mut self) -> Self {
        self.shared().addresses = Arc::new(Tripped);
        self
    }

    fn shared(&mut self) -> &mut Shared {
        Arc::get_mut(&mut self.syncer.shared).unwrap()
    }

    fn has(&self, tags: &[&str]) {
        let tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
        self.sandbox.mailmojo.edit("kari@example.com", |it| it.tags = tags);
    }

    fn buys_nothing(&self) {
        self.sandbox.sesamy.set_contracts("u1", Vec::<Value>::new());
        self.sandbox.sesamy.set_entitlements("u1", Vec::<Value>::new());
    }

    /// The report, and whether the sync was suspect.
    async fn sync(&self, context: Context) -> (Report, Option<bool>) {
        (self.syncer.sync(&id(), &context).await.unwrap(), context.suspect())
    }

    fn tags_of(&self, email: &str) -> Vec<String> {
        self.sandbox.mailmojo.contact(email).unwrap().tags
    }
}

fn remembered(email: &str, tags: TagKinds) -> LastSeen {
    let contact =
        Some(SeenContact { status: Some("a".to_owned()), on_list: true, list_status: Some("a".to_owned()) });
    LastSeen { email: Some(crate::personal::Personal::new(email)), contact, tags, ..LastSeen::default() }
}

#[tokio::test]
async fn no_tag_of_ours_goes_and_the_other_fields_are_written() {
    let town = Town::whose_source_is_broken().await.tripped();
    let (report, suspect) = town.sync(context(&LastSeen::default())).await;
    assert_eq!((report.outcome, report.held_back, report.braked), (Outcome::Updated, true, true));
    assert_eq!(report.changed, ["first_name", "tags"]);
    assert_eq!(report.tags_added, ["sesamy_tag_early-bird"]);
    assert_eq!(report.tags_held, ["sesamy_active_sku_plus", "sesamy_tag_gone"]);
    assert_eq!((report.tags_removed.len(), suspect), (0, None), "what is held back is lost by nobody");
    let kept = ["vip", "sesamy_active_sku_plus", "sesamy_tag_early-bird", "sesamy_tag_gone"];
    assert_eq!(town.tags_of("kari@example.com"), kept);
    assert!(report.last_seen.email.is_some());
    assert_eq!(report.last_seen.tags, BOTH);

    // Nothing is left to write, and still the contact is not as it should be.
    let (again, _) = town.sync(context(&report.last_seen)).await;
    assert_eq!((again.outcome, again.held_back), (Outcome::Skipped(Reason::Brake), true));
    assert_eq!(again.tags_held, report.tags_held);
    assert_eq!(town.tags_of("kari@example.com"), kept);
}

#[tokio::test]
async fn a_sync_with_a_pass_is_not_held_back_and_not_counted() {
    let town = Town::whose_source_is_broken().await.tripped();
    let (report, suspect) = town.sync(context(&LastSeen::default()).with_pass(true)).await;
    assert_eq!((report.held_back, report.braked, suspect), (false, false, None));
    assert_eq!(town.tags_of("kari@example.com"), ["vip", "sesamy_tag_early-bird"]);
}

#[tokio::test]
async fn a_custom_field_of_what_was_bought_is_not_emptied_and_others_are_written() {
    let fields = [
        ("plan", Source::ActiveProducts),
        ("status", Source::SubscriptionStatus),
        ("count", Source::ActiveSubscriptionCount),
        ("company", Source::Company),
        ("id", Source::UserId),
    ];
    let town = Town::with_kari().await.with_fields(&fields).tripped();
    town.buys_nothing();
    town.sandbox.mailmojo.delete("kari@example.com");
    let there = contact("kari@example.com").tags(["sesamy_tag_early-bird"]).first_name("Kari");
    let there = there.custom("plan", "Plus").custom("status", "ACTIVE").custom("count", 1);
    town.sandbox.mailmojo.put_contact(there.custom("company", "Avis").on_list(Mailmojo::LIST));
    let (report, _) = town.sync(context(&LastSeen::default())).await;
    assert_eq!((report.outcome, report.held_back, report.tags_held.len()), (Outcome::Updated, true, 0));
    let custom = town.sandbox.mailmojo.contact("kari@example.com").unwrap().custom;
    let expected = json!({"plan": "Plus", "status": "ACTIVE", "count": 1, "company": "", "id": "u1"});
    assert_eq!(json!(custom), expected);
    let (report, _) = town.sync(context(&report.last_seen)).await;
    assert_eq!(report.outcome, Outcome::Skipped(Reason::Brake));
}

#[tokio::test]
async fn a_user_who_loses_nothing_is_synced_as_ever_and_a_contact_made_meanwhile_keeps_its_tags() {
    let town = Town::whose_source_is_broken().await.tripped();
    // Somebody makes the contact between the sync's read and its write, with an old tag of ours.
    town.sandbox.mailmojo.delete("kari@example.com");
    town.sandbox.sesamy.set_field("u1", "tags", json!([]));
    let decision = town.decide().await;
    town.sandbox.mailmojo.put_contact(contact("kari@example.com").tags(["sesamy_active_sku_plus"]));
    let report = town.syncer.apply(decision, &context(&LastSeen::default())).await.unwrap();
    assert_eq!((report.outcome, report.held_back), (Outcome::Created, false));
    assert_eq!(town.tags_of("kari@example.com"), ["sesamy_active_sku_plus"]);
}

#[tokio::test]
async fn a_changed_address_and_a_deletion_are_held_wholly_and_nothing_is_forgotten() {
    let town = Town::whose_source_is_broken().await.tripped();
    town.sandbox
        .mailmojo
        .put_contact(contact("old@example.com").tags(["sesamy_active_sku_plus"]).on_list(Mailmojo::LIST));
    let before = LastSeen { missing_since: Some(Millis(5)), ..remembered("old@example.com", ACTIVE) };
    let (moved, _) = town.sync(context(&before)).await;
    assert_eq!((moved.outcome, moved.held_back), (Outcome::Skipped(Reason::Brake), true));
    assert_eq!((moved.changed.len(), moved.tags_added.len(), moved.old_tags_removed.len()), (0, 0, 0));
    assert!(moved.tags_held.contains(&"sesamy_active_sku_plus".to_owned()), "{:?}", moved.tags_held);
    let known_again = LastSeen {
        list: moved.last_seen.list.clone(),
        earlier: moved.last_seen.earlier.clone(),
        ..remembered("old@example.com", ACTIVE)
    };
    assert_eq!(moved.last_seen, known_again, "known again, and all else as it was");
    assert_eq!(moved.last_seen.earlier.len(), 1, "and the new address's contact was seen");

    town.sandbox.sesamy.remove_user("u1");
    let (gone, _) = town.sync(context(&before)).await;
    assert_eq!((gone.outcome, gone.held_back), (Outcome::Skipped(Reason::Brake), true));
    assert_eq!(gone.tags_held, ["sesamy_active_sku_plus"]);
    assert_eq!(gone.last_seen, LastSeen { list: gone.last_seen.list.clone(), ..before });
    assert_eq!(town.sandbox.writes(), 0);
}

#[tokio::test]
async fn a_preview_shows_what_is_held_back() {
    let town = Town::whose_source_is_broken().await.tripped();
    let context = context(&LastSeen::default());
    let decision = town.syncer.preview(&id(), &context).await.unwrap();
    let change = decision.plan().unwrap().change.as_ref().unwrap();
    let tags: Vec<String> = change.tags.iter().map(|it| format!("{:?}", it.why)).collect();
    assert_eq!(tags, ["SomebodyElses", "Held", "Added", "Held"]);
    let body = town.syncer.request(decision.write().unwrap()).body.unwrap();
    assert_eq!(
        body["tags"],
        json!(["vip", "sesamy_active_sku_plus", "sesamy_tag_early-bird", "sesamy_tag_gone"])
    );
    assert!(decision.report().held_back);
}

#[tokio::test]
async fn what_a_sync_says_of_its_source() {
    let mut town = Town::with_kari().await;
    let known = remembered("kari@example.com", ACTIVE);
    town.has(&["vip"]);
    assert_eq!(town.sync(context(&known)).await.1, None, "she had nothing to lose");
    assert_eq!(town.sync(context(&known)).await.1, Some(false), "and has something now");

    let bought = ["sesamy_active_subscriber", "sesamy_active_sku_plus", "sesamy_tag_early-bird"];
    for (case, buys, expects_loss, suspect) in [
        ("something of what she bought stays", true, false, Some(false)),
        ("all of it goes", false, false, Some(true)),
        ("all of it goes, as was known beforehand", false, true, Some(false)),
    ] {
        town.has(&[&bought[..], &["sesamy_active_sku_other"]].concat());
        if !buys {
            town.buys_nothing();
        }
        let (_, said) = town.sync(context(&known).expecting_loss(expects_loss)).await;
        assert_eq!(said, suspect, "{case}");
    }
    town.has(&bought);
    let past = entitlement("e2", "other").expires_at("1970-01-01T00:00:00Z");
    town.sandbox.sesamy.set_entitlements("u1", [past]);
    assert_eq!(
        town.sync(context(&known)).await.1,
        Some(true),
        "what Sesamy says of times past excuses nothing"
    );

    town.has(&bought);
    town.shared().settings.dry_run = true;
    assert_eq!(town.sync(context(&known)).await.1, None, "nothing is lost in a dry run");
    town.shared().settings.dry_run = false;

    town.has(&["sesamy_tag_early-bird"]);
    town.sandbox.sesamy.set_field("u1", "tags", json!(["Regular"]));
    assert_eq!(town.sync(context(&known)).await.1, Some(false), "a profile tag is replaced");
    town.sandbox.sesamy.set_field("u1", "tags", json!([]));
    assert_eq!(town.sync(context(&known)).await.1, Some(true), "the profile's tags are gone");

    town.sandbox.sesamy.remove_user("u1");
    let (first, said) = town.sync(context(&known)).await;
    assert_eq!((first.outcome, said), (Outcome::Skipped(Reason::UserNotFound), Some(true)));
    assert_eq!(first.last_seen.tags, ACTIVE, "what she has to lose stays known");
    assert_eq!(town.sync(context(&first.last_seen)).await.1, None, "who stays unknown was counted before");
    let day_ago = Some(Millis(1));
    let long_unknown = LastSeen { missing_since: day_ago, ..known };
    assert_eq!(town.sync(context(&long_unknown)).await.1, None, "and so was who is taken for deleted");
    let untagged = remembered("kari@example.com", TagKinds::default());
    assert_eq!(town.sync(context(&untagged)).await.1, None, "without tags there is nothing to lose");
    assert_eq!(town.sync(context(&LastSeen::default())).await.1, None, "never known");
}
