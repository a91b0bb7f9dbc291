//! What the store keeps of both APIs, and how many leases that allows: the same for every kind of store.
//!
//! Pure. A store reads the two rows, has them checked, asks [`Apis::admit`], leases, tells [`Apis::leased`], and writes
//! the rows where they have changed, all in one transaction. So any number of processes together keep to the rate, and an API's rest holds for all of them.

use std::num::NonZeroU32;

use crate::clock::Millis;
use crate::upstream::rest::{Admission, Change, Kind, Pause, Probe, Shared, Why};
use crate::upstream::{Api, PerApi, Quota, Turn, Used};

use super::command::News;
use super::lease::Standing;
use super::{Job, Known, Lane, LeaseRequest, UserLease};

/// The rate of both APIs, and how much of it a sync takes from the start.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// What each API allows.
    pub quotas: PerApi<Quota>,
    /// How many calls a sync usually makes: taken when it is leased, so that no lease is spent on waiting for a turn.
    pub calls: PerApi<u32>,
}

/// One API's row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ApiState {
    pub(super) used: Used,
    /// What the background lane has used of its own share.
    pub(super) background_used: Used,
    pub(super) rest: Shared,
    /// Since when an operator has paused syncs; the same in both rows.
    pub(super) paused_at: Option<Millis>,
    /// Since when no write takes a tag away; the same in both rows.
    pub(super) braked_at: Option<Millis>,
}

/// Both rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Apis(pub(super) PerApi<ApiState>);

/// How many may be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Up to so many.
    Users(usize),
    /// One, to see whether an API is back: whoever did not fail last, if there is such a user.
    Probe,
    /// Nobody before then.
    NotBefore(Millis),
    /// Nobody until an operator says so.
    Paused,
}

/// The columns of an API's row that are its rest, as both stores write them.
#[derive(Debug, Clone, Default)]
pub(super) struct RestColumns {
    pub(super) revision: i64,
    pub(super) why: Option<String>,
    pub(super) until: Option<i64>,
    pub(super) doublings: i64,
    pub(super) answer: Option<String>,
    pub(super) probe_owner: Option<i64>,
    pub(super) probe_until: Option<i64>,
}

impl Apis {
    /// Sets right what was written under another clock or another quota.
    pub(super) fn check(&mut self, now: Millis, rates: &Rates) {
        for api in Api::ALL {
            let state = self.0.of_mut(api);
            state.used = rates.quotas.of(api).checked(state.used, now);
            state.background_used = rates.share(api).checked(state.background_used, now);
        }
    }

    /// Whether, and how many of `most`, may be leased at `now`.
    pub(super) fn admit(&self, most: usize, now: Millis, rates: &Rates) -> Admitted {
        if self.paused_at().is_some() {
            return Admitted::Paused;
        }
        let mut admitted = Admitted::Users(most);
        for api in Api::ALL {
            let (state, quota) = (self.0.of(api), rates.quotas.of(api));
            let of_rest = match Admission::under(state.rest.pause.as_ref(), now) {
                Admission::Open => Admitted::Users(most),
                Admission::NotBefore(until) => Admitted::NotBefore(until),
                Admission::OneProbe => match state.rest.probe.filter(|probe| now < probe.until) {
                    Some(probe) => Admitted::NotBefore(probe.until),
                    None => Admitted::Probe,
                },
            };
            let each = rates.each(api);
            let of_pace = match quota.available(state.used, now) / each {
                0 => Admitted::NotBefore(quota.ready_at(state.used, now, each)),
                enough => Admitted::Users(most.min(enough as usize)),
            };
            admitted = admitted.and(of_rest).and(of_pace);
        }
        admitted
    }

    /// The same of the background lane, which has its own share of the rates and no more.
    pub(super) fn admit_background(&self, most: usize, now: Millis, rates: &Rates) -> Admitted {
        let of_share = |admitted: Admitted, api| {
            let (state, share, each) = (self.0.of(api), rates.share(api), rates.each(api));
            let used = state.background_used;
            // While events use the rate up, what may wait leaves it to them.
            let reserved = rates.reserved_for_events(api, each);
            let quota = rates.quotas.of(api);
            let left = match quota.available(state.used, now) {
                enough if enough >= reserved + each => Admitted::Users(most),
                _ => Admitted::NotBefore(quota.ready_at(state.used, now, reserved + each)),
            };
            admitted.and(left).and(match share.available(used, now) / each {
                0 => Admitted::NotBefore(share.ready_at(used, now, each)),
                enough => Admitted::Users(most.min(enough as usize)),
            })
        };
        Api::ALL.into_iter().fold(self.admit(most, now, rates), of_share)
    }

    /// What leasing the user whom `request` names makes of the row, which stands as `row`; or why it is not to be. One that
    /// asks for no calls waits for neither API, and for no pause.
    pub(super) fn ask(
        &self,
        request: &LeaseRequest,
        row: Option<&Standing>,
        now: Millis,
        rates: &Rates,
    ) -> Result<Standing, UserLease> {
        let standing = request.onto(row, now)?;
        let admitted = match standing.lane {
            _ if request.calls == PerApi::default() => Admitted::Users(1),
            Lane::Background => self.admit_background(1, now, rates),
            Lane::Events | Lane::Retries => self.admit(1, now, rates),
        };
        match admitted {
            Admitted::Users(_) | Admitted::Probe => Ok(standing),
            Admitted::NotBefore(until) => Err(UserLease::NotBefore(until)),
            Admitted::Paused => Err(UserLease::Paused),
        }
    }

    /// Takes what the syncs of `jobs` need from the quotas, and gives it to them; a probe is noted where one is due.
    pub(super) fn leased(&mut self, jobs: &mut [Job], now: Millis, until: Millis, rates: &Rates) {
        for job in &mut *jobs {
            (job.leased_at, job.calls_taken) = (now, PerApi::each(|api| rates.each(api)));
        }
        if rates.calls == PerApi::default() {
            jobs.iter_mut().for_each(|job| job.calls_taken = PerApi::default());
            return; // it asks neither API, and so tells nothing of one that rests
        }
        for api in Api::ALL {
            let (state, each) = (self.0.of_mut(api), rates.each(api));
            for job in &mut *jobs {
                state.used = rates.quotas.of(api).take(state.used, now, each);
                if job.lane == Lane::Background {
                    state.background_used = rates.share(api).take(state.background_used, now, each);
                }
                *job.calls.of_mut(api) = each;
                if Admission::under(state.rest.pause.as_ref(), now) == Admission::OneProbe {
                    state.rest.probe = Some(Probe { lease_owner: job.lease_owner, until });
                    job.is_probe = true;
                }
            }
        }
    }

    /// When to ask again where `jobs` were leased of `most`, and it was an API that allowed no more; none where there
    /// are no others.
    pub(super) fn not_before(
        &self,
        admitted: Admitted,
        jobs: &[Job],
        most: usize,
        now: Millis,
        rates: &Rates,
    ) -> Option<Millis> {
        admitted.still(jobs.len(), most, || self.admit(most, now, rates))
    }

    /// The same of the background lane; none where there was no room for it.
    pub(super) fn background_not_before(
        &self,
        admitted: Admitted,
        jobs: &[Job],
        most: usize,
        now: Millis,
        rates: &Rates,
    ) -> Option<Millis> {
        if most == 0 {
            return None;
        }
        admitted.still(jobs.len(), most, || self.admit_background(most, now, rates))
    }

    /// Takes back what the sync of `job` did not need, and its probe.
    pub(super) fn settled(&mut self, job: &Job, now: Millis, rates: &Rates) {
        let ago = now.since(job.leased_at);
        for api in Api::ALL {
            let state = self.0.of_mut(api);
            let (quota, left, taken) = (rates.quotas.of(api), *job.calls.of(api), *job.calls_taken.of(api));
            state.used = quota.give_back(state.used, left, taken, ago);
            if job.lane == Lane::Background {
                state.background_used = rates.share(api).give_back(state.background_used, left, taken, ago);
            }
            state.rest = std::mem::take(&mut state.rest).probed_by(job.lease_owner);
        }
    }

    /// Takes one call of `api` for a sync of `lane`, if there is one.
    pub(super) fn take_call(&mut self, api: Api, lane: Lane, now: Millis, rates: &Rates) -> Turn {
        self.check(now, rates);
        let (state, quota, share) = (self.0.of_mut(api), rates.quotas.of(api), rates.share(api));
        let of_background = lane == Lane::Background;
        if quota.available(state.used, now) == 0 {
            return Turn::NotBefore(quota.ready_at(state.used, now, 1));
        }
        let reserved = rates.reserved_for_events(api, 1);
        if of_background && quota.available(state.used, now) <= reserved {
            return Turn::NotBefore(quota.ready_at(state.used, now, reserved + 1));
        }
        if of_background && share.available(state.background_used, now) == 0 {
            return Turn::NotBefore(share.ready_at(state.background_used, now, 1));
        }
        state.used = quota.take(state.used, now, 1);
        if of_background {
            state.background_used = share.take(state.background_used, now, 1);
        }
        Turn::Granted
    }

    /// Takes in what a process tells of `api`.
    fn change(&mut self, api: Api, change: Change) {
        let rest = &mut self.0.of_mut(api).rest;
        *rest = std::mem::take(rest).after(change);
    }

    /// Ends the rests of both, whatever they were.
    pub(super) fn end_rests(&mut self) {
        for api in Api::ALL {
            let rest = &mut self.0.of_mut(api).rest;
            *rest = std::mem::take(rest).ended();
        }
    }

    /// Takes in what one process tells all.
    pub(super) fn hear(&mut self, news: &News, now: Millis) {
        match news {
            News::None => {}
            News::Rest(api, change) => self.change(*api, change.clone()),
            News::Pause => {
                let since = self.paused_at().unwrap_or(now);
                self.set_paused(Some(since));
            }
            News::Resume => {
                self.set_paused(None);
                self.set_braked(None);
                self.end_rests();
            }
            News::Brake => {
                let since = self.braked_at().unwrap_or(now);
                self.set_braked(Some(since));
            }
            News::Release => self.set_braked(None),
        }
    }

    /// What all know.
    pub(super) fn known(&self) -> Known {
        let rests = PerApi::each(|api| self.0.of(api).rest.clone());
        Known { rests, paused_at: self.paused_at(), braked_at: self.braked_at() }
    }

    fn paused_at(&self) -> Option<Millis> {
        Api::ALL.into_iter().find_map(|api| self.0.of(api).paused_at)
    }

    /// Since when no write takes a tag away.
    pub(super) fn braked_at(&self) -> Option<Millis> {
        Api::ALL.into_iter().find_map(|api| self.0.of(api).braked_at)
    }

    fn set_braked(&mut self, since: Option<Millis>) {
        Api::ALL.into_iter().for_each(|api| self.0.of_mut(api).braked_at = since);
    }

    fn set_paused(&mut self, since: Option<Millis>) {
        Api::ALL.into_iter().for_each(|api| self.0.of_mut(api).paused_at = since);
    }
}

impl Rates {
    /// The same rates, for a sync that makes so many calls.
    pub(super) fn with_calls(&self, calls: PerApi<u32>) -> Self {
        Self { calls, ..*self }
    }

    /// So many calls of the burst the background lane leaves alone: half of it, but for what it needs itself.
    fn reserved_for_events(&self, api: Api, each: u32) -> u32 {
        let burst = self.quotas.of(api).burst.get();
        (burst / 2).min(burst.saturating_sub(each))
    }

    /// The background's share of `api`: half the pace, and a tenth of the burst, so that an event always finds calls.
    fn share(&self, api: Api) -> Quota {
        let quota = self.quotas.of(api);
        let at_least = |wanted: u32| NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN);
        Quota {
            per_minute: at_least(quota.per_minute.get() / 2),
            burst: at_least(quota.burst.get() / 10).max(at_least(self.each(api))),
        }
    }

    /// The calls that a lease takes of `api`: at least one, and never more than a burst, which would never be there.
    fn each(&self, api: Api) -> u32 {
        (*self.calls.of(api)).clamp(1, self.quotas.of(api).burst.get())
    }
}

impl Admitted {
    /// The most that may be leased.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Users(most) => most,
            Self::Probe => 1,
            Self::NotBefore(_) | Self::Paused => 0,
        }
    }

    /// When to ask again, where it is an API that admits nobody.
    pub(super) fn not_before(self) -> Option<Millis> {
        match self {
            Self::NotBefore(until) => Some(until),
            Self::Users(_) | Self::Probe | Self::Paused => None,
        }
    }

    /// When to ask again after `leased` of `most` were, where `again` is what is admitted then; none where there was
    /// nobody else to lease.
    fn still(self, leased: usize, most: usize, again: impl FnOnce() -> Self) -> Option<Millis> {
        match self {
            Self::NotBefore(until) => Some(until),
            Self::Paused => None,
            Self::Users(users) if users == most || leased < users => None,
            Self::Probe if leased == 0 => None,
            Self::Users(_) | Self::Probe => again().not_before(),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Paused, _) | (_, Self::Paused) => Self::Paused,
            (Self::NotBefore(one), Self::NotBefore(two)) => Self::NotBefore(one.max(two)),
            (Self::NotBefore(until), _) | (_, Self::NotBefore(until)) => Self::NotBefore(until),
            (Self::Users(one), Self::Users(two)) => Self::Users(one.min(two)),
            (Self::Probe, _) | (_, Self::Probe) => Self::Probe,
        }
    }
}

impl From<&Shared> for RestColumns {
    fn from(rest: &Shared) -> Self {
        let pause = rest.pause.as_ref();
        Self {
            revision: rest.revision,
            why: pause.map(|pause| pause.why.as_str().to_owned()),
            until: pause.map(|pause| pause.until.0),
            doublings: pause.map_or(0, |pause| pause.doublings.into()),
            answer: pause.and_then(|pause| match &pause.kind {
                Some(Kind::Permanent(answer)) => Some(answer.clone()),
                Some(Kind::Transient) | None => None,
            }),
            probe_owner: rest.probe.map(|probe| probe.lease_owner),
            probe_until: rest.probe.map(|probe| probe.until.0),
        }
    }
}

impl From<RestColumns> for Shared {
    /// A word that is not known is of a later version: no rest.
    fn from(columns: RestColumns) -> Self {
        let why = columns.why.as_deref().and_then(|word| Why::ALL.into_iter().find(|it| it.as_str() == word));
        let pause = why.zip(columns.until).map(|(why, until)| Pause {
            why,
            until: Millis(until),
            doublings: columns.doublings.try_into().unwrap_or(u32::MAX),
            kind: (why == Why::Outage).then(|| columns.answer.map_or(Kind::Transient, Kind::Permanent)),
        });
        let probe = columns.probe_owner.zip(columns.probe_until);
        let probe = probe.map(|(lease_owner, until)| Probe { lease_owner, until: Millis(until) });
        Self { revision: columns.revision, pause, probe }
    }
}
