//! Which fields pass from a client to a worker, and back.

use std::fmt;
use std::net::SocketAddr;

use http::Version;
use http::header::{
    self, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request;

use crate::gateway::peer::{Connection, OWN_PREFIX};
use crate::wire::packed::Packed;

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
    /// Those that tell it of the client's certificate.
    pub(super) certificate: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Some(remote) => remote.fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
}

/// The head that a worker gets. `length` is that of the body, which is complete; `None` when there is none, and then a
/// length of zero that the client announced stays. The worker hears of the client's wish for another protocol where it
/// `may_switch`.
pub(super) fn to_worker(
    head: &request::Parts,
    length: Option<u64>,
    may_switch: bool,
    facts: &Facts,
) -> Vec<u8> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut packed = Packed::request(head.method.as_str(), target);
    // RFC 9112 3.2.2: the authority of the target wins over Host.
    let authority = head.uri.authority();
    if let Some(authority) = authority {
        packed.field(HOST.as_str(), authority.as_str().as_bytes());
    }
    let named = named_by_connection(&head.headers);
    for (name, value) in &head.headers {
        let is_replaced =
            (name == HOST && authority.is_some()) || (name == CONTENT_LENGTH && length.is_some());
        if !is_replaced && !is_hop_by_hop(name) && !is_for_us(name) && !named.contains(name) {
            packed.field(name.as_str(), value.as_bytes());
        }
    }
    if may_switch {
        packed.field(UPGRADE.as_str(), b"websocket");
        packed.field(CONNECTION.as_str(), b"Upgrade");
    }
    if let Some(length) = length {
        packed.field(CONTENT_LENGTH.as_str(), length.to_string().as_bytes());
    }
    let (name, value) = &facts.peer;
    if head.version == Version::HTTP_10 {
        packed.field(name.as_str(), Connection::to_old(value).as_bytes());
    } else {
        packed.field(name.as_str(), value.as_bytes());
    }
    for (name, value) in &facts.certificate {
        packed.field(name.as_str(), value.as_bytes());
    }
    packed.into_bytes()
}

/// Whether a field of a worker's response concerns only its connection.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE, &TE, &TRAILER].contains(&name)
        || name == KEEP_ALIVE
        || name == PROXY_CONNECTION
}

fn is_for_us(name: &HeaderName) -> bool {
    name == EXPECT || name == HTTP2_SETTINGS || is_own_name(name.as_str())
}

/// Our own names, also where `_` stands for `-`: both become the same variable of an environ.
fn is_own_name(name: &str) -> bool {
    let prefix = name.as_bytes().iter().map(|&byte| if byte == b'_' { b'-' } else { byte });
    prefix.take(OWN_PREFIX.len()).eq(OWN_PREFIX.bytes())
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|v| v.as_bytes().split(|&byte| byte == b','));
    options
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        // These say what the message is and where its end is; no option takes them off.
        .filter(|name| name != CONTENT_LENGTH && name != HOST && name != header::COOKIE)
        .collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::wire::packed;

    fn facts() -> Facts {
        let remote = "192.0.2.7:4711".parse().unwrap();
        Facts {
            remote: None,
            peer: Connection::new(Some(remote), Some(9090)).to_field(),
            certificate: Vec::new(),
        }
    }

    /// What a worker gets, as sorted lines.
    fn sent(target: &str, fields: &[(&str, &str)], length: Option<u64>) -> (String, Vec<String>) {
        let mut request = Request::builder().method("POST").uri(target).version(Version::HTTP_10);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let head = packed::to_request(to_worker(&head, length, false, &facts())).unwrap();
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
        for (name, expected) in
            [("connection", true), ("transfer-encoding", true), ("keep-alive", true), ("set-cookie", false)]
        {
            assert_eq!(is_hop_by_hop(&HeaderName::from_static(name)), expected, "{name}");
        }
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }
}
