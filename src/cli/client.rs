//! The API's client: one request at a time over its unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::door;
use crate::api::problem::Problem;
use crate::api::views::{Operation, Outcome, Vassal, VassalList};
use crate::trace::escaped;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long each request waits for an operation's end.
const WAIT_S: u64 = 30;
/// How long the emperor may be gone while an operation is waited for: it re-executes itself.
const ABSENCE: Duration = Duration::from_secs(10);
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No API was found.
    #[error("no emperor answers at {places}; is it running? (--api PATH says where its API is)")]
    Unreachable {
        /// Where it was looked for, with the reasons.
        places: String,
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
}

fn people(problem: &Problem) -> String {
    let mut text = escaped(&problem.detail);
    if let Some(file) = &problem.file {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        text.push_str(&format!("\n  {}{line}", escaped(file)));
    }
    if let Some(suggestion) = &problem.suggestion {
        text.push_str(&format!(" ({})", escaped(suggestion)));
    }
    text
}

/// An API that was found.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Finds the API: where the option or `LIEGE_API` says, else at the usual places.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn find(option: Option<&Path>) -> Result<Self, ClientError> {
        let places =
            match option.map(Path::to_owned).or_else(|| std::env::var_os("LIEGE_API").map(Into::into)) {
                Some(place) => vec![place],
                None => door::usual_sockets(),
            };
        let mut reasons = Vec::new();
        for path in places {
            match UnixStream::connect(&path).await {
                Ok(_) => return Ok(Self { path }),
                Err(error) => reasons.push(format!("{} ({})", path.display(), reason(&error))),
            }
        }
        Err(ClientError::Unreachable { places: reasons.join(" or ") })
    }

    /// The answer to a `GET`, as JSON text.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.ask(Method::GET, path, PATIENCE).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The answer to a `GET`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer of another version.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let bytes = self.ask(Method::GET, path, PATIENCE).await?;
        self.decode(&bytes)
    }

    /// Asks for an action.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn post(&self, path: &str) -> Result<Operation, ClientError> {
        let bytes = self.ask(Method::POST, path, PATIENCE).await?;
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
            match self.ask(Method::GET, &path, PATIENCE + Duration::from_secs(WAIT_S)).await {
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

    /// The vassals that are meant by these names: a file name exactly, or its stem where only one has it.
    ///
    /// # Errors
    /// No answer, an unknown name, or one that several have.
    pub async fn resolve(&self, names: &[String]) -> Result<Vec<Vassal>, ClientError> {
        let list: VassalList = self.get("/v1/vassals").await?;
        names.iter().map(|name| resolve(&list, name).map_err(ClientError::Name)).collect()
    }

    async fn ask(&self, method: Method, path: &str, patience: Duration) -> Result<Bytes, ClientError> {
        let broken = |reason: String| ClientError::Broken { at: self.path.display().to_string(), reason };
        let asked = tokio::time::timeout(patience, exchange(&self.path, method, path)).await;
        let (status, bytes) = match asked {
            Err(_) => return Err(broken(format!("nothing came within {} s", patience.as_secs()))),
            Ok(Err(error)) => return Err(broken(error.to_string())),
            Ok(Ok(answer)) => answer,
        };
        if status.is_success() {
            return Ok(bytes);
        }
        let problem = serde_json::from_slice(&bytes);
        Err(problem.map_or_else(|_| broken(format!("it answered {status}")), ClientError::Refused))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|error| ClientError::Broken {
            at: self.path.display().to_string(),
            reason: format!("it is of another version: {error}"),
        })
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(socket: &Path, method: Method, path: &str) -> Result<(StatusCode, Bytes), AnyError> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::default())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES).collect().await?;
    connection.abort();
    Ok((status, body.to_bytes()))
}

fn resolve(list: &VassalList, name: &str) -> Result<Vassal, String> {
    if let Some(exact) = list.vassals.iter().find(|vassal| vassal.name == name) {
        return Ok(exact.clone());
    }
    let stem = |vassal: &&Vassal| vassal.name.rsplit_once('.').is_some_and(|(stem, _)| stem == name);
    let found: Vec<&Vassal> = list.vassals.iter().filter(stem).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            Err(not_started(list, name)
                .unwrap_or_else(|| format!("there is no vassal {name:?}{}", known(list))))
        }
        several => {
            let names: Vec<_> = several.iter().map(|vassal| escaped(&vassal.name)).collect();
            Err(format!("{name:?} could be {}", names.join(" or ")))
        }
    }
}

/// Why the file of this name is not started, where that is so.
fn not_started(list: &VassalList, name: &str) -> Option<String> {
    let asked = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file == name || file.rsplit_once('.').is_some_and(|(stem, _)| stem == name)
    };
    let file = list.not_started.iter().find(|file| asked(&file.path))?;
    Some(format!("{} is not started: {}", file.path, file.reason))
}

fn known(list: &VassalList) -> String {
    let names: Vec<_> = list.vassals.iter().take(10).map(|vassal| escaped(&vassal.name)).collect();
    let more = if list.vassals.len() > names.len() { ", …" } else { "" };
    if names.is_empty() {
        "; there is none at all".into()
    } else {
        format!("; there are {}{more}", names.join(", "))
    }
}
