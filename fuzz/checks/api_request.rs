//! A request at the API's TCP door: whatever its headers are, it changes nothing without the right token, for another
//! site's page, or under a name that somebody's DNS may have pointed here.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use liege::api::guard::{Grant, Peer, TokenCheck, check_content_type, judge};
use liege::api::roles::Roles;
use liege::api::token;

const NAME: &str = "api.example";

/// The lines before the first empty one are the headers, the lines after it the token file.
pub(crate) fn check(input: &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, file) = input.split_at(end);
    let headers = headers(head);
    let tokens = token::parse(file).unwrap_or_default();
    let found = token::compare(&tokens, &headers);
    let is_right = matches!(found, TokenCheck::Right(_));
    assert!(!is_right || carries(&headers, file), "{headers:?}");
    let peer = Peer::Remote {
        address: ([192, 0, 2, 7], 4711).into(),
        local: ([127, 0, 0, 1], 9000).into(),
        certificate: None,
    };
    for method in [Method::GET, Method::POST] {
        let hosts = [NAME.to_owned()];
        let judged = judge(&peer, &method, &headers, found.clone(), &hosts, &Roles::default());
        let Ok(access) = judged else { continue };
        let host = only(&headers, "host").unwrap_or_default().to_ascii_lowercase();
        assert!(
            ["localhost", NAME].iter().any(|name| host.starts_with(name)) || is_loopback(&host),
            "{host}"
        );
        assert!(access.grant == Grant::Read || is_right);
        if method == Method::POST {
            assert!(is_right);
            assert!(headers.get("origin").is_none_or(|origin| {
                origin.as_bytes().strip_prefix(b"http://") == headers.get("host").map(HeaderValue::as_bytes)
            }));
            if check_content_type(&peer, &headers, true).is_ok() {
                let kind = only(&headers, "content-type").unwrap_or_default().to_ascii_lowercase();
                assert!(kind.trim().starts_with("application/json"), "{kind}");
            }
        }
    }
}

fn headers(head: &[u8]) -> HeaderMap {
    let line = |line: &[u8]| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..)?.trim_ascii();
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in head.split(|&byte| byte == b'\n').filter_map(line).take(100) {
        headers.append(name, value);
    }
    headers
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok())
}

/// Whether a host is a loopback address, with or without a port.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(':');
    let literal = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    [host, bare].into_iter().filter_map(literal).any(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// Whether the first `Authorization` is a bearer token that may be in the file: a word of it, or one whose hash is.
fn carries(headers: &HeaderMap, file: &[u8]) -> bool {
    let Some(given) = headers.get("authorization").map(HeaderValue::as_bytes) else { return false };
    let Some((scheme, given)) = given.split_at_checked(7) else { return false };
    let given = given.trim_ascii();
    let mut lines = file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    scheme.eq_ignore_ascii_case(b"bearer ")
        && !given.is_empty()
        && !given.starts_with(b"#")
        && lines.any(|line| {
            line.split(u8::is_ascii_whitespace).any(|word| word == given || word.starts_with(b"sha256:"))
        })
}
