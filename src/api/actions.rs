//! What can be done: every action is a `POST` whose answer is an operation to wait for.

use std::time::Duration;

use axum::extract::rejection::{ExtensionRejection, PathRejection};
use axum::extract::{Extension, FromRequestParts, Path, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Deserializer, de};

use super::ask::{plain, wait_of};
use super::connection::Aside;
use super::desk::{Answer, Desk};
use super::gate::Parameters;
use super::guard::{Access, Grant, Peer, check_content_type};
use super::problem::Problem;
use crate::config::log_level::LogLevel;
use crate::emperor::Request as Wish;
use crate::emperor::handle::RunningRequest;

/// An action takes no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

const NOTHING: &str = "no body, or {}";

/// How many workers are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    #[serde(deserialize_with = "whole")]
    workers: u32,
}

/// Whether the emperor is meant, too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    emperor: bool,
}

/// How much is to be logged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: LogLevel,
}

/// A vassal, by the path.
pub(super) type Name = Result<Path<String>, PathRejection>;
type TwoNames = Result<Path<(String, String)>, PathRejection>;

/// The parts of a request that every action needs.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) desk: Desk,
    peer: Peer,
    pub(super) access: Access,
    pub(super) parameters: Parameters,
    pub(super) aside: Aside,
    pub(super) wait: Result<Duration, Box<Problem>>,
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// Who asks, for the log.
    pub(super) fn who(&self) -> String {
        format!("{}{}", self.peer, self.token())
    }

    fn token(&self) -> String {
        self.access.token.as_ref().map(|token| format!(" token {token}")).unwrap_or_default()
    }

    async fn act(self, wish: Wish) -> Answer {
        let needed = match wish {
            Wish::Upgrade | Wish::ReloadHost | Wish::LogLevel { vassal: None, .. } => Grant::Admin,
            _ => Grant::Operate,
        };
        let who = self.who();
        let allowed = self.access.allows(needed, wish.vassal());
        allowed.inspect_err(|problem| self.desk.tell_refusal(format_args!("{who} asks: {wish}"), problem))?;
        let identity = format!("{}{}", self.peer.identity(), self.token());
        let wait = self.wait?;
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

/// `POST /v1/reload`.
pub(super) fn reload() -> MethodRouter<Desk> {
    post(async |asked: Asked| {
        let Whole { emperor } = asked.parameters.read("no body, {}, or {\"emperor\": true}")?;
        asked.act(if emperor { Wish::ReloadHost } else { Wish::ReloadAll }).await
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

/// A whole number, which JSON may write as `4.0`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok());
    whole
        .and_then(|whole| u32::try_from(whole).ok())
        .ok_or_else(|| de::Error::custom(format!("{number} is no number of workers")))
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
        let wait = wait_of(Query::from_request_parts(parts, desk).await, &parts.headers);
        Ok(Self { desk: desk.clone(), peer, access, parameters, aside, wait, headers: parts.headers.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_workers_is_whole() {
        let read = |text: &str| serde_json::from_str::<Scale>(text).ok().map(|scale| scale.workers);
        for (text, expected) in
            [("4", Some(4)), ("4.0", Some(4)), ("4.5", None), ("-1", None), ("1e99", None), ("\"4\"", None)]
        {
            assert_eq!(read(&format!("{{\"workers\": {text}}}")), expected, "{text}");
        }
    }

    #[test]
    fn a_running_request_has_one_name() {
        let expected = RunningRequest { pid: 7, core: 0, started_us: 99 };
        assert_eq!(running("7-0-99"), Some(expected));
        for wrong in ["", "7", "7-0", "7-0-", "7-0-99-1", "-7-0-99", "x-0-1", "../7-0-99"] {
            assert_eq!(running(wrong), None, "{wrong}");
        }
    }
}
