//! A server on a free port and callers that speak raw bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{CancellationToken, Limits, Router, listen, serve};

pub(crate) struct Server {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub running: JoinHandle<()>,
}

impl Server {
    pub async fn start(router: Router, limits: Limits) -> Self {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Self { address, stop, running }
    }

    pub async fn connect(&self) -> Caller {
        Caller { stream: TcpStream::connect(self.address).await.unwrap(), unread: vec![] }
    }

    /// The answer to `request` on a connection of its own.
    pub async fn ask(&self, request: &str) -> Answer {
        self.ask_bytes(request.as_bytes()).await
    }

    pub async fn ask_bytes(&self, request: &[u8]) -> Answer {
        let mut caller = self.connect().await;
        caller.send(request).await;
        caller.answer().await
    }

    /// The answer to a HEAD request, which has no body whatever it announces.
    pub async fn ask_head(&self, request: &str) -> Answer {
        let mut caller = self.connect().await;
        caller.send(request.as_bytes()).await;
        caller.head().await
    }
}

pub(crate) struct Caller {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Caller {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Closes the direction to the server; an answer can still come.
    pub async fn says_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    async fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await;
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::new() }
    }

    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.more().await;
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        answer
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.unread).await.unwrap();
        assert!(read > 0, "the server hung up after {:?}", String::from_utf8_lossy(&self.unread));
    }

    /// Waits until the server hangs up; false where it says something first.
    pub async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && matches!(self.stream.read_buf(&mut self.unread).await, Ok(0) | Err(_))
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}
