//! The entries of an environ that come from a request, in the CGI names of PEP 3333.
//!
//! Values are bytes, to be decoded as Latin-1. What is the same for every request (`wsgi.version`, `wsgi.errors`, …)
//! is not made here. Entries are handed to a closure one by one, so that nothing is collected on the way.

use std::borrow::Cow;

use http::Version;
use http::header::{COOKIE, HOST};
use http::request::Parts;

use super::peer::{Peer, Scheme};
use super::variable::{self, Variable};
use crate::config::router::RouterSpec;

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

/// The same for a request that came through the router, with what the router's options say of it; gives its scheme.
///
/// # Errors
/// That of `set`, at once.
pub fn of_routed<E>(
    request: &Parts,
    server_name: &str,
    routed: &RouterSpec,
    mut set: impl FnMut(Variable<'_>, &[u8]) -> Result<(), E>,
) -> Result<Scheme, E> {
    let mut peer = Peer::of_routed(&request.headers, server_name);
    if routed.names_server_by_host {
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        peer.server_name = host.unwrap_or(peer.server_name);
    }
    of_http(request, &peer, &mut set)?;
    for (name, value) in &routed.variables {
        Variable::of_cgi(name.as_bytes()).map_or(Ok(()), |name| set(name, value.as_bytes()))?;
    }
    Ok(peer.scheme)
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
}
