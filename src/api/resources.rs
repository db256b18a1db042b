//! What can be read: each resource is made of what the emperor knows already, no vassal is asked.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::ask::{Wait, plain, wait_of};
use super::connection::Aside;
use super::desk::{Answer, Desk};
use super::guard::{Access, Peer};
use super::problem::Problem;
use super::show::{self, Moment};
use super::{host, views};
use crate::emperor::fleet::{Fleet, Vassal};

/// Where a reader goes on from `/v1`.
const LINKS: [&str; 13] = [
    "/v1/openapi.json",
    "/v1/snapshot",
    "/v1/host",
    "/v1/emperor",
    "/v1/vassals",
    "/v1/stats",
    "/v1/requests",
    "/v1/sockets",
    "/v1/black-boxes",
    "/v1/events",
    "/v1/operations",
    "/metrics",
    "/metrics/uwsgi",
];

/// `GET /v1`.
pub async fn index(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    Extension(access): Extension<Access>,
) -> Response {
    let emperor = show::emperor(&desk.handle.fleet(), &desk.moment(&access));
    let links = LINKS.map(str::to_owned).to_vec();
    let access = views::Access {
        role: access.grant,
        vassals: access.scope.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        tokens: desk.tokens.is_some() && matches!(peer, Peer::Remote { .. }),
    };
    Json(views::Index { emperor, access, links }).into_response()
}

/// `GET /v1/openapi.json`: all of this, described (OpenAPI 3.1).
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

/// `GET /v1/host`.
pub async fn host() -> Response {
    Json(host::host()).into_response()
}

/// A resource of the whole fleet.
///
/// # Errors
/// None.
pub async fn of_fleet<T: Serialize>(
    desk: Desk,
    access: Access,
    view: fn(&Fleet, &Moment<'_>) -> T,
) -> Response {
    let view = view(&desk.handle.fleet(), &desk.moment(&access));
    Json(view).into_response()
}

/// A resource of one vassal.
///
/// # Errors
/// There is no such vassal.
pub async fn of_vassal<T: Serialize>(
    desk: Desk,
    access: Access,
    name: Result<Path<String>, PathRejection>,
    view: fn(&Vassal, &Fleet, &Moment<'_>) -> T,
) -> Answer {
    let name = plain(name)?;
    let view = {
        let fleet = desk.handle.fleet();
        fleet.vassals.get(&name).map(|vassal| view(vassal, &fleet, &desk.moment(&access)))
    };
    view.map(|view| Json(view).into_response()).ok_or_else(|| desk.unknown(&name))
}

/// `GET /v1/operations/{id}`.
///
/// # Errors
/// There is no such operation, or the query is not understood.
pub async fn operation(
    State(desk): State<Desk>,
    aside: Aside,
    id: Result<Path<u64>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let id = plain(id)?;
    let wait = wait_of(wait, &headers)?;
    match desk.wait_for(id, wait, aside).await {
        Some(operation) => Ok(Json(operation).into_response()),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-operation",
            format!("no operation {id} is known"),
        )),
    }
}
