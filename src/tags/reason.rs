//! Why a tag is wanted, in words that a publisher understands.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::model::{Contract, Entitlement};

/// The rule that asks for a tag, and what of Sesamy's it holds for. Ids, SKUs and titles; nothing of a person.
///
/// As JSON an object with the rule's name in `rule`. `Display` is a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum TagReason {
    /// A contract that is active and a subscription.
    ActiveSubscription { contract_id: Option<String> },
    /// A contract whose payment has failed.
    OverdueContract {
        contract_id: Option<String>,
        /// `OVERDUE` or `RETRYING`.
        status: Option<String>,
    },
    /// A contract, running or over, for something that is bought once.
    SinglePurchase { contract_id: Option<String> },
    /// An article that was paid for, with access or without.
    BoughtArticle { entitlement_id: Option<String>, title: Option<String> },
    /// Access that a partner or a code gives.
    ExternalAccess(Access),
    /// Access that a contract pays for which is not among the user's own.
    GiftedSubscription {
        #[serde(flatten)]
        access: Access,
        /// The contract that pays.
        contract_id: Option<String>,
    },
    /// Access to the product of this tag.
    Access(Access),
    /// A tag of the profile.
    ProfileTag {
        /// The tag as Sesamy spells it, without white space at its ends.
        tag: String,
    },
}

/// An entitlement that gives access.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Access {
    pub entitlement_id: Option<String>,
    pub title: Option<String>,
    pub sku: Option<String>,
    pub purchase_option: Option<String>,
    /// When the access ends, RFC 3339; none: it has no end, or none that can be read.
    #[serde(serialize_with = "as_text")]
    pub until: Option<Timestamp>,
}

impl Access {
    pub(super) fn of(entitlement: &Entitlement) -> Self {
        Self {
            entitlement_id: entitlement.id.clone(),
            title: entitlement.title.clone(),
            sku: entitlement.sku.clone(),
            purchase_option: entitlement.purchase_option.clone(),
            until: entitlement.ends_at,
        }
    }

    /// What there is access to, by the first name that is not blank.
    fn product(&self) -> String {
        let present = |name: &'_ Option<String>| {
            name.as_deref().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned)
        };
        match (present(&self.sku), present(&self.purchase_option), present(&self.title)) {
            (Some(sku), Some(option), _) => format!(" to sku {sku}, option {option},"),
            (Some(sku), None, _) => format!(" to sku {sku}"),
            (None, _, Some(title)) => format!(" to “{title}”"),
            (None, _, None) => String::new(),
        }
    }
}

impl TagReason {
    pub(super) fn active_subscription(contract: &Contract) -> Self {
        Self::ActiveSubscription { contract_id: contract.id.clone() }
    }

    pub(super) fn overdue(contract: &Contract) -> Self {
        Self::OverdueContract { contract_id: contract.id.clone(), status: contract.status.clone() }
    }

    pub(super) fn single_purchase(contract: &Contract) -> Self {
        Self::SinglePurchase { contract_id: contract.id.clone() }
    }

    pub(super) fn bought_article(entitlement: &Entitlement) -> Self {
        Self::BoughtArticle { entitlement_id: entitlement.id.clone(), title: entitlement.title.clone() }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, product) = (Named("entitlement", &self.entitlement_id), self.product());
        match self.until {
            Some(until) => write!(f, "{who} gives access{product} until {}", Day(until)),
            None => write!(f, "{who} gives access{}", product.trim_end_matches(',')),
        }
    }
}

impl fmt::Display for TagReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActiveSubscription { contract_id } => {
                write!(f, "{} is active and a subscription", Named("contract", contract_id))
            }
            Self::OverdueContract { contract_id, status } => {
                let status = status.as_deref().unwrap_or("overdue");
                write!(f, "{} is {status}: a payment has failed", Named("contract", contract_id))
            }
            Self::SinglePurchase { contract_id } => {
                write!(f, "{} is a single purchase", Named("contract", contract_id))
            }
            Self::BoughtArticle { entitlement_id, title } => {
                let article = Named("entitlement", entitlement_id);
                match title {
                    Some(title) => write!(f, "{article} is the bought article “{title}”"),
                    None => write!(f, "{article} is a bought article"),
                }
            }
            Self::ExternalAccess(access) => write!(f, "{access}, from a partner or a code"),
            Self::GiftedSubscription { access, contract_id } => {
                write!(f, "{access}, paid by {}, which is not the user's own", Named("contract", contract_id))
            }
            Self::Access(access) => access.fmt(f),
            Self::ProfileTag { tag } => write!(f, "the profile has the tag {tag}"),
        }
    }
}

/// A thing by its id, or as one without.
struct Named<'a>(&'a str, &'a Option<String>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, id) = self;
        match id {
            Some(id) => write!(f, "{what} {id}"),
            None => write!(f, "the {what} without an id"),
        }
    }
}

/// A time: the day alone where it is midnight, for so are most ends.
struct Day(Timestamp);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.strip_suffix("T00:00:00Z").unwrap_or(&text))
    }
}

fn as_text<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}
