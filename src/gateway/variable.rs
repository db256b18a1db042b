//! The names of environ entries: those that are common have a number, so that a worker keeps them as ready-made strings.

/// The name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable<'a> {
    /// One of [`NAMES`], by its index.
    Known(u16),
    /// Any other: ASCII.
    Other(&'a str),
}

impl<'a> Variable<'a> {
    /// The name itself.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Known(index) => NAMES.get(usize::from(index)).copied().unwrap_or_default(),
            Self::Other(name) => name,
        }
    }

    /// A name as it came in a uwsgi packet; `None` for one that does not belong into an environ: one that only the
    /// server may set (`wsgi.input`), one that could be taken for another, or `HTTP_PROXY`.
    #[must_use]
    pub fn of_cgi(name: &'a [u8]) -> Option<Self> {
        if let [.., one, last] = name
            && let Some(index) = find(slot(name.len(), *one, *last), |known| known.as_bytes() == name)
        {
            return Some(Self::Known(index));
        }
        let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !plain || name == b"HTTP_PROXY" {
            return None;
        }
        std::str::from_utf8(name).ok().map(Self::Other)
    }

    /// The name for an HTTP field, whose name is in lower case; `None` for one that is dropped: with an underscore
    /// (it could stand in for one with a hyphen), `Proxy`, or one of our own `x-liege-` fields. `scratch` holds a name that is not known.
    #[must_use]
    pub fn of_field(field: &str, scratch: &'a mut String) -> Option<Self> {
        match field {
            "content-type" => return Some(CONTENT_TYPE),
            "content-length" => return Some(CONTENT_LENGTH),
            "proxy" => return None,
            _ => {}
        }
        let known = match field.as_bytes() {
            [.., one, last] => {
                let slot = slot(PREFIX.len() + field.len(), as_variable(*one), as_variable(*last));
                find(slot, |name| is_field(name, field))
            }
            _ => None,
        };
        if let Some(index) = known {
            return Some(Self::Known(index));
        }
        if field.contains('_') || field.starts_with(super::peer::OWN_PREFIX) {
            return None;
        }
        scratch.clear();
        scratch.push_str(PREFIX);
        scratch.extend(field.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() }));
        Some(Self::Other(scratch))
    }
}

const PREFIX: &str = "HTTP_";

fn is_field(name: &str, field: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|name| {
        name.len() == field.len()
            && name.bytes().zip(field.bytes()).all(|(n, f)| f != b'_' && n == as_variable(f))
    })
}

const fn as_variable(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }
}

/// The name that is meant, from the slot on where it would stand.
fn find(slot: u8, is_it: impl Fn(&str) -> bool) -> Option<u16> {
    let (before, after) = SLOTS.split_at_checked(usize::from(slot))?;
    let there = after.iter().chain(before).map_while(|place| place.checked_sub(1));
    there.into_iter().find(|&index| NAMES.get(usize::from(index)).is_some_and(|name| is_it(name)))
}

/// Where a name of this length that ends in these bytes stands in [`SLOTS`], or behind it. The factors spread the names.
const fn slot(length: usize, one: u8, last: u8) -> u8 {
    (length * 29 + last as usize * 27 + one as usize * 7) as u8
}

/// The indices into [`NAMES`], each one more than it is; 0: none.
static SLOTS: [u16; 256] = slots();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the indices")]
const fn slots() -> [u16; 256] {
    let mut slots = [0; 256];
    let mut n = 0;
    while n < TABLE.len() {
        let name = TABLE[n].as_bytes();
        let mut at = slot(name.len(), name[name.len() - 2], name[name.len() - 1]);
        while slots[at as usize] != 0 {
            at = at.wrapping_add(1);
        }
        slots[at as usize] = n as u16 + 1;
        n += 1;
    }
    slots
}

macro_rules! positions {
    ($($constant:ident)*) => {
        $(
            #[doc = concat!("`", stringify!($constant), "`.")]
            pub const $constant: Variable<'static> = Variable::Known(position(stringify!($constant)));
        )*
    };
}

positions! {
    REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING REQUEST_URI SERVER_PROTOCOL SERVER_NAME SERVER_PORT
    REMOTE_ADDR REMOTE_PORT CONTENT_TYPE CONTENT_LENGTH HTTPS UWSGI_SCHEME HTTP_X_FORWARDED_PROTO
}

#[expect(clippy::indexing_slicing, clippy::panic, reason = "evaluated by the compiler")]
const fn position(name: &str) -> u16 {
    let mut n = 0;
    while n < TABLE.len() {
        let (a, b) = (TABLE[n].as_bytes(), name.as_bytes());
        let mut same = a.len() == b.len();
        let mut at = 0;
        while same && at < a.len() {
            same = a[at] == b[at];
            at += 1;
        }
        if same {
            return n as u16;
        }
        n += 1;
    }
    panic!("not among the known names")
}

/// The known names.
pub static NAMES: [&str; TABLE.len()] = TABLE;

const TABLE: [&str; 99] = [
    "HTTPS",
    "SCHEME",
    "HTTP_TE",
    "HTTP_DNT",
    "HTTP_VIA",
    "AUTH_TYPE",
    "HTTP_DATE",
    "HTTP_FROM",
    "HTTP_HOST",
    "PATH_INFO",
    "HTTP_RANGE",
    "HTTP_ACCEPT",
    "HTTP_CF_RAY",
    "HTTP_COOKIE",
    "HTTP_EXPECT",
    "HTTP_ORIGIN",
    "HTTP_PRAGMA",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQUEST_URI",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "CONTENT_TYPE",
    "DOCUMENT_URI",
    "HTTP_BAGGAGE",
    "HTTP_PURPOSE",
    "HTTP_REFERER",
    "HTTP_SEC_GPC",
    "HTTP_UPGRADE",
    "QUERY_STRING",
    "UWSGI_SCHEME",
    "DOCUMENT_ROOT",
    "HTTP_CDN_LOOP",
    "HTTP_IF_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_PRIORITY",
    "HTTP_X_SCHEME",
    "CONTENT_LENGTH",
    "HTTP_FORWARDED",
    "HTTP_SEC_CH_UA",
    "HTTP_X_API_KEY",
    "HTTP_X_REAL_IP",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "HTTP_CF_VISITOR",
    "HTTP_CONNECTION",
    "HTTP_KEEP_ALIVE",
    "HTTP_TRACESTATE",
    "HTTP_USER_AGENT",
    "SERVER_PROTOCOL",
    "HTTP_TRACEPARENT",
    "HTTP_X_CLIENT_IP",
    "HTTP_X_CSRFTOKEN",
    "HTTP_CONTENT_TYPE",
    "HTTP_MAX_FORWARDS",
    "HTTP_X_B3_TRACEID",
    "HTTP_X_CSRF_TOKEN",
    "HTTP_X_REQUEST_ID",
    "HTTP_AUTHORIZATION",
    "HTTP_CACHE_CONTROL",
    "HTTP_IF_NONE_MATCH",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_CONTENT_LENGTH",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_USER",
    "HTTP_TRUE_CLIENT_IP",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_IDEMPOTENCY_KEY",
    "HTTP_X_AMZN_TRACE_ID",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_CF_CONNECTING_IP",
    "HTTP_CONTENT_ENCODING",
    "HTTP_CONTENT_LANGUAGE",
    "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_REQUESTED_WITH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_SEC_WEBSOCKET_KEY",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_SEC_CH_UA_PLATFORM",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_SERVER",
    "HTTP_CONTENT_DISPOSITION",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_PROXY_AUTHORIZATION",
    "HTTP_SEC_WEBSOCKET_VERSION",
    "HTTP_X_HTTP_METHOD_OVERRIDE",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD",
    "HTTP_ACCESS_CONTROL_REQUEST_HEADERS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_and_every_other_kept() {
        for name in NAMES {
            assert_eq!(Variable::of_cgi(name.as_bytes()).unwrap().name(), name);
        }
        let mut scratch = String::new();
        for (field, name) in [
            ("host", Some("HTTP_HOST")),
            ("user-agent", Some("HTTP_USER_AGENT")),
            ("content-length", Some("CONTENT_LENGTH")),
            ("content-type", Some("CONTENT_TYPE")),
            ("x-something-of-its-own", Some("HTTP_X_SOMETHING_OF_ITS_OWN")),
            ("h!#$%&'*+.^`|~1", Some("HTTP_H!#$%&'*+.^`|~1")),
            ("proxy", None),
            ("x_forwarded_for", None),
            ("content_length", None),
            ("x-liege-peer", None),
            ("x-liege-anything", None),
        ] {
            assert_eq!(Variable::of_field(field, &mut scratch).map(Variable::name), name, "{field}");
        }
        for (key, kept) in [
            (&b"MyParam"[..], true),
            (b"UWSGI_FILE", true),
            (b"HTTP_PROXY", false),
            (b"wsgi.input", false),
            (b"uwsgi.version", false),
            (b"A B", false),
            (b"\xff", false),
        ] {
            assert_eq!(Variable::of_cgi(key).is_some(), kept, "{key:?}");
        }
    }
}
