//! Plain data: what Sesamy says of a user, what a contact in Mailmojo is, and what a user's row remembers.
//!
//! No HTTP and no SQL, and no JSON but for what a row remembers. The clients translate their JSON into it, and the pure
//! rooms ([`crate::tags`], [`crate::fields`], [`crate::merge`]) decide by it.

mod contact;
mod last_seen;
mod user;

pub use contact::{ACTIVE, Contact, ContactData, CustomValues, Membership};
pub use last_seen::{ContactKeys, LastSeen, SeenByOthers, SeenContact, TagKinds};
#[cfg(test)]
pub(crate) use last_seen::{Earlier, tests::keys};
pub use user::{Contract, ContractDuration, Entitlement, Item, Origin, PostalAddress, Profile, SesamyUser};
