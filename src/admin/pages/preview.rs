//! What a sync would do: each field and tag with its reason, and the request. A sign and a word show what comes and goes,
//! as well as a colour.

use maud::{Markup, html};

use crate::app::{About, Facts, Mark, Preview, PreviewRow, Request};
use crate::personal::Personal;

pub(super) fn shown(preview: &Preview) -> Markup {
    let rows = preview.rows();
    let about = |about: About| rows.iter().filter(|row| row.about == about).collect::<Vec<_>>();
    let old_contact = about(About::OldContact);
    let old_request = preview.old_contact.as_ref().and_then(|old| old.request.as_ref());
    html! {
        p.lead {
            strong { (preview.outcome) }
            @if let Some(reason) = preview.skipped { ", " (reason) }
            @if let Some(list) = &preview.list { ": " (list.to_string()) }
            @if preview.held_back { "; sync.dry_run or the removal guard holds a change back" }
        }
        @if let [contact, lost @ ..] = old_contact.as_slice() {
            h3 { "The address of before" }
            p { (contact.name) ": " (contact.why.join("; ")) }
            @if !lost.is_empty() {
                ul.tags { @for tag in lost { li.removed { span.word { "goes" } del { (tag.name) } } } }
            }
        }
        (table("Fields", "Fields of the contact, now and after", "Why", &about(About::Field)))
        (table("Custom fields", "Custom fields of the contact, now and after", "Source", &about(About::CustomField)))
        (tags(&about(About::Tag)))
        @if let Some(facts) = &preview.profile { (profile(facts)) }
        @if let Some(request) = old_request {
            h3 { "The first request" }
            (sent(request))
        }
        h3 { "The request" }
        @match &preview.request {
            Some(request) => { (sent(request)) }
            None => p.muted { "None: " (preview.no_request.as_deref().unwrap_or("nothing would be written")) "." },
        }
    }
}

fn table(title: &str, caption: &str, why: &str, rows: &[&PreviewRow]) -> Markup {
    html! {
        @if !rows.is_empty() {
            h3 { (title) }
            div.scroll {
                table {
                    caption.unseen { (caption) }
                    thead { tr {
                        th scope="col" { "Field" } th scope="col" { "Now" } th scope="col" { "Then" } th scope="col" { (why) }
                    } }
                    tbody {
                        @for row in rows {
                            tr {
                                th scope="row" { code { (row.name) } }
                                td data-label="Now" { (row.now.as_deref().unwrap_or("–")) }
                                td data-label="Then" {
                                    @match row.mark {
                                        Mark::Added => ins { (row.sesamy.as_deref().unwrap_or("–")) },
                                        Mark::Removed => del { "emptied" },
                                        Mark::Stays => span.muted { "stays" },
                                    }
                                }
                                td data-label=(why) { (row.why.join("; ")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tags(rows: &[&PreviewRow]) -> Markup {
    html! {
        @if !rows.is_empty() {
            h3 { "Tags" }
            ul.tags {
                @for row in rows {
                    @let why = html! { span.muted { (row.why.join("; ")) } };
                    @match row.mark {
                        Mark::Added => li.added { span.word { "comes" } ins { (row.name) } (why) },
                        Mark::Removed => li.removed { span.word { "goes" } del { (row.name) } (why) },
                        Mark::Stays => li.kept { span.word { "stays" } code { (row.name) } (why) },
                    }
                }
            }
        }
    }
}

fn profile(facts: &Facts) -> Markup {
    let text = |value: &Option<Personal>| value.as_ref().map_or("–", Personal::as_str).to_owned();
    let tags = if facts.tags.is_empty() { "–".to_owned() } else { facts.tags.join(", ") };
    html! {
        h3 { "What Sesamy's profile says" }
        dl.facts {
            div { dt { "E-mail" } dd { (text(&facts.email)) } }
            div { dt { "First name" } dd { (text(&facts.first_name)) } }
            div { dt { "Last name" } dd { (text(&facts.last_name)) } }
            div { dt { "Phone" } dd { (text(&facts.phone)) } }
            div { dt { "Tags" } dd { (tags) } }
        }
    }
}

fn sent(request: &Request) -> Markup {
    let body = serde_json::to_string_pretty(&request.body).unwrap_or_default();
    html! { pre tabindex="0" { (request.method) " " (request.path) "\n\n" (body) } }
}
