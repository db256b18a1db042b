//! The entries of an environ that come from a request, in the CGI names of PEP 3333.
//!
//! Values are bytes, to be decoded as Latin-1. What is the same for every request (`wsgi.version`, `wsgi.errors`, …)
//! is not made here. Entries are handed to a closure one by one, so that nothing is collected on the way.

use std::borrow::Cow;

use http::Version;
use http::header::COOKIE;
use http::request::Parts;

use super::peer::{Peer, Scheme};
use super::variable::{self, Variable};
use crate::proto::http1::head::read_length;
use crate::proto::refusal::Refusal;
use crate::proto::uwsgi::Variables;

/// Gives `set` the entries for a request that hyper read through a guard.
///
/// # Errors
/// That of `set`, at once.
pub fn of_http<E>(
    request: &Parts,
    peer: &Peer<'_>,
    mut set: impl FnMut(Variable<'_>, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let uri = &request.uri;
    let raw = uri.path_and_query().map_or("", |target| target.as_str());
    set(variable::REQUEST_METHOD, request.method.as_str().as_bytes())?;
    set(variable::SCRIPT_NAME, b"")?;
    set(variable::PATH_INFO, &path_info(uri.path()))?;
    set(variable::QUERY_STRING, uri.query().unwrap_or_default().as_bytes())?;
    set(variable::REQUEST_URI, raw.as_bytes())?;
    set(
        variable::SERVER_PROTOCOL,
        if peer.is_old || request.version == Version::HTTP_10 { b"HTTP/1.0" } else { b"HTTP/1.1" },
    )?;
    set(variable::SERVER_NAME, peer.server_name.as_bytes())?;
    set(variable::SERVER_PORT, peer.server_port.as_bytes())?;
    set(variable::REMOTE_ADDR, peer.remote_addr.as_bytes())?;
    if !peer.remote_port.is_empty() {
        set(variable::REMOTE_PORT, peer.remote_port.as_bytes())?;
    }
    if peer.scheme == Scheme::Https {
        set(variable::HTTPS, b"on")?;
    }
    if !peer.client_name.is_empty() {
        set(Variable::Other("HTTPS_DN"), peer.client_name.as_bytes())?;
    }
    if let Some(pem) = peer.client_pem() {
        set(Variable::Other("HTTPS_CC"), pem.as_bytes())?;
    }
    let mut scratch = String::new();
    // The values of one name follow each other.
    let mut fields = request.headers.iter().peekable();
    while let Some((name, first)) = fields.next() {
        let mut value = Cow::Borrowed(first.as_bytes());
        while let Some((_, more)) = fields.next_if(|(next, _)| *next == name) {
            let separator: &[u8] = if name == COOKIE { b"; " } else { b"," };
            value.to_mut().extend_from_slice(separator);
            value.to_mut().extend_from_slice(more.as_bytes());
        }
        if let Some(variable) = Variable::of_field(name.as_str(), &mut scratch) {
            set(variable, &value)?;
        }
    }
    Ok(())
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
    variables: Variables<'a>,
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
    /// Looks at a packet's variables. `trust_forwarded`: whether `HTTP_X_FORWARDED_PROTO`, which a client can send,
    /// decides the scheme.
    ///
    /// # Errors
    /// No method, or a `CONTENT_LENGTH` that is not a number.
    pub fn new(variables: Variables<'a>, trust_forwarded: bool) -> Result<Self, Refusal> {
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
        let (mut https, mut scheme, mut forwarded) = (None, None, None);
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
                b"HTTP_X_FORWARDED_PROTO" if trust_forwarded => forwarded = Some(value == b"https"),
                _ => {}
            }
        }
        if request.method.is_empty() {
            return Err(Refusal::bad("uwsgi request without REQUEST_METHOD"));
        }
        if forwarded.or(scheme).or(https).unwrap_or(false) {
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

/// `PATH_INFO` of a path: resolves dot segments as they were sent, then percent-decodes once; malformed escapes stay as they are.
#[must_use]
pub fn path_info(path: &str) -> Cow<'_, [u8]> {
    let path = if path.contains("/.") { Cow::Owned(resolve_dots(path)) } else { Cow::Borrowed(path) };
    if !path.contains('%') {
        return match path {
            Cow::Borrowed(path) => Cow::Borrowed(path.as_bytes()),
            Cow::Owned(path) => Cow::Owned(path.into_bytes()),
        };
    }
    Cow::Owned(decoded(path.as_bytes()))
}

/// Percent-decodes once; malformed escapes stay as they are.
#[must_use]
pub fn decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    decoded
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0)
}

/// RFC 3986, section 5.2.4, for a path that starts with a slash.
fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut resolved: String = kept.iter().flat_map(|segment| ["/", segment]).collect();
    if open || resolved.is_empty() {
        resolved.push('/');
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::gateway::peer::Connection;

    fn http(request: http::request::Builder) -> BTreeMap<String, Vec<u8>> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let connection = Connection::new(Some("192.0.2.1:5000".parse().unwrap()), Some(8080));
        let mut entries = BTreeMap::new();
        let Ok(()) = of_http(&parts, &connection.peer("node"), |name, value| {
            assert!(entries.insert(name.name().to_owned(), value.to_vec()).is_none(), "{name:?} twice");
            Ok::<_, Infallible>(())
        });
        entries
    }

    #[test]
    fn a_request_becomes_cgi_variables() {
        let entries = http(
            http::Request::get("http://ignored.example/a%20b%2fc?x=%20&y")
                .header("host", "example.org")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("x-list", "1")
                .header("x-list", "2")
                .header("x_list", "evil")
                .header("proxy", "evil")
                .header("x-liege-peer", "https 1 evil 2")
                .header("content-type", "text/x")
                .header("content-length", "5"),
        );
        let expected = [
            ("CONTENT_LENGTH", "5"),
            ("CONTENT_TYPE", "text/x"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_HOST", "example.org"),
            ("HTTP_X_LIST", "1,2"),
            ("PATH_INFO", "/a b/c"),
            ("QUERY_STRING", "x=%20&y"),
            ("REMOTE_ADDR", "192.0.2.1"),
            ("REMOTE_PORT", "5000"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a%20b%2fc?x=%20&y"),
            ("SCRIPT_NAME", ""),
            ("SERVER_NAME", "node"),
            ("SERVER_PORT", "8080"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
        ];
        let expected: BTreeMap<String, Vec<u8>> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        assert_eq!(entries, expected);
    }

    #[test]
    fn paths_are_decoded_once() {
        for (path, decoded) in [
            ("/", &b"/"[..]),
            ("/%e2%82%ac", b"\xe2\x82\xac"),
            ("/%ff", b"/\xff"),
            ("/%2525", b"/%25"),
            ("/%", b"/%"),
            ("/%4", b"/%4"),
            ("/%zz%41", b"/%zzA"),
            ("/a%00b", b"/a\0b"),
            ("/a/./b/../c", b"/a/c"),
            ("/a/..", b"/"),
            ("/..//../x", b"/x"),
            ("/a/b/.", b"/a/b/"),
            ("/.well-known/x", b"/.well-known/x"),
            ("/a/%2e%2e/b", b"/a/../b"),
        ] {
            let expected = if path == "/%e2%82%ac" { b"/\xe2\x82\xac" } else { decoded };
            assert_eq!(&*path_info(path), expected, "{path}");
        }
    }

    type Seen = (BTreeMap<String, Vec<u8>>, Scheme, u64);

    fn uwsgi(pairs: &[(&str, &str)], trust: bool) -> Result<Seen, Refusal> {
        let mut block = Vec::new();
        for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
            block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            block.extend(text.bytes());
        }
        let request = UwsgiRequest::new(Variables::new(&block).unwrap(), trust)?;
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
        let (entries, scheme, length) = uwsgi(
            &[
                ("REQUEST_METHOD", "POST"),
                ("CONTENT_LENGTH", ""),
                ("SERVER_PROTOCOL", ""),
                ("wsgi.input", "evil"),
                ("HTTP_PROXY", "evil"),
                ("QUERY_STRING", "a"),
                ("QUERY_STRING", "b"),
                ("UWSGI_FILE", "/etc/passwd"),
            ],
            false,
        )
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
        for (pairs, trust, https) in [
            (&[("HTTPS", "on")][..], false, true),
            (&[("HTTPS", "off")], false, false),
            (&[("HTTPS", "")], false, false),
            (&[("UWSGI_SCHEME", "https")], false, true),
            (&[("HTTP_X_FORWARDED_PROTO", "https")], false, false),
            (&[("HTTP_X_FORWARDED_PROTO", "https")], true, true),
            (&[("HTTPS", "on"), ("HTTP_X_FORWARDED_PROTO", "http")], false, true),
        ] {
            let all = [&[("REQUEST_METHOD", "GET")], pairs].concat();
            assert_eq!(uwsgi(&all, trust).unwrap().1 == Scheme::Https, https, "{pairs:?}");
        }
        for (text, length) in
            [("5", Some(5)), ("+5", None), ("5 ", None), ("9223372036854775808", None), ("0x1", None)]
        {
            let seen = uwsgi(&[("REQUEST_METHOD", "GET"), ("CONTENT_LENGTH", text)], false);
            assert_eq!(seen.ok().map(|(_, _, length)| length), length, "{text}");
        }
        assert!(uwsgi(&[("PATH_INFO", "/")], false).is_err());
    }
}
