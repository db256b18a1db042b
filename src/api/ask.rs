//! What a request asks for besides its path: read strictly, so that a misspelt word is told.

use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use http::{HeaderMap, StatusCode};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;
use crate::trace::escaped;

/// The longest wait that a request may ask for.
pub const WAIT_LIMIT_S: u64 = 60;

/// `?wait=SECONDS`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Seconds.
    pub wait: Option<u64>,
}

/// How long a request wants to wait: `?wait=N`, or `Prefer: wait=N` (RFC 7240).
///
/// # Errors
/// The query is not understood.
pub fn wait_of(
    query: Result<Query<Wait>, QueryRejection>,
    headers: &HeaderMap,
) -> Result<Duration, Box<Problem>> {
    let wait = query_of(query)?.wait;
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferred = preferences
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok());
    Ok(Duration::from_secs(wait.or(preferred).unwrap_or(0).min(WAIT_LIMIT_S)))
}

/// The query as read.
///
/// # Errors
/// It is not understood.
pub fn query_of<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Box<Problem>> {
    query
        .map(|Query(query)| query)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad-query", escaped(&error.body_text())))
}

/// The part of the path that is a parameter.
///
/// # Errors
/// It is not understood.
pub fn plain<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Box<Problem>> {
    path.map(|Path(value)| value)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "not-found", escaped(&error.body_text())))
}

/// A switch in a query: `?follow`, `?follow=true`.
///
/// # Errors
/// Another word.
pub fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Words;
    impl Visitor<'_> for Words {
        type Value = bool;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("true or false")
        }
        fn visit_str<E: de::Error>(self, word: &str) -> Result<bool, E> {
            match word {
                "" | "1" | "true" => Ok(true),
                "0" | "false" => Ok(false),
                _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
            }
        }
    }
    deserializer.deserialize_str(Words)
}
