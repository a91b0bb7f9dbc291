//! Sesamy's users, contracts and entitlements, made by hand: raw JSON, with a method for each usual field.

use serde_json::{Map, Value, json};

/// The time of creation and of the last update of what a test does not date.
const OLD: &str = "2025-01-01T00:00:00.000Z";

/// One method for each usual field of text.
macro_rules! text_fields {
    ($($method:ident = $field:literal),+ $(,)?) => {$(
        #[doc = concat!("Sets `", $field, "`.")]
        pub fn $method(self, text: &str) -> Self {
            self.field($field, text)
        }
    )+};
}

/// A user: the profile, and what belongs to it.
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

/// A user whose profile has nothing but the id.
pub fn user(id: &str) -> User {
    let profile = Map::from_iter([("userId".to_owned(), id.into())]);
    User { id: id.to_owned(), profile, contracts: Vec::new(), entitlements: Vec::new() }
}

impl User {
    text_fields! {
        email = "email",
        first_name = "firstName",
        last_name = "lastName",
        given_name = "given_name",
        family_name = "family_name",
        full_name = "name",
        mobile_phone = "mobilePhone",
        work_phone = "workPhone",
        home_phone = "homePhone",
        phone_number = "phone_number",
        company = "company",
        created_at = "createdAt",
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets a field of the profile to any JSON.
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.profile.insert(name.to_owned(), value.into());
        self
    }

    /// Sets `billingAddress`.
    pub fn billing_address(self, city: &str, postal_code: &str, country: &str) -> Self {
        self.field("billingAddress", address(city, postal_code, country))
    }

    /// Sets `deliveryAddress`.
    pub fn delivery_address(self, city: &str, postal_code: &str, country: &str) -> Self {
        self.field("deliveryAddress", address(city, postal_code, country))
    }

    /// Sets `tags`.
    pub fn tags<'a>(self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        self.field("tags", tags.into_iter().collect::<Vec<_>>())
    }

    /// Marks a guest: sets `isGuest`.
    pub fn guest(self) -> Self {
        self.field("isGuest", true)
    }

    /// Adds a contract.
    pub fn contract(mut self, contract: impl Into<Value>) -> Self {
        self.contracts.push(contract.into());
        self
    }

    /// Adds an entitlement.
    pub fn entitlement(mut self, entitlement: impl Into<Value>) -> Self {
        self.entitlements.push(entitlement.into());
        self
    }

    /// Sets `updatedAt` to `now` in everything that differs from `before`, unless the edit has set it itself. The rows
    /// of a new user keep theirs.
    pub(super) fn touch(&mut self, before: Option<&Self>, now: &str) {
        stamp(before.map(|user| &user.profile), &mut self.profile, now);
        let Some(before) = before else { return };
        let lists =
            [(&before.contracts, &mut self.contracts), (&before.entitlements, &mut self.entitlements)];
        for (old, new) in lists {
            for row in new.iter_mut().filter_map(Value::as_object_mut) {
                let id = row.get("id").cloned();
                let same = old.iter().filter_map(Value::as_object);
                let same = same.into_iter().find(|old| id.is_some() && old.get("id") == id.as_ref());
                stamp(same, row, now);
            }
        }
    }
}

fn address(city: &str, postal_code: &str, country: &str) -> Value {
    json!({"street": "Storgata 1", "city": city, "postalCode": postal_code, "country": country})
}

fn stamp(before: Option<&Map<String, Value>>, after: &mut Map<String, Value>, now: &str) {
    let updated_at = after.get("updatedAt");
    let is_unset = match before {
        Some(before) => updated_at == before.get("updatedAt"),
        None => updated_at.is_none_or(|time| time == OLD),
    };
    if is_unset && before != Some(&*after) {
        after.insert("updatedAt".to_owned(), now.into());
    }
}

/// A contract; `into` makes it a [`Value`].
#[derive(Debug, Clone, PartialEq)]
pub struct Contract(Value);

/// An active, recurring contract without items.
pub fn contract(id: &str) -> Contract {
    Contract(json!({
        "id": id, "name": id, "status": "ACTIVE", "isActive": true, "contractDuration": "RECURRING", "items": [],
        "price": 199, "currency": "NOK", "createdAt": OLD, "updatedAt": OLD,
    }))
}

impl Contract {
    text_fields! {
        status = "status",
        duration = "contractDuration",
        next_bill_at = "nextBillAt",
    }

    /// Sets a field to any JSON.
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Removes a field.
    pub fn without(mut self, name: &str) -> Self {
        self.0.as_object_mut().and_then(|fields| fields.remove(name));
        self
    }

    /// A payment has failed; the contract is still active.
    pub fn overdue(self) -> Self {
        self.status("OVERDUE")
    }

    /// Cancelled, and no longer active.
    pub fn cancelled(self) -> Self {
        self.status("CANCELLED").field("isActive", false)
    }

    /// Adds an item; `purchase_type` such as `SINGLE`, or `None` to leave it out.
    pub fn item(mut self, sku: &str, purchase_type: Option<&str>) -> Self {
        let mut item = json!({"sku": sku, "name": sku});
        if let Some(purchase_type) = purchase_type {
            item["purchaseType"] = purchase_type.into();
        }
        if let Value::Array(items) = &mut self.0["items"] {
            items.push(item);
        }
        self
    }
}

impl From<Contract> for Value {
    fn from(contract: Contract) -> Self {
        contract.0
    }
}

/// An entitlement; `into` makes it a [`Value`].
#[derive(Debug, Clone, PartialEq)]
pub struct Entitlement(Value);

/// A `pass` with access, whose SKU and title are `name`, without an origin.
pub fn entitlement(id: &str, name: &str) -> Entitlement {
    Entitlement(json!({
        "id": id, "sku": name, "title": name, "type": "pass", "hasAccess": true,
        "createdAt": OLD, "updatedAt": OLD,
    }))
}

impl Entitlement {
    text_fields! {
        title = "title",
        sku = "sku",
        purchase_option = "purchaseOption",
        kind = "type",
        expires_at = "expiresAt",
    }

    /// Sets a field to any JSON.
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Without access.
    pub fn ended(self) -> Self {
        self.field("hasAccess", false)
    }

    /// Given by a partner or a code.
    pub fn external(self, list: &str) -> Self {
        self.field("origin", json!({"type": "EXTERNAL", "id": list, "listId": list, "name": list}))
    }

    /// Paid for by this contract.
    pub fn paid_by(self, contract: &str) -> Self {
        self.field("origin", json!({"type": "PAYMENTS", "contractId": contract}))
    }
}

impl From<Entitlement> for Value {
    fn from(entitlement: Entitlement) -> Self {
        entitlement.0
    }
}
