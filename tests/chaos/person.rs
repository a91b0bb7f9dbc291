//! Somebody at Sesamy: what the profile says, what the user has, and what a contact of theirs should have of it.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{User, user};

use crate::cases::{HOLDINGS, PROFILE_TAGS};
use crate::unprompted::Brief;

/// A field of a profile that may be there or not, in every way.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Absent,
    Null,
    Blank,
    Text(String),
}

/// What a profile says of its address.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Email {
    Given,
    /// With white space around it.
    Padded,
    Absent,
    Null,
    Blank,
    WithoutAt,
    WithSpace,
}

/// A user, as Sesamy would have it.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: String,
    /// The addresses that the user has one after the other, as Sesamy spells them.
    pub addresses: Vec<String>,
    at: usize,
    is_known: bool,
    email: Email,
    guest: Option<(&'static str, Value)>,
    fields: BTreeMap<&'static str, Field>,
    tags: Option<Vec<usize>>,
    holdings: BTreeSet<usize>,
    brief: Option<Brief>,
}

/// What a contact should have of a user, by the published rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub address: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    pub tags: BTreeSet<String>,
}

const FIRST_NAMES: [&str; 2] = ["firstName", "given_name"];
const LAST_NAMES: [&str; 2] = ["lastName", "family_name"];
/// The second is the default phone, in one of its spellings.
const PHONES: [[&str; 4]; 3] = [
    ["mobilePhone", "phone_number", "workPhone", "homePhone"],
    ["mobilePhone", "phone", "workPhone", "homePhone"],
    ["mobilePhone", "phoneNumber", "workPhone", "homePhone"],
];
const GUEST_ID: &str = "guest_";

impl Person {
    /// The `number`th user of a world.
    pub fn random(number: usize, rng: &mut StdRng) -> Self {
        let id = match rng.random_range(0..20) {
            0 => format!("{GUEST_ID}{number}"),
            1..5 => format!("email|{number:06x}"),
            5 => format!("a/b?c#{number} %2e"),
            _ => format!("user-{number}"),
        };
        let first = match rng.random_range(0..6) {
            0 => format!("Kari.{number}@Example.com"),
            1 => format!("kari+news.{number}@example.com"),
            2 => format!("Ærlig.{number}@example.com"),
            _ => format!("kari.{number}@example.com"),
        };
        let phones = PHONES.choose(rng).unwrap();
        let names = [&FIRST_NAMES[..], &LAST_NAMES, phones, &["name"]].concat();
        let mut person = Self {
            id,
            addresses: vec![first, format!("new.{number}@example.com")],
            at: 0,
            is_known: true,
            email: Email::Given,
            guest: None,
            fields: names.into_iter().map(|name| (name, Field::Absent)).collect(),
            tags: None,
            holdings: BTreeSet::new(),
            brief: None,
        };
        for _ in 0..rng.random_range(0..12) {
            person.change(rng);
        }
        person
    }

    /// One change at random, told in a few words.
    pub fn change(&mut self, rng: &mut StdRng) -> String {
        if rng.random_bool(0.3) && self.becomes_usual() {
            return "nothing odd about the user any more".to_owned();
        }
        match rng.random_range(0..100) {
            0..4 => {
                self.is_known = !self.is_known;
                format!("Sesamy {} the user", if self.is_known { "knows" } else { "forgets" })
            }
            4..9 => {
                self.guest = self.guest.is_none().then(|| {
                    let marks = [("isGuest", json!(true)), ("guest", json!(true)), ("type", json!("guest"))];
                    marks.choose(rng).unwrap().clone()
                });
                format!("guest: {:?}", self.guest)
            }
            9..17 => {
                use Email::{Absent, Blank, Given, Null, Padded, WithSpace, WithoutAt};
                let odd = [Padded, Absent, Null, Blank, WithoutAt, WithSpace];
                self.email = if self.email == Given { *odd.choose(rng).unwrap() } else { Given };
                format!("the address is {:?}", self.email)
            }
            17..19 if self.at == 0 => {
                self.at = 1;
                format!("the address becomes {}", self.addresses[1])
            }
            19..50 => {
                let names: Vec<&'static str> = self.fields.keys().copied().collect();
                let name = *names.choose(rng).unwrap();
                let value = match rng.random_range(0..10) {
                    0..2 => Field::Absent,
                    2 => Field::Null,
                    3 => Field::Blank,
                    4 => Field::Text(format!("  {name} 1 ")),
                    n => Field::Text(format!("{name} {}", n % 3 + 1)),
                };
                let told = format!("{name} becomes {value:?}");
                self.fields.insert(name, value);
                told
            }
            50..58 => {
                self.brief = Some(Brief::random(rng));
                format!("has {:?}", self.brief)
            }
            58..70 => {
                self.tags = match rng.random_range(0..6) {
                    0 => None,
                    most => Some((0..most).map(|_| rng.random_range(0..PROFILE_TAGS.len())).collect()),
                };
                format!("tags of the profile: {:?}", self.tags_shown())
            }
            _ => {
                let case = rng.random_range(0..HOLDINGS.len());
                let gained = self.holdings.insert(case);
                if !gained {
                    self.holdings.remove(&case);
                }
                format!("{} {}", if gained { "has" } else { "has no more" }, HOLDINGS[case].what)
            }
        }
    }

    /// Makes a user of whom nothing may come one like most others; whether that was needed.
    fn becomes_usual(&mut self) -> bool {
        let was_odd = !self.is_known || self.guest.is_some() || self.email != Email::Given;
        (self.is_known, self.guest, self.email) = (true, None, Email::Given);
        was_odd
    }

    fn tags_shown(&self) -> Option<Vec<&'static str>> {
        Some(self.tags.as_ref()?.iter().map(|tag| PROFILE_TAGS[*tag].0).collect())
    }

    /// What the sandbox's Sesamy has of the user; none where it has nothing.
    pub fn at_sesamy(&self) -> Option<User> {
        let mut user = user(&self.id);
        let address = &self.addresses[self.at];
        let email = match self.email {
            Email::Given => Some(json!(address)),
            Email::Padded => Some(json!(format!(" {address}\t"))),
            Email::Absent => None,
            Email::Null => Some(Value::Null),
            Email::Blank => Some(json!("  ")),
            Email::WithoutAt => Some(json!(address.replace('@', "."))),
            Email::WithSpace => Some(json!(address.replace('@', " @"))),
        };
        if let Some(email) = email {
            user = user.field("email", email);
        }
        if let Some((name, value)) = &self.guest {
            user = user.field(name, value.clone());
        }
        for (name, field) in &self.fields {
            user = match field {
                Field::Absent => user,
                Field::Null => user.field(name, Value::Null),
                Field::Blank => user.field(name, "  "),
                Field::Text(text) => user.field(name, text.as_str()),
            };
        }
        if let Some(tags) = self.tags_shown() {
            user = user.field("tags", tags);
        }
        for case in self.holdings.iter().map(|case| &HOLDINGS[*case]) {
            user.contracts.extend((case.contracts)());
            user.entitlements.extend((case.entitlements)());
        }
        user.entitlements.extend(self.brief.as_ref().map(Brief::at_sesamy));
        self.is_known.then_some(user)
    }

    /// What the contact should have; none where nothing may come of the user. `derives` is `sesamy.derive_tags`.
    pub fn wanted(&self, derives: bool) -> Option<Wanted> {
        let is_guest = self.guest.is_some() || self.id.starts_with(GUEST_ID);
        let has_address = matches!(self.email, Email::Given | Email::Padded);
        if !self.is_known || is_guest || !has_address {
            return None;
        }
        let phones = PHONES.iter().find(|names| self.fields.contains_key(names[1])).unwrap();
        Some(Wanted {
            address: self.addresses[self.at].clone(),
            first_name: self.first_text(&FIRST_NAMES),
            last_name: self.first_text(&LAST_NAMES),
            phone: self.first_text(phones),
            tags: self.tags(derives),
        })
    }

    /// Whether the user has the second address.
    pub fn has_moved(&self) -> bool {
        self.at > 0
    }

    /// All tags that a sync may find wanted, whether or not anything may come of the user: some of them not for long.
    pub fn tags_at_times(&self, derives: bool) -> BTreeSet<String> {
        let brief = self.brief.iter().filter(|_| derives).flat_map(Brief::gives);
        self.tags(derives).into_iter().chain(brief).collect()
    }

    /// The tags of all that the user has for long.
    fn tags(&self, derives: bool) -> BTreeSet<String> {
        let profile = self.tags.iter().flatten().filter_map(|tag| PROFILE_TAGS[*tag].1);
        let holdings = self.holdings.iter().filter(|_| derives).flat_map(|case| HOLDINGS[*case].gives);
        profile.chain(holdings.copied()).map(str::to_owned).collect()
    }

    /// The first of these fields that has a text.
    fn first_text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| match &self.fields[name] {
            Field::Text(text) => Some(text.trim().to_owned()),
            _ => None,
        })
    }
}
