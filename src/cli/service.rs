//! The whole service, wired together from its settings: the one place that knows every room.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::shutdown::Timetable;
use crate::clock::Clock;
use crate::config::{self, QueueUrl, Settings};
use crate::merge::{KeepTags, Rules};
use crate::queue::{OpenError, Options as QueueOptions, Queue, Rates};
use crate::server::{App, Authenticator, Limits, listen, router, serve};
use crate::sync::Syncer;
use crate::upstream::rest::{Policy, Rest};
use crate::upstream::{
    Api, ClientError, Credentials, Meter, Options as UpstreamOptions, PerApi, Quota, Upstream,
};
use crate::worker::{Heartbeat, Patience, Rests, Stop, Worker};
use crate::{mailmojo, sesamy, sync, telemetry, worker};

/// How often the metrics' histograms are kept in order.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error(transparent)]
    Queue(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot listen on {address}: {error}; is another service there? Set server.listen or PORT")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("cannot collect metrics: {0}")]
    Metrics(#[from] BuildError),
    #[error("webhook.signature_header is not the name of a header")]
    SignatureHeader,
    #[error(
        "the queue, the worker or the server has ended by itself; the log tells why. Start the service again"
    )]
    Ended,
    #[error("a part of the service ended with a fault: {0}")]
    Part(#[from] tokio::task::JoinError),
}

/// A running service.
#[derive(Debug)]
pub(super) struct Service {
    address: SocketAddr,
    queue: Queue,
    draining: CancellationToken,
    stop_worker: Stop,
    stop_server: CancellationToken,
    worker: JoinHandle<()>,
    server: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

/// The clients of both APIs, and their rests.
pub(super) struct Clients {
    pub(super) sesamy: sesamy::Client,
    pub(super) mailmojo: mailmojo::Client,
    pub(super) rests: Rests,
}

impl Service {
    /// Opens the queue, listens, and begins to work. A caller that gives up waiting may do so: nothing runs yet then but,
    /// for a moment, the opening.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing runs then.
    pub(super) async fn start(settings: Settings) -> Result<Self, ServiceError> {
        let clock = Clock::system();
        let metrics = telemetry::start_metrics()?;
        let queue = open_queue(&settings, &clock).await?;
        let meter: Arc<dyn Meter> = Arc::new(queue.clone());
        let clients = clients(&settings, &meter, &clock)?;
        let address = settings.server.listen;
        let listener = listen(address).map_err(|error| ServiceError::Listen { address, error })?;
        let address = listener.local_addr().map_err(|error| ServiceError::Listen { address, error })?;

        let heartbeat = Heartbeat::default();
        let draining = CancellationToken::new();
        let app = App {
            queue: queue.clone(),
            auth: Arc::new(authenticator(&settings.webhook)?),
            vendor_id: settings.sesamy.vendor_id.as_deref().map(Arc::from),
            body_limit_bytes: settings.server.body_limit_bytes,
            heartbeat: heartbeat.clone(),
            rests: vec![clients.rests.sesamy.clone(), clients.rests.mailmojo.clone()],
            metrics: render(metrics.clone()),
            draining: draining.clone(),
            clock: clock.clone(),
        };
        let stop_server = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router(app), Limits::default(), stop_server.clone()));

        let worker = Worker {
            queue: queue.clone(),
            rests: clients.rests,
            syncer: Syncer::new(clients.sesamy, clients.mailmojo, sync_options(&settings)),
            clock,
            options: worker_options(&settings.sync),
            heartbeat,
        };
        let stop_worker = Stop::default();
        let worker = tokio::spawn(worker.run(stop_worker.clone()));
        let upkeep = tokio::spawn(async move {
            loop {
                tokio::time::sleep(METRICS_UPKEEP).await;
                metrics.run_upkeep();
            }
        });
        Ok(Self { address, queue, draining, stop_worker, stop_server, worker, server, upkeep })
    }

    /// Waits until nothing is due and nobody is being synced.
    pub(super) async fn idle(&self) {
        // The sender lives as long as the queue; should it end, there is nothing to wait for.
        let _ = self.queue.next_due().wait_for(Option::is_none).await;
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves when a part of the service has ended by itself, which none should.
    pub(super) async fn broken(&mut self) -> ServiceError {
        let ended = tokio::select! {
            ended = &mut self.worker => ended,
            ended = &mut self.server => ended,
        };
        match ended {
            Err(error) => ServiceError::Part(error),
            Ok(()) => ServiceError::Ended,
        }
    }

    /// `/readyz` tells of the stop from now on.
    pub(super) fn announce_stop(&self) {
        self.draining.cancel();
    }

    /// Stops by `timetable`: `/readyz` tells of it at once, then no new connections, then running syncs are cut off and
    /// given back to the queue. A store that does not answer is not waited for: leases end by themselves.
    pub(super) async fn stop(self, timetable: Timetable) {
        tokio::select! {
            () = self.end_all(timetable) => {}
            () = timetable.end() => {
                tracing::warn!("the queue's store does not answer: stopping without its word; leases end by themselves");
            }
        }
    }

    async fn end_all(self, timetable: Timetable) {
        self.announce_stop();
        self.stop_worker.leasing.cancel();
        let cut = async {
            timetable.cut_off().await;
            self.stop_worker.running.cancel();
        };
        let ended = async {
            timetable.linger().await;
            self.stop_server.cancel();
            let (server, worker) = tokio::join!(self.server, self.worker);
            for error in [server.err(), worker.err()].into_iter().flatten() {
                tracing::error!(%error, "a part of the service ended with a fault");
            }
        };
        let mut ended = std::pin::pin!(ended);
        tokio::select! {
            () = &mut ended => {}
            () = cut => ended.await,
        }
        self.upkeep.abort();
        self.queue.close().await;
    }
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
    let rest = |api| Arc::new(Rest::new(api, policy(&settings.sync), clock.clone()));
    let rests = Rests { sesamy: rest(Api::Sesamy), mailmojo: rest(Api::Mailmojo) };
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
        rest: rests.sesamy.clone(),
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
        rest: rests.mailmojo.clone(),
    })?;
    Ok(Clients {
        sesamy: sesamy::Client::new(sesamy),
        mailmojo: mailmojo::Client::new(mailmojo, of_mailmojo.list_id),
        rests,
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
async fn open_queue(settings: &Settings, clock: &Clock) -> Result<Queue, ServiceError> {
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
            return Ok(Queue::open_postgres(&url, options, clock, rand::random()).await?);
        }
    };
    let opened =
        tokio::task::spawn_blocking(move || Queue::open_sqlite(&path, options, clock, rand::random()));
    Ok(opened.await??)
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

fn authenticator(webhook: &config::Webhook) -> Result<Authenticator, ServiceError> {
    let header = webhook.signature_header.parse().map_err(|_| ServiceError::SignatureHeader)?;
    Ok(Authenticator::new(
        webhook.bearer_tokens.clone(),
        webhook.hmac_secrets.clone(),
        header,
        webhook.allow_unauthenticated,
    ))
}

/// What the settings say to a sync.
pub(super) fn sync_options(settings: &Settings) -> sync::Options {
    sync::Options {
        guest_user_id_prefixes: settings.sesamy.guest_user_id_prefixes.clone(),
        derive_tags: settings.sesamy.derive_tags,
        dry_run: settings.sync.dry_run,
        rules: Rules {
            create_contacts: settings.sync.create_contacts,
            keep_tags: KeepTags::new(settings.sync.keep_tags.clone()),
        },
    }
}

fn policy(sync: &config::Sync) -> Policy {
    Policy { base: sync.backoff_base, cap: sync.backoff_cap }
}

fn worker_options(sync: &config::Sync) -> worker::Options {
    worker::Options {
        concurrency: sync.concurrency.get(),
        deadline: sync.deadline,
        request_timeout: sync.request_timeout,
        patience: Patience { backoff: policy(sync), max_attempts: sync.max_attempts },
    }
}

fn render(metrics: PrometheusHandle) -> crate::server::RenderMetrics {
    Arc::new(move || metrics.render())
}
