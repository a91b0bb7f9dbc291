//! One round: a world of users, a service between two failing APIs, a time of trouble, and then the reckoning.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::Url;
use sesamy_mailmojo::sandbox::{Associations, Empty, Mailmojo, Sandbox, Shape};

use crate::actor::{Actor, Deeds, Door};
use crate::faults;
use crate::forgetful;
use crate::household::Household;
use crate::ledger::Rules;
use crate::member::{Apis, Member, OTHER_LIST};
use crate::reckoning::Reckoning;
use crate::support::harness::Town;
use crate::support::postgres::Database;
use crate::tally::Tally;
use crate::unprompted;
use crate::watch::Watch;

/// How many change things at the same time.
const ACTORS: usize = 4;

/// How many users there are for each household.
const USERS_A_HOUSEHOLD: usize = 5;

/// A round to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From which the users, their changes, the faults and the service's settings are drawn.
    pub seed: u64,
    /// How long things go wrong.
    pub trouble: Duration,
    /// How many users there are.
    pub users: usize,
    /// The server of a database to use instead of a file.
    pub postgres: Option<Url>,
}

/// How this Mailmojo and the service are set up.
#[derive(Debug, Clone, Copy)]
struct Setup {
    rules: Rules,
    ignores_case: bool,
    associations: Associations,
    hides_inactive: bool,
    concurrency: u32,
    mailmojo_by_client: bool,
    has_rounds: bool,
}

impl Setup {
    fn random(rng: &mut StdRng) -> Self {
        let associations = [Associations::Told, Associations::Told, Associations::Null, Associations::Absent];
        let (creates, derives, ignores_case) =
            (rng.random_bool(0.85), rng.random_bool(0.85), rng.random_bool(0.3));
        let associations = *associations.choose(rng).unwrap();
        Self {
            rules: Rules { creates, derives, shows_lists: associations == Associations::Told },
            ignores_case,
            associations,
            hides_inactive: rng.random_bool(0.2),
            concurrency: *[1, 4, 8, 8, 16].choose(rng).unwrap(),
            mailmojo_by_client: rng.random(),
            has_rounds: rng.random_bool(0.8),
        }
    }

    /// Where Mailmojo does not tell who has left, they are asked for, kindly and in vain, at each sync.
    fn is_told_all(&self) -> bool {
        self.associations == Associations::Told || !self.hides_inactive
    }

    fn prepare(&self, sandbox: &Sandbox, rng: &mut StdRng) {
        let (sesamy, mailmojo) = (&sandbox.sesamy, &sandbox.mailmojo);
        mailmojo.put_list(OTHER_LIST, "Another list");
        mailmojo.ignore_case(self.ignores_case);
        mailmojo.answer_associations_as(self.associations);
        mailmojo.hide_inactive_members(self.hides_inactive);
        mailmojo.answer_empty_as(*[Empty::Null, Empty::Absent, Empty::Blank].choose(rng).unwrap());
        if rng.random() {
            sesamy.answer_as(Shape::Envelope);
            sesamy.set_page_cap(rng.random_range(5..150));
        }
        sesamy.set_token_life(Duration::from_secs(3));
        mailmojo.set_token_life(Duration::from_secs(3));
    }

    /// A database's queue is only looked at by what `/readyz` counts, which has to be nothing now and then.
    fn resync_every(&self, plan: &Plan) -> &'static str {
        match (self.has_rounds, plan.postgres.is_some()) {
            (false, _) => "0",
            (true, false) => "3s",
            (true, true) => "1m",
        }
    }

    fn settings(&self, plan: &Plan) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("SYNC__DEBOUNCE", "20ms".to_owned()),
            ("SYNC__REQUEST_TIMEOUT", format!("{}ms", faults::TIMEOUT.as_millis())),
            ("SYNC__DEADLINE", "4s".to_owned()),
            ("SYNC__BACKOFF_BASE", "5ms".to_owned()),
            ("SYNC__BACKOFF_CAP", "40ms".to_owned()),
            ("SYNC__MAX_ATTEMPTS", "12".to_owned()),
            ("SYNC__CONCURRENCY", self.concurrency.to_string()),
            ("SYNC__CREATE_CONTACTS", self.rules.creates.to_string()),
            ("SESAMY__DERIVE_TAGS", self.rules.derives.to_string()),
            ("SYNC__RESYNC_EVERY", self.resync_every(plan).to_owned()),
            ("LOG__LEVEL", "info".to_owned()),
        ];
        if self.mailmojo_by_client {
            settings.push(("MAILMOJO__API_TOKEN", String::new()));
            settings.push(("MAILMOJO__CLIENT_ID", Mailmojo::CLIENT_ID.to_owned()));
            settings.push(("MAILMOJO__CLIENT_SECRET", Mailmojo::CLIENT_SECRET.to_owned()));
        }
        settings
    }
}

/// How long a check by the clock may take to come, once nothing else is left to do: several checks for drift.
const EXPIRES_WITHIN: Duration = Duration::from_secs(20);

/// A service in trouble.
struct Round {
    town: Town,
    apis: Apis,
    door: Door,
    watch: Watch,
    deeds: Arc<Deeds>,
    tally: Tally,
    rng: StdRng,
}

/// Plays a round.
///
/// # Errors
/// What went wrong, with the story of the first user concerned.
pub async fn play(plan: &Plan) -> Result<Tally, String> {
    let began = Instant::now();
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let setup = Setup::random(&mut rng);
    let database = match &plan.postgres {
        Some(server) => Some(Database::on(server.clone()).await),
        None => None,
    };
    let mut settings = setup.settings(plan);
    settings.extend(database.iter().map(|database| ("QUEUE__URL", database.url().to_owned())));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (mut members, mut households) = (Vec::new(), Vec::new());
    let town = Town::before_start(&settings, |sandbox| {
        setup.prepare(sandbox, &mut rng);
        let apis = apis_of(sandbox);
        members.extend(
            (0..plan.users)
                .map(|number| Member::settle(number, &apis, setup.ignores_case, setup.rules, &mut rng)),
        );
        let started = Instant::now() - sandbox.age();
        let numbers = 0..plan.users.div_ceil(USERS_A_HOUSEHOLD);
        households.extend(numbers.map(|number| Household::settle(number, &apis, started, &mut rng)));
    })
    .await;
    let apis = apis_of(&town.sandbox);
    let mut round = Round {
        watch: Watch::new(database.is_none(), &town.sandbox),
        door: Door::default(),
        deeds: Arc::default(),
        tally: Tally::new(plan.seed, plan.users),
        apis,
        town,
        rng,
    };
    let played = round.play(plan, setup, members, households).await;
    round.tally.seconds = began.elapsed().as_secs_f64();
    round.watch.look(&round.town.sandbox);
    round.tally.take_deeds(&round.deeds);
    round.tally.take_end(&round.town.sandbox, round.watch.calls());
    round.tally.unprompted = round.watch.unprompted(&round.town.service.output);
    round.tally.syncs = round.watch.syncs(&round.town.service.output);
    round.town.sandbox.clear_findings(); // told already
    played.map(|()| round.tally.clone()).map_err(|why| format!("{why}\n{setup:?}\n{}", round.tally))
}

fn apis_of(sandbox: &Sandbox) -> Apis {
    Apis { sesamy: Arc::clone(&sandbox.sesamy), mailmojo: Arc::clone(&sandbox.mailmojo) }
}

impl Round {
    async fn play(
        &mut self,
        plan: &Plan,
        setup: Setup,
        mut members: Vec<Member>,
        mut households: Vec<Household>,
    ) -> Result<(), String> {
        self.door.moves_to(self.town.service.url("/webhooks/sesamy"));
        faults::begin(&self.apis, &mut self.rng);
        let end = Instant::now() + plan.trouble;
        let mut acting = Vec::new();
        for left in (1..=ACTORS).rev() {
            let own = members.split_off(members.len() - members.len() / left);
            let own_households = households.split_off(households.len() - households.len() / left);
            let rng = StdRng::seed_from_u64(self.rng.random());
            let actor =
                Actor::new(own, own_households, &self.apis, setup.rules, &self.door, &self.deeds, rng);
            acting.push(tokio::spawn(actor.acts_until(end)));
        }
        let troubled = self.makes_trouble_until(end).await;
        let mut actors = Vec::new();
        for actor in acting {
            actors.push(actor.await.map_err(|error| error.to_string())?);
        }
        faults::end(&self.apis);
        self.watch.look(&self.town.sandbox);
        self.tally.take_faults(&self.town.sandbox, self.watch.calls());
        let actors: Result<Vec<Actor>, String> = actors.into_iter().collect();
        let mut actors = match (actors, troubled) {
            (Ok(actors), Ok(())) => actors,
            (actors, troubled) => {
                let log = self.town.service.output.tail();
                return Err(format!(
                    "{}\nthe service's log:\n{log}",
                    actors.err().or(troubled.err()).unwrap_or_default()
                ));
            }
        };
        self.reckons(setup, &mut actors).await
    }

    /// Kills, stops and starts the service, takes tokens away, and lets whole APIs fail for a while.
    async fn makes_trouble_until(&mut self, end: Instant) -> Result<(), String> {
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(100..900))).await;
            self.watch.look(&self.town.sandbox);
            if self.town.sandbox.findings().iter().any(|finding| !Household::excuses(finding)) {
                self.deeds.is_over.store(true, Ordering::Relaxed);
                return Ok(());
            }
            match self.rng.random_range(0..20) {
                0..3 => {
                    faults::stuck_writes(&self.apis);
                    tokio::time::sleep(Duration::from_millis(self.rng.random_range(50..250))).await;
                    self.is_killed().await;
                    self.starts_again().await;
                }
                3..6 => {
                    self.is_killed().await;
                    tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..100))).await;
                    self.starts_again().await;
                }
                6 => {
                    self.town.service.terminate();
                    let status = self.town.service.ended().await;
                    self.watch.keep(&self.town.service.output, false);
                    self.tally.stops += 1;
                    if !status.success() {
                        return Err(format!("a SIGTERM ended the service with {status}"));
                    }
                    self.starts_again().await;
                }
                7..9 => faults::outage(&self.apis, &mut self.rng),
                9..12 => {
                    self.apis.sesamy.revoke_issued_tokens();
                    self.apis.mailmojo.revoke_issued_tokens();
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn is_killed(&mut self) {
        self.town.service.kill().await;
        self.watch.keep(&self.town.service.output, true);
        self.tally.kills += 1;
    }

    async fn starts_again(&mut self) {
        self.town.restart(&[]).await;
        self.door.moves_to(self.town.service.url("/webhooks/sesamy"));
    }

    async fn reckons(&mut self, setup: Setup, actors: &mut [Actor]) -> Result<(), String> {
        self.is_quiet(actors, setup, "after the trouble").await?;
        let parked = self.watch.parked(&self.town.service.output);
        self.tally.parked = parked.len() as u64;
        self.reckoning(actors, setup).judges("when the faults have stopped", |id| !parked.contains(id))?;

        // An event in the middle of a sync is not lost: nothing else comes after it.
        faults::only_slow(&self.apis, &mut self.rng);
        join_all(actors.iter_mut().map(Actor::makes_a_flurry))
            .await
            .into_iter()
            .collect::<Result<(), String>>()?;
        self.is_quiet(actors, setup, "after changes in the middle of syncs").await?;
        self.reckoning(actors, setup).judges("after changes in the middle of syncs", |_| true)?;
        faults::end(&self.apis);

        let writes = self.writes_to_members();
        for actor in actors.iter_mut() {
            actor.sends_events_of_all().await?;
        }
        self.is_quiet(actors, setup, "after an event that changes nothing").await?;
        self.reckoning(actors, setup).judges("after an event that changes nothing", |_| true)?;
        self.reckoning(actors, setup).judges_households("after an event of each user")?;
        let writes = self.writes_to_members() - writes;
        if writes > 0 && setup.is_told_all() {
            return Err(format!("{writes} writes came of events that change nothing"));
        }
        if setup.rules.derives {
            self.outlives_a_forgetful_source(actors, setup).await?;
        }
        if setup.has_rounds && self.watch.has_file {
            self.is_mended_by_rounds(actors, setup).await?;
        }
        Ok(())
    }

    /// Sesamy lists no purchases for a while, and the service is killed in the middle of it.
    async fn outlives_a_forgetful_source(
        &mut self,
        actors: &mut [Actor],
        setup: Setup,
    ) -> Result<(), String> {
        forgetful::releases_the_guard(&self.town).await;
        self.is_quiet(actors, setup, "before the source forgets").await?;
        let before = forgetful::having_access(&self.apis.mailmojo);
        forgetful::forgets_purchases(&self.apis);
        for actor in actors.iter_mut() {
            actor.sends_events_of_all().await?;
        }
        self.is_killed().await;
        self.starts_again().await;
        forgetful::waits(&self.town, self.watch.has_file).await?;
        let lost = forgetful::judges(&before, &self.apis.mailmojo, setup.concurrency as usize)?;
        (self.tally.had_access, self.tally.lost_access) = (before.len(), lost);

        faults::end(&self.apis);
        forgetful::releases_the_guard(&self.town).await;
        for actor in actors.iter_mut() {
            actor.sends_events_of_all().await?;
        }
        self.is_quiet(actors, setup, "after the source has remembered").await?;
        self.reckoning(actors, setup).judges("after the source has remembered", |_| true)
    }

    /// Households do not count: not every change of theirs is followed by an event.
    fn writes_to_members(&self) -> u64 {
        self.town.sandbox.writes() - self.watch.writes_to_households()
    }

    /// Somebody takes our tags away from everybody, and no event tells of it.
    async fn is_mended_by_rounds(&mut self, actors: &mut [Actor], setup: Setup) -> Result<(), String> {
        for actor in actors.iter_mut() {
            let mailmojo = actor.apis.mailmojo.clone();
            let lost: u64 = actor.members.iter_mut().map(|member| member.loses_our_tags(&mailmojo)).sum();
            self.deeds.by_hand.fetch_add(lost, Ordering::Relaxed);
        }
        let mended = unprompted::is_mended(&self.reckoning(actors, setup)).await;
        self.watch.look(&self.town.sandbox);
        mended
    }

    /// Waits until nothing is left to do, and all of it is told.
    async fn is_quiet(&mut self, actors: &[Actor], setup: Setup, when: &str) -> Result<(), String> {
        let mut quiet = self.watch.waits_for_quiet(&self.town).await;
        // A check for drift may come before the one for access that ends: then the row does not say so.
        let began = Instant::now();
        let awaits = |actor: &Actor| {
            actor.members.iter().any(|it| it.is_told && it.awaits_an_expiry(&actor.apis, setup.rules))
        };
        while quiet.is_ok() && began.elapsed() < EXPIRES_WITHIN && actors.iter().any(awaits) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            quiet = self.watch.waits_for_quiet(&self.town).await;
        }
        self.watch.look(&self.town.sandbox);
        let Err(why) = quiet else { return Ok(()) };
        let held = self.reckoning(actors, setup).story_of_any(&why.users);
        Err(format!("it stalls {when}: {}\n{held}", why.text))
    }

    fn reckoning<'a>(&'a self, actors: &'a [Actor], setup: Setup) -> Reckoning<'a> {
        let members = actors.iter().flat_map(|actor| &actor.members).collect();
        Reckoning {
            sandbox: &self.town.sandbox,
            apis: &self.apis,
            watch: &self.watch,
            output: &self.town.service.output,
            members,
            households: actors.iter().flat_map(|actor| &actor.households).collect(),
            rules: setup.rules,
        }
    }
}
