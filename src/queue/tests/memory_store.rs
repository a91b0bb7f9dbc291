//! A store in memory, for tests of what stands above the seam.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::{Clock, Millis};
use crate::queue::QueueError;
use crate::queue::history::HistoryRow;
use crate::queue::lane::Lane;
use crate::queue::row::{Row, RowState};
use crate::queue::store::{Answer, Change, First, Index, Look, Push, Question, Seen, Store};
use crate::queue::views::{Census, ParkedGroup};

#[derive(Debug)]
pub(in crate::queue) struct MemoryStore {
    clock: Clock,
    debounce: Duration,
    kept: Arc<Mutex<Kept>>,
    is_closed: AtomicBool,
}

/// What is kept, also after a store is closed.
#[derive(Debug, Default)]
pub(in crate::queue) struct Kept {
    rows: BTreeMap<String, Row>,
    history: BTreeMap<i64, (String, HistoryRow)>,
    documents: BTreeMap<String, String>,
    tombstones: BTreeSet<String>,
}

impl MemoryStore {
    pub(in crate::queue) fn new(clock: Clock, debounce: Duration, kept: Arc<Mutex<Kept>>) -> Self {
        Self { clock, debounce, kept, is_closed: false.into() }
    }

    fn open(&self) -> Result<MutexGuard<'_, Kept>, QueueError> {
        if self.is_closed.load(Ordering::Relaxed) {
            Err(QueueError::Closed)
        } else {
            Ok(self.kept.lock().unwrap())
        }
    }
}

impl Store for MemoryStore {
    async fn push(&self, event: Push) -> Result<(), QueueError> {
        let mut kept = self.open()?;
        let id = event.user.as_str();
        let row = kept.rows.remove(id).unwrap_or_else(|| Row::new(id));
        let row = row.pushed(event.cause, self.clock.now().plus(self.debounce));
        kept.rows.insert(id.to_owned(), row);
        Ok(())
    }

    async fn transact<A, D>(&self, look: Look, decide: D) -> Result<A, QueueError>
    where
        A: Send + 'static,
        D: Fn(&Seen) -> (Change, A) + Send + Sync + 'static,
    {
        let mut kept = self.open()?;
        let seen = kept.seen(&look, self.clock.now(), self.clock.wall());
        let (change, answer) = decide(&seen);
        kept.save(change);
        Ok(answer)
    }

    async fn ask(&self, question: Question) -> Result<Answer, QueueError> {
        Ok(self.open()?.answer(question, self.clock.now()))
    }

    fn accepting(&self) -> bool {
        self.open().is_ok()
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

impl Kept {
    fn seen(&self, look: &Look, now: Millis, wall: Millis) -> Seen {
        let rows: BTreeMap<String, Row> =
            look.rows.iter().filter_map(|id| Some((id.clone(), self.rows.get(id)?.clone()))).collect();
        let last = |id: &String| self.history.iter().rfind(|(_, (user, _))| user == id);
        let last_entries = rows.keys().filter(|_| look.last_entries);
        let last_entries = last_entries.filter_map(|id| {
            let (number, (_, entry)) = last(id)?;
            Some((id.clone(), HistoryRow { id: *number, ..entry.clone() }))
        });
        let documents = look.documents.iter();
        let documents = documents.filter_map(|name| Some((name.clone(), self.documents.get(name)?.clone())));
        let entries = look.entries_before.map(|(before, most)| {
            let old = self.history.iter().filter(|(_, (_, entry))| entry.last_at < before);
            let mut old: Vec<(Millis, i64)> = old.map(|(id, (_, entry))| (entry.last_at, *id)).collect();
            old.sort();
            old.into_iter().map(|(_, id)| id).take(most).collect()
        });
        let later = |lane: &Lane| {
            let of_lane = self.rows.values().filter(|row| row.lane == *lane).filter_map(|row| row.due_at);
            Some((*lane, of_lane.filter(|due| *due > now).min()?))
        };
        Seen {
            now,
            wall,
            last_entries: last_entries.collect(),
            rows,
            first: look.first.iter().map(|first| self.first(first, now, wall)).collect(),
            documents: documents.collect(),
            tombstones: look.tombstones.iter().filter(|it| self.tombstones.contains(*it)).cloned().collect(),
            entries: entries.unwrap_or_default(),
            next_due: Lane::ALL.iter().filter(|_| look.next_due).filter_map(later).collect(),
        }
    }

    fn first(&self, first: &First, now: Millis, wall: Millis) -> Vec<Row> {
        let is_in = |row: &Row| match &first.of {
            Index::Due(lane) => row.lane == *lane && row.due_at.is_some_and(|due| due <= now),
            Index::CheckDue => row.lease.is_none() && row.check_at.is_some_and(|at| at <= wall),
            Index::CheckAfter { cause, at } => {
                row.check_cause.as_deref() == Some(cause) && row.check_at.is_some_and(|check| check > *at)
            }
            Index::HeldBack => row.held_back && row.lease.is_none(),
            Index::LeasedByServiceBeyond(at) => {
                let is_services = row.lease.as_ref().is_some_and(|it| it.as_str().starts_with("service-"));
                is_services && row.due_at.is_some_and(|due| due > *at)
            }
            Index::DueBeyond(at) => row.lease.is_none() && row.due_at.is_some_and(|due| due > *at),
            Index::ParkedWith(answer) => row.parked_at.is_some() && row.answer.as_ref() == Some(answer),
            Index::MissingBefore(before) => {
                row.last_seen.missing_since.is_some_and(|since| since < *before)
                    && row.last_seen.email_key().is_none()
                    && row.due_at.is_none()
                    && !row.held_back
            }
        };
        let mut rows: Vec<&Row> = self.rows.values().filter(|row| is_in(row)).collect();
        match first.of {
            Index::Due(_) | Index::LeasedByServiceBeyond(_) => rows.sort_by_key(|row| row.due_at),
            Index::DueBeyond(_) => rows.sort_by_key(|row| (row.lane, row.due_at)),
            Index::CheckDue | Index::CheckAfter { .. } => rows.sort_by_key(|row| row.check_at),
            Index::MissingBefore(_) => rows.sort_by_key(|row| row.last_seen.missing_since),
            Index::HeldBack | Index::ParkedWith(_) => {}
        }
        rows.into_iter().take(first.most).cloned().collect()
    }

    fn save(&mut self, change: Change) {
        for row in change.rows {
            // As the other stores do: through the record of a row.
            let row = Row::of_record(row.to_record()).unwrap();
            self.rows.insert(row.user_id.clone(), row);
        }
        for id in change.erased {
            self.rows.remove(&id);
            self.history.retain(|_, (user, _)| *user != id);
        }
        for (user, entry) in change.entries {
            let next = self.history.last_key_value().map_or(1, |(id, _)| id + 1);
            let id = if entry.id == 0 { next } else { entry.id };
            self.history.insert(id, (user, HistoryRow { id, ..entry }));
        }
        change.removed_entries.iter().for_each(|id| drop(self.history.remove(id)));
        for (name, text) in change.documents {
            if text.is_empty() {
                self.documents.remove(&name);
            } else {
                self.documents.insert(name, text);
            }
        }
        self.tombstones.extend(change.tombstones);
        self.tombstones.retain(|hash| !change.removed_tombstones.contains(hash));
    }

    fn answer(&self, question: Question, now: Millis) -> Answer {
        let rows = |passes: &dyn Fn(&Row) -> bool, limit: usize| {
            Answer::Rows(self.rows.values().filter(|row| passes(row)).take(limit).cloned().collect())
        };
        let entries = |passes: &dyn Fn(i64, &str, &HistoryRow) -> bool, limit: usize| {
            let all = self.history.iter().rev().filter(|(id, (user, entry))| passes(**id, user, entry));
            Answer::Entries(all.take(limit).map(|(_, kept)| kept.clone()).collect())
        };
        match question {
            Question::Rows(filter) => {
                let reason = filter.reason.map(|reason| reason.to_ascii_lowercase());
                let has = |text: &Option<String>, part: &str| {
                    text.as_ref().is_some_and(|text| text.to_ascii_lowercase().contains(part))
                };
                let passes = |row: &Row| {
                    filter.state.is_none_or(|state| row.state(now) == state)
                        && filter.after.as_ref().is_none_or(|after| row.user_id > *after)
                        && reason.as_ref().is_none_or(|it| has(&row.error, it) || has(&row.answer, it))
                };
                rows(&passes, filter.limit)
            }
            Question::RowsOf(ids) => rows(&|row| ids.contains(&row.user_id), usize::MAX),
            Question::RowsAt(key, most) => {
                rows(&|row| row.last_seen.email_key().as_ref() == Some(&key), most)
            }
            Question::Census => Answer::Census(self.census(now)),
            Question::Parked(most) => Answer::Parked(self.parked(most)),
            Question::History(id, most) => entries(&|_, user, _| user == id, most),
            Question::Log(filter) => {
                let passes = |id: i64, _: &str, entry: &HistoryRow| {
                    filter.outcome.as_ref().is_none_or(|outcome| entry.outcome == *outcome)
                        && (!filter.lost_tags || entry.lost_tags())
                        && filter.since.is_none_or(|since| entry.last_at >= since)
                        && filter.before.is_none_or(|before| id < before)
                };
                entries(&passes, filter.limit)
            }
            Question::Documents(prefix) => {
                let all = self.documents.iter().filter(|(name, _)| name.starts_with(&prefix));
                Answer::Documents(all.map(|(name, text)| (name.clone(), text.clone())).collect())
            }
            Question::Tombstones(hashes) => {
                Answer::Tombstones(hashes.into_iter().filter(|hash| self.tombstones.contains(hash)).collect())
            }
            Question::EndedSince(since) => {
                let mut ended: BTreeMap<(String, String), u64> = BTreeMap::new();
                let is_since = |at: Option<Millis>| at.is_some_and(|at| at >= since);
                for row in self.rows.values().filter(|row| is_since(row.synced_at) || is_since(row.parked_at))
                {
                    let words =
                        (row.outcome.clone().unwrap_or_default(), row.reason.clone().unwrap_or_default());
                    *ended.entry(words).or_default() += 1;
                }
                Answer::Ended(
                    ended.into_iter().map(|((outcome, reason), count)| (outcome, reason, count)).collect(),
                )
            }
        }
    }

    fn census(&self, now: Millis) -> Census {
        let count = |state: RowState| {
            (self.rows.values().filter(|row| row.state(now) == state).count() as u64).min(Census::LIMIT)
        };
        let is_background = |row: &&Row| row.lane == Lane::Background;
        let oldest = |background: bool| {
            let of_lane = self.rows.values().filter(|row| is_background(row) == background);
            let oldest = of_lane.filter_map(|row| row.due_at).min();
            oldest.map_or(0, |due| u64::try_from(now.since(due).as_millis()).unwrap_or(u64::MAX))
        };
        let background = || self.rows.values().filter(is_background);
        Census {
            due: count(RowState::Due),
            leased: count(RowState::Leased),
            scheduled: count(RowState::Scheduled),
            failing: count(RowState::Failing),
            held: count(RowState::Held),
            parked: count(RowState::Parked),
            oldest_due_ms: oldest(false),
            background_due: background().filter(|row| row.state(now) == RowState::Due).count() as u64,
            oldest_background_ms: oldest(true),
            background_waiting: background().filter(|row| row.due_at.is_some()).count() as u64,
        }
    }

    fn parked(&self, most: usize) -> Vec<ParkedGroup> {
        let mut groups: BTreeMap<String, ParkedGroup> = BTreeMap::new();
        for row in self.rows.values() {
            let (Some(at), Some(answer)) = (row.parked_at, row.answer.clone()) else { continue };
            let error = row.error.clone().unwrap_or_default();
            let group = groups.entry(answer.clone()).or_insert_with(|| ParkedGroup {
                answer,
                users: 0,
                first_at: row.failing_since,
                last_at: at,
                error: String::new(),
            });
            group.users += 1;
            group.first_at = group.first_at.into_iter().chain(row.failing_since).min();
            group.last_at = group.last_at.max(at);
            group.error = group.error.clone().max(error);
        }
        let mut groups: Vec<ParkedGroup> = groups.into_values().collect();
        groups.sort_by(|one, other| other.users.cmp(&one.users).then_with(|| one.answer.cmp(&other.answer)));
        groups.truncate(most);
        groups
    }
}
