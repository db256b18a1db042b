//! `liege page`: the live page for one host or several, served to the user who started it. It only reads.

mod happenings;
mod merge;
mod relay;
mod sight;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, extract::rejection::QueryRejection};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use self::happenings::Happenings;
use self::sight::Sight;
use super::client::ClientError;
use super::exit::Exit;
use super::hosts::Host;
use super::paper::{complain, print};
use crate::api::ask::{Wait, wait_of};
use crate::api::connection::{self, Activity, Aside, Working};
use crate::api::desk::Answer;
use crate::api::door::Door;
use crate::api::guard::{self, Peer, TokenCheck};
use crate::api::problem::Problem;
use crate::api::roles::Roles;
use crate::api::token::{self, Token};
use crate::api::views::{Access, Index};
use crate::api::{page, snapshot};
use crate::config::role::Role;

/// Where it listens unless it is told: this host only, at any port that is free.
pub const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const TOKEN_BYTES: usize = 16;

/// What the routes work with.
#[derive(Clone, Debug)]
struct Fleet {
    hosts: Arc<[Host]>,
    sight: Arc<Sight>,
    happenings: Arc<Happenings>,
    token: Arc<[Token]>,
}

/// Serves the page of these hosts until told to end.
///
/// # Errors
/// It cannot listen there, or others than this host's users would reach it.
pub async fn run(hosts: Vec<Host>, listen: SocketAddr) -> Result<Exit, ClientError> {
    let cannot = |why: &dyn std::fmt::Display| ClientError::Access(format!("cannot serve the page: {why}"));
    if !guard::is_loopback(listen.ip()) {
        return Err(cannot(&format!(
            "{listen} could be reached by other hosts; listen on 127.0.0.1, and reach it through `ssh -L`"
        )));
    }
    let listener = TcpListener::bind(listen).await.map_err(|error| cannot(&format!("{listen}: {error}")))?;
    let address = listener.local_addr().map_err(|error| cannot(&error))?;
    let secret = secret().map_err(|error| cannot(&error))?;
    let token = token::parse(format!("read {secret}").as_bytes()).map_err(|error| cannot(&error))?;
    let mut ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let hosts: Arc<[Host]> = hosts.into();
    let sight = Sight::over(&hosts);
    let happenings = Happenings::of(&hosts);
    let served = connection::serve(
        Door::Tcp(listener, address, None),
        router(Fleet { hosts, sight, happenings, token: token.into() }),
        Arc::default(),
    );
    // Whoever has the token may see what this user may: it stands in the part that browsers do not send.
    print(&format!("http://{address}/#token={secret}\n"));
    complain("only this host's users who have this address can read; Ctrl-C ends it");
    let [interrupt, terminate, hangup] = &mut ends;
    tokio::select! {
        never = served => match never {},
        () = told(interrupt) => {}
        () = told(terminate) => {}
        () = told(hangup) => {}
    }
    Ok(Exit::Done)
}

async fn told(signal: &mut io::Result<tokio::signal::unix::Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// A token that nobody guesses.
fn secret() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn router(fleet: Fleet) -> Router {
    Router::new()
        .route(page::PATH, get(page::get))
        .route("/v1", get(index))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/events", get(happenings::get))
        .route("/v1/vassals/{name}", get(relay::vassal))
        .route("/v1/vassals/{name}/{*rest}", get(relay::part_of_vassal))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not-found", "the page has no such resource"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "read-only", "this page only reads")
                .suggesting("steer a host with `liege --api`, or on its own page")
        })
        .layer(middleware::from_fn_with_state(fleet.clone(), admit))
        .with_state(fleet)
}

/// Lets in who has the token and comes by a name of this host; the page itself holds no secret.
async fn admit(State(fleet): State<Fleet>, request: Request, next: Next) -> Response {
    let mut response = match judge(&fleet, &request) {
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

fn judge(fleet: &Fleet, request: &Request) -> Result<(), Box<Problem>> {
    let Some(peer) = request.extensions().get::<Peer>() else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-peer", "the peer is unknown"));
    };
    let token = match page::is_asked_for(request.method(), request.uri().path()) {
        true => TokenCheck::Right(Role::Read.into()),
        false => token::compare(&fleet.token, request.headers()),
    };
    guard::judge(peer, request.method(), request.headers(), token, &[], &Roles::default()).map(|_| ())
}

async fn index(State(fleet): State<Fleet>) -> Response {
    let access = Access { role: Role::Read, vassals: Vec::new(), tokens: true };
    Json(Index { emperor: fleet.sight.emperor(), access, links: Vec::new() }).into_response()
}

/// As `/v1/snapshot` of one emperor, of all of them.
async fn snapshot(
    State(fleet): State<Fleet>,
    aside: Aside,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let until = Instant::now() + wait_of(wait, &headers)?;
    let mut news = fleet.sight.watch();
    loop {
        news.mark_unchanged();
        let made = fleet.sight.snapshot();
        let known = snapshot::matches(&headers, &made.tag);
        if !known || Instant::now() >= until {
            return Ok(snapshot::answer(known, &made.tag, made.body));
        }
        let _place = aside.step();
        let _ = tokio::time::timeout_at(until, news.changed()).await;
    }
}
