//! The story: chapter by chapter what happens at Sesamy, which events it sends, and what becomes of the contact.

use std::time::Duration;

use serde_json::Value;

use super::render::table;
use super::setup::Stage;
use crate::cli::error::DemoError;
use crate::cli::output::{QUIET, STRONG, line};
use crate::sandbox::{Fault, Mailmojo, Route, Rule, contact, contract, entitlement, user};

/// One chapter, after the sandbox has been set up for it.
struct Chapter<'a> {
    title: &'a str,
    text: &'a str,
    user: &'a str,
    email: &'a str,
    events: &'a [&'a str],
}

/// Tells all of it.
pub(super) async fn tell(stage: &Stage) -> Result<(), DemoError> {
    line(&format!(
        "{STRONG}sesamy-mailmojo{STRONG:#} takes Sesamy's webhooks at {}/webhooks/sesamy and keeps a Mailmojo list in step.",
        stage.url()
    ))?;
    a_new_subscriber(stage).await?;
    somebody_known(stage).await?;
    somebody_who_left(stage).await?;
    a_guest(stage).await?;
    a_burst(stage).await?;
    an_outage(stage).await?;
    a_cancelled_contract(stage).await?;
    access_that_ends(stage).await?;
    a_changed_address(stage).await
}

async fn a_new_subscriber(stage: &Stage) -> Result<(), DemoError> {
    let kari = user("email|kari").email("Kari@example.com").first_name("Kari").last_name("Nordmann");
    stage.sandbox.sesamy.put_user(
        kari.mobile_phone("+47 999 88 777")
            .contract(contract("c-kari").item("plus", Some("RECURRING")))
            .entitlement(
                entitlement("e-kari", "plus")
                    .title("Avisa Pluss")
                    .purchase_option("monthly")
                    .paid_by("c-kari"),
            ),
    );
    let after = play(
        stage,
        &Chapter {
            title: "A new subscriber",
            text: "Kari buys a subscription. Mailmojo has never heard of her.",
            user: "email|kari",
            email: "kari@example.com",
            events: &["contract.1#purchased"],
        },
    )
    .await?;
    expect_tag(&after, "sesamy_active_subscriber", true)
}

async fn somebody_known(stage: &Stage) -> Result<(), DemoError> {
    let ola = user("email|ola").email("ola@example.com").first_name("Ola").last_name("Nordmann");
    stage.sandbox.sesamy.put_user(
        ola.work_phone("+47 22 00 00 00")
            .tags(["Early bird"])
            .contract(contract("c-ola").item("plus", None))
            .entitlement(entitlement("e-ola", "plus").title("Avisa Pluss").paid_by("c-ola")),
    );
    let known =
        contact("ola@example.com").first_name("Ole").tags(["styremedlem", "vip", "sesamy_active_sku_old"]);
    stage.sandbox.mailmojo.put_contact(known.on_list(Mailmojo::LIST));
    let after = play(stage, &Chapter {
        title: "Somebody whom the publisher knows",
        text: "Ola's contact has a first name and tags of the publisher's own. They stay; only what is missing is added,\n     and a sesamy_ tag that no longer holds goes.",
        user: "email|ola",
        email: "ola@example.com",
        events: &["userVendor.1#update"],
    })
    .await?;
    expect_tag(&after, "vip", true)?;
    expect_tag(&after, "sesamy_active_sku_old", false)?;
    expect("Ola's first name", "Ole", field(&after, "first_name"))
}

async fn somebody_who_left(stage: &Stage) -> Result<(), DemoError> {
    let per = user("email|per").email("per@example.com").first_name("Per");
    stage.sandbox.sesamy.put_user(per.contract(contract("c-per").item("plus", None)));
    stage.sandbox.mailmojo.put_contact(contact("per@example.com").on_list_as(Mailmojo::LIST, "u"));
    let after = play(stage, &Chapter {
        title: "Somebody who has left",
        text: "Per has unsubscribed from the newsletter, and then buys a subscription. His data and tags are kept in\n     step; he is not subscribed again.",
        user: "email|per",
        email: "per@example.com",
        events: &["contract.1#purchased"],
    })
    .await?;
    expect_tag(&after, "sesamy_active_subscriber", true)?;
    expect("Per's place on the list", "u", list_status(&after))
}

async fn a_guest(stage: &Stage) -> Result<(), DemoError> {
    stage.sandbox.sesamy.put_user(user("guest|77").email("guest@example.com").guest());
    let after = play(
        stage,
        &Chapter {
            title: "A guest",
            text: "A temporary account, made during a checkout: skipped quietly.",
            user: "guest|77",
            email: "guest@example.com",
            events: &["checkout.1#confirm"],
        },
    )
    .await?;
    expect("the guest's contact", "null", after.map_or("null".to_owned(), |contact| contact.to_string()))
}

async fn a_burst(stage: &Stage) -> Result<(), DemoError> {
    let liv = user("email|liv").email("liv@example.com").given_name("Liv").family_name("Moe");
    stage.sandbox.sesamy.put_user(
        liv.contract(contract("c-liv").duration("PERPETUAL").item("book", Some("SINGLE")))
            .entitlement(entitlement("e-liv", "book").kind("ebook").title("Boken").paid_by("c-liv")),
    );
    stage.sandbox.clear_calls();
    let after = play(
        stage,
        &Chapter {
            title: "A purchase's burst",
            text: "One purchase sends four events within a second: one sync.",
            user: "email|liv",
            email: "liv@example.com",
            events: &[
                "userVendor.1#update",
                "contract.1#purchased",
                "entitlement.1#new",
                "checkout.1#confirm",
            ],
        },
    )
    .await?;
    let (syncs, writes) = (stage.sandbox.count(Route::Profile), stage.sandbox.writes());
    let plural = if syncs == 1 { "" } else { "s" };
    line(&format!("     4 events made {syncs} sync{plural} and {writes} write."))?;
    // Where this machine is so busy that the burst does not fit into its window, it is two.
    let few = (1..=2).contains(&syncs);
    expect(
        "the syncs that four events made",
        "at most 2",
        if few { "at most 2".to_owned() } else { syncs.to_string() },
    )?;
    expect("the writes that four events made", "1", writes.to_string())?;
    expect_tag(&after, "sesamy_made_single_purchase", true)
}

async fn an_outage(stage: &Stage) -> Result<(), DemoError> {
    stage
        .sandbox
        .sesamy
        .edit_user("email|ola", |ola| *ola = ola.clone().contract(contract("c2-ola").overdue()));
    // The look before the sync must not use up the faults.
    let before = stage.contact("ola@example.com").await?;
    stage.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(503).html()).times(2));
    stage.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::Close).times(1));
    stage.sandbox.clear_calls();
    let chapter = Chapter {
        title: "An outage",
        text: "Ola's payment fails, and at the same time Mailmojo answers 503 twice and then hangs up in a write. The\n     event is kept, and tried again.",
        user: "email|ola",
        email: "ola@example.com",
        events: &["contract.1#update"],
    };
    let after = play_from(stage, &chapter, before).await?;
    line(&format!("     It took {} tries.", stage.sandbox.count(Route::Profile)))?;
    expect_tag(&after, "sesamy_overdue_contract", true)
}

async fn a_cancelled_contract(stage: &Stage) -> Result<(), DemoError> {
    let over = contract("c-ola").cancelled().item("plus", None);
    stage.sandbox.sesamy.set_contracts("email|ola", [over]);
    stage
        .sandbox
        .sesamy
        .set_entitlements("email|ola", [entitlement("e-ola", "plus").paid_by("c-ola").ended()]);
    let after = play(
        stage,
        &Chapter {
            title: "A cancelled contract",
            text: "Ola's subscription is over. The tags that it gave him go; the publisher's own stay.",
            user: "email|ola",
            email: "ola@example.com",
            events: &["contract.1#update"],
        },
    )
    .await?;
    expect_tag(&after, "sesamy_active_subscriber", false)?;
    expect_tag(&after, "styremedlem", true)
}

async fn access_that_ends(stage: &Stage) -> Result<(), DemoError> {
    // Long enough for the first sync on a machine that does other things too.
    const ACCESS: Duration = Duration::from_secs(5);
    let ends = jiff::Timestamp::now() + ACCESS;
    let trial = entitlement("e-nora", "trial").title("Prøvetid").expires_at(&ends.to_string());
    stage.sandbox.sesamy.put_user(user("email|nora").email("nora@example.com").entitlement(trial));
    let with_access = play(stage, &Chapter {
        title: "Access that ends by itself",
        text: "Nora has a trial that ends in a few seconds. Sesamy sends no event when it does; the service knows the time.",
        user: "email|nora",
        email: "nora@example.com",
        events: &["userVendor.1#new"],
    })
    .await?;
    expect_tag(&with_access, "sesamy_active_sku_trial", true)?;
    let after = stage
        .contact_when("nora@example.com", |contact| !has_tag(contact, "sesamy_active_sku_trial"))
        .await?;
    let late = jiff::Timestamp::now().duration_since(ends);
    line(&format!(
        "     {QUIET}no event; in step {:.1} s after the access ended{QUIET:#}",
        late.as_secs_f64()
    ))?;
    line(&table("nora@example.com", Mailmojo::LIST, with_access.as_ref(), after.as_ref()))?;
    expect_tag(&after, "sesamy_active_sku_trial", false)
}

async fn a_changed_address(stage: &Stage) -> Result<(), DemoError> {
    const OLD: &str = "kari@example.com";
    const NEW: &str = "kari.nordmann@example.com";
    stage.sandbox.mailmojo.add_tag(OLD, "bokklubb");
    stage.sandbox.sesamy.set_field("email|kari", "email", NEW);
    let before = stage.contact(OLD).await?;
    let new = play(stage, &Chapter {
        title: "A changed address",
        text: "Kari has another address. Her new contact gets the tags; the old one loses them, and keeps what is the\n     publisher's own.",
        user: "email|kari",
        email: NEW,
        events: &["userVendor.1#update"],
    })
    .await?;
    let old = stage.contact(OLD).await?;
    line(&table(OLD, Mailmojo::LIST, before.as_ref(), old.as_ref()))?;
    expect_tag(&new, "sesamy_active_subscriber", true)?;
    expect_tag(&old, "sesamy_active_subscriber", false)?;
    expect_tag(&old, "bokklubb", true)
}

/// Plays a chapter and shows the contact; the contact after it.
async fn play(stage: &Stage, chapter: &Chapter<'_>) -> Result<Option<Value>, DemoError> {
    let before = stage.contact(chapter.email).await?;
    play_from(stage, chapter, before).await
}

async fn play_from(
    stage: &Stage,
    chapter: &Chapter<'_>,
    before: Option<Value>,
) -> Result<Option<Value>, DemoError> {
    line(&format!("\n{STRONG}  {}{STRONG:#}\n     {}", chapter.title, chapter.text))?;
    for event in chapter.events {
        stage.send(event, chapter.user).await?;
    }
    let took = stage.settled().await?;
    let events = chapter.events.join(", ");
    line(&format!("     {QUIET}{events} → 202 accepted; in step after {} ms{QUIET:#}", took.as_millis()))?;
    let after = stage.contact(chapter.email).await?;
    line(&table(chapter.email, Mailmojo::LIST, before.as_ref(), after.as_ref()))?;
    Ok(after)
}

fn field(contact: &Option<Value>, key: &str) -> String {
    contact
        .as_ref()
        .and_then(|contact| contact.get(key))
        .and_then(Value::as_str)
        .unwrap_or("nothing")
        .to_owned()
}

fn list_status(contact: &Option<Value>) -> String {
    let places = contact.as_ref().and_then(|contact| contact.pointer("/list_associations/0/status"));
    places.and_then(Value::as_str).unwrap_or("nothing").to_owned()
}

fn expect(what: &'static str, expected: &str, found: String) -> Result<(), DemoError> {
    if found == expected {
        return Ok(());
    }
    Err(DemoError::Unexpected { what, expected: expected.to_owned(), found })
}

fn has_tag(contact: &Value, tag: &str) -> bool {
    let tags = contact.get("tags").and_then(Value::as_array);
    tags.into_iter().flatten().any(|it| it.as_str() == Some(tag))
}

fn expect_tag(contact: &Option<Value>, tag: &str, present: bool) -> Result<(), DemoError> {
    let found = contact.as_ref().is_some_and(|contact| has_tag(contact, tag));
    let word = |present: bool| format!("{tag} {}", if present { "there" } else { "gone" });
    expect("the tags at the end of a chapter", &word(present), word(found))
}
