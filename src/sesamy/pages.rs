//! A list of Sesamy's, read page by page until all of it is there.
//!
//! Half a list would take away tags that a user should keep, so whatever does not add up is the wrong shape.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Rows asked for in one call. Source: assumed to be the most that a page can have.
pub(crate) const PAGE_LIMIT: usize = 100;

/// So many rows are no user's, but a list that never ends.
const MAX_ROWS: usize = 20_000;

/// The rows read so far.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    rows: Vec<Value>,
    ids: HashSet<String>,
    offset: usize,
}

/// Whether the list is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Ask again, with the new offset.
    More,
    /// All rows are there.
    Complete,
}

/// What the guide's envelope says about paging.
#[derive(Debug, Default, Deserialize)]
struct Pagination {
    total: Option<usize>,
    limit: Option<usize>,
}

impl Pages {
    /// Where the next page begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Takes the next page. A row that came on an earlier page already, because rows have shifted, is passed over.
    pub(crate) fn take(&mut self, answer: Value) -> Result<Progress, &'static str> {
        let page = RawPage::read(answer, self.offset)?;
        let known = self.rows.len();
        self.offset += page.rows.len();
        for row in page.rows {
            let id = row.get("id").and_then(Value::as_str).map(str::to_owned);
            if id.is_none_or(|id| self.ids.insert(id)) {
                self.rows.push(row);
            }
        }
        if self.rows.len() > MAX_ROWS {
            return Err("a list has too many rows to be one user's");
        }
        match page.next {
            None => Ok(Progress::Complete),
            Some(_) if self.rows.len() == known => Err("a list answers the same page again and again"),
            Some(_) => Ok(Progress::More),
        }
    }

    /// All rows, typed.
    pub(crate) fn rows<T: DeserializeOwned>(self) -> Result<Vec<T>, &'static str> {
        let typed: Result<Vec<T>, _> = self.rows.into_iter().map(serde_json::from_value).collect();
        typed.map_err(|_| "a row is not of the published types")
    }
}

/// One page of a list, and where the next one begins.
#[derive(Debug)]
pub(crate) struct RawPage {
    /// Objects, all of them.
    pub(crate) rows: Vec<Value>,
    /// The offset of the next page; none where this is the last one.
    pub(crate) next: Option<usize>,
    /// How many rows the whole list has, where the answer tells.
    pub(crate) total: Option<usize>,
}

impl RawPage {
    /// Reads the page that begins at `offset`: a bare array or the envelope `{"data": […], "pagination": {…}}` (with
    /// `pagination` there or in `meta`).
    pub(crate) fn read(answer: Value, offset: usize) -> Result<Self, &'static str> {
        let (rows, pagination) = opened(answer)?;
        let (length, end) = (rows.len(), offset.saturating_add(rows.len()));
        let is_last = match pagination.total {
            Some(total) if end < total && length == 0 => return Err("a list ends before its own total"),
            Some(total) => end >= total,
            None => {
                let asked = pagination.limit.filter(|limit| *limit > 0).unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
                // A short page is the last one; a page longer than asked for is from a server that does not page at all.
                length != asked
            }
        };
        Ok(Self { rows, next: (!is_last).then_some(end), total: pagination.total })
    }
}

fn opened(answer: Value) -> Result<(Vec<Value>, Pagination), &'static str> {
    let (rows, pagination) = match answer {
        Value::Array(rows) => (rows, None),
        Value::Object(mut fields) => {
            let Some(Value::Array(rows)) = fields.remove("data") else {
                return Err("a list is neither an array nor an object with an array in `data`");
            };
            let of_meta = fields.get_mut("meta").and_then(|meta| meta.get_mut("pagination")).map(Value::take);
            (rows, fields.remove("pagination").or(of_meta).filter(|it| !it.is_null()))
        }
        _ => return Err("a list is neither an array nor an object with an array in `data`"),
    };
    if !rows.iter().all(Value::is_object) {
        return Err("a row of a list is no object");
    }
    let pagination = pagination.map_or_else(|| Ok(Pagination::default()), serde_json::from_value);
    Ok((rows, pagination.map_err(|_| "a list's pagination is not of the published types")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(range: std::ops::Range<usize>) -> Vec<Value> {
        range.map(|n| json!({"id": format!("r{n}")})).collect()
    }

    #[test]
    fn a_list_of_250_is_read_whole_in_both_shapes() {
        for envelope in [false, true] {
            let mut pages = Pages::default();
            let mut calls = 0;
            loop {
                let start = pages.offset();
                let page = rows(start..(start + 100).min(250));
                let answer =
                    if envelope { json!({"data": page, "pagination": {"total": 250}}) } else { json!(page) };
                calls += 1;
                if pages.take(answer).unwrap() == Progress::Complete {
                    break;
                }
            }
            assert_eq!((calls, pages.rows::<Value>().unwrap().len()), (3, 250));
        }
    }

    #[test]
    fn where_the_list_ends() {
        for (answer, progress) in [
            (json!([]), Progress::Complete),
            (json!(rows(0..99)), Progress::Complete),
            (json!(rows(0..100)), Progress::More),
            (json!(rows(0..250)), Progress::Complete),
            (json!({"data": rows(0..50), "pagination": {"total": 120, "limit": 50}}), Progress::More),
            (json!({"data": rows(0..50), "pagination": {"limit": 50}}), Progress::More),
            (json!({"data": rows(0..49), "pagination": {"limit": 50}}), Progress::Complete),
            (json!({"data": rows(0..100), "pagination": {"total": 100}}), Progress::Complete),
            (json!({"data": rows(0..100), "meta": {"pagination": {"total": 101}}}), Progress::More),
            (json!({"data": rows(0..3), "meta": {}, "pagination": null}), Progress::Complete),
        ] {
            assert_eq!(Pages::default().take(answer.clone()), Ok(progress), "{answer}");
        }
    }

    #[test]
    fn what_does_not_add_up_is_the_wrong_shape() {
        for answer in [
            json!({"data": {}}),
            json!({"rows": []}),
            json!("none"),
            json!(null),
            json!([1]),
            json!({"data": [], "pagination": {"total": 3}}),
            json!({"data": [], "pagination": {"total": "three"}}),
        ] {
            assert!(Pages::default().take(answer.clone()).is_err(), "{answer}");
        }
        let mut same = Pages::default();
        assert_eq!(same.take(json!(rows(0..100))), Ok(Progress::More));
        assert!(same.take(json!(rows(0..100))).is_err());
    }

    #[test]
    fn a_row_that_shifted_to_the_next_page_is_counted_once() {
        let mut pages = Pages::default();
        assert_eq!(pages.take(json!(rows(0..100))), Ok(Progress::More));
        assert_eq!(pages.take(json!(rows(99..120))), Ok(Progress::Complete));
        assert_eq!(pages.rows::<Value>().unwrap().len(), 120);
    }
}
