//! The load: keep-alive connections that send event after event, and how long each took.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::TOKEN;

pub const CONNECTIONS: u64 = 64;
pub const USERS: u64 = 100_000;
pub const BODY_BYTES: usize = 250;

/// What one round measured.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub events: usize,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Sends events for the time of `length`.
pub async fn round(address: SocketAddr, length: Duration) -> Round {
    let began = Instant::now();
    let callers: Vec<_> =
        (0..CONNECTIONS).map(|number| tokio::spawn(call(address, number, began + length))).collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for caller in callers {
        let (of_one, refused_one) = caller.await.unwrap();
        times.extend(of_one);
        refused += refused_one;
    }
    if refused > 0 {
        eprintln!("{refused} events were answered 503 and are not counted");
    }
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    Round { events: times.len(), per_second, p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
}

/// One connection that sends event after event until `end`; how long each took that was accepted, and how many were refused.
async fn call(address: SocketAddr, number: u64, end: Instant) -> (Vec<Duration>, usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    let mut answer = [0; 1024];
    let mut random = number + 1;
    let mut refused = 0;
    while Instant::now() < end {
        // A linear congruential generator (Knuth's MMIX): the same users in every run.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let request = request(&user((random >> 33) % USERS));
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        if answer[..read].starts_with(b"HTTP/1.1 202") {
            times.push(sent.elapsed());
        } else {
            assert!(
                answer[..read].starts_with(b"HTTP/1.1 503"),
                "{}",
                String::from_utf8_lossy(&answer[..read])
            );
            refused += 1;
        }
    }
    (times, refused)
}

/// The id of the user of that number, in the form of Sesamy's: neighbours in number are none in the order of the ids.
pub fn user(number: u64) -> String {
    format!("email|{:08x}{:016x}", number * 2_654_435_761 % (1 << 32), 0)
}

/// The same for SQL, of `i`.
pub const USER_SQL: &str = "printf('email|%08x%016x', i * 2654435761 % 4294967296, 0)";

fn request(user: &str) -> String {
    let start = format!(
        r#"{{"eventType":"contract.1#purchased","vendorId":"vendor_benchmark","userId":"{user}","contractId":""#
    );
    let body = format!("{start}{}\"}}", "c".repeat(BODY_BYTES - start.len() - 2));
    format!(
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
