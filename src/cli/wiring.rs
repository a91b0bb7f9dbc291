//! The rooms, put together from the settings: what the service and the commands share.

use std::sync::Arc;

use super::service::ServiceError;
use crate::clock::Clock;
use crate::config::{self, QueueUrl, Settings};
use crate::merge::KeepTags;
use crate::operations::Operator;
use crate::queue::{Lane, Options as QueueOptions, Queue, Rates, RetryPolicy, Role};
use crate::sync::{SyncSettings, Syncer};
use crate::upstream::circuit_breaker::Backoff;
use crate::upstream::{
    ClientError, Credentials, Gate, Meter, Options as UpstreamOptions, PerApi, Quota, Upstream,
};
use crate::worker::{Gates, Limits, SyncRunner};
use crate::{mailmojo, sesamy, sync};

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
    let gates = Gates::each(|api| Arc::new(Gate::new(api, clock.clone())));
    let request_timeout = settings.sync.request_timeout;
    let of_sesamy = &settings.sesamy;
    let sesamy = Upstream::new(UpstreamOptions {
        base: of_sesamy.api_url.clone(),
        credentials: credentials(
            &of_sesamy.credentials,
            of_sesamy.token_url.clone(),
            ("audience", of_sesamy.audience.clone()),
        ),
        meter: meter.clone(),
        clock: clock.clone(),
        request_timeout,
        gate: gates.sesamy.clone(),
        field_names: sesamy::FIELD_NAMES,
    })?;
    let of_mailmojo = &settings.mailmojo;
    let mut token_url = of_mailmojo.api_url.clone();
    token_url.set_path(&format!("{}/oauth/token/", token_url.path().trim_end_matches('/')));
    let mailmojo = Upstream::new(UpstreamOptions {
        base: of_mailmojo.api_url.clone(),
        credentials: credentials(&of_mailmojo.credentials, token_url, ("scope", mailmojo::SCOPES.to_owned())),
        meter: meter.clone(),
        clock: clock.clone(),
        request_timeout,
        gate: gates.mailmojo.clone(),
        field_names: mailmojo::FIELD_NAMES,
    })?;
    Ok(Clients {
        sesamy: sesamy::Client::new(sesamy),
        mailmojo: mailmojo::Client::new(mailmojo, of_mailmojo.list_id)
            .reading_custom(!of_mailmojo.custom_fields.is_empty()),
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

/// Opens the queue; an SQLite file on a thread of its own: checking a large file takes a while, and so does waiting for a backup of it.
pub(super) async fn open_queue(
    settings: &Settings,
    clock: &Clock,
    role: Role,
) -> Result<Queue, ServiceError> {
    let sync = &settings.sync;
    // A sync that has used up its deadline may still be waiting for the answer to its last write.
    let lease = sync.deadline + 2 * sync.request_timeout;
    let options = QueueOptions {
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

/// What syncs on `queue`, its calls beside those of its leases being of `lane`.
///
/// # Errors
/// A client cannot be made.
pub(super) fn operator(
    settings: &Settings,
    queue: Queue,
    clock: Clock,
    lane: Lane,
) -> Result<Operator, ServiceError> {
    let meter: Arc<dyn Meter> = Arc::new(queue.meter(lane));
    let clients = clients(settings, &meter, &clock)?;
    Ok(operator_with(settings, queue, clock, clients))
}

/// The same with these clients.
pub(super) fn operator_with(settings: &Settings, queue: Queue, clock: Clock, clients: Clients) -> Operator {
    let addresses = Arc::new(queue.clone());
    let of_sync = sync_settings(settings);
    let syncer = Arc::new(Syncer::new(clients.sesamy, clients.mailmojo, addresses, clock.clone(), of_sync));
    let limits = limits(&settings.sync);
    let hand = SyncRunner { queue, gates: clients.gates, syncer: Arc::clone(&syncer), clock, limits };
    Operator { hand, syncer, calls: sync::usual_calls(settings.sesamy.derive_tags) }
}

/// The rates of both APIs, and what a sync takes of them from the start.
fn rates(settings: &Settings) -> Rates {
    Rates { quotas: quotas(settings), calls: sync::usual_calls(settings.sesamy.derive_tags) }
}

/// What the settings say that the APIs allow.
pub(super) fn quotas(settings: &Settings) -> PerApi<Quota> {
    let (sesamy, mailmojo) = (&settings.sesamy, &settings.mailmojo);
    PerApi {
        sesamy: Quota { per_minute: sesamy.requests_per_minute, burst: sesamy.burst },
        mailmojo: Quota { per_minute: mailmojo.requests_per_minute, burst: mailmojo.burst },
    }
}

/// What the settings say to a sync.
pub(super) fn sync_settings(settings: &Settings) -> SyncSettings {
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
