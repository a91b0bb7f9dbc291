//! The network between a queue and its database, to be cut, frozen, or made to lose one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::queue::PostgresUrl;
use crate::queue::tests::server::Ground;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Every connection is closed, and none is taken.
    Cut,
    /// Nothing goes through, and nothing is closed.
    Frozen,
    /// The next COMMIT arrives and is done; its answer is lost with its connection. Then open again.
    LosesCommit,
}

pub(super) struct Proxy {
    pub(super) url: PostgresUrl,
    mode: Arc<watch::Sender<Mode>>,
    taken: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) fn before(ground: &Ground) -> Self {
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let listener = ground.wait_for(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = ground.url_by(listener.local_addr().unwrap().port());
        let taken = Arc::new(AtomicUsize::new(0));
        let (server, modes, count) = (ground.address(), Arc::clone(&mode), Arc::clone(&taken));
        ground.beside(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                if *modes.borrow() != Mode::Cut {
                    let server = TcpStream::connect(server.clone()).await.unwrap();
                    tokio::spawn(forward(client, server, Arc::clone(&modes)));
                }
            }
        });
        Self { url, mode, taken }
    }

    /// How often somebody has connected so far.
    pub(super) fn connections(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }

    pub(super) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub(super) fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    pub(super) fn lose_next_commit(&self) {
        self.mode.send_replace(Mode::LosesCommit);
    }

    /// Whether the answer was lost.
    pub(super) fn has_lost_it(&self) -> bool {
        *self.mode.borrow() == Mode::Open
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, mode: Arc<watch::Sender<Mode>>) {
    let mut modes = mode.subscribe();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut loses = false;
    loop {
        let now = *modes.borrow_and_update();
        tokio::select! {
            changed = modes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            read = client.read(&mut asked), if now != Mode::Frozen => {
                let Ok(length @ 1..) = read else { return };
                // As it is now: it may have changed while both were ready.
                let is_commit = asked[..length].windows(6).any(|word| word == b"COMMIT");
                loses = is_commit && *mode.borrow() == Mode::LosesCommit;
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered), if now != Mode::Frozen => {
                let Ok(length @ 1..) = read else { return };
                if loses {
                    mode.send_replace(Mode::Open);
                    return;
                }
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
        if *mode.borrow() == Mode::Cut {
            return;
        }
    }
}
