//! `http-to-https`: the same address, but with TLS.

use http::header::{HOST, HeaderValue, LOCATION};
use http::request;
use hyper::Response;

use super::page::{close, page};
use super::pipe::ResponseBody;

/// Where a request's address is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// `None`: 443, which is not written.
    pub(super) port: Option<u16>,
}

impl Redirect {
    /// The answer to a request.
    pub(super) fn answer(self, request: &request::Parts) -> Response<ResponseBody> {
        let Some(location) = self.location(request).and_then(|text| HeaderValue::try_from(text).ok()) else {
            // A client of HTTP/1.0 that does not say which of the names of this server it wants.
            return page(400);
        };
        let mut response = page(301);
        response.headers_mut().insert(LOCATION, location);
        // What it sends besides goes there, too.
        close(response.headers_mut());
        response
    }

    fn location(self, request: &request::Parts) -> Option<String> {
        let authority = match request.uri.authority() {
            Some(authority) => authority.as_str(),
            None => request.headers.get(HOST)?.to_str().ok()?,
        };
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        (!host.is_empty()).then(|| format!("https://{host}{port}{target}"))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_same_address_with_tls() {
        for (target, host, port, expected) in [
            ("/a?b=c", Some("x.example"), None, Some("https://x.example/a?b=c")),
            ("/", Some("x.example:8080"), None, Some("https://x.example/")),
            ("/", Some("x.example:8080"), Some(8443), Some("https://x.example:8443/")),
            ("/a", Some("[::1]:80"), None, Some("https://[::1]/a")),
            ("/a", Some("[::1]"), Some(444), Some("https://[::1]:444/a")),
            ("http://y.example:81/p", Some("x.example"), None, Some("https://y.example/p")),
            ("/", Some(""), None, None),
            ("/", Some(":80"), None, None),
            ("/", None, None, None),
        ] {
            let mut request = Request::builder().uri(target);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            let answer = Redirect { port }.answer(&parts);
            let location = answer.headers().get("location").map(|value| value.to_str().unwrap());
            assert_eq!(location, expected, "{target} {host:?}");
            assert_eq!(answer.status(), if expected.is_some() { 301 } else { 400 });
        }
    }
}
