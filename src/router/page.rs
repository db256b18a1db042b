//! Answers of the router's own.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::Response;

use super::job::Trouble;
use super::pipe::ResponseBody;
use super::upload::UploadError;
use crate::proto::refusal::phrase;

/// A short page. It shows nothing of the request, nor of what went wrong inside.
pub(super) fn page(status: u16) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Bytes::from_static(phrase(status).as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if status == 503 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Announces that nothing follows on this connection.
pub(super) fn close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

impl Trouble {
    /// The status that tells a client of it.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Full | Self::Waited => 503,
            Self::WorkerGone | Self::UpstreamGone | Self::Unreachable | Self::BadAnswer => 502,
            Self::Late => 504,
            Self::TooLong => 431,
        }
    }
}

impl UploadError {
    /// The same for a body; `None` when the client itself is the reason.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::TooLong => Some(413),
            Self::NoRoom | Self::File(_) => Some(503),
            Self::Client(_) => None,
        }
    }
}
