//! The head of a response as an application gave it: validated, without what only the server may say.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue};
use hyper::ext::ReasonPhrase;

use crate::proto::http1::head::{is_text, is_token, read_length};
use crate::proto::refusal::phrase;

/// What an application did wrong with its head; the answer is a 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The status is not three digits and a text without control bytes, or below 200.
    Status,
    /// A field's name is not a token.
    Name,
    /// A field's value has control bytes.
    Value,
    /// `Content-Length` is not a plain number, or was given twice.
    ContentLength,
    /// More fields or bytes than a response may have.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "status is not three digits (200 to 999), a space and a text",
            Self::Name => "header name is not a token",
            Self::Value => "header value has control characters",
            Self::ContentLength => "Content-Length is not one plain number",
            Self::TooLong => "too many or too long headers",
        })
    }
}

impl std::error::Error for Fault {}

/// The most bytes of all names and values together, as in uWSGI, unless somebody says otherwise.
pub const FIELDS_LIMIT_BYTES: usize = 65_535;

/// A form in which a head goes out.
pub trait Form {
    /// With the status and the words after it.
    fn start(status: u16, reason: &[u8]) -> Self;
    /// Adds a field, or refuses its name or value.
    ///
    /// # Errors
    /// [`Fault::Name`] or [`Fault::Value`].
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault>;
}

/// A validated head.
#[derive(Clone, Debug)]
pub struct Head<F> {
    status: u16,
    form: F,
    content_length: Option<u64>,
    close: bool,
    dated: bool,
    bytes: usize,
    limit: usize,
}

impl<F: Form> Head<F> {
    /// Starts a head from a WSGI status: `200 OK`.
    ///
    /// # Errors
    /// [`Fault::Status`].
    pub fn new(status: &[u8]) -> Result<Self, Fault> {
        let (digits, reason) = status.split_at_checked(3).ok_or(Fault::Status)?;
        let number =
            read_length(digits).and_then(|number| u16::try_from(number).ok()).ok_or(Fault::Status)?;
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] => reason,
            _ => return Err(Fault::Status),
        };
        if number < 200 || !is_text(reason) {
            return Err(Fault::Status);
        }
        let form = F::start(number, reason);
        Ok(Self {
            status: number,
            form,
            content_length: None,
            close: false,
            dated: false,
            bytes: 0,
            limit: FIELDS_LIMIT_BYTES,
        })
    }

    /// With so many bytes of names and values at most.
    #[must_use]
    pub fn limited_to(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Adds a field. Those that are about the connection are the server's: they are left out, and `Connection: close`
    /// closes it after the response.
    ///
    /// # Errors
    /// The fault.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        // Names and values a byte long each count more than they weigh, so that their number is bounded too.
        self.bytes = self.bytes.saturating_add(name.len() + value.len() + 4);
        if self.bytes > self.limit {
            return Err(Fault::TooLong);
        }
        match special(name) {
            None => self.form.add(name, value),
            Some(Special::ContentLength) => {
                let length = read_length(value).ok_or(Fault::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Fault::ContentLength);
                }
                if self.is_bodyless() { Ok(()) } else { self.form.add(name, value) }
            }
            Some(Special::Date) if std::mem::replace(&mut self.dated, true) => Ok(()),
            Some(Special::Date) => self.form.add(name, value),
            Some(Special::Connection) => {
                check_value(value)?;
                self.close |=
                    value.split(|&byte| byte == b',').any(|o| o.trim_ascii().eq_ignore_ascii_case(b"close"));
                Ok(())
            }
            Some(Special::HopByHop) => check_value(value),
        }
    }

    /// Gives a response without a length the one that is known now.
    pub(super) fn set_length(&mut self, length: u64) {
        if self.content_length.is_none() && !self.is_bodyless() {
            self.content_length = Some(length);
            // Valid by construction.
            let _ = self.form.add(b"Content-Length", length.to_string().as_bytes());
        }
    }
}

impl<F> Head<F> {
    /// The status, 200 to 999.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The announced length of the body.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the application wants the connection closed after the response.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.close
    }

    /// Whether the status is one without a body, and so (here) without a length.
    #[must_use]
    pub const fn is_bodyless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// What is to be sent.
    #[must_use]
    pub fn into_form(self) -> F {
        self.form
    }
}

impl Head<Wire> {
    /// The head as bytes, the empty line included.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.form.0;
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

impl Head<Http> {
    /// A response for hyper with this body.
    #[must_use]
    pub fn into_response<B>(self, body: B) -> http::Response<B> {
        let mut response = http::Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or_default();
        if let Some(reason) = self.form.reason {
            response.extensions_mut().insert(reason);
        }
        *response.headers_mut() = self.form.fields;
        if self.close {
            response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A head for hyper.
#[derive(Clone, Debug)]
pub struct Http {
    reason: Option<ReasonPhrase>,
    fields: HeaderMap,
}

impl Form for Http {
    fn start(status: u16, reason: &[u8]) -> Self {
        let usual = reason == phrase(status).as_bytes();
        let reason = if usual { None } else { ReasonPhrase::try_from(Bytes::copy_from_slice(reason)).ok() };
        Self { reason, fields: HeaderMap::with_capacity(8) }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let name = HeaderName::from_bytes(name).map_err(|_| Fault::Name)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Fault::Value)?;
        self.fields.try_append(name, value).map_err(|_| Fault::TooLong)?;
        Ok(())
    }
}

/// A head as bytes, for sockets on which a front end speaks uwsgi: its names stay as the application wrote them.
#[derive(Clone, Debug)]
pub struct Wire(Vec<u8>);

impl Form for Wire {
    fn start(status: u16, reason: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(status.to_string().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(reason);
        bytes.extend_from_slice(b"\r\n");
        Self(bytes)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_name(name)?;
        check_value(value)?;
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
        Ok(())
    }
}

enum Special {
    ContentLength,
    Connection,
    Date,
    HopByHop,
}

fn special(name: &[u8]) -> Option<Special> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 if is("te") => Some(Special::HopByHop),
        4 if is(DATE.as_str()) => Some(Special::Date),
        7 if is("upgrade") || is("trailer") => Some(Special::HopByHop),
        10 if is("connection") => Some(Special::Connection),
        10 if is("keep-alive") => Some(Special::HopByHop),
        14 if is(CONTENT_LENGTH.as_str()) => Some(Special::ContentLength),
        16 if is("proxy-connection") => Some(Special::HopByHop),
        17 if is("transfer-encoding") => Some(Special::HopByHop),
        _ => None,
    }
}

/// Whether it can name a field.
///
/// # Errors
/// [`Fault::Name`].
pub fn check_name(name: &[u8]) -> Result<(), Fault> {
    if !name.is_empty() && name.iter().copied().all(is_token) { Ok(()) } else { Err(Fault::Name) }
}

/// Whether it can be the value of a field.
///
/// # Errors
/// [`Fault::Value`].
pub fn check_value(value: &[u8]) -> Result<(), Fault> {
    if is_text(value) { Ok(()) } else { Err(Fault::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a [u8], &'a [(&'a [u8], &'a [u8])], Result<&'a str, Fault>);

    #[test]
    fn heads_are_validated() {
        let rows: [Row<'_>; 20] = [
            (b"200 OK", &[(b"X-A", b"1"), (b"x-b", b"2")], Ok("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-b: 2\r\n\r\n")),
            (b"299 My own", &[], Ok("HTTP/1.1 299 My own\r\n\r\n")),
            (b"404", &[], Ok("HTTP/1.1 404 \r\n\r\n")),
            (b"200 OK\r\nX: y", &[], Err(Fault::Status)),
            (b"OK", &[], Err(Fault::Status)),
            (b"", &[], Err(Fault::Status)),
            (b"2000 OK", &[], Err(Fault::Status)),
            (b"+20 OK", &[], Err(Fault::Status)),
            (b"101 Switching Protocols", &[], Err(Fault::Status)),
            (b"200 OK", &[(b"X A", b"1")], Err(Fault::Name)),
            (b"200 OK", &[(b"", b"1")], Err(Fault::Name)),
            (b"200 OK", &[(b"X:", b"1")], Err(Fault::Name)),
            (b"200 OK", &[(b"X", b"1\r\nY: 2")], Err(Fault::Value)),
            (b"200 OK", &[(b"X", b"\0")], Err(Fault::Value)),
            (b"200 OK", &[(b"Keep-Alive", b"\n")], Err(Fault::Value)),
            (b"200 OK", &[(b"Content-Length", b"5, 5")], Err(Fault::ContentLength)),
            (b"200 OK", &[(b"Content-Length", b"5"), (b"content-length", b"5")], Err(Fault::ContentLength)),
            (b"204 No Content", &[(b"Content-Length", b"0")], Ok("HTTP/1.1 204 No Content\r\n\r\n")),
            (
                b"200 OK",
                &[(b"Transfer-Encoding", b"chunked"), (b"Connection", b"x, Close"), (b"Upgrade", b"h2c")],
                Ok("HTTP/1.1 200 OK\r\n\r\n"),
            ),
            (
                b"200 OK",
                &[(b"Date", b"a"), (b"date", b"b"), (b"Set-Cookie", b"1"), (b"Set-Cookie", b"2")],
                Ok("HTTP/1.1 200 OK\r\nDate: a\r\nSet-Cookie: 1\r\nSet-Cookie: 2\r\n\r\n"),
            ),
        ];
        for (status, fields, expected) in rows {
            let wire =
                build::<Wire>(status, fields).map(|head| String::from_utf8(head.into_bytes()).unwrap());
            assert_eq!(wire, expected.map(str::to_owned), "{}", status.escape_ascii());
            let http = build::<Http>(status, fields).map(|_| ());
            assert_eq!(http, expected.map(|_| ()), "{}", status.escape_ascii());
        }
    }

    #[test]
    fn hyper_gets_what_is_needed_and_no_more() {
        let head = build::<Http>(b"200 OK", &[(b"Connection", b"close")]).unwrap();
        assert!(head.closes());
        let response = head.into_response(());
        assert_eq!(response.headers().get("connection").unwrap(), "close");
        assert!(response.extensions().get::<ReasonPhrase>().is_none());
        let response = build::<Http>(b"200 \xc4h", &[]).unwrap().into_response(());
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"\xc4h");
    }

    #[test]
    fn the_total_size_is_bounded() {
        let mut head = Head::<Wire>::new(b"200 OK").unwrap();
        assert!((0..70_000).any(|_| head.field(b"X", b"").is_err()));
    }

    fn build<F: Form>(status: &[u8], fields: &[(&[u8], &[u8])]) -> Result<Head<F>, Fault> {
        let mut head = Head::new(status)?;
        for (name, value) in fields {
            head.field(name, value)?;
        }
        Ok(head)
    }
}
