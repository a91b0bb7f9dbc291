//! What somebody may have at Sesamy, and which tags follow: one line of a table each.
//!
//! Written from the published meaning of the tags alone. It shares nothing with the service, or it would only repeat the
//! service's mistakes. The cases do not touch each other, so a user who has several has the tags of all of them.

use serde_json::Value;
use sesamy_mailmojo::sandbox::{contract, entitlement};

/// Something that a user may have, and the tags that it gives, in full.
pub struct Case {
    pub what: &'static str,
    pub contracts: fn() -> Vec<Value>,
    pub entitlements: fn() -> Vec<Value>,
    pub gives: &'static [&'static str],
}

const SUBSCRIBER: &str = "sesamy_active_subscriber";
const OVERDUE: &str = "sesamy_overdue_contract";
/// The tag that stays for ever.
pub const FOR_EVER: &str = "sesamy_made_single_purchase";
/// The tag of what somebody else pays for.
pub const GIFT: &str = "sesamy_has_gifted_subscription";
const EXTERNAL: &str = "sesamy_has_external_access";

fn nothing() -> Vec<Value> {
    Vec::new()
}

macro_rules! case {
    ($what:literal, contracts [$($contract:expr),*], entitlements [$($entitlement:expr),*], gives $gives:expr) => {
        Case {
            what: $what,
            contracts: || vec![$(Value::from($contract)),*],
            entitlements: || vec![$(Value::from($entitlement)),*],
            gives: &$gives,
        }
    };
}

/// The cases with contracts and entitlements.
pub const HOLDINGS: &[Case] = &[
    case!("a running subscription", contracts[contract("c1")], entitlements[], gives [SUBSCRIBER]),
    case!("a renewable one", contracts[contract("c2").duration("RENEWABLE")], entitlements[], gives [SUBSCRIBER]),
    case!("one that is over", contracts[contract("c3").cancelled()], entitlements[], gives []),
    case!("one that is not paid", contracts[contract("c4").overdue()], entitlements[], gives [SUBSCRIBER, OVERDUE]),
    case!("one that is over and not paid",
        contracts[contract("c5").status("RETRYING").field("isActive", false)], entitlements[], gives [OVERDUE]),
    case!("one bought for good", contracts[contract("c6").duration("PERPETUAL")], entitlements[], gives [FOR_EVER]),
    case!("a single item, long ago",
        contracts[contract("c7").without("contractDuration").cancelled().item("book", Some("SINGLE"))],
        entitlements[], gives [FOR_EVER]),
    case!("a contract of no duration with an item of no type",
        contracts[contract("c8").without("contractDuration").item("paper", None)], entitlements[], gives [SUBSCRIBER]),
    case!("a contract of a new duration with a recurring item",
        contracts[contract("c9").duration("WEEKLY").item("paper", Some("RECURRING"))], entitlements[], gives [SUBSCRIBER]),
    case!("a contract of no duration without items",
        contracts[contract("c10").without("contractDuration").without("items")], entitlements[], gives []),
    case!("a subscription with a single item in it",
        contracts[contract("c11").item("paper", None).item("book", Some("SINGLE"))], entitlements[],
        gives [SUBSCRIBER, FOR_EVER]),
    case!("what an own contract pays for",
        contracts[contract("c12")],
        entitlements[entitlement("e1", "plus").title("Avisa, Pluss").purchase_option("Month 1").paid_by("c12")],
        gives [SUBSCRIBER, "sesamy_active_entitlement_avisa-pluss", "sesamy_active_sku_plus", "sesamy_active_sku_po_plus-month-1"]),
    case!("what somebody else pays for",
        contracts[], entitlements[entitlement("e2", "Gave ÆØÅ").paid_by("of-somebody-else")],
        gives [GIFT, "sesamy_active_entitlement_gave-æøå", "sesamy_active_sku_gave-æøå"]),
    case!("a gift that is over",
        contracts[], entitlements[entitlement("e3", "gone").paid_by("of-somebody-else").ended()], gives []),
    case!("a partner's access",
        contracts[], entitlements[entitlement("e4", "partner").external("list-1")],
        gives [EXTERNAL, "sesamy_active_entitlement_partner", "sesamy_active_sku_partner"]),
    case!("a partner's access that has expired",
        contracts[], entitlements[entitlement("e5", "late").external("list-1").expires_at("2020-01-01T00:00:00Z")],
        gives []),
    case!("access that ends in a far year",
        contracts[], entitlements[entitlement("e6", "  Long -- Time, ").expires_at("2999-01-01T00:00:00+01:00")],
        gives ["sesamy_active_entitlement_long-time", "sesamy_active_sku_long-time"]),
    case!("access whose end cannot be read",
        contracts[], entitlements[entitlement("e7", "odd").expires_at("next week")],
        gives ["sesamy_active_entitlement_odd", "sesamy_active_sku_odd"]),
    case!("a bought article",
        contracts[], entitlements[entitlement("e8", "article-1").kind("article").paid_by("of-somebody-else").ended()],
        gives [FOR_EVER]),
    case!("a partner's article",
        contracts[], entitlements[entitlement("e9", "article-2").kind("article").external("list-2")], gives [EXTERNAL]),
    case!("an article of no origin", contracts[], entitlements[entitlement("e10", "article-3").kind("article")], gives []),
    case!("a product without a name",
        contracts[], entitlements[entitlement("e11", " , ").purchase_option("x")], gives []),
    case!("a product with a long name",
        contracts[], entitlements[entitlement("e12", "").title(LONG).kind("publication")], gives [LONG_TAG]),
    Case {
        what: "a hundred and twenty articles",
        contracts: nothing,
        entitlements: many_articles,
        gives: &[],
    },
    Case {
        what: "a hundred and one contracts, the last one running",
        contracts: many_contracts,
        entitlements: nothing,
        gives: &[SUBSCRIBER],
    },
];

/// 72 letters, a space, and more: the tag is cut at 99 characters, the last of which would be the space's hyphen.
const LONG: &str =
    "øøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøø and the rest is cut";
const LONG_TAG: &str =
    "sesamy_active_entitlement_øøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøøø";

fn many_articles() -> Vec<Value> {
    (0..120).map(|n| entitlement(&format!("many-{n}"), "article").kind("article").into()).collect()
}

fn many_contracts() -> Vec<Value> {
    let over = (0..100).map(|n| contract(&format!("old-{n}")).cancelled().into());
    over.chain([contract("the-last").into()]).collect()
}

/// A tag of a profile, and the tag that it gives; none where it is no tag.
pub const PROFILE_TAGS: &[(&str, Option<&str>)] = &[
    ("vip", Some("sesamy_tag_vip")),
    ("  Årets Leser ", Some("sesamy_tag_årets-leser")),
    ("a, b--c\u{7}d", Some("sesamy_tag_a-b-c-d")),
    ("sesamy_founder", Some("sesamy_founder")),
    ("100%", Some("sesamy_tag_100%")),
    ("x_y", Some("sesamy_tag_x_y")),
    ("   ", None),
    ("-,-", None),
];

/// Tags of a contact's own, as publishers make them. None of them is Sesamy's, whatever it looks like.
pub const OWN_TAGS: &[&str] = &[
    "vip",
    "VIP",
    "Kjøpt i butikk",
    " spaced ",
    "sesamy",
    "sesamyfan",
    "Sesamy_upper",
    "a,b",
    "tag_sesamy_x",
    "ØL",
];

/// Sesamy's tags from before, on contacts that may not have what they stand for any more.
pub const STALE_TAGS: &[&str] =
    &[SUBSCRIBER, OVERDUE, FOR_EVER, GIFT, "sesamy_tag_old", "sesamy_", "sesamy_tag_vip"];
