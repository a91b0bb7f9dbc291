//! Whether a sync put anybody on the list against their will. The evidence is what the sandbox was asked and answered, when
//! each sync was logged, and what people did to the contacts.
//!
//! | a person | no sync that begins later may |
//! |---|---|
//! | removes a contact | make it again, if a sync of this user has seen it, or of another user who still has the address |
//! | takes a contact off the list | put it back, if one of these syncs has seen it on the list |
//! | leaves the list or the account | put the contact back |
//! | does any of this, and then the user gets another address | put the contact of the new address on the list |
//!
//! What a sync has seen counts once the sync is settled, however it ended. It does not count if the process was killed before
//! that, nor if another user's sync may have made the call. What another user saw does not count after that user has moved
//! to another address: the service finds other users by their present address only.

use std::collections::BTreeSet;
use std::time::Duration;

use sesamy_mailmojo::sandbox::{Call, Contact, Mailmojo, Route};

use crate::household::{Act, Deed, Household, OWN_TAGS, TAG};
use crate::ledger::Rules;
use crate::watch::Life;

/// How long the settlement of a sync may take once it is logged.
const SETTLING: Duration = Duration::from_secs(2);

/// One sync of a user, by the calls that it made and its line in the log.
#[derive(Debug)]
struct SyncRun {
    who: usize,
    began: Duration,
    ended: Duration,
    /// The address in the profile; none if it was just changing.
    at: Option<usize>,
    /// When it was settled at the latest; none if it was cut off, or killed soon after its log line.
    settled: Option<Duration>,
    /// The reason in its log line, empty for most; none if it failed or was cut off.
    done: Option<String>,
}

/// An answer of Mailmojo's with a contact.
#[derive(Debug)]
struct Sighting {
    address: usize,
    came: Duration,
    /// The syncs that may have made the call.
    by: Vec<usize>,
    on_list: bool,
    has_left: bool,
}

/// All that is known about one household.
pub struct Evidence<'a> {
    household: &'a Household,
    rules: Rules,
    /// In order of their beginnings.
    syncs: Vec<SyncRun>,
    sightings: Vec<Sighting>,
    writes: Vec<&'a Call>,
}

impl<'a> Evidence<'a> {
    pub fn new(household: &'a Household, rules: Rules, calls: &'a [Call], lives: &[Life]) -> Self {
        let mut syncs: Vec<SyncRun> =
            (0..household.residents.len()).flat_map(|who| syncs_of(household, who, calls, lives)).collect();
        syncs.sort_by_key(|sync| sync.began);
        let mut evidence = Self { household, rules, syncs, sightings: Vec::new(), writes: Vec::new() };
        for call in calls {
            let Some(address) = evidence.address_of(call) else { continue };
            if matches!(call.route, Route::Subscribe | Route::ContactPatch) {
                evidence.writes.push(call);
            }
            evidence.sightings.extend(evidence.sighting(call, address));
        }
        evidence
    }

    fn address_of(&self, call: &Call) -> Option<usize> {
        let subject = call.subject.as_deref()?;
        self.household.addresses.iter().position(|email| email == subject)
    }

    fn sighting(&self, call: &Call, address: usize) -> Option<Sighting> {
        let answer = call.answer.as_ref().filter(|_| call.status.is_some_and(|status| status < 300))?;
        let lists = answer["list_associations"].as_array().into_iter().flatten();
        let place = lists.into_iter().find(|known| known["list_id"] == Mailmojo::LIST);
        let is_asked = match call.route {
            Route::ContactGet => false,
            Route::ListMember | Route::Subscribe => true,
            _ => return None,
        };
        let left = |status: &serde_json::Value| matches!(status.as_str(), Some("u" | "d"));
        Some(Sighting {
            address,
            came: call.came,
            by: (0..self.syncs.len()).filter(|at| self.syncs[*at].spans(call.came)).collect(),
            on_list: is_asked || place.is_some(),
            has_left: left(&answer["status"]) || place.is_some_and(|place| left(&place["status"])),
        })
    }

    /// Act was done against somebody's will.
    pub fn judges_writes(&self) -> Vec<String> {
        let subscribes = self.writes.iter().filter(|call| call.route == Route::Subscribe);
        let against = |call: &&&Call| {
            let makers: Vec<&SyncRun> = self.makers(call).collect();
            !makers.is_empty() && makers.iter().all(|sync| self.is_barred(sync, call))
        };
        subscribes.filter(against).map(|call| format!("against somebody's will: {call}")).collect()
    }

    /// The syncs that may have sent this call.
    fn makers(&self, call: &Call) -> impl Iterator<Item = &SyncRun> {
        let address = self.address_of(call);
        let may_be = move |sync: &&SyncRun| sync.at.is_none() || sync.at == address;
        self.syncs.iter().filter(|sync| sync.spans(call.came)).filter(may_be)
    }

    /// Whether a rule certainly forbids `sync` to put the contact of `call` on the list.
    fn is_barred(&self, sync: &SyncRun, call: &Call) -> bool {
        let Some(address) = sync.at else { return false };
        let deeds = self.departures(address, sync.began, call.came);
        let others = self.others_at(address, sync, call.came);
        let is_known = |deed: &Deed, on_list: bool| {
            let seen = |who| self.has_seen(who, address, sync.began, deed, on_list);
            seen(sync.who) || others.iter().any(|who| seen(*who))
        };
        let stands = |deed: &&Deed| match deed.act {
            Act::Removed => is_known(deed, false) && !self.is_made_again(deed, call.came),
            Act::TakenOff => is_known(deed, true),
            _ => true,
        };
        deeds.iter().any(stands) || self.left_before(sync, address, call.came)
    }

    /// Act was done at a contact by `began`, and was not undone by `now`.
    fn departures(&self, address: usize, began: Duration, now: Duration) -> Vec<&Deed> {
        let mut open: Vec<&Deed> = Vec::new();
        let by_now = |deed: &&Deed| deed.address == address && deed.began < now;
        for deed in self.household.deeds.iter().filter(by_now) {
            match deed.act {
                Act::Returns => open.clear(),
                // The status went with the contact or its place: nobody can see any more that its reader had left.
                Act::Removed => open.retain(|it| it.act == Act::TakenOff),
                Act::TakenOff => open.retain(|it| it.act != Act::LeavesTheList),
                _ => {}
            }
            let is_shown = deed.act != Act::LeavesTheList || self.rules.shows_lists;
            if deed.act != Act::Returns && deed.ended < began && is_shown {
                open.push(deed);
            }
        }
        open
    }

    /// Whether a sync of `who`, settled before `now`, certainly saw the contact (with `on_list`: on the list) before `deed`.
    fn has_seen(&self, who: usize, address: usize, now: Duration, deed: &Deed, on_list: bool) -> bool {
        let before = |it: &&Sighting| it.address == address && it.came < deed.began;
        let mut seen = self.sightings.iter().filter(before);
        seen.any(|it| (it.on_list || !on_list) && self.is_sure(it, who, now))
    }

    /// Whether a sync may have put the contact on the list again since `deed`, for a user without a reason against it.
    fn is_made_again(&self, deed: &Deed, now: Duration) -> bool {
        let subscribes = self.writes.iter().filter(|call| call.route == Route::Subscribe);
        let mut at_it = subscribes.filter(|call| self.address_of(call) == Some(deed.address));
        at_it.any(|call| call.ended > deed.began && call.came < now)
    }

    fn is_sure(&self, sighting: &Sighting, who: usize, now: Duration) -> bool {
        let [by] = sighting.by[..] else { return false };
        let sync = &self.syncs[by];
        sync.who == who && sync.settled.is_some_and(|settled| settled <= now)
    }

    /// The last sync of `who` that ended well and was settled before `now`. None if a later one that began before `end` may
    /// have changed the remembered address.
    fn last_done(&self, who: usize, now: Duration, end: Duration) -> Option<&SyncRun> {
        let all = || self.syncs.iter().filter(|sync| sync.who == who);
        let is_settled = |sync: &SyncRun| sync.settled.is_some_and(|settled| settled <= now);
        let last = all().rfind(|sync| sync.done.is_some() && is_settled(sync) && sync.at.is_some())?;
        let since = all().filter(|sync| sync.began > last.began && sync.began < end);
        // A failed one leaves the address as it was.
        let mut may_differ = since.filter(|sync| sync.done.is_some() || !is_settled(sync));
        may_differ.all(|sync| sync.at == last.at).then_some(last)
    }

    /// The other users whose rows certainly have this address from the beginning of `sync` until `now`.
    fn others_at(&self, address: usize, sync: &SyncRun, now: Duration) -> Vec<usize> {
        let is_there =
            |who: &usize| self.last_done(*who, sync.began, now).is_some_and(|last| last.at == Some(address));
        (0..self.household.residents.len()).filter(|who| *who != sync.who).filter(is_there).collect()
    }

    /// Whether the user of `sync` had certainly left under the previous address.
    fn left_before(&self, sync: &SyncRun, address: usize, now: Duration) -> bool {
        let Some(last) = self.last_done(sync.who, sync.began, sync.began) else { return false };
        let returns = |deed: &Deed| deed.act == Act::Returns && deed.began > last.began && deed.began < now;
        if last.done.as_deref() == Some("left_under_old_address") && !self.household.deeds.iter().any(returns)
        {
            return true;
        }
        let Some(old) = last.at.filter(|old| *old != address) else { return false };
        let seen = |deed: &Deed, on_list| self.has_seen(sync.who, old, sync.began, deed, on_list);
        let stands = |deed: &&Deed| match deed.act {
            Act::Removed => seen(deed, false) && !self.is_made_again(deed, now),
            Act::TakenOff => seen(deed, true) && !self.is_made_again(deed, now),
            _ => true,
        };
        self.departures(old, sync.began, now).iter().any(stands) || self.had_left_beside(sync, old, now)
    }

    /// Whether another user has the previous address, and this user's last sync there saw that its reader had left. What the
    /// contact is now may be the other user's doing.
    fn had_left_beside(&self, sync: &SyncRun, old: usize, now: Duration) -> bool {
        let others = self.household.residents.iter().enumerate().filter(|(who, _)| *who != sync.who);
        let is_shared = others.map(|(_, it)| it.at_time(sync.began, now)).any(|at| at == Some(old));
        let may_have_seen = |it: &&Sighting| {
            it.address == old
                && it.came < sync.began
                && it.by.iter().any(|by| self.syncs[*by].who == sync.who)
        };
        let last = self.sightings.iter().filter(may_have_seen).max_by_key(|it| it.came);
        is_shared && last.is_some_and(|last| last.has_left && self.is_sure(last, sync.who, sync.began))
    }

    /// Act is wrong with the contacts, once all users have been synced since the last change.
    pub fn judges_contacts(&self, contacts: impl Fn(&str) -> Option<Contact>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (address, email) in self.household.addresses.iter().enumerate() {
            let own = self.household.own_tags.get(&address);
            let Some(contact) = contacts(email) else {
                wrong.extend(own.map(|_| format!("{email} is missing")));
                let must_be =
                    self.rules.creates && self.household.deeds.is_empty() && self.is_lived_in(address);
                wrong.extend(must_be.then(|| format!("{email} should have been made")));
                continue;
            };
            let own_tags = contact.own_tags();
            // A write that is on its way while a contact is removed and made again may bring back what it has read.
            let may_be_revived = own_tags == OWN_TAGS && self.was_removed(address);
            if own_tags != own.map_or(&[][..], Vec::as_slice) && !may_be_revived {
                wrong.push(format!("the own tags of {email} should be {own:?}: {contact:?}"));
            }
            let tags: BTreeSet<&str> = contact.sesamy_tags().into_iter().collect();
            let expected =
                if self.is_lived_in(address) { Some(true) } else { self.is_left(address).then_some(false) };
            if expected.is_some_and(|has| tags != has.then_some(TAG).into_iter().collect()) {
                wrong.push(format!(
                    "our tags should {}be on {email}: {contact:?}",
                    if expected == Some(true) { "" } else { "not " }
                ));
            }
        }
        wrong
    }

    fn was_removed(&self, address: usize) -> bool {
        self.household.deeds.iter().any(|deed| deed.address == address && deed.act == Act::Removed)
    }

    fn is_lived_in(&self, address: usize) -> bool {
        self.household.residents.iter().any(|it| it.at() == address)
    }

    /// Whether our tags must be gone from a contact. If two users have had the address, each may have moved away while the
    /// other one's row still had it. And a row has an address only once a sync has ended well there.
    fn is_left(&self, address: usize) -> bool {
        let had: Vec<usize> = (0..self.household.residents.len())
            .filter(|who| self.household.residents[*who].had(address))
            .collect();
        let tagged = |call: &&&Call| {
            let tags = call.body.as_ref().and_then(|body| body["tags"].as_array());
            self.address_of(call) == Some(address)
                && tags.is_some_and(|tags| tags.iter().any(|tag| tag == TAG))
        };
        let last = self.writes.iter().filter(tagged).map(|call| call.came).max();
        let is_known = |sync: &SyncRun| {
            sync.at == Some(address)
                && sync.done.is_some()
                && sync.settled.is_some()
                && last <= Some(sync.ended)
        };
        self.rules.creates && had.len() == 1 && self.syncs.iter().any(is_known)
    }
}

impl SyncRun {
    fn spans(&self, time: Duration) -> bool {
        self.began <= time && time <= self.ended
    }
}

/// The syncs of a user: each begins with a call for the profile, and ends with a line in the log or with the process.
fn syncs_of(household: &Household, who: usize, calls: &[Call], lives: &[Life]) -> Vec<SyncRun> {
    let resident = &household.residents[who];
    let is_profile =
        |call: &&Call| call.route == Route::Profile && call.subject.as_deref() == Some(&resident.id);
    let mut profiles: Vec<&Call> = calls.iter().filter(is_profile).collect();
    profiles.sort_by_key(|call| call.came);
    let (mut syncs, mut from) = (Vec::new(), Duration::ZERO);
    for life in lives {
        let lines = life.lines.iter().filter(|line| line.user == resident.id);
        for (ended, line) in lines.map(|line| (line.at, Some(line))).chain([(life.end, None)]) {
            let asked = || profiles.iter().filter(|call| from <= call.came && call.came < ended);
            if let (Some(first), Some(last)) = (asked().next(), asked().next_back()) {
                let next =
                    profiles.iter().map(|call| call.came).find(|came| *came > ended && *came < life.end);
                let later = Some(ended.saturating_add(SETTLING)).filter(|later| *later < life.end);
                let stopped = Some(life.end).filter(|_| !life.was_killed);
                let settled = [next, later, stopped].into_iter().flatten().min();
                syncs.push(SyncRun {
                    who,
                    began: first.came,
                    ended,
                    at: resident.at_time(last.came, last.ended),
                    settled: settled.filter(|_| line.is_some()),
                    done: line.filter(|line| line.is_done).map(|line| line.reason.clone()),
                });
            }
            from = ended;
        }
    }
    syncs
}
