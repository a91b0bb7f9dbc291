//! An actor: changes users of its own, at Sesamy and by hand, and sends events until each is accepted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use reqwest::StatusCode;
use serde_json::json;

use crate::household::Household;
use crate::ledger::Rules;
use crate::member::{Apis, Member};
use crate::support::harness::{TOKEN, http};

const EVENTS: [&str; 8] = [
    "userVendor.1#new",
    "userVendor.1#update",
    "contract.1#purchased",
    "contract.1#update",
    "contract#cancelRequest",
    "checkout.1#confirm",
    "entitlement.1#new",
    "entitlement.1#update",
];

/// How long an event may take to be accepted, restarts included.
const PATIENCE: Duration = Duration::from_secs(45);

/// How often an actor turns to a household.
const SHARE_OF_HOUSEHOLDS: f64 = 0.35;

/// Where the service listens just now.
#[derive(Debug, Clone, Default)]
pub struct Door(Arc<Mutex<String>>);

impl Door {
    pub fn moves_to(&self, url: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn url(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What all actors did.
#[derive(Debug, Default)]
pub struct Deeds {
    pub changes: AtomicU64,
    pub by_hand: AtomicU64,
    pub events: AtomicU64,
    pub ignored: AtomicU64,
    /// Times that an event was not accepted at once.
    pub resent: AtomicU64,
    /// Something is wrong already: no need to go on.
    pub is_over: AtomicBool,
}

/// Somebody who makes things happen to some users, and to nobody else's.
pub struct Actor {
    pub members: Vec<Member>,
    pub households: Vec<Household>,
    pub apis: Apis,
    pub rules: Rules,
    pub door: Door,
    pub deeds: Arc<Deeds>,
    pub rng: StdRng,
    client: reqwest::Client,
}

fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

impl Actor {
    pub fn new(
        members: Vec<Member>,
        households: Vec<Household>,
        apis: &Apis,
        rules: Rules,
        door: &Door,
        deeds: &Arc<Deeds>,
        rng: StdRng,
    ) -> Self {
        let (apis, door, deeds) = (apis.clone(), door.clone(), Arc::clone(deeds));
        Self { members, households, apis, rules, door, deeds, rng, client: http() }
    }

    /// Acts until `end`. Whatever it does to somebody, an event of that user is accepted after it.
    pub async fn acts_until(mut self, end: Instant) -> Result<Self, String> {
        while Instant::now() < end && !self.deeds.is_over.load(Ordering::Relaxed) {
            if self.rng.random_bool(SHARE_OF_HOUSEHOLDS) {
                self.turns_to_a_household().await?;
                continue;
            }
            let at = self.rng.random_range(0..self.members.len());
            let member = &mut self.members[at];
            match self.rng.random_range(0..20) {
                0..9 => {
                    member.changes(&self.apis, self.rules, &mut self.rng);
                    count(&self.deeds.changes);
                }
                9..14 if member.is_edited_by_hand(&self.apis, &mut self.rng) => count(&self.deeds.by_hand),
                14 => {
                    self.sends_what_is_ignored(at).await?;
                    continue;
                }
                _ => {}
            }
            for _ in 0..*[1, 1, 1, 2, 4].choose(&mut self.rng).unwrap() {
                self.sends_event(at).await?;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..20))).await;
        }
        Ok(self)
    }

    async fn turns_to_a_household(&mut self) -> Result<(), String> {
        if !self.households.is_empty() {
            let at = self.rng.random_range(0..self.households.len());
            for id in self.households[at].acts(&self.apis, &mut self.rng) {
                self.sends_event_of(at, &id).await?;
            }
        }
        Ok(())
    }

    /// Changes each user twice, with an event each time: the second, most likely, in the middle of the first one's sync.
    /// Households act meanwhile, and about a second longer, because their sequences take several syncs.
    pub async fn makes_a_flurry(&mut self) -> Result<(), String> {
        for at in 0..self.members.len() {
            for pause in [self.rng.random_range(10..90), 0] {
                self.members[at].changes(&self.apis, self.rules, &mut self.rng);
                count(&self.deeds.changes);
                self.sends_event(at).await?;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            self.turns_to_a_household().await?;
        }
        for _ in 0..10 * self.households.len() {
            self.turns_to_a_household().await?;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        Ok(())
    }

    /// Sends an event of each user.
    pub async fn sends_events_of_all(&mut self) -> Result<(), String> {
        for at in 0..self.members.len() {
            self.sends_event(at).await?;
        }
        for at in 0..self.households.len() {
            let ids: Vec<String> = self.households[at].residents.iter().map(|it| it.id.clone()).collect();
            for id in ids {
                self.sends_event_of(at, &id).await?;
            }
        }
        Ok(())
    }

    async fn sends_event(&mut self, at: usize) -> Result<(), String> {
        let event = *EVENTS.choose(&mut self.rng).unwrap();
        self.members[at].note(format!("event {event} is sent"));
        self.delivers_event(event, &self.members[at].person.id).await?;
        self.members[at].note("it is accepted".to_owned());
        self.members[at].is_told = true;
        Ok(())
    }

    async fn sends_event_of(&mut self, household: usize, id: &str) -> Result<(), String> {
        let event = *EVENTS.choose(&mut self.rng).unwrap();
        self.households[household].note(&format!("event {event} of {id} is sent"));
        self.delivers_event(event, id).await
    }

    async fn delivers_event(&self, event: &str, id: &str) -> Result<(), String> {
        let body = json!({"eventType": event, "vendorId": "vendor_1", "userId": id});
        self.delivers(&body.to_string(), StatusCode::ACCEPTED).await?;
        count(&self.deeds.events);
        Ok(())
    }

    async fn sends_what_is_ignored(&mut self, at: usize) -> Result<(), String> {
        let id = &self.members[at].person.id;
        let bodies = [
            json!({"eventType": "userVendor.2#moved", "vendorId": "vendor_1", "userId": id}),
            json!({"eventType": EVENTS[0], "vendorId": "vendor_1"}),
            json!({"eventType": EVENTS[1], "vendorId": "vendor_1", "userId": ""}),
        ];
        let body = bodies.choose(&mut self.rng).unwrap().to_string();
        self.delivers(&body, StatusCode::OK).await?;
        count(&self.deeds.ignored);
        Ok(())
    }

    /// As Sesamy does: again and again, until there is an answer other than a 5xx.
    async fn delivers(&self, body: &str, expected: StatusCode) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let request = self.client.post(self.door.url()).bearer_auth(TOKEN).body(body.to_owned());
            let last = match request.send().await {
                Ok(answer) if answer.status() == expected => return Ok(()),
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => "503".to_owned(),
                Ok(answer) => return Err(format!("{body} was answered {}, not {expected}", answer.status())),
                Err(error) => error.to_string(),
            };
            if began.elapsed() > PATIENCE {
                return Err(format!("{body} was not accepted in {PATIENCE:?}; the last answer: {last}"));
            }
            count(&self.deeds.resent);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
