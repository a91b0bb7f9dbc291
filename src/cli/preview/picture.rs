//! A preview for people: what comes (`+`), goes (`-`) and stays (`=`), a line each, with the reason beside it.

use anstyle::{AnsiColor, Color, Style};

use crate::cli::answer::{clean, quoted};
use crate::merge::{Custom, Field, FieldWhy, List, Tag, TagWhy};
use crate::operations::preview::{ContactNow, Facts, OldContactNow, Preview, Request};
use crate::personal::Personal;
use crate::tags::Reason;

const BOLD: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const ADDED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const REMOVED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const FAILED: Style = REMOVED.bold();

/// The widest that the middle column gets; what is longer pushes its reason to the right.
const WIDEST: usize = 48;
/// So many reasons of one tag are told, for a reader of 500 articles has 500.
const MOST_REASONS: usize = 3;

/// One line of the table.
struct Row {
    label: &'static str,
    mark: char,
    value: String,
    /// A line each.
    reasons: Vec<String>,
}

/// The whole picture, without a line break at its end.
pub(super) fn of(preview: &Preview) -> String {
    let verdict = match preview.skipped {
        Some(reason) => format!("would be skipped ({reason})"),
        None if preview.outcome == "unchanged" => "is as it should be".to_owned(),
        None => format!("would be {}", preview.outcome),
    };
    let mut lines = vec![format!("{BOLD}{}{BOLD:#}  {verdict}", clean(&preview.user_id)), String::new()];
    lines.extend(preview.profile.as_ref().map(|facts| about("Sesamy", &of_profile(facts))));
    if preview.list.is_some() {
        let contact = preview.contact.as_ref().map_or_else(|| "no such contact".to_owned(), of_contact);
        lines.push(about("Mailmojo", &contact));
    }
    if lines.len() > 2 {
        lines.push(String::new());
    }
    let rows = rows(preview);
    if !rows.is_empty() {
        lines.extend(table(&rows));
        lines.push(String::new());
    }
    if let Some(request) = preview.old_contact.as_ref().and_then(|old| old.request.as_ref()) {
        lines.extend(of_request(request, preview.held_back));
    }
    match (&preview.request, &preview.no_request) {
        (Some(request), _) => lines.extend(of_request(request, preview.held_back)),
        (None, Some(why)) => lines.push(format!("  Nothing would be sent: {why}.")),
        (None, None) => {}
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A user who could not be looked at, with the API's own words about that.
pub(super) fn of_failure(user: Option<&str>, error: &str, api_said: Option<&str>) -> String {
    let mut text = format!("{FAILED}failed{FAILED:#}: {}\n", clean(error));
    if let Some(user) = user {
        text = format!("{BOLD}{}{BOLD:#}  {text}", clean(user));
    }
    if let Some(words) = api_said {
        text += &format!("  {}\n", quoted(words));
    }
    text
}

fn about(who: &str, what: &str) -> String {
    format!("  {FAINT}{who:<10}{FAINT:#}  {}", clean(what))
}

fn of_profile(facts: &Facts) -> String {
    let mut told: Vec<String> = [&facts.email, &facts.first_name, &facts.last_name, &facts.phone]
        .into_iter()
        .flatten()
        .map(|value| value.as_str().to_owned())
        .collect();
    if !facts.tags.is_empty() {
        told.push(format!("tags: {}", facts.tags.join(", ")));
    }
    if told.is_empty() {
        "a profile without address, name, phone and tags".to_owned()
    } else {
        told.join(" · ")
    }
}

fn of_contact(contact: &ContactNow) -> String {
    let status = |status: &Option<String>| match status.as_deref() {
        Some("a") => "active".to_owned(),
        Some("u") => "unsubscribed".to_owned(),
        Some("b") => "bounced".to_owned(),
        Some("d") => "deleted".to_owned(),
        Some(other) => format!("of status “{other}”"),
        None => "of unknown status".to_owned(),
    };
    let list = if contact.on_list {
        format!("{} on the list", status(&contact.list_status))
    } else {
        "never on the list".to_owned()
    };
    let account = format!("{} on the account", status(&contact.status));
    let who = [&contact.email, &contact.name].into_iter().flatten().filter_map(|it| it.trimmed());
    let told: Vec<&str> = who.chain([account.as_str(), list.as_str()]).collect();
    told.join(" · ")
}

fn rows(preview: &Preview) -> Vec<Row> {
    let mut rows: Vec<Row> = preview.list.iter().map(of_list).collect();
    if let Some(old) = &preview.old_contact {
        rows.extend(of_old_contact(old));
    }
    rows.extend(preview.fields.iter().map(of_field));
    for (label, more) in [
        ("custom", preview.custom_fields.iter().map(of_custom).collect::<Vec<_>>()),
        ("tags", preview.tags.iter().map(of_tag).collect()),
    ] {
        let first = rows.len();
        rows.extend(more);
        if let Some(row) = rows.get_mut(first) {
            row.label = label;
        }
    }
    rows
}

fn of_list(list: &List) -> Row {
    let mark = if matches!(list, List::Created | List::Subscribed) { '+' } else { '=' };
    let told = list.to_string();
    let (value, reason) = told.split_once(": ").unwrap_or((&told, ""));
    let reasons = if reason.is_empty() { Vec::new() } else { vec![reason.to_owned()] };
    Row { label: "list", mark, value: value.to_owned(), reasons }
}

fn of_old_contact(old: &OldContactNow) -> Vec<Row> {
    let contact = Row {
        label: "before",
        mark: '=',
        value: old.address.as_str().to_owned(),
        reasons: vec![old.fate.to_string()],
    };
    let gone = |tag: &String| Row {
        label: "",
        mark: '-',
        value: tag.clone(),
        reasons: vec!["it is not this user's address any more".to_owned()],
    };
    std::iter::once(contact).chain(old.tags_removed.iter().map(gone)).collect()
}

fn of_field(field: &Field) -> Row {
    let label = match field.field {
        "first_name" => "first name",
        "last_name" => "last name",
        other => other,
    };
    let text = |value: &Option<Personal>| value.as_ref().map(|it| it.as_str().to_owned());
    let (value, reason) = match field.why {
        FieldWhy::ContactHasNone => (text(&field.sesamy), field.why.to_string()),
        FieldWhy::SesamyHasNone => (text(&field.now), field.why.to_string()),
        FieldWhy::ContactHasOne | FieldWhy::ContactHasWholeName => {
            let sesamy = text(&field.sesamy).filter(|sesamy| Some(sesamy) != text(&field.now).as_ref());
            let sesamy = sesamy.map(|it| format!(" (Sesamy: {it})")).unwrap_or_default();
            (text(&field.now), format!("kept: {}{sesamy}", field.why))
        }
    };
    let value = value.unwrap_or_else(|| "–".to_owned());
    Row { label, mark: if field.changes { '+' } else { '=' }, value, reasons: vec![reason] }
}

fn of_custom(field: &Custom) -> Row {
    let text = |value: &Option<Personal>| value.as_ref().map(|it| it.as_str().to_owned());
    let (now, sesamy) = (text(&field.now), text(&field.sesamy));
    let (mark, value, reason) = match (field.changes, &now, sesamy) {
        (true, None, Some(sesamy)) => ('+', sesamy, String::new()),
        (true, Some(now), Some(sesamy)) => ('+', sesamy, format!(", now: {now}")),
        (true, _, None) => ('-', now.unwrap_or_default(), ": Sesamy has none".to_owned()),
        (false, _, _) => ('=', now.unwrap_or_else(|| "–".to_owned()), String::new()),
    };
    let reasons = vec![format!("{}{reason}", field.source)];
    Row { label: "", mark, value: format!("{}: {value}", field.name), reasons }
}

fn of_tag(tag: &Tag) -> Row {
    let (mark, reasons) = match tag.why {
        TagWhy::Added => ('+', sentences(&tag.reasons)),
        TagWhy::AlreadyThere => ('=', sentences(&tag.reasons)),
        TagWhy::Removed => ('-', vec![tag.why.to_string()]),
        TagWhy::Kept | TagWhy::Held | TagWhy::SomebodyElses => ('=', vec![tag.why.to_string()]),
    };
    Row { label: "", mark, value: tag.tag.clone(), reasons }
}

fn sentences(reasons: &[Reason]) -> Vec<String> {
    let mut told: Vec<String> = reasons.iter().take(MOST_REASONS).map(Reason::to_string).collect();
    if reasons.len() > MOST_REASONS {
        told.push(format!("and {} more", reasons.len() - MOST_REASONS));
    }
    told
}

fn table(rows: &[Row]) -> Vec<String> {
    let widths = rows.iter().map(|row| clean(&row.value).chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let mut lines = Vec::new();
    for Row { label, mark, value, reasons } in rows {
        let style = match mark {
            '+' => ADDED,
            '-' => REMOVED,
            _ => Style::new(),
        };
        let value = clean(value);
        let mut line = format!("  {FAINT}{label:<10}{FAINT:#}  {style}{mark} {value}{style:#}");
        if let Some(first) = reasons.first() {
            let gap = width.saturating_sub(value.chars().count()) + 2;
            line.push_str(&format!("{:gap$}{FAINT}{}{FAINT:#}", "", clean(first)));
        }
        lines.push(line);
        let deeper = reasons.iter().skip(1).map(clean);
        lines.extend(deeper.map(|reason| format!("{:<1$}{FAINT}{reason}{FAINT:#}", "", width + 18)));
    }
    lines
}

fn of_request(request: &Request, held_back: bool) -> Vec<String> {
    let Request { method, path, body } = request;
    let mut lines = vec![format!("  {BOLD}{method} {}{BOLD:#}", clean(path)), format!("  {}", clean(body))];
    if held_back {
        lines.push("  A sync would hold this back: sync.dry_run is on.".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests;
