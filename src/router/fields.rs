//! Which fields pass from a client to a worker, and back.

use std::fmt;
use std::net::SocketAddr;

use http::header::{
    self, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request;
use http::uri::{Parts, Uri};
use http::{Method, Version};

use crate::gateway::peer::{Connection, OWN_PREFIX};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What every request of a connection gets.
#[derive(Debug)]
pub(super) struct Facts {
    /// The client, for the log; `None` on a unix socket.
    pub(super) remote: Option<SocketAddr>,
    /// The field that tells the worker who the client is.
    pub(super) peer: (HeaderName, HeaderValue),
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Some(remote) => remote.fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
}

/// Makes a client's head the one that a worker gets. `length` is that of the body, which is complete; `None` when
/// there is none, and then a length of zero that the client announced stays.
pub(super) fn to_worker(head: &mut request::Parts, length: Option<u64>, facts: &Facts) {
    strip_request(&mut head.headers);
    if let Some(length) = length {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(authority) = head.uri.authority() {
        // RFC 9112 3.2.2: the authority of the target wins over Host.
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            head.headers.insert(HOST, host);
        }
        head.uri = without_authority(&mut head.uri);
    }
    let (name, value) = &facts.peer;
    let is_old = head.version == Version::HTTP_10;
    let value = if is_old { Connection::to_old(value) } else { value.clone() };
    head.headers.insert(name.clone(), value);
    head.version = Version::HTTP_11;
    head.extensions.clear();
}

/// Takes what only concerned the worker's connection off its response.
pub(super) fn to_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
}

/// Whether repeating a request does no more than making it once (RFC 9110 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE].contains(method)
}

fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let is_ours = |name: &HeaderName| name == EXPECT || name == HTTP2_SETTINGS || is_own_name(name.as_str());
    remove_where(headers, is_ours);
}

/// Our own names, also where `_` stands for `-`: both become the same variable of an environ.
fn is_own_name(name: &str) -> bool {
    let prefix = name.as_bytes().iter().map(|&byte| if byte == b'_' { b'-' } else { byte });
    prefix.take(OWN_PREFIX.len()).eq(OWN_PREFIX.bytes())
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        // These say what the message is and where its end is; no option takes them off.
        .filter(|name| name != CONTENT_LENGTH && name != HOST && name != header::COOKIE)
        .collect();
    remove_where(headers, |name| is_hop_by_hop(name) || named.contains(name));
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE, &TE, &TRAILER].contains(&name)
        || name == KEEP_ALIVE
        || name == PROXY_CONNECTION
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&unwanted) {
        return;
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn without_authority(uri: &mut Uri) -> Uri {
    let mut parts = Parts::default();
    parts.path_and_query = std::mem::take(uri).into_parts().path_and_query;
    Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn facts() -> Facts {
        let remote = "192.0.2.7:4711".parse().unwrap();
        Facts { remote: None, peer: Connection::new(Some(remote), Some(9090)).to_field() }
    }

    /// What a worker gets, as sorted lines.
    fn sent(target: &str, fields: &[(&str, &str)], length: Option<u64>) -> (String, Vec<String>) {
        let mut request = Request::builder().method("POST").uri(target).version(Version::HTTP_10);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        to_worker(&mut head, length, &facts());
        assert_eq!(head.version, Version::HTTP_11);
        let mut lines: Vec<String> = head
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-liege-peer")
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        let peers: Vec<_> = head.headers.get_all("x-liege-peer").iter().collect();
        assert_eq!(peers, ["http 9090 192.0.2.7 4711 old"]);
        (head.uri.to_string(), lines)
    }

    #[test]
    fn fields_on_their_way_to_a_worker() {
        let host = ("host", "a.example");
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<u64>, &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (&[host, ("accept", "*/*")], None, &["accept: */*", "host: a.example"]),
            (&[host, ("connection", "keep-alive"), ("keep-alive", "5")], None, &["host: a.example"]),
            (&[host, ("connection", "close, X-Secret"), ("x-secret", "1")], None, &["host: a.example"]),
            (
                &[host, ("connection", "content-length, host"), ("content-length", "3")],
                Some(3),
                &["content-length: 3", "host: a.example"],
            ),
            (&[host, ("transfer-encoding", "chunked")], Some(7), &["content-length: 7", "host: a.example"]),
            (&[host, ("content-length", "0")], None, &["content-length: 0", "host: a.example"]),
            (&[host, ("expect", "100-continue"), ("te", "trailers")], None, &["host: a.example"]),
            (
                &[host, ("connection", "upgrade"), ("upgrade", "websocket"), ("http2-settings", "AA")],
                None,
                &["host: a.example"],
            ),
            (
                &[host, ("x-liege-peer", "https 443 10.0.0.1 1"), ("X-Liege-Other", "1")],
                None,
                &["host: a.example"],
            ),
            (&[host, ("x_liege_peer", "https"), ("x-liege_peer", "https")], None, &["host: a.example"]),
            (&[], None, &[]),
        ];
        for (fields, length, expected) in rows {
            assert_eq!(sent("/a?b", fields, *length), ("/a?b".to_owned(), lines(expected)), "{fields:?}");
        }
    }

    #[test]
    fn targets_on_their_way_to_a_worker() {
        for (target, uri, host) in [
            ("/a%20b?c=d", "/a%20b?c=d", "h"),
            ("*", "*", "h"),
            ("http://x.example:80/p?q", "/p?q", "x.example:80"),
            ("http://x.example", "/", "x.example"),
        ] {
            assert_eq!(
                sent(target, &[("host", "h")], None),
                (uri.to_owned(), lines(&[&format!("host: {host}")]))
            );
        }
    }

    #[test]
    fn fields_on_their_way_to_a_client() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        to_client(&mut headers);
        let left: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert_eq!(left, ["content-type: text/plain", "set-cookie: a=1", "set-cookie: b=2"]);
    }

    #[test]
    fn only_what_may_be_repeated_is_idempotent() {
        for (method, expected) in [
            ("GET", true),
            ("HEAD", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
        ] {
            assert_eq!(is_idempotent(&method.parse().unwrap()), expected, "{method}");
        }
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }
}
