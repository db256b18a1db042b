//! `GET /`: the live page. One document that needs nothing else: style and script are in it, and nothing in it holds
//! what is secret, so that it is for everybody who may come to the door; what it shows it asks of `/v1`.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use sha2::{Digest, Sha256};

/// Where it is.
pub const PATH: &str = "/";

const DOCUMENT: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// One module: the parts see each other.
const SCRIPT: &str = concat!(
    include_str!("element.js"),
    include_str!("format.js"),
    include_str!("api.js"),
    include_str!("model.js"),
    include_str!("dialogs.js"),
    include_str!("actions.js"),
    include_str!("host.js"),
    include_str!("table.js"),
    include_str!("vassal.js"),
    include_str!("parts.js"),
    include_str!("log.js"),
    include_str!("main.js"),
);

/// The page, put together once.
static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    document: Bytes,
    policy: HeaderValue,
}

impl Page {
    fn new() -> Self {
        let style = DOCUMENT.replacen("/* style */", STYLE, 1);
        let document = style.replacen("/* script */", SCRIPT, 1);
        // Nothing but this very script and style, and no address but this one; texts never become markup.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { document: document.into(), policy }
    }
}

/// A source of the Content Security Policy (level 3, 2.3.1).
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// Whether a request asks for the page, and nothing else.
#[must_use]
pub fn is_asked_for(method: &Method, path: &str) -> bool {
    path == PATH && matches!(*method, Method::GET | Method::HEAD)
}

/// The page.
pub async fn get() -> Response {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    let mut response = (HEADERS, PAGE.document.clone()).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_policy_lets_in_is_in_the_document_as_it_is() {
        let page = Page::new();
        let document = std::str::from_utf8(&page.document).unwrap();
        let policy = page.policy.to_str().unwrap();
        for (start, end, text) in
            [("<style>", "</style>", STYLE), ("<script type=\"module\">", "</script>", SCRIPT)]
        {
            let (_, rest) = document.split_once(start).unwrap();
            let (found, rest) = rest.split_once(end).unwrap();
            assert!(found == text, "{start}: it ends early");
            assert!(policy.contains(&format!("'{}'", hash(found))), "{start}: {policy}");
            assert!(!rest.contains(start), "{start}: there is a second one");
        }
    }

    #[test]
    fn nothing_in_it_comes_from_elsewhere_or_makes_markup_of_text() {
        let page = String::from_utf8(Page::new().document.to_vec()).unwrap();
        let outside = ["http://www.w3.org/2000/svg"];
        for address in
            page.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"))
        {
            let address = format!("http{}", address.split(['"', '\'', ' ', '`', '>']).next().unwrap());
            assert!(outside.contains(&address.as_str()), "{address}");
        }
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
            "style=\"",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
