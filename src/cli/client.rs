//! The API's client: one request at a time, or an answer that goes on.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ClientConfig;

use super::command::Access;
use super::endpoint::{self, Endpoint};
use super::{names, trust};
use crate::api::door;
use crate::api::problem::Problem;
use crate::api::views::{Operation, Outcome, Vassal, VassalList};
use crate::trace::escaped;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long each request waits for an operation's end.
const WAIT_S: u64 = 30;
/// How long the emperor may be gone while an operation is waited for: it re-executes itself, which takes its time on a
/// busy host. One question to it may take [`PATIENCE`] of this.
pub(super) const ABSENCE: Duration = Duration::from_secs(60);
/// How long an answer without an end may be silent: the emperor gives a sign of life every ten seconds.
const SILENCE: Duration = Duration::from_secs(30);
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;
const LINE_LIMIT_BYTES: usize = 1024 * 1024;

const LOOK_FOR_IT: &str = "is it running? (--api PATH says where its API is)";
const ASK_FOR_ACCESS: &str =
    "it is for others than you (--api-chown, --api-chmod and --api-role of the emperor let more users in)";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No API was found.
    #[error("no emperor answers at {places}; {advice}")]
    Unreachable {
        /// Where it was looked for, with the reasons.
        places: String,
        /// What to look at.
        advice: &'static str,
    },
    /// The connection failed on the way.
    #[error("the API at {at} did not answer: {reason}")]
    Broken {
        /// Where.
        at: String,
        /// Why.
        reason: String,
    },
    /// The API refused.
    #[error("{}", people(.0))]
    Refused(Box<Problem>),
    /// The name does not say which vassal is meant.
    #[error("{0}")]
    Name(String),
    /// What was said of the API makes no sense.
    #[error("{0}")]
    Access(String),
}

fn people(problem: &Problem) -> String {
    let mut text = escaped(&problem.detail);
    if let Some(file) = &problem.file {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        text.push_str(&format!("\n  {}{line}", escaped(file)));
    }
    if problem.code == "unauthorized" {
        text.push_str(" (--token-file FILE says it)");
    }
    if let Some(suggestion) = &problem.suggestion {
        text.push_str(&format!(" ({})", escaped(suggestion)));
    }
    text
}

/// The way to an API.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    token: Option<HeaderValue>,
    /// What `https` is spoken with.
    trust: Option<Arc<ClientConfig>>,
}

impl Client {
    /// One for an API at this place.
    #[must_use]
    pub const fn new(
        endpoint: Endpoint,
        token: Option<HeaderValue>,
        trust: Option<Arc<ClientConfig>>,
    ) -> Self {
        Self { endpoint, token, trust }
    }

    /// Whether it speaks TLS.
    pub(super) const fn is_secure(&self) -> bool {
        self.endpoint.is_secure()
    }

    /// Speaks TLS with this.
    pub(super) fn trust(&mut self, trust: &Arc<ClientConfig>) {
        self.trust = Some(Arc::clone(trust));
    }

    /// Finds the API: where the option or `LIEGE_API` says, else at the usual places.
    ///
    /// # Errors
    /// Nobody answers there, or what was said makes no sense.
    pub async fn find(access: &Access) -> Result<Self, ClientError> {
        let token = access.token_file.as_deref().map(endpoint::token).transpose();
        let token = token.map_err(ClientError::Access)?;
        let told = access.api.clone().or_else(|| std::env::var("LIEGE_API").ok());
        let places = match told {
            Some(place) => vec![Endpoint::parse(&place).map_err(ClientError::Access)?],
            None => door::usual_sockets().into_iter().map(Endpoint::Unix).collect(),
        };
        let (mut reasons, mut advice) = (Vec::new(), LOOK_FOR_IT);
        for endpoint in places {
            let trust = endpoint.is_secure().then(|| trust::config(access)).transpose();
            let trust = trust.map_err(ClientError::Access)?;
            let connected = tokio::time::timeout(PATIENCE, endpoint.connect(trust.as_ref())).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(_) => return Ok(Self::new(endpoint, token, trust)),
                Err(error) => {
                    if error.kind() == io::ErrorKind::PermissionDenied {
                        advice = ASK_FOR_ACCESS;
                    }
                    reasons.push(format!("{endpoint} ({})", reason(&error)));
                }
            }
        }
        Err(ClientError::Unreachable { places: reasons.join(" or "), advice })
    }

    /// The answer to a `GET`, as JSON text.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.ask(Method::GET, path, "", PATIENCE).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The answer to a `GET`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer of another version.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let bytes = self.ask(Method::GET, path, "", PATIENCE).await?;
        self.decode(&bytes)
    }

    /// Asks for an action; `body` is JSON, or nothing.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn post(&self, path: &str, body: &str) -> Result<Operation, ClientError> {
        let bytes = self.ask(Method::POST, path, body, PATIENCE).await?;
        self.decode(&bytes)
    }

    /// Waits for an operation's end, also over a re-execution of the emperor.
    ///
    /// # Errors
    /// The emperor is gone, or knows nothing of the operation any more.
    pub async fn wait(&self, operation: Operation) -> Result<Operation, ClientError> {
        let path = format!("{}?wait={WAIT_S}", operation.link);
        let mut operation = operation;
        let mut answered = Instant::now();
        while operation.outcome == Outcome::Running {
            match self.ask(Method::GET, &path, "", PATIENCE + Duration::from_secs(WAIT_S)).await {
                Ok(bytes) => {
                    operation = self.decode(&bytes)?;
                    answered = Instant::now();
                }
                Err(ClientError::Broken { .. })
                    if answered.elapsed() < ABSENCE + Duration::from_secs(WAIT_S) =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(operation)
    }

    /// The vassals that are meant by these names; see [`names::resolve`].
    ///
    /// # Errors
    /// No answer, an unknown name, or one that several have.
    pub async fn resolve(&self, names: &[String]) -> Result<Vec<Vassal>, ClientError> {
        let list: VassalList = self.get("/v1/vassals").await?;
        names::resolve(&list, names).map_err(ClientError::Name)
    }

    /// An answer that goes on, as lines of JSON.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn follow(&self, path: &str) -> Result<Lines, ClientError> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(Method::GET, path, "", true)).await;
        let (status, body, connection) =
            asked.map_err(|_| self.broken(late(PATIENCE)))?.map_err(|error| self.broken(whole(&*error)))?;
        let lines = Lines { body, taken: Vec::new(), connection, at: self.endpoint.to_string() };
        match status.is_success() {
            true => Ok(lines),
            false => Err(self.refusal(status, &lines.rest().await?)),
        }
    }

    /// An answer as it is, to be passed on.
    ///
    /// # Errors
    /// No answer.
    pub(super) async fn open(&self, path: &str) -> Result<(StatusCode, Incoming), ClientError> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(Method::GET, path, "", false)).await;
        // The connection ends with the body.
        let (status, body, _connection) =
            asked.map_err(|_| self.broken(late(PATIENCE)))?.map_err(|error| self.broken(whole(&*error)))?;
        Ok((status, body))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let asked = tokio::time::timeout(patience, async {
            let (status, body, connection) = self.exchange(method, path, body, false).await?;
            let body = Limited::new(body, ANSWER_LIMIT_BYTES).collect().await?;
            connection.abort();
            Ok::<_, AnyError>((status, body.to_bytes()))
        });
        let (status, bytes) = asked
            .await
            .map_err(|_| self.broken(late(patience)))?
            .map_err(|error| self.broken(whole(&*error)))?;
        match status.is_success() {
            true => Ok(bytes),
            false => Err(self.refusal(status, &bytes)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: &str,
        lines: bool,
    ) -> Result<(StatusCode, Incoming, JoinHandle<()>), AnyError> {
        let stream = self.endpoint.connect(self.trust.as_ref()).await.map_err(|error| reason(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            // Whoever reads the body hears of it.
            let _ = connection.await;
        });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.endpoint.authority())
            .header(header::CONTENT_TYPE, "application/json");
        if lines {
            request = request.header(header::ACCEPT, "application/x-ndjson");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = sender.send_request(request.body(Full::<Bytes>::from(body.to_owned()))?).await?;
        Ok((response.status(), response.into_body(), connection))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let problem = serde_json::from_slice(body);
        problem.map_or_else(|_| self.broken(format!("it answered {status}")), ClientError::Refused)
    }

    pub(super) fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken { at: self.endpoint.to_string(), reason }
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.broken(format!("it says what this version does not understand: {error}")))
    }
}

/// The lines of an answer that goes on.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    taken: Vec<u8>,
    connection: JoinHandle<()>,
    at: String,
}

impl Lines {
    /// The next line that says something; `None`: the answer has ended.
    ///
    /// # Errors
    /// The connection broke, or is silent for too long.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.taken) {
                let rest = self.taken.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.taken, rest);
                line.pop();
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.taken.len() > LINE_LIMIT_BYTES {
                return Err(self.broken("a line without an end".to_owned()));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            match frame.map_err(|_| self.broken(late(SILENCE)))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.broken(whole(&error))),
                Some(Ok(frame)) => {
                    self.taken.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
            }
        }
    }

    /// All that is left, for an answer that has an end.
    async fn rest(mut self) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        while let Some(line) = self.next().await? {
            all.extend(line);
        }
        all.append(&mut self.taken);
        Ok(all)
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken { at: self.at.clone(), reason }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// An error with what lies behind it: of one that came with TLS, what the other side does not like.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let behind = std::iter::successors(error.source(), |error| error.source());
    behind.fold(error.to_string(), |text, next| match next.to_string() {
        next if text.contains(&next) => text,
        next => format!("{text}: {next}"),
    })
}

fn late(patience: Duration) -> String {
    format!("nothing came within {} s", patience.as_secs())
}

/// Why nobody could be reached, for people.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}
