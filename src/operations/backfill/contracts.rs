//! Everybody's contracts, by user, as slim as tags and custom fields need them.
//!
//! A publisher may have hundreds of thousands, and they are kept for as long as a look at all users takes. Words that
//! many share are kept once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroI64;

use crate::clock::Millis;
use crate::sesamy::bulk::ContractRow;
use crate::sesamy::models::{Contract, Item, moment};
use crate::user::UserId;

/// A whole list of contracts.
#[derive(Debug)]
pub struct Contracts {
    /// When its first page was asked for: what it says is no older, and that it says nothing of a user neither.
    pub asked_at: Millis,
    /// How many pages it took.
    pub pages: usize,
    users: HashMap<Box<str>, OfUser>,
    words: Words,
}

#[derive(Debug, Default)]
struct OfUser {
    contracts: Vec<Slim>,
    /// Whether a row was not of the published types: then only the user's own list can tell.
    is_odd: bool,
}

/// A contract with nothing but what a tag or a custom field can follow from, and when it was changed.
#[derive(Debug)]
struct Slim {
    id: Option<Box<str>>,
    status: Option<Word>,
    duration: Option<Word>,
    is_active: Option<bool>,
    purchase_types: Option<Box<[Option<Word>]>>,
    times: Times,
    updated_at: Option<i64>,
}

/// When a contract was made, is paid and ends, as far as that can be read.
#[derive(Debug, Hash)]
struct Times {
    created: Moment,
    next_bill: Moment,
    expires: Moment,
    will_cancel: Moment,
}

/// A moment or none, in eight bytes. (Midnight of 1970-01-01 is none: no contract has that.)
#[derive(Debug, Hash)]
struct Moment(Option<NonZeroI64>);

impl Moment {
    fn of(text: Option<String>) -> Self {
        Self(text.as_deref().and_then(moment).and_then(|at| NonZeroI64::new(at.as_millisecond())))
    }

    fn text(&self) -> Option<String> {
        self.0.map(|at| Millis(at.get()).to_string())
    }
}

/// Texts that come again and again, each kept once.
#[derive(Debug, Default)]
struct Words {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, Word>,
}

type Word = u32;

impl Words {
    fn number(&mut self, text: Option<String>) -> Option<Word> {
        let text = text?.into_boxed_str();
        if let Some(number) = self.numbers.get(&text) {
            return Some(*number);
        }
        let number = Word::try_from(self.texts.len()).ok()?;
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        Some(number)
    }

    fn text(&self, number: Option<Word>) -> Option<String> {
        Some(self.texts.get(number? as usize)?.to_string())
    }
}

impl Contracts {
    /// Nobody's, of a list whose first page was asked for at `asked_at`.
    #[must_use]
    pub fn new(asked_at: Millis) -> Self {
        Self { asked_at, pages: 0, users: HashMap::new(), words: Words::default() }
    }

    /// Takes a page. A contract that came on an earlier page already, because rows have shifted, is kept as it is now.
    pub fn take(&mut self, rows: Vec<ContractRow>) {
        self.pages += 1;
        for row in rows {
            let updated_at = row.updated_at.map(|at| at.as_millisecond());
            let slim = row.contract.map(|contract| self.slim(contract, updated_at));
            let of_user = self.users.entry(row.user.as_str().into()).or_default();
            match slim {
                None => of_user.is_odd = true,
                Some(slim) => {
                    of_user.contracts.retain(|known| known.id.is_none() || known.id != slim.id);
                    of_user.contracts.push(slim);
                    of_user.contracts.shrink_to_fit();
                }
            }
        }
    }

    /// All contracts of `user`; none where only the user's own list can tell.
    #[must_use]
    pub fn of(&self, user: &UserId) -> Option<Vec<Contract>> {
        match self.users.get(user.as_str()) {
            None => Some(Vec::new()),
            Some(of_user) if of_user.is_odd => None,
            Some(of_user) => Some(of_user.contracts.iter().map(|slim| self.whole(user, slim)).collect()),
        }
    }

    /// When any contract of `user` was changed last, in milliseconds since 1970; none where nothing is said of that.
    #[must_use]
    pub fn changed_at(&self, user: &UserId) -> Option<i64> {
        self.users.get(user.as_str())?.contracts.iter().filter_map(|slim| slim.updated_at).max()
    }

    /// A number that is another one where the contracts of `user` are others, whatever their order.
    #[must_use]
    pub fn fingerprint(&self, user: &UserId) -> u64 {
        let Some(of_user) = self.users.get(user.as_str()) else { return 0 };
        let one = |slim: &Slim| {
            let mut hasher = DefaultHasher::new();
            let kinds = slim.purchase_types.iter().flatten().map(|kind| self.words.text(*kind));
            let words = (self.words.text(slim.status), self.words.text(slim.duration));
            (&slim.id, words, slim.is_active, &slim.times, slim.updated_at).hash(&mut hasher);
            kinds.collect::<Vec<_>>().hash(&mut hasher);
            hasher.finish()
        };
        of_user.contracts.iter().map(one).fold(u64::from(of_user.is_odd), u64::wrapping_add)
    }

    /// How many contracts there are.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.users.values().map(|of_user| of_user.contracts.len()).sum()
    }

    fn slim(&mut self, contract: Contract, updated_at: Option<i64>) -> Slim {
        let of_item = |item: Item| self.words.number(item.purchase_type);
        Slim {
            purchase_types: contract.items.map(|items| items.into_iter().map(of_item).collect()),
            id: contract.id.map(String::into_boxed_str),
            status: self.words.number(contract.status),
            duration: self.words.number(contract.contract_duration),
            is_active: contract.is_active,
            times: Times {
                created: Moment::of(contract.created_at),
                next_bill: Moment::of(contract.next_bill_at),
                expires: Moment::of(contract.expires_at),
                will_cancel: Moment::of(contract.will_cancel_at),
            },
            updated_at,
        }
    }

    fn whole(&self, user: &UserId, slim: &Slim) -> Contract {
        let item = |kind: &Option<Word>| Item { purchase_type: self.words.text(*kind) };
        Contract {
            id: slim.id.as_deref().map(str::to_owned),
            user_id: Some(user.as_str().to_owned()),
            status: self.words.text(slim.status),
            is_active: slim.is_active,
            contract_duration: self.words.text(slim.duration),
            items: slim.purchase_types.as_ref().map(|kinds| kinds.iter().map(item).collect()),
            created_at: slim.times.created.text(),
            next_bill_at: slim.times.next_bill.text(),
            expires_at: slim.times.expires.text(),
            will_cancel_at: slim.times.will_cancel.text(),
        }
    }
}

#[cfg(test)]
mod tests;
