//! Households: one or two users who share a few addresses, move between them and come back, while people change the contacts
//! of these addresses. `consent.rs` checks that nobody was put on the list against their will.
//!
//! Both users of a household want the same tag, so what a contact must have depends on whether anybody lives there, and not
//! on who. That two users with different tags do not strip each other is told by `tests/stories/sync/shared_address.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use sesamy_mailmojo::sandbox::{Fault, Finding, FindingKind, Mailmojo, Route, Rule, contact, user};

use crate::member::Apis;

const LIST: i64 = Mailmojo::LIST;
/// How many addresses a household has in turn: fewer than are remembered.
const ADDRESSES: usize = 5;
/// How often a household is of two users.
const SHARE_OF_COUPLES: f64 = 0.6;
/// The domain of the addresses of two users.
const SHARED: &str = "@shared.example";
/// The tag that they want. It is not about access: if so many users lost access, the service would stop to remove tags.
pub const TAG: &str = "sesamy_tag_club";

/// The own tags of contacts that are there from the start.
pub const OWN_TAGS: [&str; 1] = ["vip"];

/// What a person can do to a contact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// Its reader leaves the list.
    LeavesTheList,
    /// Its reader leaves everything.
    LeavesTheAccount,
    /// It is taken off the list, as if it had never been there.
    TakenOff,
    /// It is deleted for good.
    Removed,
    /// It is there and active again, or its reader is.
    Returns,
}

/// Something that a person did to a contact, between two times since the start of the sandbox.
#[derive(Debug)]
pub struct Deed {
    pub act: Act,
    pub address: usize,
    pub began: Duration,
    pub ended: Duration,
}

/// A user got another address, between two times since the start of the sandbox.
#[derive(Debug)]
pub struct Move {
    pub to: usize,
    pub began: Duration,
    pub ended: Duration,
}

/// One user of a household.
#[derive(Debug)]
pub struct Resident {
    pub id: String,
    /// The first one is where the user began.
    pub moves: Vec<Move>,
}

impl Resident {
    /// Which of the addresses the user has now.
    pub fn at(&self) -> usize {
        self.moves.last().map_or(0, |last| last.to)
    }

    /// The address that Sesamy says of the user from `began` to `ended`; none where it changes in that time.
    pub fn at_time(&self, began: Duration, ended: Duration) -> Option<usize> {
        let moved = |it: &&Move| it.began <= ended;
        self.moves.iter().rfind(moved).filter(|it| it.ended < began).map(|it| it.to)
    }

    /// Whether the user ever had this address.
    pub fn had(&self, address: usize) -> bool {
        self.moves.iter().any(|it| it.to == address)
    }
}

/// One or two users, and their addresses.
#[derive(Debug)]
pub struct Household {
    pub residents: Vec<Resident>,
    pub addresses: Vec<String>,
    /// In order.
    pub deeds: Vec<Deed>,
    /// The own tags of each contact that is there by hand.
    pub own_tags: BTreeMap<usize, Vec<String>>,
    pub story: Vec<String>,
    /// Act is to come next, and not before when.
    script: VecDeque<Scene>,
    next: Duration,
    started: Instant,
}

/// Act happens at one time, and of whom an event tells then.
#[derive(Debug, Clone)]
struct Scene(Vec<Action>, usize);

#[derive(Debug, Clone, Copy)]
enum Action {
    Does(Act, usize),
    Moves(usize, usize),
    /// The next writes to a contact are refused.
    Refuses(usize),
}

impl Household {
    /// Puts the `number`th household into both worlds. `started` is when the sandbox was.
    pub fn settle(number: usize, apis: &Apis, started: Instant, rng: &mut StdRng) -> Self {
        let is_couple = rng.random_bool(SHARE_OF_COUPLES);
        let domain = if is_couple { SHARED } else { "@house.example" };
        let mut household = Self {
            residents: Vec::new(),
            addresses: (0..ADDRESSES).map(|n| format!("house{number}.{n}{domain}")).collect(),
            deeds: Vec::new(),
            own_tags: BTreeMap::new(),
            story: Vec::new(),
            script: VecDeque::new(),
            next: Duration::ZERO,
            started,
        };
        for (at, email) in household.addresses.iter().enumerate() {
            if rng.random_bool(0.4) {
                continue;
            }
            let there = contact(email).first_name("Kari").tags(OWN_TAGS);
            apis.mailmojo.put_contact(if rng.random_bool(0.7) { there.on_list(LIST) } else { there });
            household.own_tags.insert(at, OWN_TAGS.map(str::to_owned).to_vec());
        }
        for n in 0..=usize::from(is_couple) {
            household.residents.push(Resident { id: format!("house{number}-{n}"), moves: Vec::new() });
            household.moves(n, 0, apis);
        }
        household
    }

    /// Whether `finding` may come from syncing two users of one address at once, which nothing prevents yet.
    pub fn excuses(finding: &Finding) -> bool {
        use FindingKind::{Overlap, SubscribedAgain, SubscribedAgainstStatus};
        matches!(finding.kind, Overlap | SubscribedAgain | SubscribedAgainstStatus)
            && finding.text.contains(SHARED)
    }

    /// Whether a call about `subject` is about somebody of a household.
    pub fn is_subject(subject: &str) -> bool {
        subject.starts_with("house")
    }

    pub fn names(&self) -> Vec<String> {
        let ids = self.residents.iter().map(|resident| resident.id.clone());
        self.addresses.iter().cloned().chain(ids).collect()
    }

    pub fn note(&mut self, what: &str) {
        self.story.push(format!("{:>8.3}s {what}", self.started.elapsed().as_secs_f64()));
    }

    /// Something happens, or nothing. Returns the users that events are about.
    pub fn acts(&mut self, apis: &Apis, rng: &mut StdRng) -> Vec<String> {
        if self.script.is_empty() && rng.random() {
            self.script = self.a_script(apis, rng).into();
        } else if self.script.is_empty() {
            self.acts_at_random(apis, rng);
            let is_told = self.residents.iter().filter(|_| rng.random_bool(0.8));
            return is_told.map(|resident| resident.id.clone()).collect();
        }
        // Leaves time for a sync.
        if self.started.elapsed() < self.next {
            return Vec::new();
        }
        self.next = self.started.elapsed() + Duration::from_millis(rng.random_range(50..400));
        let Some(Scene(actions, user)) = self.script.pop_front() else { return Vec::new() };
        for action in actions {
            match action {
                Action::Does(what, at) => self.does(what, at, apis),
                Action::Moves(who, to) => self.moves(who, to, apis),
                Action::Refuses(at) => self.refuses(at, apis),
            }
        }
        vec![self.residents[user].id.clone()]
    }

    /// A sequence that one of the rules is for: by chance alone it would hardly ever happen.
    fn a_script(&self, apis: &Apis, rng: &mut StdRng) -> Vec<Scene> {
        use Action::{Does, Moves, Refuses};
        let who = rng.random_range(0..self.residents.len());
        let other = (who + 1) % self.residents.len();
        let (here, to) = (self.residents[who].at(), self.next_address(who, rng));
        let what = *[Act::Removed, Act::TakenOff, Act::LeavesTheList].choose(rng).unwrap();
        let is_new = |at: &usize| !self.residents[who].had(*at);
        let new = (0..ADDRESSES).filter(is_new).choose(rng);
        let is_there = |at: &usize| apis.mailmojo.contact(&self.addresses[*at]).is_some();
        match (rng.random_range(0..4), new) {
            // One user's sync sees that the reader of a shared contact has left, and then the other user subscribes again.
            (0, _) if who != other => vec![
                Scene(vec![Moves(other, here)], other),
                Scene(vec![Does(Act::LeavesTheList, here)], who),
                Scene(vec![Does(Act::Returns, here), Moves(who, to)], who),
            ],
            // A contact that only the other user's sync has seen.
            (1, Some(new)) if who != other => vec![
                Scene(vec![Moves(other, new)], other),
                Scene(vec![Does(what, new)], other),
                Scene(vec![Moves(who, new)], who),
            ],
            // A contact that only failing syncs have seen.
            (2 | 3, Some(new)) if is_there(&new) => vec![
                Scene(vec![Refuses(new), Moves(who, new)], who),
                Scene(vec![Does(Act::Removed, new)], who),
            ],
            // Away and back.
            _ => vec![
                Scene(vec![Moves(who, to)], who),
                Scene(vec![Does(what, here)], who),
                Scene(vec![Moves(who, here)], who),
            ],
        }
    }

    fn acts_at_random(&mut self, apis: &Apis, rng: &mut StdRng) {
        use Act::{LeavesTheAccount, LeavesTheList, Removed, TakenOff};
        let who = rng.random_range(0..self.residents.len());
        match rng.random_range(0..20) {
            0..8 => self.moves(who, self.next_address(who, rng), apis),
            8..14 => {
                let kinds = [Removed, Removed, TakenOff, TakenOff, LeavesTheList, LeavesTheAccount];
                let at = if rng.random() { self.residents[who].at() } else { rng.random_range(0..ADDRESSES) };
                self.does(*kinds.choose(rng).unwrap(), at, apis);
            }
            14 => {
                if let Some(at) = self.deeds.choose(rng).map(|deed| deed.address) {
                    self.does(Act::Returns, at, apis);
                }
            }
            _ => {}
        }
    }

    /// The address that the user gets next, most often an earlier one or the other user's.
    fn next_address(&self, who: usize, rng: &mut StdRng) -> usize {
        let here = self.residents[who].at();
        let others = self.residents.iter().map(Resident::at).filter(|at| *at != here);
        let earlier = self.residents[who].moves.iter().map(|it| it.to).filter(|at| *at != here);
        let next = match rng.random_range(0..10) {
            0..4 => earlier.choose(rng),
            4..7 => others.choose(rng),
            _ => None,
        };
        next.unwrap_or_else(|| (here + rng.random_range(1..ADDRESSES)) % ADDRESSES)
    }

    fn moves(&mut self, who: usize, to: usize, apis: &Apis) {
        let resident = &mut self.residents[who];
        let email = &self.addresses[to];
        let began = self.started.elapsed();
        apis.sesamy.put_user(user(&resident.id).email(email).first_name("Kari").tags(["club"]));
        resident.moves.push(Move { to, began, ended: self.started.elapsed() });
        let what = format!("Sesamy: the address of {} is {email}", resident.id);
        self.note(&what);
    }

    /// Refuses the next writes to this contact, so that a user who needs them is parked.
    fn refuses(&mut self, at: usize, apis: &Apis) {
        let email = self.addresses[at].clone();
        for route in [Route::ContactPatch, Route::Subscribe] {
            apis.mailmojo.inject(Rule::on(route, Fault::status(422)).about(&email).times(1));
        }
        self.note(&format!("Mailmojo will refuse the next writes to {email}"));
    }

    fn does(&mut self, what: Act, address: usize, apis: &Apis) {
        let (mailmojo, email) = (&apis.mailmojo, self.addresses[address].clone());
        let began = self.started.elapsed();
        let there = mailmojo.contact(&email);
        let is_on_list = there.as_ref().is_some_and(|contact| contact.list_status(LIST).is_some());
        let is_done = match what {
            Act::LeavesTheList => is_on_list && mailmojo.unsubscribe(&email, LIST),
            Act::LeavesTheAccount => mailmojo.unsubscribe_everywhere(&email),
            Act::TakenOff => is_on_list && mailmojo.edit(&email, |contact| contact.associations.clear()),
            Act::Removed => mailmojo.delete(&email),
            Act::Returns if there.is_some() => {
                mailmojo.set_list_status(&email, LIST, "a");
                mailmojo.set_status(&email, "a")
            }
            Act::Returns => mailmojo.add_contact(contact(&email)),
        };
        if !is_done {
            return;
        }
        match (what, there) {
            (Act::Removed, _) => drop(self.own_tags.remove(&address)),
            (Act::Returns, None) => drop(self.own_tags.insert(address, Vec::new())),
            _ => {}
        }
        self.deeds.push(Deed { act: what, address, began, ended: self.started.elapsed() });
        self.note(&format!("by hand at {email}: {what:?}"));
    }
}
