//! The settings in force, secrets hidden; the version; how long it runs.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::format;
use super::layout::{self, At};
use crate::admin::extract::LoggedIn;
use crate::admin::state::Shared;
use crate::config::{InForce, Value};

pub(crate) async fn show(LoggedIn(session): LoggedIn, State(state): Shared) -> Response {
    let now = state.app.now();
    let body = html! {
        h1 { "Settings" }
        section.card aria-label="Program" {
            dl.facts {
                div { dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) } }
                div { dt { "Running for" } dd { (format::span(now.since(state.began))) } }
                div { dt { "Since" } dd { (format::full(state.began)) } }
            }
        }
        section.card aria-labelledby="in-force" {
            h2 #in-force { "In force" }
            p.muted { "Changed in the settings file or the environment, by a restart." }
            (table(&state.in_force))
        }
    };
    layout::page("Settings", At::Settings, Some(&session), None, body).into_response()
}

fn table(settings: &[InForce]) -> Markup {
    html! {
        div.scroll {
            table.settings {
                caption.unseen { "Settings in force" }
                thead { tr { th scope="col" { "Setting" } th scope="col" { "Value" } th scope="col" { "Set" } } }
                tbody {
                    @for one in settings {
                        tr {
                            th scope="row" { code { (one.name) } }
                            td data-label="Value" { (value(&one.value)) }
                            td.muted[is_default(one)] data-label="Set" { (one.origin.as_deref().unwrap_or("–")) }
                        }
                    }
                }
            }
        }
    }
}

/// Whether nobody has set it, which is shown paler.
fn is_default(one: &InForce) -> bool {
    one.origin.as_deref().is_none_or(|origin| origin == "in the defaults")
}

fn value(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Shown(value) if value.is_empty() => span.muted { "empty" },
            Value::Shown(value) => code { (value) },
            Value::Hidden(1) => span.muted { "set, and hidden" },
            Value::Hidden(count) => span.muted { (count) " values, hidden" },
            Value::Unset => span.muted { "not set" },
        }
    }
}
