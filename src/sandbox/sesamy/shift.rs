//! What changes of itself: `updatedAt` with every edit, and the list of users between two of its pages.

use std::collections::BTreeMap;

use serde_json::Value;

use super::user::{OLD, User};

/// Somebody comes or goes once the page of users that begins at `offset` has been answered.
#[derive(Debug, Clone)]
pub(super) struct Shift {
    pub(super) offset: usize,
    pub(super) what: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Comes(User),
    Goes(String),
}

/// Strikes the shifts of the page at `offset`, each once.
pub(super) fn strike(shifts: &mut Vec<Shift>, offset: usize, users: &mut BTreeMap<String, User>) {
    let (due, later): (Vec<_>, Vec<_>) = shifts.drain(..).partition(|shift| shift.offset == offset);
    *shifts = later;
    for shift in due {
        match shift.what {
            Change::Comes(user) => drop(users.insert(user.id.clone(), user)),
            Change::Goes(id) => drop(users.remove(&id)),
        }
    }
}

/// Sets `updatedAt` of everything that differs from `before`, but where the edit has set one itself. The rows of a new
/// user keep theirs.
pub(super) fn touch(before: Option<&User>, after: &mut User) {
    let now = now();
    let old = before.map(|user| Value::Object(user.profile.clone()));
    let mut profile = Value::Object(std::mem::take(&mut after.profile));
    stamp(old.as_ref(), &mut profile, &now);
    if let Value::Object(fields) = profile {
        after.profile = fields;
    }
    let Some(before) = before else { return };
    for (old, new) in
        [(&before.contracts, &mut after.contracts), (&before.entitlements, &mut after.entitlements)]
    {
        for row in new {
            let id = row.get("id").cloned();
            let same = old.iter().find(|old| id.is_some() && old.get("id") == id.as_ref());
            stamp(same, row, &now);
        }
    }
}

fn stamp(before: Option<&Value>, after: &mut Value, now: &str) {
    if before == Some(&*after) {
        return;
    }
    let Value::Object(fields) = after else { return };
    let known = match before {
        Some(before) => before.get("updatedAt"),
        None => None,
    };
    let set = fields.get("updatedAt");
    let is_as_it_was = set == known || before.is_none() && set.is_some_and(|it| it == OLD);
    if is_as_it_was {
        fields.insert("updatedAt".to_owned(), now.into());
    }
}

/// The time as the API writes it: to the millisecond.
fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{:.3}", jiff::Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now))
}
