//! Sesamy's users, contracts and entitlements, made up by hand: raw JSON with names for what is usual.

use serde_json::{Map, Value, json};

/// When everything was made that says nothing else.
pub(super) const OLD: &str = "2025-01-01T00:00:00.000Z";

/// A user: the profile, and what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub(super) id: String,
    /// The profile as it is answered.
    pub profile: Map<String, Value>,
    /// The contracts as they are answered, oldest first.
    pub contracts: Vec<Value>,
    /// The entitlements as they are answered, oldest first.
    pub entitlements: Vec<Value>,
}

/// A user of whom Sesamy knows nothing but the id.
#[must_use]
pub fn user(id: &str) -> User {
    let mut profile = Map::new();
    profile.insert("userId".into(), id.into());
    User { id: id.to_owned(), profile, contracts: Vec::new(), entitlements: Vec::new() }
}

impl User {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets a field of the profile to any JSON.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.profile.insert(name.to_owned(), value.into());
        self
    }

    /// `email`.
    #[must_use]
    pub fn email(self, email: &str) -> Self {
        self.field("email", email)
    }

    /// `firstName`.
    #[must_use]
    pub fn first_name(self, name: &str) -> Self {
        self.field("firstName", name)
    }

    /// `lastName`.
    #[must_use]
    pub fn last_name(self, name: &str) -> Self {
        self.field("lastName", name)
    }

    /// `given_name`.
    #[must_use]
    pub fn given_name(self, name: &str) -> Self {
        self.field("given_name", name)
    }

    /// `family_name`.
    #[must_use]
    pub fn family_name(self, name: &str) -> Self {
        self.field("family_name", name)
    }

    /// `name`, the full name.
    #[must_use]
    pub fn full_name(self, name: &str) -> Self {
        self.field("name", name)
    }

    /// `mobilePhone`.
    #[must_use]
    pub fn mobile_phone(self, phone: &str) -> Self {
        self.field("mobilePhone", phone)
    }

    /// `workPhone`.
    #[must_use]
    pub fn work_phone(self, phone: &str) -> Self {
        self.field("workPhone", phone)
    }

    /// `homePhone`.
    #[must_use]
    pub fn home_phone(self, phone: &str) -> Self {
        self.field("homePhone", phone)
    }

    /// `phone_number`.
    #[must_use]
    pub fn phone_number(self, phone: &str) -> Self {
        self.field("phone_number", phone)
    }

    /// `company`.
    #[must_use]
    pub fn company(self, company: &str) -> Self {
        self.field("company", company)
    }

    /// `billingAddress`.
    #[must_use]
    pub fn billing_address(self, city: &str, postal_code: &str, country: &str) -> Self {
        self.field("billingAddress", address(city, postal_code, country))
    }

    /// `deliveryAddress`.
    #[must_use]
    pub fn delivery_address(self, city: &str, postal_code: &str, country: &str) -> Self {
        self.field("deliveryAddress", address(city, postal_code, country))
    }

    /// `createdAt`, in RFC 3339.
    #[must_use]
    pub fn created_at(self, when: &str) -> Self {
        self.field("createdAt", when)
    }

    /// `tags`.
    #[must_use]
    pub fn tags<'a>(self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        self.field("tags", tags.into_iter().collect::<Vec<_>>())
    }

    /// Marks a guest: `isGuest`.
    #[must_use]
    pub fn guest(self) -> Self {
        self.field("isGuest", true)
    }

    /// Adds a contract.
    #[must_use]
    pub fn contract(mut self, contract: impl Into<Value>) -> Self {
        self.contracts.push(contract.into());
        self
    }

    /// Adds an entitlement.
    #[must_use]
    pub fn entitlement(mut self, entitlement: impl Into<Value>) -> Self {
        self.entitlements.push(entitlement.into());
        self
    }
}

fn address(city: &str, postal_code: &str, country: &str) -> Value {
    json!({"street": "Storgata 1", "city": city, "postalCode": postal_code, "country": country})
}

/// A contract; it becomes a [`Value`] by `into`.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract(Map<String, Value>);

/// An active, recurring contract without items.
#[must_use]
pub fn contract(id: &str) -> Contract {
    let start = json!({
        "id": id, "name": id, "status": "ACTIVE", "isActive": true, "contractDuration": "RECURRING", "items": [],
        "price": 199, "currency": "NOK",
        "createdAt": OLD, "updatedAt": OLD,
    });
    Contract(object(start))
}

impl Contract {
    /// Sets a field to any JSON.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a field away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// `status`, with `isActive` left as it is.
    #[must_use]
    pub fn status(self, status: &str) -> Self {
        self.field("status", status)
    }

    /// A payment has failed; still active.
    #[must_use]
    pub fn overdue(self) -> Self {
        self.status("OVERDUE")
    }

    /// Over and done with.
    #[must_use]
    pub fn cancelled(self) -> Self {
        self.status("CANCELLED").field("isActive", false)
    }

    /// `contractDuration`.
    #[must_use]
    pub fn duration(self, duration: &str) -> Self {
        self.field("contractDuration", duration)
    }

    /// `nextBillAt`, in RFC 3339.
    #[must_use]
    pub fn next_bill_at(self, when: &str) -> Self {
        self.field("nextBillAt", when)
    }

    /// Adds an item; `purchase_type` such as `SINGLE`, or none to leave it out.
    #[must_use]
    pub fn item(mut self, sku: &str, purchase_type: Option<&str>) -> Self {
        let mut item = json!({"sku": sku, "name": sku});
        if let Some(purchase_type) = purchase_type {
            item["purchaseType"] = purchase_type.into();
        }
        if let Some(Value::Array(items)) = self.0.get_mut("items") {
            items.push(item);
        }
        self
    }
}

impl From<Contract> for Value {
    fn from(contract: Contract) -> Self {
        Self::Object(contract.0)
    }
}

/// An entitlement; it becomes a [`Value`] by `into`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entitlement(Map<String, Value>);

/// A `pass` with access, whose SKU and title are `name`, of no known origin.
#[must_use]
pub fn entitlement(id: &str, name: &str) -> Entitlement {
    let start = json!({
        "id": id, "sku": name, "title": name, "type": "pass", "hasAccess": true,
        "createdAt": OLD, "updatedAt": OLD,
    });
    Entitlement(object(start))
}

impl Entitlement {
    /// Sets a field to any JSON.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// `title`.
    #[must_use]
    pub fn title(self, title: &str) -> Self {
        self.field("title", title)
    }

    /// `sku`.
    #[must_use]
    pub fn sku(self, sku: &str) -> Self {
        self.field("sku", sku)
    }

    /// `purchaseOption`.
    #[must_use]
    pub fn purchase_option(self, option: &str) -> Self {
        self.field("purchaseOption", option)
    }

    /// `type`, such as `article` or `publication`.
    #[must_use]
    pub fn kind(self, kind: &str) -> Self {
        self.field("type", kind)
    }

    /// `hasAccess` is false.
    #[must_use]
    pub fn ended(self) -> Self {
        self.field("hasAccess", false)
    }

    /// `expiresAt`, in RFC 3339.
    #[must_use]
    pub fn expires_at(self, when: &str) -> Self {
        self.field("expiresAt", when)
    }

    /// Given by a partner or a code.
    #[must_use]
    pub fn external(self, list: &str) -> Self {
        self.field("origin", json!({"type": "EXTERNAL", "id": list, "listId": list, "name": list}))
    }

    /// Paid for by this contract.
    #[must_use]
    pub fn paid_by(self, contract: &str) -> Self {
        self.field("origin", json!({"type": "PAYMENTS", "contractId": contract}))
    }
}

impl From<Entitlement> for Value {
    fn from(entitlement: Entitlement) -> Self {
        Self::Object(entitlement.0)
    }
}

fn object(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
