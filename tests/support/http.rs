//! Callers that speak raw bytes, for what no HTTP client would send, and the answers that they get.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use crate::support::harness::{PATIENCE, Service, TOKEN};

/// One connection to a service.
pub struct Caller {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    unread: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

/// An event of `user` by one of the eight names, as Sesamy's vendor `vendor_1` sends it.
pub fn event(event_type: &str, user: &str) -> String {
    serde_json::json!({"eventType": event_type, "vendorId": "vendor_1", "userId": user}).to_string()
}

/// A webhook with the right token.
pub fn webhook(body: impl AsRef<[u8]>) -> Vec<u8> {
    post(format!("Authorization: Bearer {TOKEN}\r\n"), body)
}

/// A webhook with these header lines, and a right length.
pub fn post(headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    [b"POST /webhooks/sesamy HTTP/1.1\r\nHost: x\r\n", headers.as_ref(), length.as_bytes(), body].concat()
}

/// A request without a body, by its first two words.
pub fn bare(method_and_path: &str) -> Vec<u8> {
    format!("{method_and_path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

/// The answer to one request on a connection of its own.
pub async fn ask(service: &Service, request: impl AsRef<[u8]>) -> Answer {
    let mut caller = Caller::to(service).await;
    caller.send(request).await;
    caller.answer().await
}

impl Caller {
    pub async fn to(service: &Service) -> Self {
        Self::at(service.address).await
    }

    /// To whatever listens there.
    pub async fn at(address: SocketAddr) -> Self {
        let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
        Self { reader, writer, unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends to a service that may be gone; whether it was not.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.writer.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes the direction to the service; answers can still come.
    pub async fn says_no_more(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    /// The same, to a service that may have hung up.
    pub async fn try_say_no_more(&mut self) {
        let _ = self.writer.shutdown().await;
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the service hangs up without an answer")
    }

    /// The next answer; none where the service hangs up.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, read_answer(&mut self.reader, &mut self.unread, true))
            .await
            .expect("no answer comes")
    }

    /// The next answer, to a request by HEAD: no body comes, whatever is announced.
    pub async fn answer_to_head(&mut self) -> Answer {
        let answer = read_answer(&mut self.reader, &mut self.unread, false);
        timeout(PATIENCE, answer).await.expect("no answer comes").unwrap()
    }

    /// The next answer, while `drop` is sent again and again, slowly.
    pub async fn answer_to_a_drip(&mut self, drop: &[u8]) -> Answer {
        let Self { reader, writer, unread } = self;
        let drip = async {
            while writer.write_all(drop).await.is_ok() {
                sleep(Duration::from_millis(200)).await;
            }
            std::future::pending().await
        };
        let answer = tokio::select! {
            answer = timeout(PATIENCE, read_answer(reader, unread, true)) => answer,
            never = drip => never,
        };
        answer.expect("no answer comes").expect("the service hangs up without an answer")
    }
}

async fn read_answer(reader: &mut OwnedReadHalf, unread: &mut Vec<u8>, has_body: bool) -> Option<Answer> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(reader, unread).await?;
    };
    let head = String::from_utf8(unread.drain(..end).collect()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    let length = match answer.header("content-length") {
        Some(length) if has_body => length.parse().unwrap(),
        _ => 0,
    };
    while unread.len() < length {
        read_more(reader, unread).await?;
    }
    answer.body = String::from_utf8(unread.drain(..length).collect()).unwrap();
    Some(answer)
}

async fn read_more(reader: &mut OwnedReadHalf, unread: &mut Vec<u8>) -> Option<()> {
    matches!(reader.read_buf(unread).await, Ok(1..)).then_some(())
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    pub fn is_accepted(&self) {
        assert_eq!((self.status, self.body.as_str()), (202, r#"{"status":"accepted"}"#), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
    }

    #[track_caller]
    pub fn is_ignored_for(&self, reason: &str) {
        let body = format!(r#"{{"status":"ignored","reason":"{reason}"}}"#);
        assert_eq!((self.status, &self.body), (200, &body), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
    }

    /// Whether it is a whole problem document (RFC 9457).
    #[track_caller]
    pub fn is_problem(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["type"], format!("urn:sesamy-mailmojo:problem:{kind}"));
        assert_eq!(document["status"], status);
        for text in ["title", "detail"] {
            assert!(document[text].as_str().is_some_and(|text| !text.is_empty()), "{text} of {document}");
        }
    }
}
