//! The whole service, wired together from its settings: the one place that knows every room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bootstrap::{app_on, clients, open_queue};
use super::error::ServiceError;
use super::shutdown::Timetable;
use crate::admin::{self, AdminOptions};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::queue::{Lane, Queue, Role};
use crate::server::{self, Authenticator, Limits, listen, router, serve};
use crate::telemetry;
use crate::upstream::Meter;
use crate::worker::{Heartbeat, Pause, Scheduler, Stop, TICK};

/// How often the metrics' histograms are kept in order.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// How long to wait for a database in which the start is to be noted. It is tried again beside the service.
const STARTING: Duration = Duration::from_secs(5);

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
    /// The operations page, if there is a token for it.
    page: Option<AdminServer>,
    /// What runs beside the worker until the service stops.
    upkeep: JoinSet<()>,
}

/// The operations page, listening.
#[derive(Debug)]
struct AdminServer {
    address: SocketAddr,
    running: JoinHandle<()>,
    /// Syncs by hand that are under way.
    syncs: TaskTracker,
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
        let queue = open_queue(&settings, &clock, Role::Service).await?;
        let meter: Arc<dyn Meter> = Arc::new(queue.meter(Lane::Events));
        let clients = clients(&settings, &meter, &clock)?;
        let gates = clients.gates.clone();
        let app = app_on(&settings, queue.clone(), clock.clone(), clients);
        let (listener, address) = listen_on(settings.server.listen, "server.listen or PORT")?;
        let page = match settings.admin.tokens.is_empty() {
            true => None,
            false => Some(listen_on(settings.admin.listen, "admin.listen")?),
        };

        let (heartbeat, pause) = (Heartbeat::default(), Pause::default());
        let draining = CancellationToken::new();
        let server_app = server::ServerState {
            queue: queue.clone(),
            auth: Arc::new(authenticator(&settings.webhook)?),
            vendor_id: settings.sesamy.vendor_id.as_deref().map(Arc::from),
            body_limit_bytes: settings.server.body_limit_bytes,
            heartbeat: heartbeat.clone(),
            pause: pause.clone(),
            gates,
            metrics: render(metrics.clone()),
            draining: draining.clone(),
            clock: clock.clone(),
        };
        let (stop_server, stop_worker) = (CancellationToken::new(), Stop::default());
        let page = page.map(|(listener, address)| {
            let syncs = TaskTracker::new();
            let options = admin_options(&settings, app.clone(), &stop_worker, syncs.clone());
            let router = admin::router(options, server::metrics(server_app.clone()));
            let running = tokio::spawn(serve(listener, router, Limits::default(), stop_server.clone()));
            AdminServer { address, running, syncs }
        });
        let server =
            tokio::spawn(serve(listener, router(server_app), Limits::default(), stop_server.clone()));

        let keep = Duration::from_secs(u64::from(settings.history.days) * 86_400);
        let scheduler = Scheduler { queue: queue.clone(), clock, keep, tick: TICK };
        let worker = app.worker(settings.sync.concurrency.get(), heartbeat, pause);
        let worker = tokio::spawn(worker.run(stop_worker.clone()));
        let mut upkeep = JoinSet::new();
        upkeep.spawn(async move {
            loop {
                tokio::time::sleep(METRICS_UPKEEP).await;
                metrics.run_upkeep();
            }
        });
        upkeep.spawn(scheduler.run());
        if !queue.is_alone() {
            // A start closes circuits, also those that another service has just found open: it is over before events are taken.
            let _ = tokio::time::timeout(STARTING, queue.started()).await;
        }
        Ok(Self { address, queue, draining, stop_worker, stop_server, worker, server, page, upkeep })
    }

    /// Waits until nothing is due and nobody is being synced.
    pub(super) async fn idle(&self) {
        const EVERY: Duration = Duration::from_millis(50);
        while !self.queue.is_idle().await.unwrap_or(true) {
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the operations page listens, if there is one.
    pub(super) fn page_address(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(|page| page.address)
    }

    /// Resolves when a part of the service has ended by itself, which none should.
    pub(super) async fn broken(&mut self) -> ServiceError {
        let ended = tokio::select! {
            ended = &mut self.worker => ended,
            ended = &mut self.server => ended,
            ended = of_page(&mut self.page) => ended,
            Some(ended) = self.upkeep.join_next() => ended,
        };
        match ended {
            Err(error) => ServiceError::Part(error),
            Ok(()) => ServiceError::Ended,
        }
    }

    /// `/readyz` answers 503 from now on.
    pub(super) fn announce_stop(&self) {
        self.draining.cancel();
    }

    /// Stops by `timetable`: `/readyz` answers 503 at once, then no new connections, then running syncs are cut off and
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
            let (server, worker, page) = tokio::join!(self.server, self.worker, end_of_page(self.page));
            for error in [server.err(), worker.err(), page].into_iter().flatten() {
                tracing::error!(%error, "a part of the service ended with a fault");
            }
        };
        let mut ended = std::pin::pin!(ended);
        tokio::select! {
            () = &mut ended => {}
            () = cut => ended.await,
        }
        drop(self.upkeep);
        self.queue.close().await;
    }
}

/// A socket on `address`, and its address: port 0 means any that is free.
fn listen_on(address: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), ServiceError> {
    let listening =
        listen(address).and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    listening.map_err(|error| ServiceError::Listen { address, error, setting })
}

fn admin_options(settings: &Settings, app: App, stop: &Stop, syncs: TaskTracker) -> AdminOptions {
    AdminOptions {
        app,
        tokens: settings.admin.tokens.clone(),
        beyond_loopback: !settings.admin.listen.ip().is_loopback(),
        in_force: settings.in_force.clone(),
        stop: stop.running.clone(),
        syncs,
    }
}

/// Resolves when the page has ended by itself; never if there is none.
async fn of_page(page: &mut Option<AdminServer>) -> Result<(), JoinError> {
    match page {
        Some(page) => (&mut page.running).await,
        None => std::future::pending().await,
    }
}

/// Waits until the page and the syncs that were asked for by hand have ended; the fault that it ended with, if it did.
async fn end_of_page(page: Option<AdminServer>) -> Option<JoinError> {
    let AdminServer { running, syncs, .. } = page?;
    let ended = running.await;
    syncs.close();
    syncs.wait().await;
    ended.err()
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

fn render(metrics: PrometheusHandle) -> crate::server::RenderMetrics {
    Arc::new(move || metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than the loops of any part sleep.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn started(folder: &tempfile::TempDir) -> Service {
        let queue = format!("sqlite://{}", folder.path().join("queue.db").display());
        let nowhere = "http://127.0.0.1:9";
        let settings = [
            ("SERVER__LISTEN", "127.0.0.1:0"),
            ("ADMIN__LISTEN", "127.0.0.1:0"),
            ("ADMIN__TOKENS", "an-admin-token-of-16-or-more"),
            ("WEBHOOK__BEARER_TOKENS", "token"),
            ("SESAMY__API_URL", nowhere),
            ("SESAMY__ACCESS_TOKEN", "token"),
            ("MAILMOJO__API_URL", nowhere),
            ("MAILMOJO__API_TOKEN", "token"),
            ("MAILMOJO__LIST_ID", "1"),
            ("QUEUE__URL", &queue),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Service::start(config::load(None, settings.into_iter()).unwrap().settings).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whichever_part_ends_the_service_is_broken() {
        type End = fn(&mut Service);
        let ends: [(&str, End); 5] = [
            ("the worker", |service| service.worker.abort()),
            ("the server", |service| service.server.abort()),
            ("the page", |service| service.page.as_ref().unwrap().running.abort()),
            ("the upkeep", |service| service.upkeep.abort_all()),
            ("a panic in the upkeep", |service| drop(service.upkeep.spawn(async { panic!("a fault") }))),
        ];
        for (part, end) in ends {
            let folder = tempfile::tempdir().unwrap();
            let mut service = started(&folder).await;
            end(&mut service);
            let broken = tokio::time::timeout(PATIENCE, service.broken()).await;
            assert!(matches!(broken, Ok(ServiceError::Part(_))), "{part}: {broken:?}");
        }
    }

    /// Also while nobody may be leased, when the worker does not ask the queue.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_whose_queue_ends_is_broken() {
        for is_paused in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut service = started(&folder).await;
            if is_paused {
                service.queue.pause().await.unwrap();
            }
            service.queue.close().await;
            let broken = tokio::time::timeout(PATIENCE, service.broken()).await;
            assert!(matches!(broken, Ok(ServiceError::Ended)), "{broken:?}");
        }
    }
}
