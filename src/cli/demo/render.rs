//! A contact before and after, side by side.

use anstyle::Style;
use serde_json::Value;

use crate::cli::output::{BAD, GOOD, QUIET};

/// The fields that the story is about, with the words for them.
const FIELDS: [(&str, &str); 4] =
    [("name", "name"), ("first_name", "first name"), ("last_name", "last name"), ("phone", "phone")];

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct ContactRow {
    label: &'static str,
    before: String,
    after: String,
}

impl ContactRow {
    fn new(label: &'static str, before: String, after: String) -> Self {
        Self { label, before, after }
    }
}

/// The table of one contact; `list` is the list whose status is shown.
pub(super) fn table(email: &str, list: i64, before: Option<&Value>, after: Option<&Value>) -> String {
    let rows = rows(list, before, after);
    let width =
        |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let left = width(&mut rows.iter().map(|row| row.before.as_str())).max("before".len());
    let right = width(&mut rows.iter().map(|row| row.after.as_str())).max("after".len());
    let rule = "─".repeat(left + right + 19);

    let mut lines = vec![
        format!("    {QUIET}┌ {QUIET:#}{email}"),
        format!("    {QUIET}│ {:<11}  {:<left$}   after{QUIET:#}", "", "before"),
    ];
    for ContactRow { label, before, after } in &rows {
        let style = if before == after {
            Style::new()
        } else if after.is_empty() || after == "–" {
            BAD
        } else {
            GOOD
        };
        let old = if before == after || !before.starts_with("- ") { Style::new() } else { BAD };
        lines.push(format!(
            "    {QUIET}│{QUIET:#} {QUIET}{label:<11}{QUIET:#}  {old}{before:<left$}{old:#}   {style}{after}{style:#}"
        ));
    }
    lines.push(format!("    {QUIET}└{rule}{QUIET:#}"));
    lines.join("\n")
}

fn rows(list: i64, before: Option<&Value>, after: Option<&Value>) -> Vec<ContactRow> {
    let field = |contact: Option<&Value>, key: &str| text(contact.and_then(|contact| contact.get(key)));
    let mut rows = vec![ContactRow::new("list", on_list(list, before), on_list(list, after))];
    for (key, label) in FIELDS {
        let row = ContactRow::new(label, field(before, key), field(after, key));
        if row.before != "–" || row.after != "–" {
            rows.push(row);
        }
    }
    let (old, new) = (tags(before), tags(after));
    let gone = old.iter().filter(|tag| !new.contains(tag));
    let mut tag_rows: Vec<(String, String)> = gone.map(|tag| (format!("- {tag}"), String::new())).collect();
    tag_rows.extend(new.iter().map(|tag| {
        let was_there = old.contains(tag);
        let before = if was_there { format!("  {tag}") } else { String::new() };
        (before, format!("{} {tag}", if was_there { " " } else { "+" }))
    }));
    if tag_rows.is_empty() {
        tag_rows.push(("–".to_owned(), "–".to_owned()));
    }
    for (at, (before, after)) in tag_rows.into_iter().enumerate() {
        rows.push(ContactRow::new(if at == 0 { "tags" } else { "" }, before, after));
    }
    rows
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or("–").to_owned()
}

fn tags(contact: Option<&Value>) -> Vec<String> {
    let tags = contact.and_then(|contact| contact.get("tags")).and_then(Value::as_array);
    tags.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn on_list(list: i64, contact: Option<&Value>) -> String {
    let Some(contact) = contact else { return "no such contact".to_owned() };
    let lists = contact.get("list_associations").and_then(Value::as_array);
    let ours =
        lists.into_iter().flatten().find(|place| place.get("list_id").and_then(Value::as_i64) == Some(list));
    match ours.and_then(|place| place.get("status")).and_then(Value::as_str) {
        Some("a") => "subscribed",
        Some("u") => "unsubscribed",
        Some("b") => "bounced",
        Some("d") => "deleted",
        Some(_) => "unknown",
        None => "not on it",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn added_and_removed_tags_are_told_apart_and_own_tags_stay_in_place() {
        let before = json!({"tags": ["vip", "sesamy_old"], "first_name": "Kari", "list_associations": []});
        let after = json!({"tags": ["vip", "sesamy_new"], "first_name": "Kari", "phone": "1",
                           "list_associations": [{"list_id": 7, "status": "a"}]});
        let rows = rows(7, Some(&before), Some(&after));
        let row =
            |label, before: &str, after: &str| ContactRow::new(label, before.to_owned(), after.to_owned());
        assert_eq!(
            rows,
            [
                row("list", "not on it", "subscribed"),
                row("first name", "Kari", "Kari"),
                row("phone", "–", "1"),
                row("tags", "- sesamy_old", ""),
                row("", "  vip", "  vip"),
                row("", "", "+ sesamy_new"),
            ]
        );
    }
}
