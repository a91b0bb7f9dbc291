//! The rooms, put together from the settings: what the service and the commands share.

use std::sync::Arc;

use super::error::ServiceError;
use crate::app::{App, Previewer};
use crate::clock::Clock;
use crate::config::{self, QueueUrl, Settings};
use crate::merge::KeepTags;
use crate::queue::{Lane, Queue, QueuePolicy, Rates, RetryPolicy, Role};
use crate::sync::{AddressIndex, NoOtherUsers, SyncSettings, Syncer};
use crate::upstream::circuit_breaker::Backoff;
use crate::upstream::{
    ClientError, Credentials, Gate, Meter, Options as UpstreamOptions, OwnMeter, PerApi, Quota, Upstream,
};
use crate::worker::{Gates, Limits, SyncRunner};
use crate::{mailmojo, sesamy, sync};

/// What a command works with, beside a service that may be running. A missing queue is made or an error.
pub(super) async fn app(settings: &Settings, may_create: bool) -> Result<App, ServiceError> {
    let clock = Clock::system();
    let queue = open_queue(settings, &clock, Role::Command { may_create }).await?;
    let meter: Arc<dyn Meter> = Arc::new(queue.meter(Lane::Events));
    let clients = clients(settings, &meter, &clock)?;
    Ok(app_on(settings, queue, clock, clients))
}

/// All that an operator can ask for, on this queue and with these clients.
pub(super) fn app_on(settings: &Settings, queue: Queue, clock: Clock, clients: Clients) -> App {
    let addresses = Arc::new(queue.clone());
    let of_sync = sync_settings(settings);
    let syncer = Arc::new(Syncer::new(clients.sesamy, clients.mailmojo, addresses, clock.clone(), of_sync));
    let limits = limits(&settings.sync);
    let runner = SyncRunner { queue, gates: clients.gates, syncer: Arc::clone(&syncer), clock, limits };
    App::new(runner, syncer, sync::usual_calls(settings.sesamy.derive_tags))
}

/// Previews syncs. A queue is opened if there is one: it has what is remembered of a user, and the account of calls, so
/// that a service beside is not driven over the rate.
pub(super) async fn previewer(settings: &Settings) -> Result<Previewer, ServiceError> {
    let clock = Clock::system();
    let queue = match open_queue(settings, &clock, Role::Command { may_create: false }).await {
        Ok(queue) => Some(queue),
        Err(error) => {
            tracing::info!(%error, "without a queue, this command keeps to the rate by itself, and nothing is remembered of any user");
            None
        }
    };
    let meter: Arc<dyn Meter> = match &queue {
        Some(queue) => Arc::new(queue.meter(Lane::Events)),
        None => own_meter(settings, &clock),
    };
    let addresses: Arc<dyn AddressIndex> = match &queue {
        Some(queue) => Arc::new(queue.clone()),
        None => Arc::new(NoOtherUsers),
    };
    let clients = clients(settings, &meter, &clock)?;
    let of_sync = sync_settings(settings);
    let syncer = Arc::new(Syncer::new(clients.sesamy, clients.mailmojo, addresses, clock.clone(), of_sync));
    Ok(Previewer { syncer, queue, clock, deadline: settings.sync.deadline })
}

/// Keeps to the rate in this process alone, for a command without a queue.
pub(super) fn own_meter(settings: &Settings, clock: &Clock) -> Arc<dyn Meter> {
    Arc::new(OwnMeter::new(quotas(settings), clock.clone()))
}

/// The clients of both APIs, and their gates.
pub(super) struct Clients {
    pub(super) sesamy: sesamy::Client,
    pub(super) mailmojo: mailmojo::Client,
    pub(super) gates: Gates,
}

/// The clients that `settings` describe; they make no call yet.
///
/// # Errors
/// [`ClientError`].
pub(super) fn clients(
    settings: &Settings,
    meter: &Arc<dyn Meter>,
    clock: &Clock,
) -> Result<Clients, ClientError> {
    let (sesamy, mailmojo) = (&settings.sesamy, &settings.mailmojo);
    let gates = Gates::each(|api| Arc::new(Gate::new(api, clock.clone())));
    let upstream = |base: &reqwest::Url, credentials, gate: &Arc<Gate>, field_names| {
        Upstream::new(UpstreamOptions {
            base: base.clone(),
            credentials,
            meter: meter.clone(),
            clock: clock.clone(),
            request_timeout: settings.sync.request_timeout,
            gate: gate.clone(),
            field_names,
        })
    };
    let audience = ("audience", sesamy.audience.clone());
    let of_sesamy = credentials(&sesamy.credentials, sesamy.token_url.clone(), audience);
    let sesamy_upstream = upstream(&sesamy.api_url, of_sesamy, &gates.sesamy, sesamy::FIELD_NAMES)?;
    let mut token_url = mailmojo.api_url.clone();
    token_url.set_path(&format!("{}/oauth/token/", token_url.path().trim_end_matches('/')));
    let of_mailmojo = credentials(&mailmojo.credentials, token_url, ("scope", mailmojo::SCOPES.to_owned()));
    let mailmojo_upstream = upstream(&mailmojo.api_url, of_mailmojo, &gates.mailmojo, mailmojo::FIELD_NAMES)?;
    Ok(Clients {
        sesamy: sesamy::Client::new(sesamy_upstream),
        mailmojo: mailmojo::Client::new(mailmojo_upstream, mailmojo.list_id)
            .reading_custom(!mailmojo.custom_fields.is_empty()),
        gates,
    })
}

fn credentials(
    credentials: &config::Credentials,
    token_url: reqwest::Url,
    extra: (&'static str, String),
) -> Credentials {
    match credentials {
        config::Credentials::Token(token) => Credentials::Token(token.clone()),
        config::Credentials::Client { id, secret } => {
            Credentials::Client { token_url, id: id.clone(), secret: secret.clone(), extra }
        }
    }
}

/// Opens the queue; an SQLite file on a thread of its own, because checking a large file takes a while.
pub(super) async fn open_queue(
    settings: &Settings,
    clock: &Clock,
    role: Role,
) -> Result<Queue, ServiceError> {
    let sync = &settings.sync;
    // A sync that has used up its deadline may still be waiting for the answer to its last write.
    let lease = sync.deadline + 2 * sync.request_timeout;
    let options = QueuePolicy {
        debounce: sync.debounce,
        lease,
        request_timeout: sync.request_timeout,
        furthest_due: sync.backoff_cap.max(lease).max(sync.debounce),
        dry_run: sync.dry_run,
        rates: rates(settings),
    };
    let (url, clock) = (settings.queue.url.clone(), clock.clone());
    let path = match url {
        QueueUrl::Sqlite(path) => path,
        QueueUrl::Postgres(url) => {
            return Ok(Queue::open_postgres(&url, role, options, clock, rand::random()).await?);
        }
    };
    let opened =
        tokio::task::spawn_blocking(move || Queue::open_sqlite(&path, role, options, clock, rand::random()));
    Ok(opened.await??)
}

/// The rates of both APIs, and what a sync takes of them from the start.
fn rates(settings: &Settings) -> Rates {
    Rates { quotas: quotas(settings), calls: sync::usual_calls(settings.sesamy.derive_tags) }
}

/// What the settings say that the APIs allow.
fn quotas(settings: &Settings) -> PerApi<Quota> {
    let (sesamy, mailmojo) = (&settings.sesamy, &settings.mailmojo);
    PerApi {
        sesamy: Quota { per_minute: sesamy.requests_per_minute, burst: sesamy.burst },
        mailmojo: Quota { per_minute: mailmojo.requests_per_minute, burst: mailmojo.burst },
    }
}

/// What the settings say to a sync.
fn sync_settings(settings: &Settings) -> SyncSettings {
    SyncSettings {
        guest_user_id_prefixes: settings.sesamy.guest_user_id_prefixes.clone(),
        derive_tags: settings.sesamy.derive_tags,
        dry_run: settings.sync.dry_run,
        custom_fields: settings.mailmojo.custom_fields.clone(),
        create_contacts: settings.sync.create_contacts,
        keep_tags: KeepTags::new(settings.sync.keep_tags.clone()),
    }
}

fn limits(sync: &config::Sync) -> Limits {
    Limits {
        deadline: sync.deadline,
        request_timeout: sync.request_timeout,
        retry: RetryPolicy {
            backoff: Backoff { base: sync.backoff_base, cap: sync.backoff_cap },
            max_attempts: sync.max_attempts,
        },
        resync_every: sync.resync_every,
    }
}
