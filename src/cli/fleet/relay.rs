//! Questions about one vassal go to its host: reading ones only, and the answer comes back as it is.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;

use super::Fleet;
use super::merge::resolve;
use crate::api::desk::Answer;
use crate::api::problem::Problem;
use crate::api::show;
use crate::cli::client::ClientError;
use crate::trace::escaped;

/// What may be asked of a vassal here: what `read` allows. Its log and its file are not among it.
const PARTS: [&str; 5] = ["workers", "requests", "sockets", "companions", "black-boxes"];

/// `GET /v1/vassals/{host}/{name}`, the name as one part of the path.
pub(super) async fn vassal(State(fleet): State<Fleet>, Path(name): Path<String>) -> Answer {
    ask(&fleet, &name, "").await
}

/// The same for a part of it.
pub(super) async fn part_of_vassal(
    State(fleet): State<Fleet>,
    Path((name, part)): Path<(String, String)>,
) -> Answer {
    if !PARTS.contains(&part.as_str()) {
        let detail = format!("the page has no {} of a vassal", escaped(&part));
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail));
    }
    ask(&fleet, &name, &part).await
}

async fn ask(fleet: &Fleet, name: &str, part: &str) -> Answer {
    let hosts = fleet.hosts.iter().map(|host| host.name.as_str());
    let found = resolve(hosts, name).and_then(|(place, name)| Some((fleet.hosts.get(place)?, name)));
    let Some((host, name)) = found else {
        let detail = format!("no host of the list has {:?}", escaped(name));
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-such-vassal", detail));
    };
    let mut path = show::link(name);
    if !part.is_empty() {
        path.push('/');
        path.push_str(part);
    }
    let (status, body) = host.client.open(&path).await.map_err(|error| problem(&host.name, error))?;
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response: Response = (status, Body::new(body.map_err(axum::Error::new))).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

fn problem(host: &str, error: ClientError) -> Box<Problem> {
    match error {
        ClientError::Refused(problem) => problem,
        error => {
            Problem::new(StatusCode::BAD_GATEWAY, "host-silent", super::merge::told(host, &error.to_string()))
        }
    }
}
