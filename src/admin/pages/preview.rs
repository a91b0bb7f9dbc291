//! What a sync would do: each field and tag with its reason, and the request. What comes and goes is told by a sign and a
//! word as well as by colour.

use maud::{Markup, html};

use crate::admin::desk::{FieldPreview, Preview, RequestPreview, TagChange, TagPreview};

pub(super) fn shown(preview: &Preview) -> Markup {
    html! {
        p.lead { strong { (preview.plan) } ": " (preview.summary) }
        @if !preview.fields.is_empty() { (fields(&preview.fields)) }
        @if !preview.tags.is_empty() { (tags(&preview.tags)) }
        @if !preview.facts.is_empty() {
            h3 { "What Sesamy says" }
            dl.facts { @for (name, value) in &preview.facts { div { dt { (name) } dd { (value) } } } }
        }
        h3 { "The request" }
        @match &preview.request {
            Some(request) => { (sent(request)) }
            None => p.muted { "None: nothing would be written." },
        }
    }
}

fn fields(fields: &[FieldPreview]) -> Markup {
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
                            td data-label="Now" { (field.now.as_deref().unwrap_or("–")) }
                            td data-label="Then" {
                                @match &field.then {
                                    Some(then) => { ins { (then) } }
                                    None => span.muted { "stays" },
                                }
                            }
                            td data-label="Why" { (field.why) }
                        }
                    }
                }
            }
        }
    }
}

fn tags(tags: &[TagPreview]) -> Markup {
    let sign = |change| match change {
        TagChange::Added => ("added", "comes"),
        TagChange::Removed => ("removed", "goes"),
        TagChange::Kept => ("kept", "stays"),
    };
    html! {
        h3 { "Tags" }
        ul.tags {
            @for tag in tags {
                @let (class, word) = sign(tag.change);
                li class=(class) {
                    span.word { (word) }
                    @match tag.change {
                        TagChange::Added => { ins { (tag.tag) } }
                        TagChange::Removed => { del { (tag.tag) } }
                        TagChange::Kept => code { (tag.tag) },
                    }
                    span.muted { (tag.why) }
                }
            }
        }
    }
}

fn sent(request: &RequestPreview) -> Markup {
    let body = serde_json::to_string_pretty(&request.body).unwrap_or_default();
    html! { pre tabindex="0" { (request.method) " " (request.path) "\n\n" (body) } }
}
