//! What can be done: every action is a `POST` whose answer is an operation to wait for.

use axum::extract::rejection::{ExtensionRejection, PathRejection, QueryRejection};
use axum::extract::{Extension, FromRequestParts, Path, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::ask::{Wait, plain, wait_of};
use super::connection::Aside;
use super::desk::{Answer, Desk};
use super::gate::Parameters;
use super::guard::{Access, Grant, Peer, check_content_type};
use super::problem::Problem;
use crate::config::log_level::LogLevel;
use crate::emperor::Request as Wish;
use crate::emperor::handle::RunningRequest;
use crate::sys::clock;

/// An action takes no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

const NOTHING: &str = "no body, or {}";

/// How many workers are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    workers: u32,
}

/// How much is to be logged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: LogLevel,
}

type Name = Result<Path<String>, PathRejection>;
type TwoNames = Result<Path<(String, String)>, PathRejection>;

/// The parts of a request that every action needs.
#[derive(Debug)]
struct Asked {
    desk: Desk,
    peer: Peer,
    access: Access,
    parameters: Parameters,
    aside: Aside,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
}

impl Asked {
    async fn act(self, wish: Wish) -> Answer {
        let needed = match wish {
            Wish::Upgrade | Wish::LogLevel { vassal: None, .. } => Grant::Admin,
            _ => Grant::Operate,
        };
        let token = self.access.token.as_ref().map(|token| format!(" token {token}")).unwrap_or_default();
        let who = format!("{}{token}", self.peer);
        self.access.allows(needed, wish.vassal()).inspect_err(|problem| {
            if self.desk.refusals.allows(clock::now()) {
                tracing::warn!("{who} asks: {wish}: refused: {}", problem.detail);
            }
        })?;
        let wait = wait_of(self.wait, &self.headers)?;
        let identity = format!("{}{token}", self.peer.identity());
        let id = self.desk.ask_once(who, &identity, wish, &self.headers).await?;
        self.desk.tell(id, wait, self.aside).await
    }
}

/// An action on the whole fleet, without parameters.
pub(super) fn on_fleet(wish: Wish) -> MethodRouter<Desk> {
    post(move |asked: Asked| async move {
        let Nothing {} = asked.parameters.read(NOTHING)?;
        asked.act(wish.clone()).await
    })
}

/// An action on a vassal, without parameters.
pub(super) fn on_vassal(wish: fn(String) -> Wish) -> MethodRouter<Desk> {
    post(move |name: Name, asked: Asked| async move {
        let vassal = plain(name)?;
        let Nothing {} = asked.parameters.read(NOTHING)?;
        asked.act(wish(vassal)).await
    })
}

/// `POST /v1/vassals/{name}/scale`.
pub(super) fn scale() -> MethodRouter<Desk> {
    post(async |name: Name, asked: Asked| {
        let vassal = plain(name)?;
        let Scale { workers } = asked.parameters.read("{\"workers\": 4}")?;
        asked.act(Wish::Scale { vassal, workers }).await
    })
}

/// `POST /v1/log-level`.
pub(super) fn log_level() -> MethodRouter<Desk> {
    post(async |asked: Asked| {
        let Level { level } = asked.parameters.read(LEVELS)?;
        asked.act(Wish::LogLevel { vassal: None, level }).await
    })
}

/// `POST /v1/vassals/{name}/log-level`.
pub(super) fn log_level_of() -> MethodRouter<Desk> {
    post(async |name: Name, asked: Asked| {
        let vassal = Some(plain(name)?);
        let Level { level } = asked.parameters.read(LEVELS)?;
        asked.act(Wish::LogLevel { vassal, level }).await
    })
}

const LEVELS: &str = "{\"level\": \"debug\"}: error, warn, info, debug or trace";

/// `POST /v1/vassals/{name}/workers/{pid}/stacks`.
pub(super) fn stacks() -> MethodRouter<Desk> {
    post(async |names: TwoNames, asked: Asked| {
        let (vassal, pid) = plain(names)?;
        let Nothing {} = asked.parameters.read(NOTHING)?;
        let pid = pid.parse().map_err(|_| none("worker", "its pid"))?;
        asked.act(Wish::Stacks { vassal, pid }).await
    })
}

/// `POST /v1/vassals/{name}/requests/{id}/kill`.
pub(super) fn kill() -> MethodRouter<Desk> {
    post(async |names: TwoNames, asked: Asked| {
        let (vassal, id) = plain(names)?;
        let Nothing {} = asked.parameters.read(NOTHING)?;
        let request = running(&id).ok_or_else(|| none("request", "the id that GET …/requests tells"))?;
        asked.act(Wish::KillRequest { vassal, request }).await
    })
}

fn none(what: &str, name: &str) -> Box<Problem> {
    let detail = format!("there is no such {what}");
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
        .suggesting(format!("a {what} is named by {name}"))
}

/// `PID-CORE-START`, as [`super::counters`] writes it.
fn running(id: &str) -> Option<RunningRequest> {
    let mut parts = id.splitn(3, '-');
    let (pid, core, started_us) = (parts.next()?, parts.next()?, parts.next()?);
    Some(RunningRequest {
        pid: pid.parse().ok()?,
        core: core.parse().ok()?,
        started_us: started_us.parse().ok()?,
    })
}

impl FromRequestParts<Desk> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let missing = |rejection: ExtensionRejection| rejection.into_response();
        let Extension(peer) = Extension::from_request_parts(parts, desk).await.map_err(missing)?;
        let Extension(access) = Extension::from_request_parts(parts, desk).await.map_err(missing)?;
        let Extension(parameters) = Extension::from_request_parts(parts, desk).await.map_err(missing)?;
        let parameters: Parameters = parameters;
        check_content_type(&peer, &parts.headers, !parameters.is_empty())
            .map_err(IntoResponse::into_response)?;
        let Ok(aside) = Aside::from_request_parts(parts, desk).await;
        let wait = Query::from_request_parts(parts, desk).await;
        Ok(Self { desk: desk.clone(), peer, access, parameters, aside, wait, headers: parts.headers.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_request_has_one_name() {
        let expected = RunningRequest { pid: 7, core: 0, started_us: 99 };
        assert_eq!(running("7-0-99"), Some(expected));
        for wrong in ["", "7", "7-0", "7-0-", "7-0-99-1", "-7-0-99", "x-0-1", "../7-0-99"] {
            assert_eq!(running(wrong), None, "{wrong}");
        }
    }
}
