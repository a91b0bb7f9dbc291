//! A preview for people: what comes (`+`), goes (`-`) and stays (`=`), a line each, with the reason beside it.

use anstyle::Style;

use crate::app::{About, ContactNow, Facts, Mark, Preview, PreviewRow, Request};
use crate::cli::output::{BAD, GOOD, QUIET, STRONG, clean, quoted};

/// The widest that the middle column gets; a longer value pushes its reason to the right.
const WIDEST: usize = 48;
/// The reasons of one tag that are shown: a reader of 500 articles has 500.
const MOST_REASONS: usize = 3;

/// The whole preview, without a line break at its end.
pub(super) fn preview(preview: &Preview) -> String {
    let verdict = match preview.skipped {
        Some(reason) => format!("would be skipped ({reason})"),
        None if preview.outcome == "unchanged" => "is as it should be".to_owned(),
        None => format!("would be {}", preview.outcome),
    };
    let mut lines = vec![format!("{STRONG}{}{STRONG:#}  {verdict}", clean(&preview.user_id)), String::new()];
    lines.extend(preview.profile.as_ref().map(|facts| about("Sesamy", &profile(facts))));
    if preview.list.is_some() {
        let contact = preview.contact.as_ref().map_or_else(|| "no such contact".to_owned(), contact);
        lines.push(about("Mailmojo", &contact));
    }
    if lines.len() > 2 {
        lines.push(String::new());
    }
    let rows = preview.rows();
    if !rows.is_empty() {
        lines.extend(table(&rows));
        lines.push(String::new());
    }
    if let Some(request) = preview.old_contact.as_ref().and_then(|old| old.request.as_ref()) {
        lines.extend(sent(request, preview.held_back));
    }
    match (&preview.request, &preview.no_request) {
        (Some(request), _) => lines.extend(sent(request, preview.held_back)),
        (None, Some(why)) => lines.push(format!("  Nothing would be sent: {why}.")),
        (None, None) => {}
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Why there is no preview, with the API's own words about that.
pub(super) fn failure(user: Option<&str>, error: &str, api_said: Option<&str>) -> String {
    let style = BAD.bold();
    let mut text = format!("{style}failed{style:#}: {}\n", clean(error));
    if let Some(user) = user {
        text = format!("{STRONG}{}{STRONG:#}  {text}", clean(user));
    }
    if let Some(words) = api_said {
        text += &format!("  {}\n", quoted(words));
    }
    text
}

fn about(api: &str, what: &str) -> String {
    format!("  {QUIET}{api:<10}{QUIET:#}  {}", clean(what))
}

fn profile(facts: &Facts) -> String {
    let values = [&facts.email, &facts.first_name, &facts.last_name, &facts.phone].into_iter().flatten();
    let mut parts: Vec<String> = values.map(|value| value.as_str().to_owned()).collect();
    if !facts.tags.is_empty() {
        parts.push(format!("tags: {}", facts.tags.join(", ")));
    }
    if parts.is_empty() {
        "a profile without address, name, phone and tags".to_owned()
    } else {
        parts.join(" · ")
    }
}

fn contact(contact: &ContactNow) -> String {
    let status = |status: &Option<String>| match status.as_deref() {
        Some("a") => "active".to_owned(),
        Some("u") => "unsubscribed".to_owned(),
        Some("b") => "bounced".to_owned(),
        Some("d") => "deleted".to_owned(),
        Some(other) => format!("of status “{other}”"),
        None => "of unknown status".to_owned(),
    };
    let list = match contact.on_list {
        true => format!("{} on the list", status(&contact.list_status)),
        false => "never on the list".to_owned(),
    };
    let account = format!("{} on the account", status(&contact.status));
    let names = [&contact.email, &contact.name].into_iter().flatten().filter_map(|it| it.trimmed());
    let parts: Vec<&str> = names.chain([account.as_str(), list.as_str()]).collect();
    parts.join(" · ")
}

fn table(rows: &[PreviewRow]) -> Vec<String> {
    let values: Vec<String> = rows.iter().map(|row| clean(value(row))).collect();
    let widths = values.iter().map(|value| value.chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let (mut lines, mut last_label) = (Vec::new(), String::new());
    for (row, value) in rows.iter().zip(values) {
        let label = label(row);
        let shown = if label == last_label { "" } else { label.as_str() };
        let (style, mark) = match row.mark {
            Mark::Added => (GOOD, '+'),
            Mark::Removed => (BAD, '-'),
            Mark::Stays => (Style::new(), '='),
        };
        let mut line = format!("  {QUIET}{shown:<10}{QUIET:#}  {style}{mark} {value}{style:#}");
        let mut reasons = reasons(row).into_iter().map(clean);
        if let Some(first) = reasons.next() {
            let gap = width.saturating_sub(value.chars().count()) + 2;
            line += &format!("{:gap$}{QUIET}{first}{QUIET:#}", "");
        }
        lines.push(line);
        lines.extend(reasons.map(|reason| format!("{:<1$}{QUIET}{reason}{QUIET:#}", "", width + 18)));
        last_label = label;
    }
    lines
}

fn label(row: &PreviewRow) -> String {
    match row.about {
        About::List => "list".to_owned(),
        About::OldContact => "before".to_owned(),
        About::Field => row.name.replace('_', " "),
        About::CustomField => "custom".to_owned(),
        About::Tag => "tags".to_owned(),
    }
}

fn value(row: &PreviewRow) -> String {
    let value = if row.mark == Mark::Added { &row.sesamy } else { &row.now };
    let value = value.as_deref().unwrap_or("–");
    match row.about {
        About::Field => value.to_owned(),
        About::CustomField => format!("{}: {value}", row.name),
        About::List | About::OldContact | About::Tag => row.name.clone(),
    }
}

fn reasons(row: &PreviewRow) -> Vec<String> {
    let why = row.why.join("; ");
    match (row.about, row.mark, &row.now, &row.sesamy) {
        (About::Field, Mark::Stays, now, Some(sesamy)) if now.as_ref() != Some(sesamy) => {
            vec![format!("kept: {why} (Sesamy: {sesamy})")]
        }
        (About::Field, Mark::Stays, Some(_), _) => vec![format!("kept: {why}")],
        (About::CustomField, Mark::Added, Some(now), _) => vec![format!("{why}, now: {now}")],
        (About::CustomField, Mark::Removed, ..) => vec![format!("{why}: Sesamy has none")],
        _ if row.why.len() > MOST_REASONS => {
            let more = format!("and {} more", row.why.len() - MOST_REASONS);
            row.why.iter().take(MOST_REASONS).cloned().chain([more]).collect()
        }
        _ => row.why.clone(),
    }
}

fn sent(request: &Request, held_back: bool) -> Vec<String> {
    let Request { method, path, body } = request;
    let mut lines =
        vec![format!("  {STRONG}{method} {}{STRONG:#}", clean(path)), format!("  {}", clean(body))];
    if held_back {
        lines.push("  A sync would hold this back: sync.dry_run is on.".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests;
