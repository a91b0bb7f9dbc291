//! What a sync would do: each field and tag with its reason, and the request. What comes and goes is told by a sign and a
//! word as well as by colour.

use maud::{Markup, html};

use crate::merge::{Custom, Field, Tag, TagWhy};
use crate::operations::preview::{Facts, OldContactNow, Preview, Request};
use crate::personal::Personal;

pub(super) fn shown(preview: &Preview) -> Markup {
    html! {
        p.lead {
            strong { (preview.outcome) }
            @if let Some(reason) = preview.skipped { ", " (reason) }
            @if let Some(list) = &preview.list { ": " (list.to_string()) }
            @if preview.held_back { "; sync.dry_run or the removal guard holds a change back" }
        }
        @if let Some(old) = &preview.old_contact { (old_contact(old)) }
        @if !preview.fields.is_empty() { (fields(&preview.fields)) }
        @if !preview.custom_fields.is_empty() { (custom_fields(&preview.custom_fields)) }
        @if !preview.tags.is_empty() { (tags(&preview.tags)) }
        @if let Some(facts) = &preview.profile { (profile(facts)) }
        @if let Some(request) = preview.old_contact.as_ref().and_then(|old| old.request.as_ref()) {
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

fn text(value: &Option<Personal>) -> &str {
    value.as_ref().map_or("–", Personal::as_str)
}

fn old_contact(old: &OldContactNow) -> Markup {
    html! {
        h3 { "The address of before" }
        p { (old.address.as_str()) ": " (old.fate.to_string()) }
        @if !old.tags_removed.is_empty() {
            ul.tags {
                @for tag in &old.tags_removed {
                    li.removed { span.word { "goes" } del { (tag) } }
                }
            }
        }
    }
}

fn fields(fields: &[Field]) -> Markup {
    html! {
        h3 { "Fields" }
        div.scroll {
            table {
                caption.unseen { "Fields of the contact, now and after" }
                thead { tr {
                    th scope="col" { "Field" } th scope="col" { "Now" } th scope="col" { "Then" } th scope="col" { "Why" }
                } }
                tbody {
                    @for field in fields {
                        tr {
                            th scope="row" { code { (field.field) } }
                            td data-label="Now" { (text(&field.now)) }
                            td data-label="Then" {
                                @if field.changes { ins { (text(&field.sesamy)) } } @else { span.muted { "stays" } }
                            }
                            td data-label="Why" { (field.why.to_string()) }
                        }
                    }
                }
            }
        }
    }
}

fn custom_fields(fields: &[Custom]) -> Markup {
    html! {
        h3 { "Custom fields" }
        div.scroll {
            table {
                caption.unseen { "Custom fields of the contact, now and after" }
                thead { tr {
                    th scope="col" { "Field" } th scope="col" { "Now" } th scope="col" { "Then" } th scope="col" { "Source" }
                } }
                tbody {
                    @for field in fields {
                        tr {
                            th scope="row" { code { (field.name) } }
                            td data-label="Now" { (text(&field.now)) }
                            td data-label="Then" {
                                @match (field.changes, &field.sesamy) {
                                    (true, Some(value)) => { ins { (value.as_str()) } }
                                    (true, None) => { del { "emptied" } }
                                    (false, _) => { span.muted { "stays" } }
                                }
                            }
                            td data-label="Source" { (field.source.to_string()) }
                        }
                    }
                }
            }
        }
    }
}

fn tags(tags: &[Tag]) -> Markup {
    html! {
        h3 { "Tags" }
        ul.tags {
            @for tag in tags {
                @let (class, word) = match tag.why {
                    TagWhy::Added => ("added", "comes"),
                    TagWhy::Removed => ("removed", "goes"),
                    TagWhy::AlreadyThere | TagWhy::Kept | TagWhy::Held | TagWhy::SomebodyElses => ("kept", "stays"),
                };
                li class=(class) {
                    span.word { (word) }
                    @match tag.why {
                        TagWhy::Added => { ins { (tag.tag) } }
                        TagWhy::Removed => { del { (tag.tag) } }
                        _ => code { (tag.tag) },
                    }
                    span.muted { (why(tag)) }
                }
            }
        }
    }
}

/// What asks for a tag; where nothing does, what becomes of it.
fn why(tag: &Tag) -> String {
    if tag.reasons.is_empty() {
        return tag.why.to_string();
    }
    tag.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn profile(facts: &Facts) -> Markup {
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
