//! Who is parked: the reasons first, then the users.

use axum::extract::{RawQuery, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::flash::Flash;
use super::users::{ON_A_PAGE, pages};
use super::{At, button, failed, people, words};
use crate::admin::failure::Failure;
use crate::admin::fields::{Fields, with_query};
use crate::admin::guard::{Here, Visitor};
use crate::admin::session::Session;
use crate::clock::Millis;
use crate::queue::{Filter, ParkedGroup, RowState};

pub(crate) async fn show(
    Visitor(session): Visitor,
    Shared(office): Here,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let reason = fields.get("reason");
    let after = fields.get("after");
    let filter = Filter {
        state: Some(RowState::Parked),
        reason: reason.map(str::to_owned),
        after: after.map(str::to_owned),
        limit: ON_A_PAGE + 1,
    };
    let asked = async {
        let reasons = office.operator.parked().await?;
        Ok::<_, Failure>((reasons, office.operator.hand.queue.rows(&filter).await?))
    };
    let (reasons, rows) = match asked.await {
        Ok(told) => told,
        Err(error) => return failed(&session, &error),
    };
    let address = |after: Option<&str>| {
        with_query("/admin/parked", [("reason", reason.map(Into::into)), ("after", after.map(Into::into))])
    };
    let back = address(after);
    let (rows, more) = pages(&rows, |last| address(Some(last)));
    let body = html! {
        h1 { "Parked users" }
        p.muted.lead {
            "No retry by itself can help these: an API has refused what was sent, or they failed again and again while others "
            "did not. Mend the cause, then retry them. The next event brings a user back as well."
        }
        @if reasons.is_empty() && rows.is_empty() {
            section.card { p.empty { "Nobody is parked." } }
        } @else {
            (table_of_reasons(&session, &reasons, reason, office.now()))
            section.card aria-labelledby="who" {
                h2 #who { @if reason.is_some() { "Parked for this reason" } @else { "All who are parked" } }
                @if rows.is_empty() { p.empty { "Nobody." } }
                @else { (people::table("Parked users", rows, &session, &back, office.now())) }
                (more)
            }
        }
    };
    super::page("Parked users", At::Parked, Some(&session), Flash::of(&fields), body).into_response()
}

fn table_of_reasons(session: &Session, reasons: &[ParkedGroup], chosen: Option<&str>, now: Millis) -> Markup {
    let all = reasons.iter().map(|reason| reason.users).sum::<u64>();
    html! {
        section.card aria-labelledby="why" {
            div.verdict {
                h2 #why { "By reason" }
                @if chosen.is_some() { a href="/admin/parked" { "All reasons" } }
                (button(session, "/admin/queue/retry", "/admin/parked", &[("all_parked", "true")], "",
                    html! { "Retry all " (words::number(all)) }))
            }
            div.scroll {
                table.reasons {
                    caption.unseen { "Parked users by reason" }
                    thead { tr {
                        th scope="col" { "Reason" } th.number scope="col" { "Users" } th scope="col" { "First" }
                        th scope="col" { "Last" } th scope="col" { span.unseen { "Action" } }
                    } }
                    tbody {
                        @for reason in reasons {
                            @let is_chosen = chosen == Some(reason.answer.as_str());
                            tr.chosen[is_chosen] {
                                th scope="row" {
                                    a href=(with_query("/admin/parked", [("reason", Some(reason.answer.as_str().into()))]))
                                        aria-current=[is_chosen.then_some("true")] { (reason.answer) }
                                    @if reason.error != reason.answer { p.muted { "such as: " (reason.error) } }
                                }
                                td.number data-label="Users" { (words::number(reason.users)) }
                                td data-label="First" { @match reason.first_at { Some(at) => (words::when(at, now)), None => "–" } }
                                td data-label="Last" { (words::when(reason.last_at, now)) }
                                td.action {
                                    (button(session, "/admin/queue/retry", "/admin/parked", &[("answer", &reason.answer)], "",
                                        html! { "Retry " (words::number(reason.users)) span.unseen { " of this reason" } }))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
