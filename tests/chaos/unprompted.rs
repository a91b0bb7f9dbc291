//! What must be true in the end though no event tells of it.
//!
//! | what happens | in the end |
//! |---|---|
//! | access ends by the clock | its tags are gone, whoever was down or failing at that moment |
//! | somebody takes our tags off a contact | where there are rounds, they are back; nobody is put on the list for it |
//! | somebody deletes a contact | nobody has to make it again, but an event may where nobody had seen it |
//! | somebody leaves, and then has another address | nobody has to make a contact of it |

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;
use sesamy_mailmojo::sandbox::{Contact, Mailmojo, Route, entitlement};

use crate::cases::FOR_EVER;
use crate::ledger::{Ledger, Rules};
use crate::member::Member;
use crate::reckoning::Reckoning;

/// How long rounds may take to mend everything: several of them.
const PATIENCE: Duration = Duration::from_secs(40);

/// Access that ends by the clock while things go wrong, or soon after.
#[derive(Debug, Clone)]
pub struct Brief {
    number: u16,
    end: Timestamp,
}

impl Brief {
    pub fn random(rng: &mut StdRng) -> Self {
        let end = Timestamp::now() + SignedDuration::from_millis(rng.random_range(200..2_500));
        Self { number: rng.random_range(0..1_000), end }
    }

    /// As Sesamy has it: it goes on saying that there is access, and when that ends.
    pub fn at_sesamy(&self) -> Value {
        let id = format!("brief-{}", self.number);
        entitlement(&id, &id).expires_at(&self.end.to_string()).into()
    }

    /// The tags that it gives until its end.
    pub fn gives(&self) -> [String; 2] {
        ["entitlement", "sku"].map(|what| format!("sesamy_active_{what}_brief-{}", self.number))
    }
}

impl Ledger {
    /// Whether nothing says that whoever has this address may have left, or was removed.
    pub fn has_surely_stayed(&self, rules: Rules) -> bool {
        let has_stayed = |status: &str| matches!(status, "a" | "b");
        let on_list = self.statuses.lists.iter().find(|(list, _)| *list == Mailmojo::LIST);
        !self.was_turned
            && !self.was_deleted
            && has_stayed(&self.statuses.account)
            // If Mailmojo hides the place, a subscribe in vain makes it look as if somebody had taken the place away.
            && on_list.is_none_or(|(_, status)| status == "a" || (rules.shows_lists && has_stayed(status)))
    }

    /// Somebody takes all of our tags off but the one that stays for ever, which nothing would bring back; whether any.
    fn loses_our_tags(&mut self, contact: &Contact, mailmojo: &Mailmojo) -> bool {
        let is_taken = |tag: &str| tag.starts_with("sesamy_") && tag != FOR_EVER;
        let any = contact.tags.iter().any(|tag| is_taken(tag));
        if any {
            self.touched = true;
            self.sesamy.retain(|tag| !is_taken(tag));
            mailmojo.edit(&self.email, |contact| contact.tags.retain(|tag| !is_taken(tag)));
        }
        any
    }
}

impl Member {
    /// Somebody takes our tags off this user's contacts; from how many.
    pub fn loses_our_tags(&mut self, mailmojo: &Mailmojo) -> u64 {
        let mut lost = Vec::new();
        for ledger in &mut self.ledgers {
            let there = mailmojo.contact(&ledger.email);
            if there.is_some_and(|contact| ledger.loses_our_tags(&contact, mailmojo)) {
                lost.push(ledger.email.clone());
            }
        }
        lost.iter().for_each(|email| self.note(format!("by hand at {email}: loses all of our tags")));
        lost.len() as u64
    }
}

/// Waits until rounds have mended all contacts, as `reckoning` judges them.
///
/// # Errors
/// What is still wrong after a while, or that somebody was put on the list.
pub async fn is_mended(reckoning: &Reckoning<'_>) -> Result<(), String> {
    let subscribes = reckoning.sandbox.count(Route::Subscribe);
    let began = Instant::now();
    while let Err(why) = reckoning.judges("after rounds", |_| true) {
        if began.elapsed() > PATIENCE {
            return Err(why);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    match reckoning.sandbox.count(Route::Subscribe) - subscribes {
        0 => Ok(()),
        some => Err(format!("rounds have put {some} users on the list")),
    }
}
