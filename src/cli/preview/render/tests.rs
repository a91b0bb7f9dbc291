//! What people see, line by line.

use anstream::adapter::strip_str;
use serde_json::json;

use super::*;
use crate::fields::Source;
use crate::merge::{Custom, Field, FieldWhy, Placement, Tag, TagWhy};
use crate::personal::Personal;
use crate::tags::Access;
use crate::tags::TagReason;

fn personal(value: &str) -> Option<Personal> {
    Some(Personal::new(value))
}

fn kari() -> Preview {
    let field =
        |field, why, now, sesamy| Field { field, changes: why == FieldWhy::ContactHasNone, why, now, sesamy };
    let custom = |name: &str, source, now: Option<&str>, sesamy: Option<&str>| Custom {
        name: name.to_owned(),
        source,
        changes: now != sesamy,
        is_held: false,
        now: now.map(Personal::new),
        sesamy: sesamy.map(Personal::new),
    };
    let tag = |tag: &str, why, reasons| Tag { tag: tag.to_owned(), why, reasons };
    let contract = |id: &str| TagReason::ActiveSubscription { contract_id: Some(id.to_owned()) };
    let access = Access { entitlement_id: Some("e1".into()), sku: Some("plus".into()), ..Access::default() };
    Preview {
        user_id: "email|84cc".into(),
        outcome: "updated",
        skipped: None,
        profile: Some(Facts {
            email: personal("kari@example.com"),
            first_name: personal("Kari"),
            last_name: personal("Nordmann"),
            phone: None,
            tags: vec!["Early bird".into()],
        }),
        wanted_tags: Vec::new(),
        contact: Some(ContactNow {
            email: personal("kari@example.com"),
            name: None,
            first_name: personal("K."),
            last_name: None,
            phone: None,
            tags: vec!["vip".into()],
            status: Some("a".into()),
            on_list: true,
            list_status: Some("u".into()),
        }),
        fields: vec![
            field("first_name", FieldWhy::ContactHasOne, personal("K."), personal("Kari")),
            field("last_name", FieldWhy::ContactHasNone, None, personal("Nordmann")),
            field("phone", FieldWhy::SesamyHasNone, None, None),
        ],
        custom_fields: vec![
            custom("city", Source::BillingCity, None, None),
            custom("next_bill", Source::NextBillAt, Some("2026-01-01"), None),
            custom("plan", Source::ActiveProducts, Some("Avis"), Some("Avis, Pluss")),
            custom("since", Source::CreatedAt, Some("2025-01-01"), Some("2025-01-01")),
            custom("status", Source::SubscriptionStatus, None, Some("ACTIVE")),
        ],
        tags: vec![
            tag("vip", TagWhy::SomebodyElses, Vec::new()),
            tag("sesamy_active_sku_plus", TagWhy::AlreadyThere, vec![TagReason::Access(access)]),
            tag(
                "sesamy_active_subscriber",
                TagWhy::Added,
                ["c1", "c2", "c3", "c4", "c5"].map(contract).to_vec(),
            ),
            tag("sesamy_old", TagWhy::Removed, Vec::new()),
        ],
        list: Some(Placement::LeftAlone { status: "u".into() }),
        old_contact: None,
        request: Some(Request {
            method: "PATCH".into(),
            path: "/v1/contacts/kari%40example.com/".into(),
            body: json!({"last_name": "Nordmann"}),
        }),
        no_request: None,
        held_back: false,
    }
}

#[test]
fn a_change_is_shown_line_by_line_with_its_reasons() {
    assert_eq!(
        strip_str(&preview(&kari())).to_string(),
        "\
email|84cc  would be updated

  Sesamy      kari@example.com · Kari · Nordmann · tags: Early bird
  Mailmojo    kari@example.com · active on the account · unsubscribed on the list

  list        = never subscribed by us    the contact is unsubscribed (u)
  first name  = K.                        kept: the contact has one (Sesamy: Kari)
  last name   + Nordmann                  the contact has none
  phone       = –                         Sesamy has none
  custom      = city: –                   billing_city
              - next_bill: 2026-01-01     next_bill_at: Sesamy has none
              + plan: Avis, Pluss         active_products, now: Avis
              = since: 2025-01-01         created_at
              + status: ACTIVE            subscription_status
  tags        = vip                       somebody else's, never touched
              = sesamy_active_sku_plus    entitlement e1 gives access to sku plus
              + sesamy_active_subscriber  contract c1 is active and a subscription
                                          contract c2 is active and a subscription
                                          contract c3 is active and a subscription
                                          and 2 more
              - sesamy_old                no longer wanted

  PATCH /v1/contacts/kari%40example.com/
  {\"last_name\":\"Nordmann\"}
"
    );
}

#[test]
fn a_user_who_would_be_skipped_or_left_alone_is_shown_with_the_reason() {
    let nobody = Preview {
        outcome: "skipped",
        skipped: Some("user_not_found"),
        profile: None,
        contact: None,
        fields: Vec::new(),
        custom_fields: Vec::new(),
        tags: Vec::new(),
        list: None,
        request: None,
        no_request: Some("Sesamy has no such user".into()),
        ..kari()
    };
    assert_eq!(
        strip_str(&preview(&nobody)).to_string(),
        "email|84cc  would be skipped (user_not_found)\n\n  Nothing would be sent: Sesamy has no such user.\n"
    );
    let on_list = strip_str(&preview(&Preview { list: Some(Placement::OnList), ..kari() })).to_string();
    assert!(on_list.contains("  list        = on the list already\n"), "{on_list}");
    let held_back = strip_str(&preview(&Preview { held_back: true, ..kari() })).to_string();
    assert!(held_back.contains("sync.dry_run is on"), "{held_back}");
}

#[test]
fn what_an_api_sends_cannot_move_the_cursor() {
    let mut odd = kari();
    odd.fields[0].now = personal("K\u{1b}[2J\r\u{9b}\u{202e}");
    odd.tags[0].tag = "vip\n\u{1b}]0;x\u{7}".into();
    let plain = preview(&kari());
    let shown = preview(&odd);
    assert_eq!(shown.matches('\u{1b}').count(), plain.matches('\u{1b}').count());
    assert_eq!(shown.lines().count(), plain.lines().count());
    assert!(!shown.contains(['\r', '\u{9b}', '\u{202e}', '\u{7}']));
    assert!(!failure(Some("u\u{1b}c"), "no\nway", Some("\u{1b}c")).contains("\u{1b}c"));
}
