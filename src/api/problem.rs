//! Errors as RFC 9457 problem documents.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::config::diagnostic::Diagnostic;
use crate::emperor::handle::Refusal;
use crate::wire::failure::Failure;

/// An error for a client: what went wrong, where, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:liege:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// The error's name for programs; it never changes.
    pub code: String,
    /// What went wrong, for people.
    pub detail: String,
    /// The file that has to be mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The end of a Python traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Everything that is wrong or doubtful, errors first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Diagnostic>,
}

impl Problem {
    /// A problem with its status, code and sentence.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: format!("urn:liege:{code}"),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            code: code.to_owned(),
            detail: detail.into(),
            ..Self::default()
        })
    }

    /// The same with advice.
    #[must_use]
    pub fn suggesting(mut self: Box<Self>, suggestion: impl Into<String>) -> Box<Self> {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The same with what a failure tells of the place.
    #[must_use]
    pub fn because_of(mut self: Box<Self>, failure: &Failure) -> Box<Self> {
        if let Some(first) = failure.diagnostics.first() {
            self.file = Some(first.file.clone());
            self.line = first.line;
            self.option.clone_from(&first.option);
            self.suggestion.clone_from(&first.suggestion);
        }
        self.suggestion = self.suggestion.take().or_else(|| failure.hint.clone());
        self.traceback.clone_from(&failure.traceback);
        self.errors.clone_from(&failure.diagnostics);
        self
    }
}

impl From<Refusal> for Box<Problem> {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::UnknownVassal(_) => Problem::new(StatusCode::NOT_FOUND, "no-such-vassal", detail),
            Refusal::Conflict(_) => Problem::new(StatusCode::CONFLICT, "conflict", detail),
            Refusal::KeyReused => Problem::new(StatusCode::CONFLICT, "key-reused", detail),
            Refusal::Stopping => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail),
        }
    }
}

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&*self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"liege\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::{Cause, Severity};

    #[test]
    fn a_problem_names_the_place_to_mend() {
        let failure = Failure {
            diagnostics: vec![Diagnostic {
                severity: Severity::Error,
                file: "/v/a.ini".into(),
                line: Some(3),
                option: Some("procesess".into()),
                message: "unknown option".into(),
                suggestion: Some("did you mean processes?".into()),
                cause: Cause::default(),
            }],
            ..Failure::new("configuration").with_traceback("Traceback …")
        };
        let problem = Problem::new(StatusCode::CONFLICT, "conflict", "cannot").because_of(&failure);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:liege:conflict", "status": 409, "title": "Conflict", "code": "conflict",
                "detail": "cannot", "file": "/v/a.ini", "line": 3, "option": "procesess",
                "suggestion": "did you mean processes?", "traceback": "Traceback …",
                "errors": [{
                    "severity": "error", "file": "/v/a.ini", "line": 3, "option": "procesess",
                    "message": "unknown option", "suggestion": "did you mean processes?", "cause": "value",
                }],
            })
        );
    }

    #[test]
    fn refusals_have_their_status() {
        for (refusal, status, code) in [
            (Refusal::UnknownVassal("x".into()), 404, "no-such-vassal"),
            (Refusal::Conflict("it is being stopped".into()), 409, "conflict"),
            (Refusal::Stopping, 503, "stopping"),
        ] {
            let problem = Box::<Problem>::from(refusal);
            assert_eq!((problem.status, problem.code.as_str()), (status, code));
        }
    }
}
