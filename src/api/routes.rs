//! The resources under `/v1`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use serde::Deserialize;

use super::connection::{Activity, Working};
use super::guard::{Grant, Peer, TokenCheck, judge};
use super::problem::Problem;
use super::rate::Rate;
use super::show::{self, Moment};
use super::token::TokenFile;
use super::views;
use crate::emperor::{Handle, Refusal, Request as Wish};
use crate::sys::clock;
use crate::trace::escaped;

/// The longest body of a request.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for an operation that a request may ask for.
pub const WAIT_LIMIT_S: u64 = 60;

/// What the routes work with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The emperor.
    pub handle: Handle,
    /// The tokens for TCP.
    pub tokens: Option<Arc<TokenFile>>,
    /// Names besides the loopback ones by which the API may be called.
    pub hosts: Arc<[String]>,
    /// Whether the emperor runs as root.
    pub root: bool,
    /// How many refused requests are logged.
    pub refusals: Arc<Rate>,
}

/// All resources, behind the guard.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/v1", get(index))
        .route("/v1/vassals", get(vassals))
        .route("/v1/vassals/{name}", get(vassal))
        .route("/v1/vassals/{name}/reload", post(reload))
        .route("/v1/vassals/{name}/stop", post(stop))
        .route("/v1/vassals/{name}/start", post(start))
        .route("/v1/reload", post(reload_all))
        .route("/v1/upgrade", post(upgrade))
        .route("/v1/stats", get(stats))
        .route("/v1/operations", get(operations))
        .route("/v1/operations/{id}", get(operation))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

type Answer = Result<Response, Box<Problem>>;

/// Lets a request in or not, and puts on every answer what browsers must know.
async fn guard(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    let admitted = admit(&desk, &mut request).await;
    let mut response = match admitted {
        Ok(()) => {
            let _working = request.extensions().get::<Arc<Activity>>().map(Working::on);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn admit(desk: &Desk, request: &mut Request) -> Result<(), Box<Problem>> {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-peer", "the peer is unknown"));
    };
    let token = match (&peer, &desk.tokens) {
        (Peer::Local { .. }, _) | (_, None) => TokenCheck::NotConfigured,
        (Peer::Remote { .. }, Some(tokens)) => tokens.check(request.headers()),
    };
    let body = !request.body().is_end_stream();
    let judged = judge(&peer, request.method(), request.headers(), body, token, &desk.hosts);
    let grant = judged.inspect_err(|problem| {
        if desk.refusals.allows(clock::now()) {
            let (method, path) = (request.method(), request.uri().path());
            tracing::warn!("{peer}: {method} {path} was refused: {}", problem.detail);
        }
    })?;
    request.extensions_mut().insert(grant);
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        read_body(request).await?;
    }
    Ok(())
}

/// Reads the body of a request: no action takes a parameter so far, so it is empty or an empty object.
async fn read_body(request: &mut Request) -> Result<(), Box<Problem>> {
    let body = std::mem::take(request.body_mut());
    let reading = Limited::new(body, BODY_LIMIT_BYTES).collect();
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Err(_) => {
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "the body took too long"));
        }
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("the body is longer than {BODY_LIMIT_BYTES} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", detail));
        }
        Ok(Err(error)) => return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-body", error.to_string())),
        Ok(Ok(body)) => body.to_bytes(),
    };
    if bytes.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<NoParameters>(&bytes) {
        Ok(NoParameters {}) => Ok(()),
        Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-json", error.to_string())
            .suggesting("send no body, or {}")),
    }
}

/// An empty object. Its nesting ends at the first level, whatever the sender writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

async fn index(State(desk): State<Desk>, Extension(grant): Extension<Grant>) -> Response {
    let emperor = show::emperor(&desk.handle.fleet(), &desk.moment(grant));
    let links = ["/v1/vassals", "/v1/stats", "/v1/operations"].map(str::to_owned).to_vec();
    Json(views::Index { emperor, links }).into_response()
}

async fn vassals(State(desk): State<Desk>, Extension(grant): Extension<Grant>) -> Response {
    let list = show::vassals(&desk.handle.fleet(), &desk.moment(grant));
    Json(list).into_response()
}

async fn vassal(
    State(desk): State<Desk>,
    Extension(grant): Extension<Grant>,
    name: Result<Path<String>, PathRejection>,
) -> Answer {
    let name = plain(name)?;
    let detail = {
        let fleet = desk.handle.fleet();
        fleet.vassals.get(&name).map(|vassal| show::detail(vassal, &fleet, &desk.moment(grant)))
    };
    detail.map(|detail| Json(detail).into_response()).ok_or_else(|| desk.unknown(&name))
}

async fn stats(State(desk): State<Desk>, Extension(grant): Extension<Grant>) -> Response {
    let stats = show::stats(&desk.handle.fleet(), &desk.moment(grant));
    Json(stats).into_response()
}

async fn operations(State(desk): State<Desk>) -> Response {
    let operations = desk.handle.fleet().operations.iter().map(show::operation).collect();
    Json(views::OperationList { operations }).into_response()
}

async fn operation(
    State(desk): State<Desk>,
    id: Result<Path<u64>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let id = plain(id)?;
    let wait = wait_of(wait, &headers)?;
    match desk.wait_for(id, wait).await {
        Some(operation) => Ok(Json(operation).into_response()),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-operation",
            format!("no operation {id} is known"),
        )),
    }
}

async fn reload(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let vassal = plain(name)?;
    desk.act(&peer, Wish::Reload { vassal }, wait_of(wait, &headers)?).await
}

async fn stop(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let vassal = plain(name)?;
    desk.act(&peer, Wish::Stop { vassal }, wait_of(wait, &headers)?).await
}

async fn start(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let vassal = plain(name)?;
    desk.act(&peer, Wish::Start { vassal }, wait_of(wait, &headers)?).await
}

async fn reload_all(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    desk.act(&peer, Wish::ReloadAll, wait_of(wait, &headers)?).await
}

async fn upgrade(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    desk.act(&peer, Wish::Upgrade, wait_of(wait, &headers)?).await
}

async fn nothing_here(request: Request) -> Box<Problem> {
    let detail = format!("there is no {}", escaped(request.uri().path()));
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail).suggesting("GET /v1 lists what there is")
}

async fn wrong_method(request: Request) -> Box<Problem> {
    let detail = format!("{} does not take {}", escaped(request.uri().path()), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail)
}

/// `?wait=SECONDS`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    wait: Option<u64>,
}

/// How long a request wants to wait: `?wait=N`, or `Prefer: wait=N` (RFC 7240).
fn wait_of(
    query: Result<Query<Wait>, QueryRejection>,
    headers: &HeaderMap,
) -> Result<Duration, Box<Problem>> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad-query", error.body_text()))?;
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferred = preferences
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok());
    Ok(Duration::from_secs(query.wait.or(preferred).unwrap_or(0).min(WAIT_LIMIT_S)))
}

fn plain<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Box<Problem>> {
    path.map(|Path(value)| value)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "not-found", escaped(&error.body_text())))
}

impl Desk {
    fn moment(&self, grant: Grant) -> Moment {
        Moment {
            now: clock::now(),
            now_us: clock::monotonic_us(),
            epoch_ms: clock::epoch_ms(),
            pid: std::process::id(),
            root: self.root,
            grant,
        }
    }

    /// Asks the emperor for something; the answer is the operation.
    async fn act(&self, peer: &Peer, wish: Wish, wait: Duration) -> Answer {
        let asked = format!("{wish:?}");
        let id = self.handle.request(peer.to_string(), wish.clone()).await.map_err(|refusal| {
            tracing::warn!("{peer}: {asked}: refused: {refusal}");
            self.explain(refusal, &wish)
        })?;
        // Who asked for what is logged by the emperor itself.
        tracing::debug!("{peer}: {asked}: operation {id}");
        let Some(operation) = self.wait_for(id, wait).await else {
            return Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "lost",
                format!("operation {id} is lost"),
            ));
        };
        let status = if operation.ended.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
        let location = [(header::LOCATION, operation.link.clone())];
        Ok((status, location, Json(operation)).into_response())
    }

    /// An operation, when it has ended or the time is over.
    async fn wait_for(&self, id: u64, wait: Duration) -> Option<views::Operation> {
        let now = || self.handle.fleet().operation(id).map(show::operation);
        let ended = self.handle.until(|fleet| fleet.operation(id).is_none_or(|o| o.ending.is_some()));
        let _ = tokio::time::timeout(wait, ended).await;
        now()
    }

    fn explain(&self, refusal: Refusal, wish: &Wish) -> Box<Problem> {
        match (refusal, wish) {
            (Refusal::UnknownVassal(name), _) => self.unknown(&name),
            (refusal, Wish::Reload { vassal } | Wish::Start { vassal } | Wish::Stop { vassal }) => {
                let fleet = self.handle.fleet();
                let broken = fleet.vassals.get(vassal).and_then(|vassal| vassal.config_error.as_ref());
                let problem = Box::<Problem>::from(refusal);
                broken.map_or(problem.clone(), |failure| problem.because_of(failure))
            }
            (refusal, _) => refusal.into(),
        }
    }

    /// There is no such vassal: says what may have been meant, and why a file of that name does not count.
    fn unknown(&self, name: &str) -> Box<Problem> {
        let fleet = self.handle.fleet();
        let problem =
            Problem::new(StatusCode::NOT_FOUND, "no-such-vassal", format!("no vassal {:?}", escaped(name)));
        if let Some(file) = fleet.not_started.iter().find(|file| file.name == name) {
            return problem
                .suggesting(format!("the file is there and not started: {}", escaped(&file.reason)));
        }
        match fleet.vassals.keys().find(|id| id.rsplit_once('.').is_some_and(|(stem, _)| stem == name)) {
            Some(id) => problem.suggesting(format!("did you mean {id:?}?")),
            None => problem,
        }
    }
}
