//! A contact held against its history.
//!
//! Where the order of things decides (somebody fills in a phone while a sync is on its way), each of the outcomes is
//! allowed, but a loss has to be excused by a race that the sandbox has seen.

use std::collections::BTreeSet;

use sesamy_mailmojo::sandbox::{Contact, Mailmojo, Races};

use super::{Ledger, Rules, Statuses, Text};
use crate::cases::{FOR_EVER, GIFT};
use crate::person::Wanted;

const LIST: i64 = Mailmojo::LIST;

/// Losses that no client could have avoided, counted against the races that the sandbox has seen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Excuses {
    lost: u64,
    revived: u64,
    overwritten: u64,
}

impl Excuses {
    /// Whether anything was lost at all.
    pub fn any(self) -> bool {
        self.lost + self.revived + self.overwritten > 0
    }

    pub fn add(&mut self, more: Self) {
        self.lost += more.lost;
        self.revived += more.revived;
        self.overwritten += more.overwritten;
    }

    /// What was lost beyond what the races excuse.
    pub fn beyond(self, races: Races) -> Option<String> {
        let excess = self.lost > races.lost_unseen_tags
            || self.revived > races.revived_tags
            || self.overwritten > races.overwritten_unseen;
        excess.then(|| format!("more was lost than the races excuse: {self:?}, but {races:?}"))
    }
}

/// How a field is had of what is wanted.
type Of = fn(&Wanted) -> &Option<String>;

/// What Sesamy ever said of a field, and whether it may be filled in at all.
struct FieldRule<'a> {
    ever: Vec<&'a String>,
    now: Option<&'a String>,
    is_closed: bool,
    may_be_closed: bool,
}

impl Text {
    fn judge(&self, rule: &FieldRule<'_>, is: &Option<String>, excuses: &mut Excuses) -> Option<String> {
        let ever = || rule.ever.iter().any(|wanted| is.as_ref() == Some(wanted));
        if let Some(by_hand) = &self.by_hand {
            if is.as_ref() == Some(by_hand) {
                return None;
            }
            excuses.overwritten += 1;
            return (!ever()).then(|| format!("should be {by_hand:?}, filled in by hand"));
        }
        let stays = self.is_present() || rule.is_closed;
        match (is == &self.initial, stays) {
            (true, true) => None,
            (false, true) => Some(format!("should still be {:?}", self.initial)),
            (true, false) if rule.now.is_none() || rule.may_be_closed => None,
            (true, false) => Some(format!("should be {:?}", rule.now)),
            (false, false) => (!ever()).then(|| format!("should be one of {:?}", rule.ever)),
        }
    }
}

impl Ledger {
    /// Holds `is`, the contact now, against the history; what is wrong with it.
    /// `may_stay_away`: nobody has to make it, or put it on the list.
    pub fn judge(
        &self,
        is: Option<&Contact>,
        rules: Rules,
        may_stay_away: bool,
        excuses: &mut Excuses,
    ) -> Vec<String> {
        let Some(is) = is else {
            let must_be = self.is_there || (self.now.is_some() && rules.creates && !may_stay_away);
            return if must_be { vec!["the contact is missing".to_owned()] } else { Vec::new() };
        };
        if !self.is_there && (self.ever.is_empty() || !rules.creates) {
            return vec!["the contact should not be there".to_owned()];
        }
        let mut wrong = Vec::new();
        wrong.extend(self.judge_statuses(is, rules, may_stay_away));
        wrong.extend(self.judge_fields(is, excuses));
        wrong.extend(self.judge_own_tags(is, excuses));
        wrong.extend(self.judge_sesamy_tags(is));
        wrong
    }

    /// Nobody goes anywhere, but for somebody active whom the list has never known.
    fn judge_statuses(&self, is: &Contact, rules: Rules, may_stay_away: bool) -> Option<String> {
        let known = |lists: &[(i64, String)]| lists.iter().any(|(list, _)| *list == LIST);
        let open = self.statuses.account == "a" && !known(&self.statuses.lists) && rules.creates;
        let lists = is.associations.iter().map(|known| (known.list_id, known.status.clone())).collect();
        let is = Statuses { account: is.status.clone(), lists };
        let mut subscribed = self.statuses.clone();
        subscribed.lists.push((LIST, "a".to_owned()));
        let may_stay = !(open && self.now.is_some()) || may_stay_away;
        let may_be_subscribed = open && !self.ever.is_empty();
        let right = (is == self.statuses && may_stay) || (is == subscribed && may_be_subscribed);
        let expected = if may_be_subscribed { &subscribed } else { &self.statuses };
        (!right).then(|| format!("the statuses should be {expected:?}, not {is:?}"))
    }

    fn judge_fields(&self, is: &Contact, excuses: &mut Excuses) -> Vec<String> {
        let mut wrong = Vec::new();
        if is.name != self.whole_name {
            wrong.push(format!("name is {:?}, but should still be {:?}", is.name, self.whole_name));
        }
        let has_whole = self.whole_name.as_ref().is_some_and(|name| !name.trim().is_empty());
        let in_parts = |text: &Text| text.is_present() && text.by_hand.is_none();
        let is_closed = has_whole && !self.first_name.is_present() && !self.last_name.is_present();
        let is_closed = is_closed && !self.names_by_hand;
        let may_be_closed = has_whole && !in_parts(&self.first_name) && !in_parts(&self.last_name);
        let fields: [(&str, &Text, &Option<String>, Of); 3] = [
            ("first_name", &self.first_name, &is.first_name, |wanted| &wanted.first_name),
            ("last_name", &self.last_name, &is.last_name, |wanted| &wanted.last_name),
            ("phone", &self.phone, &is.phone, |wanted| &wanted.phone),
        ];
        for (name, text, is, of) in fields {
            let is_name = name != "phone";
            let rule = FieldRule {
                ever: self.ever.iter().filter_map(|wanted| of(wanted).as_ref()).collect(),
                now: self.now.as_ref().and_then(|wanted| of(wanted).as_ref()),
                is_closed: is_closed && is_name,
                may_be_closed: may_be_closed && is_name,
            };
            wrong.extend(text.judge(&rule, is, excuses).map(|why| format!("{name} is {is:?}, but {why}")));
        }
        wrong
    }

    fn judge_own_tags(&self, is: &Contact, excuses: &mut Excuses) -> Option<String> {
        let are = is.own_tags();
        let revived = |tag: &&str| self.was_own.contains(*tag) && !self.own.iter().any(|own| own == tag);
        let lost = |tag: &&str| self.by_hand.contains(*tag) && !are.contains(tag);
        let should: Vec<&str> = self.own.iter().map(String::as_str).filter(|tag| !lost(tag)).collect();
        let kept: Vec<&str> = are.iter().copied().filter(|tag| !revived(tag)).collect();
        excuses.lost += (self.own.len() - should.len()) as u64;
        excuses.revived += (are.len() - kept.len()) as u64;
        (kept != should).then(|| format!("the own tags are {are:?}, but should be {:?}", self.own))
    }

    fn judge_sesamy_tags(&self, is: &Contact) -> Option<String> {
        let are = is.sesamy_tags();
        let set: BTreeSet<&str> = are.iter().copied().collect();
        let before: BTreeSet<&str> = self.sesamy.iter().map(String::as_str).collect();
        let ever: BTreeSet<&str> = self.ever_tags.iter().map(String::as_str).collect();
        let Some(now) = &self.now else {
            // A gift is what it looks like where the contract has gone between two reads.
            let known = |tag: &str| before.contains(tag) || ever.contains(tag) || tag == GIFT;
            let strange: Vec<_> = set.iter().filter(|tag| !known(tag)).collect();
            let untouched = !self.ever.is_empty() || self.touched || set == before;
            return (!strange.is_empty() || !untouched).then(|| {
                format!("Sesamy's tags are {are:?}, but were {before:?} and nothing may come of the user")
            });
        };
        let mut should: BTreeSet<&str> = now.tags.iter().map(String::as_str).collect();
        if before.contains(FOR_EVER) || (ever.contains(FOR_EVER) && set.contains(FOR_EVER)) {
            should.insert(FOR_EVER);
        }
        if set != should || are.len() != set.len() {
            return Some(format!("Sesamy's tags are {are:?}, but should be {should:?}"));
        }
        let sorted: Vec<&str> = is.own_tags().into_iter().chain(should.iter().copied()).collect();
        let was_changed = !self.touched && before != should;
        (was_changed && sorted != is.tags)
            .then(|| format!("the tags should come as {sorted:?}, not {:?}", is.tags))
    }
}
