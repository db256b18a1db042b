//! What is shown of a request's variables to those who look at statistics: no credentials, and queries only where they
//! were asked for.

use std::borrow::Cow;

/// What stands for a value that is not shown.
pub const HIDDEN: &[u8] = b"***";

/// A name with one of these in it is that of a credential. Rather one too many.
const CREDENTIALS: [&str; 16] = [
    "AUTH",
    "COOKIE",
    "TOKEN",
    "SECRET",
    "PASS",
    "PWD",
    "KEY",
    "SESSION",
    "SIGNATURE",
    "CREDENTIAL",
    "CSRF",
    "XSRF",
    "JWT",
    "OIDC",
    "SAML",
    "CERT",
];
/// Client certificates: long, and under uWSGI's names.
const CERTIFICATES: [&str; 2] = ["HTTPS_CC", "HTTPS_DN"];

/// The value as it is shown.
#[must_use]
pub fn shown<'v>(name: &str, value: &'v [u8], with_queries: bool) -> Cow<'v, [u8]> {
    if value.is_empty() {
        return Cow::Borrowed(value);
    }
    if is_credential(name) {
        return Cow::Borrowed(HIDDEN);
    }
    if with_queries {
        return Cow::Borrowed(value);
    }
    if name == "QUERY_STRING" {
        return Cow::Borrowed(HIDDEN);
    }
    // Of whatever is an address (`REQUEST_URI`, `HTTP_REFERER`, `HTTP_X_ORIGINAL_URL` …) the query.
    let is_address = matches!(value.first(), Some(b'/')) || value.windows(3).any(|part| part == b"://");
    match value.iter().position(|byte| matches!(byte, b'?' | b'#')) {
        Some(query) if is_address => Cow::Owned([value.get(..=query).unwrap_or_default(), HIDDEN].concat()),
        _ => Cow::Borrowed(value),
    }
}

fn is_credential(name: &str) -> bool {
    let has = |word: &&str| {
        name.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    CERTIFICATES.contains(&name) || CREDENTIALS.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown_and_queries_only_where_asked_for() {
        for (name, value, without, with) in [
            ("HTTP_COOKIE", "a=1", "***", "***"),
            ("HTTP_AUTHORIZATION", "Bearer x", "***", "***"),
            ("HTTP_PROXY_AUTHORIZATION", "x", "***", "***"),
            ("HTTP_X_API_KEY", "x", "***", "***"),
            ("http_x_csrf-token", "x", "***", "***"),
            ("HTTP_X_AMZN_OIDC_DATA", "x", "***", "***"),
            ("HTTP_X_FORWARDED_CLIENT_CERT", "x", "***", "***"),
            ("HTTPS_CC", "-----BEGIN", "***", "***"),
            ("HTTP_COOKIE", "", "", ""),
            ("QUERY_STRING", "q=1", "***", "q=1"),
            ("QUERY_STRING", "", "", ""),
            ("REQUEST_URI", "/a?q=1", "/a?***", "/a?q=1"),
            ("REQUEST_URI", "/a", "/a", "/a"),
            ("PATH_INFO", "/a", "/a", "/a"),
            ("HTTP_REFERER", "https://x/y?token=1", "https://x/y?***", "https://x/y?token=1"),
            ("HTTP_USER_AGENT", "what?", "what?", "what?"),
            ("HTTP_KEEP_ALIVE", "300", "300", "300"),
            ("REMOTE_ADDR", "192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ] {
            let seen = |with| String::from_utf8(shown(name, value.as_bytes(), with).into_owned()).unwrap();
            assert_eq!((seen(false).as_str(), seen(true).as_str()), (without, with), "{name}={value}");
        }
    }
}
