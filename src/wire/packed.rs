//! Heads of requests and responses between the router and its workers: texts, each after its length.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Uri;
use http::{Method, Request, StatusCode, response};
use hyper::ext::ReasonPhrase;

use crate::gateway::head::{Fault, Form, Head, check_name, check_value};
use crate::proto::refusal::phrase;

/// The most fields of a response.
const RESPONSE_FIELDS: usize = 4096;

/// A head under construction.
#[derive(Clone, Debug, Default)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// The head of a request; fields follow.
    #[must_use]
    pub fn request(method: &str, target: &str) -> Self {
        let mut packed = Self(Vec::with_capacity(512));
        packed.push(method.as_bytes());
        packed.push(target.as_bytes());
        packed
    }

    /// Adds a field that is valid.
    pub fn field(&mut self, name: &str, value: &[u8]) {
        self.push(name.as_bytes());
        self.push(value);
    }

    /// The head.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn push(&mut self, text: &[u8]) {
        // Nothing near that length gets through the limits of either side.
        let length = u32::try_from(text.len()).unwrap_or(0);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text);
    }
}

impl Form for Packed {
    fn start(status: u16, reason: &[u8]) -> Self {
        let mut packed = Self(Vec::with_capacity(256));
        packed.push(&status.to_le_bytes());
        packed.push(if reason == phrase(status).as_bytes() { b"" } else { reason });
        packed
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_name(name)?;
        check_value(value)?;
        self.push(name);
        self.push(value);
        Ok(())
    }
}

impl Head<Packed> {
    /// The head. Of what the application said about the connection, only a wish to close it passes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let closes = self.closes();
        let mut packed = self.into_form();
        if closes {
            packed.field("connection", b"close");
        }
        packed.into_bytes()
    }
}

/// The method and the target of a packed request.
#[must_use]
pub fn line(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut texts = Texts { bytes: head, at: 0 };
    Some((texts.next()?.ok()?, texts.next()?.ok()?))
}

/// A request's head; `None` where it is none.
#[must_use]
pub fn to_request(head: Vec<u8>) -> Option<Parts> {
    let head = Bytes::from(head);
    let mut texts = Texts { bytes: &head, at: 0 };
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(texts.next()?.ok()?).ok()?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(texts.next()?.ok()?)).ok()?;
    while let Some(name) = texts.next() {
        let name = HeaderName::from_bytes(name.ok()?).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(texts.next()?.ok()?)).ok()?;
        parts.headers.try_append(name, value).ok()?;
    }
    Some(parts)
}

/// A response's head, without the fields that are `unwanted`; `None` where it is none.
#[must_use]
pub fn to_response(head: Vec<u8>, unwanted: impl Fn(&HeaderName) -> bool) -> Option<response::Parts> {
    let head = Bytes::from(head);
    let mut texts = Texts { bytes: &head, at: 0 };
    let mut parts = response::Response::new(()).into_parts().0;
    let status = u16::from_le_bytes(texts.next()?.ok()?.try_into().ok()?);
    parts.status = StatusCode::from_u16(status).ok().filter(|status| !status.is_informational())?;
    let reason = texts.next()?.ok()?;
    if !reason.is_empty() {
        parts.extensions.insert(ReasonPhrase::try_from(head.slice_ref(reason)).ok()?);
    }
    parts.headers = read_fields(&head, texts, unwanted)?;
    Some(parts)
}

/// Fields, without those that are `unwanted`; `None` where there are none that are valid.
#[must_use]
pub fn to_fields(bytes: Vec<u8>, unwanted: impl Fn(&HeaderName) -> bool) -> Option<HeaderMap> {
    let bytes = Bytes::from(bytes);
    read_fields(&bytes, Texts { bytes: &bytes, at: 0 }, unwanted)
}

fn read_fields(
    bytes: &Bytes,
    mut texts: Texts<'_>,
    unwanted: impl Fn(&HeaderName) -> bool,
) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    while let Some(name) = texts.next() {
        let name = HeaderName::from_bytes(name.ok()?).ok()?;
        let value = texts.next()?.ok()?;
        if unwanted(&name) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).ok()?;
        if fields.len() >= RESPONSE_FIELDS {
            return None;
        }
        fields.try_append(name, value).ok()?;
    }
    Some(fields)
}

/// Walks through texts; a broken length ends it with an error.
struct Texts<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Broken;

impl<'a> Iterator for Texts<'a> {
    type Item = Result<&'a [u8], Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let text = rest.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.get(..usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX))
        });
        self.at = text.map_or(self.bytes.len(), |text| self.at + 4 + text.len());
        Some(text.ok_or(Broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let mut packed = Packed::request("PURGE", "/a%20b?c=d");
        packed.field("host", b"h");
        packed.field("x-odd", b"\xe9");
        packed.field("x-odd", b"");
        let bytes = packed.into_bytes();
        assert_eq!(line(&bytes), Some((&b"PURGE"[..], &b"/a%20b?c=d"[..])));
        let parts = to_request(bytes.clone()).unwrap();
        assert_eq!((parts.method.as_str(), parts.uri.to_string()), ("PURGE", "/a%20b?c=d".to_owned()));
        let odd: Vec<_> = parts.headers.get_all("x-odd").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(odd, [&b"\xe9"[..], b""]);
        for length in 0..bytes.len() {
            // A cut between fields cannot be seen; any other is.
            let cut = to_request(bytes[..length].to_vec());
            assert!(cut.is_none_or(|parts| parts.headers.len() < 3), "{length}");
        }
    }

    #[test]
    fn a_response_arrives_without_what_is_unwanted() {
        let mut head = Head::<Packed>::new(b"404 Nichts da").unwrap();
        let fields = [
            ("X-A", "1"),
            ("Set-Cookie", "a"),
            ("set-cookie", "b"),
            ("Drop", "me"),
            ("Connection", "x, close"),
        ];
        for (name, value) in fields {
            head.field(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert!(head.field(b"X B", b"1").is_err() && head.field(b"X", b"a\r\nb").is_err());
        let bytes = head.into_bytes();
        let parts = to_response(bytes.clone(), |name| name == "drop").unwrap();
        assert_eq!((parts.status.as_u16(), parts.headers.len()), (404, 4));
        assert_eq!(parts.headers["connection"], "close");
        assert_eq!(parts.extensions.get::<ReasonPhrase>().unwrap().as_bytes(), b"Nichts da");
        assert!(to_response(bytes[..bytes.len() - 1].to_vec(), |_| false).is_none());
        let usual = Head::<Packed>::new(b"200 OK").unwrap().into_bytes();
        assert!(to_response(usual, |_| false).unwrap().extensions.get::<ReasonPhrase>().is_none());
        for broken in
            [&b""[..], &[2, 0, 0, 0, 101, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 200, 0, 0, 0, 0], &[9, 0, 0, 0]]
        {
            assert!(to_response(broken.to_vec(), |_| false).is_none(), "{broken:?}");
        }
    }
}
