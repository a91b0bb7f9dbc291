//! A list of Sesamy's, read page by page until all of it is there.
//!
//! Half a list would take away tags that a user should keep. So a page is the last one only if nothing speaks against
//! it, and an answer that contradicts itself is the wrong shape. A list of fewer than ten rows costs one call.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Rows asked for in one call. Source: assumed to be the most that a page can have.
pub(crate) const PAGE_LIMIT: usize = 100;

/// The smallest size to which a server may cut pages without saying so. A page of so many rows is not the last one unless
/// the server says it is; a page of fewer rows is the last one unless the server says it is not. Source: assumed.
const SMALLEST_CAP: usize = 10;

/// More rows than any one user has: the list never ends.
const MAX_ROWS: usize = 20_000;

/// The rows read so far.
#[derive(Debug)]
pub(crate) struct Pages {
    resource: &'static str,
    rows: Vec<Value>,
    ids: HashSet<String>,
    offset: usize,
    before: Option<u64>,
}

/// Whether the list is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Ask again, with the new offset.
    More,
    /// All rows are there.
    Complete,
}

impl Pages {
    /// No row yet of the list of `resource`, such as `contracts`.
    pub(crate) fn of(resource: &'static str) -> Self {
        Self { resource, rows: Vec::new(), ids: HashSet::new(), offset: 0, before: None }
    }

    /// Where the next page begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Takes the next page. A row that came on an earlier page already, because rows have shifted, is passed over.
    pub(crate) fn take(&mut self, answer: Value) -> Result<Progress, &'static str> {
        let page = RawPage::read(answer, self.resource, self.offset)?;
        if !page.rows.iter().all(Value::is_object) {
            return Err("a row of a list is no object");
        }
        if self.before.replace(page.mark) == Some(page.mark) {
            return Err(SAME_PAGE);
        }
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
            Some(_) if self.rows.len() == known => Err(SAME_PAGE),
            Some(_) => Ok(Progress::More),
        }
    }

    /// All rows, typed.
    pub(crate) fn rows<T: DeserializeOwned>(self) -> Result<Vec<T>, &'static str> {
        let typed: Result<Vec<T>, _> = self.rows.into_iter().map(serde_json::from_value).collect();
        typed.map_err(|_| "a row is not of the published types")
    }
}

/// The error for a server that ignores `offset`.
pub(crate) const SAME_PAGE: &str = "a list answers the same page again and again";

/// One page of a list, and where the next one begins.
#[derive(Debug)]
pub(crate) struct RawPage {
    /// The rows, of any type.
    pub(crate) rows: Vec<Value>,
    /// The offset of the next page; none where this is the last one.
    pub(crate) next: Option<usize>,
    /// How many rows the whole list has, where the answer says so and it may be true.
    pub(crate) total: Option<usize>,
    /// A hash of the rows: two pages that follow each other have different ones.
    pub(crate) mark: u64,
}

impl RawPage {
    /// Reads the page of `resource` that begins at `offset`: a bare array, or an object with the array in `data` or under
    /// the resource's name, and perhaps `pagination` (beside it or in `meta`).
    ///
    /// Errors: any other shape, and a page without rows that is not the last one.
    pub(crate) fn read(answer: Value, resource: &str, offset: usize) -> Result<Self, &'static str> {
        let (rows, pagination) = opened(answer, resource)?;
        let (length, end) = (rows.len(), offset.saturating_add(rows.len()));
        let total = pagination.credible_total(offset, length);
        let has_more = pagination.has_more(offset, length, total);
        if length == 0 && has_more == Some(true) {
            return Err("a list ends before its own end");
        }
        let size = pagination.limit.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
        let is_last = match has_more {
            Some(true) => false,
            Some(false) => length < size.max(SMALLEST_CAP),
            None => length < size.min(SMALLEST_CAP),
        };
        let mut hasher = DefaultHasher::new();
        rows.iter().for_each(|row| row.to_string().hash(&mut hasher));
        Ok(Self { rows, next: (!is_last).then_some(end), total, mark: hasher.finish() })
    }
}

/// What an answer says about paging, in any of the spellings that are common.
///
/// Source: the guide has `total`, `limit` and `offset` "and more"; the other names are assumed.
#[derive(Debug, Default)]
struct Pagination {
    total: Option<usize>,
    limit: Option<usize>,
    has_more: Option<bool>,
    /// Whether there is something that leads to a next page: a number, an address, a cursor.
    has_next: Option<bool>,
    page: Option<usize>,
    pages: Option<usize>,
}

impl Pagination {
    const TOTAL: &[&str] = &["total", "totalCount", "total_count"];
    const LIMIT: &[&str] = &["limit", "perPage", "per_page", "pageSize", "page_size"];
    const HAS_MORE: &[&str] = &["hasMore", "has_more", "hasNext", "has_next", "hasNextPage", "has_next_page"];
    const NEXT: &[&str] =
        &["next", "nextPage", "next_page", "nextOffset", "next_offset", "nextCursor", "next_cursor"];
    const PAGE: &[&str] = &["page", "currentPage", "current_page"];
    const PAGES: &[&str] =
        &["pages", "pageCount", "page_count", "totalPages", "total_pages", "lastPage", "last_page"];

    fn of(fields: &Map<String, Value>) -> Result<Self, &'static str> {
        let all = |names: &'static [&str]| names.iter().filter_map(|name| fields.get(*name));
        let number = |names| match all(names).find(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
                number.map(Some).ok_or(ODD_PAGINATION)
            }
        };
        let mut has_more = None;
        for value in all(Self::HAS_MORE).filter(|value| !value.is_null()) {
            has_more = any_says([has_more, Some(value.as_bool().ok_or(ODD_PAGINATION)?)]);
        }
        let leads_on = |next: &Value| ![Value::Null, false.into(), 0.into(), "".into()].contains(next);
        Ok(Self {
            total: number(Self::TOTAL)?,
            limit: number(Self::LIMIT)?.filter(|limit| *limit > 0),
            has_more,
            has_next: any_says(all(Self::NEXT).map(|next| Some(leads_on(next)))),
            page: number(Self::PAGE)?,
            pages: number(Self::PAGES)?,
        })
    }

    /// The total, unless it may be the page's own length: it is less than the rows read so far, or equal to the length of
    /// a first page that the server may have cut without saying to what size.
    fn credible_total(&self, offset: usize, length: usize) -> Option<usize> {
        let end = offset.saturating_add(length);
        let may_be_cut = offset == 0 && self.limit.is_none() && length >= SMALLEST_CAP;
        self.total.filter(|total| *total > end || (*total == end && !may_be_cut))
    }

    /// Whether rows follow after the page that begins at `offset`: true if any field says so, `None` if no field says
    /// anything about it.
    fn has_more(&self, offset: usize, length: usize, total: Option<usize>) -> Option<bool> {
        let by_total = total.map(|total| offset.saturating_add(length) < total);
        // Pages may be counted from 1 or from 0. The first is known without its number, and an empty one after it ends the
        // list whatever its number.
        let page = match offset {
            0 => 1,
            _ => self.page.unwrap_or_else(|| 1 + offset / self.limit.unwrap_or(length).max(1)),
        };
        let by_pages = self.pages.filter(|_| offset == 0 || length > 0).map(|pages| page < pages);
        any_says([by_total, self.has_more, self.has_next, by_pages])
    }
}

/// True if any is true, `None` if all are `None`.
fn any_says(said: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    said.into_iter().flatten().reduce(|one, other| one || other)
}

const ODD_PAGINATION: &str = "a list's pagination is not of the published types";

fn opened(answer: Value, resource: &str) -> Result<(Vec<Value>, Pagination), &'static str> {
    const NO_LIST: &str =
        "a list is neither an array nor an object with an array in `data` or under the resource's own name";
    let mut fields = match answer {
        Value::Array(rows) => return Ok((rows, Pagination::default())),
        Value::Object(fields) => fields,
        _ => return Err(NO_LIST),
    };
    let is_list = |name: &str| fields.get(name).is_some_and(Value::is_array);
    let arrays = fields.values().filter(|value| value.is_array()).count();
    let name = match (is_list("data"), is_list(resource)) {
        (true, false) => "data",
        (false, true) if arrays == 1 => resource,
        _ => return Err(NO_LIST),
    };
    let Some(Value::Array(rows)) = fields.remove(name) else { return Err(NO_LIST) };
    let of_meta = || fields.get("meta").and_then(|meta| meta.get("pagination"));
    let pagination = match fields.get("pagination").or_else(of_meta) {
        None | Some(Value::Null) => Pagination::default(),
        Some(Value::Object(fields)) => Pagination::of(fields)?,
        Some(_) => return Err(ODD_PAGINATION),
    };
    Ok((rows, pagination))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rows(range: Range<usize>) -> Vec<Value> {
        range.map(|n| json!({"id": format!("r{n}")})).collect()
    }

    fn paged(range: Range<usize>, pagination: Value) -> Value {
        json!({"data": rows(range), "pagination": pagination})
    }

    /// How many rows are read of a server that has `all`, and in how many calls.
    fn read(all: usize, server: impl Fn(usize, Range<usize>) -> Value, cap: usize) -> (usize, usize) {
        let mut pages = Pages::of("contracts");
        for calls in 1.. {
            let start = pages.offset().min(all);
            let answer = server(all, start..(start + cap).min(all));
            if pages.take(answer).unwrap() == Progress::Complete {
                return (pages.rows::<Value>().unwrap().len(), calls);
            }
        }
        unreachable!()
    }

    #[test]
    fn a_list_is_read_whole_in_every_shape() {
        for (what, server) in [
            ("bare", (|_, here| json!(rows(here))) as fn(usize, Range<usize>) -> Value),
            ("in data", |_, here| json!({"data": rows(here), "meta": {}})),
            ("by name", |_, here| json!({"contracts": rows(here)})),
            (
                "by name with pagination",
                |all, here| json!({"contracts": rows(here), "pagination": {"total": all}}),
            ),
            ("a total", |all, here| paged(here, json!({"total": all}))),
            (
                "a total in meta",
                |all, here| json!({"data": rows(here), "meta": {"pagination": {"total_count": all}}}),
            ),
            ("a limit alone", |_, here| paged(here, json!({"limit": 20}))),
            ("hasMore", |all, here| paged(here.clone(), json!({"hasMore": here.end < all}))),
            ("has_more", |all, here| paged(here.clone(), json!({"has_more": here.end < all}))),
            ("an address", |all, here| {
                paged(here.clone(), json!({"next": (here.end < all).then_some("/contracts?cursor=x")}))
            }),
            ("an offset", |all, here| {
                paged(here.clone(), json!({"nextOffset": if here.end < all { here.end } else { 0 }}))
            }),
            ("a page count", |all, here| paged(here, json!({"totalPages": all.div_ceil(20)}))),
            ("a page count with a limit", |all, here| {
                paged(here, json!({"pages": all.div_ceil(20), "limit": 20}))
            }),
            ("a page of pages", |all, here| {
                paged(here.clone(), json!({"page": here.start / 20 + 1, "pages": all.div_ceil(20)}))
            }),
            ("a page of pages from nought", |all, here| {
                paged(here.clone(), json!({"page": here.start / 20, "pages": all.div_ceil(20)}))
            }),
            ("a total that is the page's length", |_, here| {
                paged(here.clone(), json!({"total": here.len()}))
            }),
            ("the same with a limit", |_, here| {
                paged(here.clone(), json!({"total": here.len(), "limit": 20}))
            }),
        ] {
            for all in [0, 1, 9, 10, 19, 20, 21, 40, 59, 60, 250] {
                let (read, calls) = read(all, server, 20);
                assert_eq!(read, all, "{what}");
                // At the most one page more than there is, and where a list is short none.
                let needed = all.div_ceil(20).max(1);
                assert!(calls <= needed + usize::from(all >= 10), "{what}: {calls} calls for {all} rows");
            }
        }
    }

    #[test]
    fn where_the_list_ends() {
        for (answer, progress) in [
            (json!([]), Progress::Complete),
            (json!(rows(0..9)), Progress::Complete),
            (json!(rows(0..10)), Progress::More),
            (json!(rows(0..100)), Progress::More),
            (json!(rows(0..250)), Progress::More),
            (paged(0..50, json!({"total": 120, "limit": 50})), Progress::More),
            (paged(0..50, json!({"limit": 50})), Progress::More),
            (paged(0..5, json!({"limit": 5})), Progress::More),
            (paged(0..5, json!({"limit": 5, "total": 5})), Progress::Complete),
            (paged(0..50, json!({"limit": 100, "total": 50})), Progress::Complete),
            // A full page is never the last one, whatever is said.
            (paged(0..100, json!({"total": 100})), Progress::More),
            (paged(0..100, json!({"total": 100, "limit": 100})), Progress::More),
            (paged(0..50, json!({"total": 50, "limit": 50})), Progress::More),
            (paged(0..100, json!({"hasMore": false, "next": null})), Progress::More),
            // A total that cannot be told from the length of a page that was cut.
            (paged(0..50, json!({"total": 50})), Progress::More),
            (paged(0..50, json!({"total": 20, "limit": 100})), Progress::More),
            (paged(0..9, json!({"total": 9})), Progress::Complete),
            // One word that there is more is enough.
            (paged(0..3, json!({"hasMore": true})), Progress::More),
            (paged(0..3, json!({"hasMore": true, "total": 3})), Progress::More),
            (paged(0..3, json!({"hasMore": false, "next": "x"})), Progress::More),
            (paged(0..3, json!({"next": 3})), Progress::More),
            (paged(0..3, json!({"next": null, "nextCursor": "x"})), Progress::More),
            (paged(0..3, json!({"hasMore": false, "has_next": true})), Progress::More),
            (paged(0..3, json!({"total": null, "totalCount": 4})), Progress::More),
            (paged(0..3, json!({"page": 1, "pages": 2})), Progress::More),
            (paged(0..3, json!({"page": 1, "pages": 1, "next": 0})), Progress::Complete),
            (paged(0..30, json!({"hasMore": false})), Progress::Complete),
            (paged(0..30, json!({"next": null})), Progress::Complete),
            (paged(0..30, json!({"hasMore": null, "pages": null})), Progress::More),
            (paged(0..30, json!({})), Progress::More),
            (json!({"data": rows(0..100), "meta": {"pagination": {"total": 101}}}), Progress::More),
            (json!({"data": rows(0..3), "meta": {}, "pagination": null}), Progress::Complete),
            (json!({"contracts": rows(0..3)}), Progress::Complete),
            (json!({"contracts": rows(0..3), "pagination": {"hasMore": true}}), Progress::More),
        ] {
            assert_eq!(Pages::of("contracts").take(answer.clone()), Ok(progress), "{answer}");
        }
    }

    #[test]
    fn what_does_not_add_up_is_the_wrong_shape() {
        for answer in [
            json!({"data": {}}),
            json!({"rows": []}),
            json!({"entitlements": []}),
            json!({"contracts": [], "entitlements": []}),
            json!({"data": [], "contracts": []}),
            json!({"contracts": {}}),
            json!("none"),
            json!(null),
            json!([1]),
            json!([null]),
            paged(0..0, json!({"total": 3})),
            paged(0..0, json!({"hasMore": true})),
            paged(0..0, json!({"next": "x"})),
            paged(0..0, json!({"page": 1, "pages": 2})),
            paged(0..0, json!({"total": "three"})),
            paged(0..0, json!({"total": 2.5})),
            paged(0..0, json!({"hasMore": "yes"})),
            paged(0..0, json!({"pages": -1})),
            paged(0..0, json!([])),
        ] {
            assert!(Pages::of("contracts").take(answer.clone()).is_err(), "{answer}");
        }
    }

    #[test]
    fn the_same_page_twice_is_the_wrong_shape_whether_it_would_be_the_last_or_not() {
        let nameless: Vec<Value> = (0..12).map(|n| json!({"sku": n})).collect();
        for page in [
            json!(rows(0..100)),
            json!(rows(0..12)),
            json!(nameless),
            paged(0..12, json!({"total": 24})),
            paged(0..3, json!({"hasMore": true})),
        ] {
            let mut pages = Pages::of("contracts");
            assert_eq!(pages.take(page.clone()), Ok(Progress::More));
            assert_eq!(pages.take(page), Err(SAME_PAGE));
        }
    }

    #[test]
    fn a_row_that_shifted_to_the_next_page_is_counted_once() {
        let mut pages = Pages::of("contracts");
        assert_eq!(pages.take(json!(rows(0..100))), Ok(Progress::More));
        assert_eq!(pages.take(json!(rows(99..105))), Ok(Progress::Complete));
        assert_eq!(pages.rows::<Value>().unwrap().len(), 105);
    }

    proptest! {
        /// Whatever a server with pages of ten rows or more says of paging, as long as it is true: no row is missed.
        #[test]
        fn no_row_is_missed(
            all in 0_usize..400,
            cap in 10_usize..=100,
            (total, limit, has_more, next, pages) in any::<(bool, bool, bool, bool, bool)>(),
        ) {
            let server = |all: usize, here: Range<usize>| {
                let mut said = Map::new();
                let mut say = |is_said: bool, name: &str, value: Value| {
                    if is_said {
                        said.insert(name.to_owned(), value);
                    }
                };
                say(total, "total", json!(all));
                say(limit, "limit", json!(cap));
                say(has_more, "hasMore", json!(here.end < all));
                say(next, "next", json!((here.end < all).then_some(here.end)));
                say(pages, "pages", json!(all.div_ceil(cap)));
                paged(here, Value::Object(said))
            };
            prop_assert_eq!(read(all, server, cap).0, all);
        }
    }
}
