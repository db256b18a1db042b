//! Answers without an end: events and log lines as they come, each listener at its own pace.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::channel::{Channel, Sender};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::accept;
use super::connection::Aside;
use super::problem::Problem;
use crate::sys::clock;

/// How many listeners there may be at the same time.
pub const LISTENERS: usize = 2000;
/// How long nothing is said before a sign of life is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How much is put together for one listener at a time.
pub const PORTION_BYTES: usize = 64 * 1024;

/// Places for listeners.
#[derive(Clone, Debug)]
pub struct Streams {
    places: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LISTENERS)) }
    }
}

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/event-stream`.
    ServerSent,
    /// A JSON document on each line.
    Lines,
}

impl Format {
    const OFFERS: [&'static str; 4] =
        ["text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl"];

    /// What a request wants, if it says so.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        Some(match accept::best(headers, &Self::OFFERS, "application/json")? {
            "text/event-stream" => Self::ServerSent,
            _ => Self::Lines,
        })
    }

    /// Adds a document to what is to be sent.
    pub fn write(self, out: &mut Vec<u8>, event: &str, id: Option<&str>, document: &[u8]) {
        if self == Self::ServerSent {
            if let Some(id) = id {
                out.extend_from_slice(format!("id: {id}\n").as_bytes());
            }
            out.extend_from_slice(format!("event: {event}\ndata: ").as_bytes());
        }
        out.extend_from_slice(document);
        out.extend_from_slice(if self == Self::ServerSent { b"\n\n" } else { b"\n" });
    }

    /// Adds a value.
    pub fn write_json(self, out: &mut Vec<u8>, event: &str, id: Option<&str>, value: &impl Serialize) {
        // Our own views can be written as JSON.
        self.write(out, event, id, &serde_json::to_vec(value).unwrap_or_default());
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::ServerSent => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// A comment; for lines, an empty one, which readers of NDJSON pass over.
    const fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::ServerSent => b": heartbeat\n\n",
            Self::Lines => b"\n",
        }
    }
}

/// An answer that goes on. `next` gives what there is to say now, a portion at a time, until it is empty; `news` wakes
/// it. Who does not read is disconnected after a while, and so is who may not listen any more; nobody waits for anybody.
///
/// # Errors
/// There are too many listeners.
pub fn open(
    streams: &Streams,
    aside: &Aside,
    format: Format,
    news: watch::Receiver<u64>,
    may_listen: impl Fn() -> bool + Send + 'static,
    next: impl FnMut() -> Vec<u8> + Send + 'static,
) -> Result<Response, Box<Problem>> {
    let Ok(place) = Arc::clone(&streams.places).try_acquire_owned() else {
        let detail = format!("{LISTENERS} listeners are there already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-listeners", detail));
    };
    let (sender, body) = Channel::<Bytes>::new(1);
    aside.stay();
    tokio::spawn(feed(sender, format, news, may_listen, next, place));
    Ok(([(header::CONTENT_TYPE, format.kind())], Body::new(body)).into_response())
}

async fn feed(
    mut sender: Sender<Bytes>,
    format: Format,
    mut news: watch::Receiver<u64>,
    may_listen: impl Fn() -> bool + Send,
    mut next: impl FnMut() -> Vec<u8> + Send,
    _place: OwnedSemaphorePermit,
) {
    // A first sign, so that the client sees the head at once.
    let mut portion = format.heartbeat().to_vec();
    let mut looked = clock::now();
    loop {
        if clock::now().since(looked) >= HEARTBEAT {
            looked = clock::now();
            if !may_listen() {
                return;
            }
        }
        if !portion.is_empty() && sender.send_data(portion.into()).await.is_err() {
            return;
        }
        news.mark_unchanged();
        portion = next();
        if portion.is_empty() {
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(HEARTBEAT) => portion = format.heartbeat().to_vec(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_form_is_what_the_client_accepts() {
        for (accept, expected) in [
            ("text/event-stream", Some(Format::ServerSent)),
            ("application/x-ndjson", Some(Format::Lines)),
            ("text/html, application/jsonl;q=0.9", Some(Format::Lines)),
            ("text/event-stream;q=0.1, application/json", None),
            ("*/*", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Format::accepted(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn a_document_is_framed() {
        let framed = |format: Format| {
            let mut out = Vec::new();
            format.write_json(&mut out, "event", Some("7"), &["a"]);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(framed(Format::ServerSent), "id: 7\nevent: event\ndata: [\"a\"]\n\n");
        assert_eq!(framed(Format::Lines), "[\"a\"]\n");
    }
}
