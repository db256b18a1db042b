//! The resources under `/v1`, and who serves them.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::middleware;
use axum::routing::{MethodRouter, get};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::actions::{self, on_fleet, on_vassal};
use super::desk::Desk;
use super::exposition::{Exposition, Form};
use super::gate::guard;
use super::guard::{Access, READER};
use super::problem::Problem;
use super::show::{self, Moment};
use super::{configuration, events, logs, metrics, page, resources, snapshot};
use crate::emperor::Request as Wish;
use crate::emperor::fleet::{Fleet, Vassal};
use crate::trace::escaped;

/// All resources, behind the guard.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route(page::PATH, get(page::get))
        .route("/v1", get(resources::index))
        .route("/v1/openapi.json", get(resources::openapi))
        .route("/v1/snapshot", get(snapshot::get))
        .route("/v1/host", get(resources::host))
        .route("/v1/emperor", of_fleet(show::emperor))
        .route("/v1/vassals", of_fleet(show::vassals))
        .route("/v1/stats", of_fleet(show::stats))
        .route("/v1/requests", of_fleet(show::requests))
        .route("/v1/sockets", of_fleet(show::sockets))
        .route("/v1/black-boxes", of_fleet(show::black_boxes))
        .route("/v1/operations", of_fleet(show::operations))
        .route("/v1/operations/{id}", get(resources::operation))
        .route("/v1/events", get(events::get))
        .route("/v1/vassals/{name}", of_vassal(show::detail))
        .route("/v1/vassals/{name}/workers", of_vassal(show::workers))
        .route("/v1/vassals/{name}/requests", of_vassal(show::requests_of))
        .route("/v1/vassals/{name}/sockets", of_vassal(show::sockets_of))
        .route("/v1/vassals/{name}/companions", of_vassal(show::companions))
        .route("/v1/vassals/{name}/black-boxes", of_vassal(show::black_boxes_of))
        .route("/v1/vassals/{name}/logs", get(logs::get))
        .route("/v1/vassals/{name}/reload", on_vassal(|vassal| Wish::Reload { vassal }))
        .route("/v1/vassals/{name}/restart", on_vassal(|vassal| Wish::Restart { vassal }))
        .route("/v1/vassals/{name}/stop", on_vassal(|vassal| Wish::Stop { vassal }))
        .route("/v1/vassals/{name}/start", on_vassal(|vassal| Wish::Start { vassal }))
        .route("/v1/vassals/{name}/sleep", on_vassal(|vassal| Wish::Sleep { vassal }))
        .route("/v1/vassals/{name}/wake", on_vassal(|vassal| Wish::Wake { vassal }))
        .route(
            "/v1/vassals/{name}/clear-back-off",
            on_vassal(|vassal| Wish::ClearBackOff { vassal: Some(vassal) }),
        )
        .route("/v1/vassals/{name}/scale", actions::scale())
        .route("/v1/vassals/{name}/log-level", actions::log_level_of())
        .route("/v1/vassals/{name}/workers/{pid}/stacks", actions::stacks())
        .route("/v1/vassals/{name}/requests/{id}/kill", actions::kill())
        .route("/v1/vassals/{name}/config", configuration::config())
        .route("/v1/validate", configuration::validate())
        .route("/v1/reload", actions::reload())
        .route("/v1/upgrade", on_fleet(Wish::Upgrade))
        .route("/v1/rescan", on_fleet(Wish::Rescan))
        .route("/v1/clear-back-off", on_fleet(Wish::ClearBackOff { vassal: None }))
        .route("/v1/log-level", actions::log_level())
        .route("/metrics", metrics_by(metrics::liege))
        .route("/metrics/uwsgi", metrics_by(metrics::uwsgi))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

fn of_fleet<T: Serialize + 'static>(view: fn(&Fleet, &Moment<'_>) -> T) -> MethodRouter<Desk> {
    get(move |State(desk): State<Desk>, Extension(access): Extension<Access>| {
        resources::of_fleet(desk, access, view)
    })
}

fn of_vassal<T: Serialize + 'static>(view: fn(&Vassal, &Fleet, &Moment<'_>) -> T) -> MethodRouter<Desk> {
    get(
        move |State(desk): State<Desk>,
              Extension(access): Extension<Access>,
              name: Result<Path<String>, PathRejection>| {
            resources::of_vassal(desk, access, name, view)
        },
    )
}

fn metrics_by(write: fn(&mut Exposition, &Fleet, &Moment<'_>)) -> MethodRouter<Desk> {
    get(move |State(desk): State<Desk>, headers: HeaderMap| async move {
        let form = Form::accepted(&headers);
        let mut out = Exposition::new(form);
        write(&mut out, &desk.handle.fleet(), &desk.moment(&READER));
        ([(header::CONTENT_TYPE, form.media_type())], out.finish())
    })
}

async fn nothing_here(request: Request) -> Box<Problem> {
    let detail = format!("there is no {}", escaped(request.uri().path()));
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail).suggesting("GET /v1 lists what there is")
}

async fn wrong_method(request: Request) -> Box<Problem> {
    let detail = format!("{} does not take {}", escaped(request.uri().path()), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail)
}
