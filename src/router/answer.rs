//! Answers of workers on their way to clients.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE};
use http::{StatusCode, response};
use hyper::Response;

use super::fields;
use super::pipe::{Line, Reader, ResponseBody};
use super::socket::Socket;
use crate::proto::http1::head::read_length;
use crate::wire::packed;
use crate::wire::queue::Contents;

/// A whole answer; `None` when it is none.
pub(super) fn of_cell(contents: Contents) -> Option<Response<ResponseBody>> {
    let head = head(contents.head)?;
    let body = Bytes::from(contents.body);
    // Of a HEAD the length is that of the body that is left out.
    let said = head.headers.get(CONTENT_LENGTH).and_then(|value| read_length(value.as_bytes()));
    if !body.is_empty() && said != u64::try_from(body.len()).ok() {
        return None;
    }
    Some(Response::from_parts(head, ResponseBody::Whole(body)))
}

/// The head of an answer; `None` when it is none. The application may want its client's connection closed.
pub(super) fn head(bytes: Vec<u8>) -> Option<response::Parts> {
    let unwanted = |name: &HeaderName| name != CONNECTION && fields::is_hop_by_hop(name);
    let mut head = packed::to_response(bytes, unwanted)?;
    if head.headers.get_all(CONNECTION).iter().any(|value| value != "close") {
        head.headers.remove(CONNECTION);
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    if lengths.next().is_some_and(|value| read_length(value.as_bytes()).is_none()) || lengths.next().is_some()
    {
        return None;
    }
    Some(head)
}

/// An answer with these fields that another protocol follows, whose bytes go to and come from `line`; `None` when
/// it is none.
pub(super) fn switched(packed: Vec<u8>, line: OwnedFd) -> Option<Response<ResponseBody>> {
    let mut response =
        Response::new(ResponseBody::Switched(Line { socket: Socket::of_line(line).ok()?, meter: None }));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() =
        packed::to_fields(packed, |name| name == CONTENT_LENGTH || fields::is_hop_by_hop(name))?;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    Some(response)
}

/// An answer whose body comes bit by bit.
pub(super) fn piped(head: response::Parts, body: Reader) -> Response<ResponseBody> {
    Response::from_parts(head, ResponseBody::Piped(body))
}
