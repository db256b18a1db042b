//! The gate before every route: lets a request in or not, reads its body, and puts on every answer what browsers must
//! know.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::connection::{Activity, Working};
use super::desk::Desk;
use super::guard::{Grant, Peer, TokenCheck, judge};
use super::page;
use super::problem::Problem;

/// The longest body of a request.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same of a refused request.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Admits or refuses.
pub async fn guard(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    let admitted = admit(&desk, &mut request).await;
    let mut response = match admitted {
        Ok(()) => {
            let _working = request.extensions().get::<Arc<Activity>>().map(Working::on);
            next.run(request).await
        }
        Err(problem) => {
            discard(std::mem::take(request.body_mut())).await;
            problem.into_response()
        }
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
        // There is no secret in it, and it is where a token is entered.
        _ if page::is_asked_for(request.method(), request.uri().path()) => {
            TokenCheck::Right(Grant::Read.into())
        }
        (Peer::Local { .. }, _) | (_, None) => TokenCheck::NotConfigured,
        (Peer::Remote { .. }, Some(tokens)) => tokens.check(request.headers()),
    };
    let judged = check_target(request)
        .and_then(|()| judge(&peer, request.method(), request.headers(), token, &desk.hosts, &desk.roles));
    let access = judged.inspect_err(|problem| {
        desk.tell_refusal(format_args!("{peer}: {} {}", request.method(), request.uri().path()), problem);
    })?;
    request.extensions_mut().insert(access);
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        let body = read_body(request).await?;
        request.extensions_mut().insert(body);
    }
    Ok(())
}

/// An absolute target names the host of `Host`, or there would be two (RFC 9112, 3.2.2).
fn check_target(request: &Request) -> Result<(), Box<Problem>> {
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    match request.uri().authority() {
        Some(authority) if host != Some(authority.as_str().as_bytes()) => {
            let detail = "the request names another host than its Host header";
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-host", detail))
        }
        _ => Ok(()),
    }
}

/// The body of a request that is no `GET`.
#[derive(Clone, Debug)]
pub struct Parameters(Bytes);

impl Parameters {
    /// Whether there is a body at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the body says; nothing at all is `{}`.
    ///
    /// # Errors
    /// It is not the JSON that is expected. Types without nesting of their own end at the first level, whatever the
    /// sender writes.
    pub fn read<T: DeserializeOwned>(&self, expected: &str) -> Result<T, Box<Problem>> {
        let text = if self.0.is_empty() { b"{}" } else { self.0.as_ref() };
        let refused = |detail: String| {
            Problem::new(StatusCode::BAD_REQUEST, "bad-json", detail).suggesting(format!("send {expected}"))
        };
        // serde takes a list of its fields for a structure, too.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(refused("the body is no JSON object".to_owned()));
        }
        serde_json::from_slice(text).map_err(|error| refused(error.to_string()))
    }
}

/// Reads what is left of a refused request: a client that still writes when the connection ends never sees the answer.
async fn discard(body: Body) {
    let mut body = Limited::new(body, BODY_LIMIT_BYTES);
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

async fn read_body(request: &mut Request) -> Result<Parameters, Box<Problem>> {
    let body = std::mem::take(request.body_mut());
    let reading = Limited::new(body, BODY_LIMIT_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "the body took too long")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("the body is longer than {BODY_LIMIT_BYTES} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", detail))
        }
        Ok(Err(error)) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-body", error.to_string())),
        Ok(Ok(body)) => Ok(Parameters(body.to_bytes())),
    }
}
