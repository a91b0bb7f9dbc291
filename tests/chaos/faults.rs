//! What goes wrong: a fifth of all calls, in every way that the service has a rule for.
//!
//! No fault here is a plausible lie (an empty list instead of a full one, a 404 in JSON for a contact that is there): no
//! client can tell such an answer from the truth.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Api, ComeAgain, Fault, Route, Rule};

use crate::member::Apis;

/// `sync.request_timeout` of the service.
pub const TIMEOUT: Duration = Duration::from_millis(500);

/// How many of the calls go wrong; of the writes as many again, once they are done.
const SHARE: f64 = 0.2;
/// How many are answered by a 429 with a hint: each of them stops the API for a second.
const SHARE_WITH_HINT: f64 = 0.0005;

/// Every kind of request that a sync makes.
const ROUTES: [(Api, Route); 8] = [
    (Api::Sesamy, Route::Token),
    (Api::Sesamy, Route::Profile),
    (Api::Sesamy, Route::Contracts),
    (Api::Sesamy, Route::Entitlements),
    (Api::Mailmojo, Route::Token),
    (Api::Mailmojo, Route::ContactGet),
    (Api::Mailmojo, Route::ContactPatch),
    (Api::Mailmojo, Route::Subscribe),
];

/// Lets both APIs fail from now on.
pub fn begin(apis: &Apis, rng: &mut StdRng) {
    let member = (Api::Mailmojo, Route::ListMember);
    for (api, route) in ROUTES.into_iter().chain([member]) {
        inject(apis, api, Rule::one_of(route, hints(), rng.random()).chance(SHARE_WITH_HINT, rng.random()));
        if matches!(route, Route::ContactPatch | Route::Subscribe) {
            let faults = repeated(of_writes());
            inject(apis, api, Rule::one_of(route, faults, rng.random()).chance(SHARE, rng.random()));
        }
        let faults = repeated(mix(route));
        inject(apis, api, Rule::one_of(route, faults, rng.random()).chance(SHARE, rng.random()));
    }
}

/// Lets both APIs answer all that they are asked, but slowly.
pub fn only_slow(apis: &Apis, rng: &mut StdRng) {
    for (api, route) in ROUTES {
        let delays = [1, 10, 30, 60].map(|ms| Fault::Delay(Duration::from_millis(ms)));
        inject(apis, api, Rule::one_of(route, delays.to_vec(), rng.random()));
    }
}

/// Lets nothing go wrong any more.
pub fn end(apis: &Apis) {
    apis.sesamy.clear_faults();
    apis.mailmojo.clear_faults();
}

/// Lets one API fail altogether for so many calls.
pub fn outage(apis: &Apis, rng: &mut StdRng) {
    let api = if rng.random() { Api::Sesamy } else { Api::Mailmojo };
    let fault = if rng.random() { Fault::Close } else { Fault::status(503).html().into() };
    inject(apis, api, Rule::anywhere(fault).times(rng.random_range(5..25)));
}

/// Lets the next few writes be stuck until their client has gone, and take effect after it.
pub fn stuck_writes(apis: &Apis) {
    for route in [Route::ContactPatch, Route::Subscribe] {
        apis.mailmojo.inject(Rule::on(route, Fault::AfterLeaving(TIMEOUT / 2)).times(2));
    }
}

/// As many of each fault as it has parts in the mix.
fn repeated(mix: Vec<(usize, Fault)>) -> Vec<Fault> {
    mix.into_iter().flat_map(|(times, fault)| vec![fault; times]).collect()
}

fn inject(apis: &Apis, api: Api, rule: Rule) {
    match api {
        Api::Sesamy => apis.sesamy.inject(rule),
        Api::Mailmojo => apis.mailmojo.inject(rule),
    }
}

fn hints() -> Vec<Fault> {
    let soon = SystemTime::now() + Duration::from_secs(2);
    let unix = soon.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let hints = [
        ComeAgain::Seconds(1),
        ComeAgain::Seconds(0),
        ComeAgain::Date(soon),
        ComeAgain::InBody(1),
        ComeAgain::Reset(unix),
    ];
    hints.into_iter().map(Fault::too_many_requests).collect()
}

/// What goes wrong with requests of this kind, and how often beside the others.
fn mix(route: Route) -> Vec<(usize, Fault)> {
    let mut mix = of_any();
    match route {
        Route::Token => mix.extend([
            (10, Fault::wrong_shape(json!({"ok": true}))),
            (10, Fault::wrong_shape(json!({"access_token": 5}))),
        ]),
        Route::ContactPatch => {
            mix.push((24, Fault::status(404).message("there is no such contact").into()));
        }
        Route::Subscribe => {
            mix.push((1, Fault::status(404).message("there is no such list").into()));
        }
        read => mix.extend(wrong_shapes(read).into_iter().map(|edit| (2, edit))),
    }
    mix
}

fn of_any() -> Vec<(usize, Fault)> {
    let slow = |ms| Fault::Delay(Duration::from_millis(ms));
    vec![
        (8, Fault::status(500).into()),
        (4, Fault::status(502).html().into()),
        (8, Fault::status(503).into()),
        (2, Fault::status(503).html().header("Retry-After", "1").into()),
        (2, Fault::status(504).empty().into()),
        (4, Fault::status(408).into()),
        (4, Fault::status(425).into()),
        (4, Fault::status(404).html().into()),
        (4, Fault::status(200).html().into()),
        (2, Fault::status(200).empty().into()),
        (4, Fault::wrong_shape(json!({"data": [], "error": {"code": "internal_error"}}))),
        (6, Fault::Close),
        (6, Fault::CutJson),
        (6, Fault::CutConnection),
        (1, Fault::Hang),
        (6, slow(10)),
        (1, slow(2 * 500)),
        (1, Fault::Drip(Duration::from_millis(20))),
        (1, Fault::Drip(Duration::from_micros(100))),
        (1, Fault::Huge(9 * 1024 * 1024)),
        // The API rests.
        (2, Fault::too_many_requests(ComeAgain::Unsaid)),
        (1, Fault::status(401).into()),
        (1, Fault::status(403).into()),
        (1, Fault::status(301).header("Location", "/elsewhere/").html().into()),
        (1, Fault::status(307).header("Location", "http://127.0.0.1:9/").empty().into()),
        (1, Fault::status(405).into()),
        (1, Fault::status(415).into()),
        // The user is parked.
        (1, Fault::status(400).message("bad request").into()),
        (1, Fault::status(409).message("conflict").into()),
        (1, Fault::status(422).message("cannot be processed").into()),
        (1, Fault::status(418).empty().into()),
    ]
}

fn of_writes() -> Vec<(usize, Fault)> {
    let late = |part| Fault::AfterLeaving(TIMEOUT.mul_f64(part));
    vec![
        (8, Fault::done_then(Fault::Close)),
        (4, Fault::done_then(Fault::status(500))),
        (4, Fault::done_then(Fault::status(503).html())),
        (4, Fault::done_then(Fault::Hang)),
        (4, Fault::done_then(Fault::wrong_shape(json!({"ok": true})))),
        (1, Fault::done_then(Fault::status(422).message("done, and yet refused"))),
        (1, Fault::done_then(Fault::too_many_requests(ComeAgain::Unsaid))),
        // Less than a whole time limit: for a process that was killed in a write the next one waits so long.
        (2, late(0.0)),
        (8, late(0.3)),
        (12, late(0.5)),
    ]
}

/// Sets a field of an answer, wherever the answer keeps its object: the first row, or what is in the envelope.
fn with(name: &'static str, value: Value) -> Fault {
    Fault::edit(move |json| {
        let json = if json.get("data").is_some() { &mut json["data"] } else { json };
        let object = if json.is_array() { json.get_mut(0) } else { Some(json) };
        if let Some(object) = object.and_then(Value::as_object_mut) {
            object.insert(name.to_owned(), value.clone());
        }
    })
}

fn instead(value: Value) -> Fault {
    Fault::edit(move |json| *json = value.clone())
}

/// Answers to a read that are JSON, but not what was asked for.
fn wrong_shapes(route: Route) -> Vec<Fault> {
    let mut wrong =
        vec![instead(json!("ok")), instead(json!({"ok": true})), instead(json!([1])), instead(json!(null))];
    wrong.extend(match route {
        Route::Profile => vec![
            with("userId", json!("somebody else")),
            with("email", json!(5)),
            with("firstName", json!({})),
            with("tags", json!("vip")),
            instead(json!([])),
        ],
        Route::Contracts => vec![
            with("userId", json!("somebody else")),
            with("isActive", json!("yes")),
            with("items", json!(5)),
            with("contractDuration", json!({})),
        ],
        Route::Entitlements => {
            vec![with("hasAccess", json!(1)), with("origin", json!("PAYMENTS")), with("sku", json!([]))]
        }
        Route::ListMember => {
            vec![with("email", json!("somebody.else@example.com")), with("status", json!(1))]
        }
        _ => vec![
            with("email", json!("somebody.else@example.com")),
            with("tags", json!("vip")),
            with("tags", json!({"0": "vip"})),
            with("tags", json!(["vip", null])),
            with("list_associations", json!({})),
            with("list_associations", json!([{"list_id": "seven", "status": "a"}])),
            with("status", json!(1)),
            with("first_name", json!({})),
            instead(json!([])),
            instead(json!({"email": "somebody.else@example.com", "status": "a", "tags": [], "list_associations": []})),
            instead(json!({"email": "somebody.else@example.com", "status": "a", "tags": [], "list_associations": []})),
            instead(json!({"email": "somebody.else@example.com", "status": "a", "tags": [], "list_associations": []})),
        ],
    });
    wrong
}
