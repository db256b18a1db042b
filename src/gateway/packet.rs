//! A request that a front end sent as variables, in a packet of uwsgi or what SCGI and FastCGI make of theirs.

use super::peer::{Peer, Scheme};
use super::variable::{self, Variable};
use crate::proto::http1::head::read_length;
use crate::proto::refusal::Refusal;
use crate::proto::uwsgi::{Checked, Variables};

/// Such a request with its bytes, which were read once.
#[derive(Clone, Debug)]
pub struct PacketRequest {
    block: Checked,
    method: Span,
    path: Span,
    uri: Span,
    remote_addr: Span,
    content_length: u64,
    scheme: Scheme,
    missing: Missing,
}

/// Where a value stands in the block.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    length: usize,
}

impl PacketRequest {
    /// Reads a block of variables.
    ///
    /// # Errors
    /// As [`UwsgiRequest::new`].
    pub fn new(block: Checked) -> Result<Self, Refusal> {
        let read = UwsgiRequest::new(block.variables())?;
        let span = |value: &[u8]| Span {
            // Every value is a part of the block, or empty.
            start: value.as_ptr().addr().saturating_sub(block.bytes().as_ptr().addr()),
            length: value.len(),
        };
        Ok(Self {
            method: span(read.method),
            path: span(read.path),
            uri: span(read.uri),
            remote_addr: span(read.remote_addr),
            content_length: read.content_length,
            scheme: read.scheme,
            missing: read.missing,
            block,
        })
    }

    /// The block.
    #[must_use]
    pub const fn block(&self) -> &Checked {
        &self.block
    }

    /// What was read.
    #[must_use]
    pub fn view(&self) -> UwsgiRequest<'_> {
        let value =
            |Span { start, length }| self.block.bytes().get(start..start + length).unwrap_or_default();
        UwsgiRequest {
            method: value(self.method),
            path: value(self.path),
            uri: value(self.uri),
            remote_addr: value(self.remote_addr),
            content_length: self.content_length,
            scheme: self.scheme,
            variables: self.block.variables(),
            missing: self.missing,
        }
    }
}

/// What the server itself has to know of a uwsgi request. The front end on such a socket is trusted with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UwsgiRequest<'a> {
    /// `REQUEST_METHOD`.
    pub method: &'a [u8],
    /// `PATH_INFO`.
    pub path: &'a [u8],
    /// `REQUEST_URI`, for logs.
    pub uri: &'a [u8],
    /// `REMOTE_ADDR`, for logs.
    pub remote_addr: &'a [u8],
    /// `CONTENT_LENGTH`; 0 when missing or empty.
    pub content_length: u64,
    /// The scheme, from `UWSGI_SCHEME` or `HTTPS`.
    pub scheme: Scheme,
    /// All that came.
    pub variables: Variables<'a>,
    missing: Missing,
}

/// Entries that PEP 3333 wants and the packet did not bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    script_name: bool,
    path_info: bool,
    query_string: bool,
    server_name: bool,
    server_port: bool,
    server_protocol: bool,
}

impl<'a> UwsgiRequest<'a> {
    /// Looks at a packet's variables.
    ///
    /// # Errors
    /// No method, or a `CONTENT_LENGTH` that is not a number.
    pub fn new(variables: Variables<'a>) -> Result<Self, Refusal> {
        let missing = Missing {
            script_name: true,
            path_info: true,
            query_string: true,
            server_name: true,
            server_port: true,
            server_protocol: true,
        };
        let mut request = Self {
            method: b"",
            path: b"",
            uri: b"",
            remote_addr: b"",
            content_length: 0,
            scheme: Scheme::Http,
            variables,
            missing,
        };
        let (mut https, mut scheme) = (None, None);
        for (key, value) in variables {
            match key {
                b"REQUEST_METHOD" => request.method = value,
                b"PATH_INFO" => (request.path, request.missing.path_info) = (value, false),
                b"REQUEST_URI" => request.uri = value,
                b"REMOTE_ADDR" => request.remote_addr = value,
                b"SCRIPT_NAME" => request.missing.script_name = false,
                b"QUERY_STRING" => request.missing.query_string = false,
                b"SERVER_NAME" => request.missing.server_name = value.is_empty(),
                b"SERVER_PORT" => request.missing.server_port = value.is_empty(),
                b"SERVER_PROTOCOL" => request.missing.server_protocol = value.is_empty(),
                b"CONTENT_LENGTH" if value.is_empty() => request.content_length = 0,
                b"CONTENT_LENGTH" => {
                    request.content_length =
                        read_length(value).ok_or(Refusal::bad("invalid CONTENT_LENGTH"))?;
                }
                b"HTTPS" => https = Some(matches!(value, b"on" | b"ON" | b"1")),
                b"UWSGI_SCHEME" => scheme = Some(value == b"https"),
                _ => {}
            }
        }
        if request.method.is_empty() {
            return Err(Refusal::bad("uwsgi request without REQUEST_METHOD"));
        }
        if scheme.or(https).unwrap_or(false) {
            request.scheme = Scheme::Https;
        }
        Ok(request)
    }

    /// The value of a variable; of a repeated one the last.
    #[must_use]
    pub fn variable(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.variables.filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// Whether the response has no body.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// Gives `set` the entries: the packet's own in their order, so that of a repeated one the last stays, after
    /// those that PEP 3333 wants and it does not bring.
    ///
    /// # Errors
    /// That of `set`, at once.
    pub fn environ<E>(
        &self,
        peer: &Peer<'_>,
        mut set: impl FnMut(Variable<'_>, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let missing = &self.missing;
        for (is_missing, name, value) in [
            (missing.script_name, variable::SCRIPT_NAME, ""),
            (missing.path_info, variable::PATH_INFO, ""),
            (missing.query_string, variable::QUERY_STRING, ""),
            (missing.server_name, variable::SERVER_NAME, peer.server_name),
            (missing.server_port, variable::SERVER_PORT, peer.server_port),
            (missing.server_protocol, variable::SERVER_PROTOCOL, "HTTP/1.0"),
        ] {
            if is_missing {
                set(name, value.as_bytes())?;
            }
        }
        for (key, value) in self.variables {
            let server_fills =
                value.is_empty() && matches!(key, b"SERVER_NAME" | b"SERVER_PORT" | b"SERVER_PROTOCOL");
            if let Some(variable) = Variable::of_cgi(key).filter(|_| !server_fills) {
                set(variable, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::gateway::peer::Connection;
    use crate::proto::uwsgi::to_block;

    type Seen = (BTreeMap<String, Vec<u8>>, Scheme, u64);

    fn read(pairs: &[(&str, &str)]) -> Result<Seen, Refusal> {
        let pairs = pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let request = PacketRequest::new(to_block(pairs).unwrap())?;
        let request = request.view();
        let connection = Connection::new(None, None);
        let mut entries = BTreeMap::new();
        let Ok(()) = request.environ(&connection.peer("node"), |name, value| {
            entries.insert(name.name().to_owned(), value.to_vec());
            Ok::<_, Infallible>(())
        });
        Ok((entries, request.scheme, request.content_length))
    }

    #[test]
    fn a_packet_sets_its_variables_and_nothing_of_ours() {
        let (entries, scheme, length) = read(&[
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_LENGTH", ""),
            ("SERVER_PROTOCOL", ""),
            ("wsgi.input", "evil"),
            ("HTTP_PROXY", "evil"),
            ("QUERY_STRING", "a"),
            ("QUERY_STRING", "b"),
            ("UWSGI_FILE", "/etc/passwd"),
        ])
        .unwrap();
        let seen: Vec<(&str, &[u8])> = entries.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
        let expected: [(&str, &[u8]); 9] = [
            ("CONTENT_LENGTH", b""),
            ("PATH_INFO", b""),
            ("QUERY_STRING", b"b"),
            ("REQUEST_METHOD", b"POST"),
            ("SCRIPT_NAME", b""),
            ("SERVER_NAME", b"node"),
            ("SERVER_PORT", b"80"),
            ("SERVER_PROTOCOL", b"HTTP/1.0"),
            ("UWSGI_FILE", b"/etc/passwd"),
        ];
        assert_eq!(seen, expected);
        assert_eq!((scheme, length), (Scheme::Http, 0));
    }

    #[test]
    fn scheme_and_length_come_from_the_front_end() {
        for (pairs, https) in [
            (&[("HTTPS", "on")][..], true),
            (&[("HTTPS", "off")], false),
            (&[("HTTPS", "")], false),
            (&[("UWSGI_SCHEME", "https")], true),
            (&[("HTTP_X_FORWARDED_PROTO", "https")], false),
            (&[("HTTPS", "on"), ("HTTP_X_FORWARDED_PROTO", "http")], true),
        ] {
            let all = [&[("REQUEST_METHOD", "GET")], pairs].concat();
            assert_eq!(read(&all).unwrap().1 == Scheme::Https, https, "{pairs:?}");
        }
        for (text, length) in
            [("5", Some(5)), ("+5", None), ("5 ", None), ("9223372036854775808", None), ("0x1", None)]
        {
            let seen = read(&[("REQUEST_METHOD", "GET"), ("CONTENT_LENGTH", text)]);
            assert_eq!(seen.ok().map(|(_, _, length)| length), length, "{text}");
        }
        assert!(read(&[("PATH_INFO", "/")]).is_err());
    }
}
