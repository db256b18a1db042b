//! Who may do what: decided from the facts of a request, before any route sees it.

use std::net::{IpAddr, SocketAddr};

use glob::Pattern;
use http::{HeaderMap, Method, StatusCode, header};

use super::problem::Problem;
use super::roles::Roles;
use super::show;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A local process on the unix socket, whose permissions let it in.
    Local {
        /// Its user, from the kernel.
        uid: u32,
        /// Its groups.
        groups: Vec<u32>,
        /// Its pid, if the kernel tells.
        pid: Option<i32>,
    },
    /// A client on a TCP address.
    Remote {
        /// Its address.
        address: SocketAddr,
        /// The address of ours that it connected to.
        local: SocketAddr,
        /// The name in its certificate, which somebody signed whom the operator trusts.
        certificate: Option<String>,
    },
}

impl Peer {
    /// Who it is, whatever the connection.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Local { uid, .. } => format!("uid {uid}"),
            Self::Remote { certificate: Some(name), .. } => format!("certificate {name}"),
            Self::Remote { address, .. } => format!("address {}", address.ip()),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid, pid: Some(pid), .. } => write!(f, "API uid {uid} pid {pid}"),
            Self::Local { uid, pid: None, .. } => write!(f, "API uid {uid}"),
            Self::Remote { address, certificate: Some(name), .. } => write!(f, "API {address} as {name}"),
            Self::Remote { address, .. } => write!(f, "API {address}"),
        }
    }
}

/// What a request may do.
pub use crate::config::role::Role as Grant;

/// What a request may do, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What.
    pub grant: Grant,
    /// Act only on vassals whose name matches one of these, and see what only operators may see of them alone; empty: of
    /// all, and on the fleet.
    pub scope: Vec<Pattern>,
    /// The token that it comes from, as the first digits of its hash.
    pub token: Option<String>,
}

/// Of one who may see states and counters of all vassals, and nothing else.
pub static READER: Access = Access { grant: Grant::Read, scope: Vec::new(), token: None };

impl From<Grant> for Access {
    fn from(grant: Grant) -> Self {
        Self { grant, scope: Vec::new(), token: None }
    }
}

impl Access {
    /// Whether what needs this grant is for one who has this, of a vassal.
    #[must_use]
    pub fn covers(&self, needed: Grant, vassal: &str) -> bool {
        self.grant >= needed && (self.scope.is_empty() || self.is_in_scope(vassal))
    }

    fn is_in_scope(&self, vassal: &str) -> bool {
        self.scope.iter().any(|pattern| pattern.matches(vassal))
    }

    /// Whether something that needs this grant may be done to a vassal, or, without one, to the fleet or the emperor.
    ///
    /// # Errors
    /// It may not.
    pub fn allows(&self, needed: Grant, vassal: Option<&str>) -> Result<(), Box<Problem>> {
        let forbidden = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail));
        if self.grant < needed {
            let (needed, grant) = (show::word(needed), show::word(self.grant));
            return forbidden(format!("this needs the role {needed}; this is {grant}"));
        }
        if !self.scope.is_empty() && !vassal.is_some_and(|vassal| self.is_in_scope(vassal)) {
            return forbidden("this token is for other vassals only".to_owned());
        }
        Ok(())
    }
}

/// How the token of a request compares with the configured ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// No token is configured.
    NotConfigured,
    /// The token file cannot be used at the moment.
    Unusable,
    /// The request carries none.
    Missing,
    /// It is another one.
    Wrong,
    /// It is one of them, which is good for this.
    Right(Access),
}

/// Decides what a request may do.
///
/// # Errors
/// The answer, when it may do nothing.
pub fn judge(
    peer: &Peer,
    method: &Method,
    headers: &HeaderMap,
    token: TokenCheck,
    hosts: &[String],
    roles: &Roles,
) -> Result<Access, Box<Problem>> {
    let host = host_of(headers)?;
    check_host(peer, host, hosts)?;
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes {
        check_origin(headers, host)?;
    }
    match peer {
        Peer::Local { uid, groups, .. } => Ok(roles.of(*uid, groups).into()),
        Peer::Remote { certificate: Some(name), .. }
            if !matches!(token, TokenCheck::Right(_) | TokenCheck::Wrong) =>
        {
            Ok(roles.of_certificate(name).into())
        }
        Peer::Remote { local, .. } => remote_access(!changes && is_loopback(local.ip()), token),
    }
}

/// Whether nobody but this host reaches an address.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Where there are tokens, each request has one: any user of the host can come to loopback, a tenant, too.
fn remote_access(is_local_read: bool, token: TokenCheck) -> Result<Access, Box<Problem>> {
    let unauthorized = |detail| Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
    match token {
        TokenCheck::Right(access) => Ok(access),
        TokenCheck::Wrong => unauthorized("the token is wrong"),
        TokenCheck::NotConfigured if is_local_read => Ok(Grant::Read.into()),
        TokenCheck::Missing => unauthorized("this needs `Authorization: Bearer TOKEN`"),
        TokenCheck::NotConfigured => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "read-only",
            "over TCP nothing can be changed, for no token is configured",
        )
        .suggesting("use the unix socket, or start the emperor with --api-token-file FILE")),
        TokenCheck::Unusable => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "token-file",
            "the token file cannot be used; the emperor's log says why",
        )),
    }
}

/// The `Host` of a request; more than one, or one that is not text, is no host at all.
fn host_of(headers: &HeaderMap) -> Result<Option<&str>, Box<Problem>> {
    let mut all = headers.get_all(header::HOST).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => host
            .to_str()
            .map(Some)
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad-host", "the Host header is not text")),
        (Some(_), Some(_)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-host", "there is more than one Host header"))
        }
    }
}

/// A name that an attacker's DNS could point here (rebinding) is refused. At the unix socket, which has no name, that
/// is any name of a domain: a browser may come through a port that SSH forwards to it.
fn check_host(peer: &Peer, host: Option<&str>, hosts: &[String]) -> Result<(), Box<Problem>> {
    let Some(host) = host else {
        let missing = Problem::new(StatusCode::BAD_REQUEST, "bad-host", "there is no Host header");
        return if matches!(peer, Peer::Local { .. }) { Ok(()) } else { Err(missing) };
    };
    let name = without_port(host);
    let usual = match (peer, literal(name)) {
        (Peer::Local { .. }, ip) => ip.is_some() || !is_domain(name),
        (Peer::Remote { local, .. }, ip) => {
            ip.is_some_and(|ip| is_loopback(ip) || ip == local.ip().to_canonical())
        }
    };
    let allowed = usual
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host));
    if allowed {
        return Ok(());
    }
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "the API has no such name")
        .suggesting("use a loopback address, or start the emperor with --api-host NAME"))
}

/// Whether DNS could know it. Clients of unix sockets also send words, and encoded paths.
fn is_domain(name: &str) -> bool {
    name.contains('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn literal(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// A page of another origin must not act through its visitor's browser.
fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), Box<Problem>> {
    let foreign_site =
        headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let foreign_origin = headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().ok();
        // A proxy in front may speak TLS.
        let authority = origin.and_then(|o| o.strip_prefix("http://").or_else(|| o.strip_prefix("https://")));
        authority.is_none() || authority != host
    });
    if foreign_site || foreign_origin {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "requests of other origins change nothing",
        ));
    }
    Ok(())
}

/// A form or a script of another origin cannot send JSON unasked. On the unix socket, which no browser reaches, a
/// request without a body needs no type.
///
/// # Errors
/// It has another type, or none.
pub fn check_content_type(peer: &Peer, headers: &HeaderMap, body: bool) -> Result<(), Box<Problem>> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let json = match (all.next(), all.next()) {
        (None, _) => !body && matches!(peer, Peer::Local { .. }),
        (Some(one), None) => one.to_str().is_ok_and(is_json),
        (Some(_), Some(_)) => false,
    };
    if json {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not-json",
        "this needs `Content-Type: application/json`",
    ))
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    const LOCAL: Peer = Peer::Local { uid: 1000, groups: Vec::new(), pid: Some(7) };

    fn right() -> TokenCheck {
        TokenCheck::Right(Grant::Operate.into())
    }

    fn judge(
        peer: &Peer,
        method: &Method,
        headers: &HeaderMap,
        token: TokenCheck,
        hosts: &[String],
    ) -> Result<Access, Box<Problem>> {
        super::judge(peer, method, headers, token, hosts, &Roles::default())
    }

    fn remote(local: &str) -> Peer {
        Peer::Remote {
            address: "192.0.2.7:4711".parse().unwrap(),
            local: local.parse().unwrap(),
            certificate: None,
        }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn status(result: &Result<Access, Box<Problem>>) -> Result<Grant, u16> {
        result.as_ref().map(|access| access.grant).map_err(|p| p.status)
    }

    #[test]
    fn names_that_dns_could_rebind_are_refused_on_tcp() {
        let hosts = ["api.example".to_owned(), "box:8080".to_owned()];
        for (local, host, allowed) in [
            ("127.0.0.1:80", "127.0.0.1:8080", true),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("127.0.0.1:80", "127.1.2.3:1", true),
            ("127.0.0.1:80", "localhost:8080", true),
            ("127.0.0.1:80", "LocalHost", true),
            ("127.0.0.1:80", "[::1]:8080", true),
            ("127.0.0.1:80", "[::1]", true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]", true),
            ("127.0.0.1:80", "api.example:99", true),
            ("127.0.0.1:80", "API.example", true),
            ("127.0.0.1:80", "box:8080", true),
            ("127.0.0.1:80", "box:8081", false),
            ("127.0.0.1:80", "evil.example", false),
            ("127.0.0.1:80", "localhost.evil.example", false),
            ("127.0.0.1:80", "127.0.0.1.evil.example", false),
            ("127.0.0.1:80", "localhost:80@evil", false),
            ("127.0.0.1:80", "10.0.0.5", false),
            ("127.0.0.1:80", "", false),
            ("10.0.0.5:80", "10.0.0.5:80", true),
            ("10.0.0.5:80", "10.0.0.6:80", false),
        ] {
            let request = headers(&[("host", host)]);
            let grant = judge(&remote(local), &Method::GET, &request, right(), &hosts);
            assert_eq!(grant.is_ok(), allowed, "{local} asked as {host:?}: {grant:?}");
        }
        let without = headers(&[]);
        let judged = judge(&remote("127.0.0.1:80"), &Method::GET, &without, right(), &[]);
        assert_eq!(status(&judged), Err(400));
        let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
        let judged = judge(&LOCAL, &Method::GET, &twice, right(), &[]);
        assert_eq!(status(&judged), Err(400));
    }

    #[test]
    fn a_browser_behind_a_forwarded_port_is_not_led_to_the_unix_socket_by_dns() {
        let hosts = ["box.example".to_owned()];
        for (host, allowed) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("192.0.2.9:8080", true),
            ("[::1]:8080", true),
            ("x", true),
            ("", true),
            ("%2Frun%2Fliege%2Fapi.sock", true),
            ("Box.example:8080", true),
            ("evil.example", false),
            ("evil.example.:8080", false),
            ("127.0.0.1.evil.example:8080", false),
        ] {
            let request = headers(&[("host", host)]);
            let judged = judge(&LOCAL, &Method::GET, &request, TokenCheck::NotConfigured, &hosts);
            assert_eq!(status(&judged), if allowed { Ok(Grant::Admin) } else { Err(421) }, "{host:?}");
        }
        assert!(judge(&LOCAL, &Method::GET, &headers(&[]), TokenCheck::NotConfigured, &[]).is_ok());
    }

    #[test]
    fn a_foreign_origin_changes_nothing() {
        for (lines, allowed) in [
            (&[][..], true),
            (&[("origin", "http://localhost:9")][..], true),
            (&[("origin", "http://localhost:10")], false),
            (&[("origin", "https://localhost:9")], true),
            (&[("origin", "https://localhost")], false),
            (&[("origin", "ws://localhost:9")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://localhost:9"), ("origin", "http://evil.example")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:9")], true),
            (&[("sec-fetch-site", "none")], true),
        ] {
            for (peer, grant) in [(LOCAL, Grant::Admin), (remote("127.0.0.1:9"), Grant::Operate)] {
                let mut request = headers(lines);
                request.insert("host", HeaderValue::from_static("localhost:9"));
                request.insert("content-type", HeaderValue::from_static("application/json"));
                let judged = judge(&peer, &Method::POST, &request, right(), &[]);
                assert_eq!(status(&judged), if allowed { Ok(grant) } else { Err(403) }, "{lines:?}");
                assert!(judge(&peer, &Method::GET, &request, right(), &[]).is_ok());
            }
        }
    }

    #[test]
    fn a_change_is_json() {
        let tcp = remote("127.0.0.1:9");
        for (kind, body, local, over_tcp) in [
            (None, false, true, false),
            (None, true, false, false),
            (Some("application/json"), false, true, true),
            (Some("application/json; charset=utf-8"), true, true, true),
            (Some("Application/JSON"), true, true, true),
            (Some("text/plain"), false, false, false),
            (Some("text/plain; application/json"), true, false, false),
            (Some("application/x-www-form-urlencoded"), true, false, false),
            (Some(""), true, false, false),
        ] {
            let mut request = headers(&[("host", "localhost")]);
            if let Some(kind) = kind {
                request.insert("content-type", HeaderValue::from_static(kind));
            }
            for (peer, allowed) in [(&LOCAL, local), (&tcp, over_tcp)] {
                let judged = check_content_type(peer, &request, body).map_err(|problem| problem.status);
                let expected = if allowed { Ok(()) } else { Err(415) };
                assert_eq!(judged, expected, "{peer} {kind:?} body: {body}");
            }
        }
    }

    #[test]
    fn tcp_acts_with_the_token_only() {
        use TokenCheck::{Missing, NotConfigured, Unusable, Wrong};
        for (token, read, act, far_read) in [
            (NotConfigured, Ok(Grant::Read), Err(403), Err(403)),
            (Unusable, Err(403), Err(403), Err(403)),
            (Missing, Err(401), Err(401), Err(401)),
            (Wrong, Err(401), Err(401), Err(401)),
            (right(), Ok(Grant::Operate), Ok(Grant::Operate), Ok(Grant::Operate)),
        ] {
            let request = headers(&[("host", "localhost"), ("content-type", "application/json")]);
            let ask =
                |local: &str, method| status(&judge(&remote(local), &method, &request, token.clone(), &[]));
            assert_eq!(ask("127.0.0.1:9", Method::GET), read, "{token:?}");
            assert_eq!(ask("[::1]:9", Method::POST), act, "{token:?}");
            assert_eq!(ask("127.0.0.1:9", Method::DELETE), act, "{token:?}");
            assert_eq!(ask("10.0.0.5:9", Method::GET), far_read, "{token:?}");
            let local = judge(&LOCAL, &Method::POST, &request, token, &[]);
            assert_eq!(status(&local), Ok(Grant::Admin));
        }
    }

    #[test]
    fn a_scope_is_for_vassals_that_match() {
        let scope = vec![Pattern::new("blog.ini").unwrap(), Pattern::new("shop-*").unwrap()];
        let scoped = Access { grant: Grant::Operate, scope, token: None };
        let all = Access::from(Grant::Operate);
        for (access, needed, vassal, allowed) in [
            (&all, Grant::Operate, Some("a.ini"), true),
            (&all, Grant::Operate, None, true),
            (&all, Grant::Admin, None, false),
            (&scoped, Grant::Operate, Some("blog.ini"), true),
            (&scoped, Grant::Operate, Some("shop-1.ini"), true),
            (&scoped, Grant::Operate, Some("other.ini"), false),
            (&scoped, Grant::Operate, None, false),
            (&scoped, Grant::Admin, Some("blog.ini"), false),
        ] {
            assert_eq!(access.allows(needed, vassal).is_ok(), allowed, "{needed:?} {vassal:?}");
        }
    }
}
