//! `http-auto-gzip`: answers that ask for it by `uWSGI-Encoding: gzip` are compressed on their way to clients that take that.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap,
    HeaderName, HeaderValue, VARY,
};
use http::{Method, StatusCode, request};
use hyper::Response;
use hyper::body::{Body, Frame};

use super::pipe::{Broken, ResponseBody};
use crate::gateway::static_files::takes_gzip;

/// By which an answer asks to be compressed; no client sees it.
const WISH: HeaderName = HeaderName::from_static("uwsgi-encoding");
/// How much is compressed before other connections have their turn.
const PIECE_BYTES: usize = 32 * 1024;
/// Less than that waits for more, while there is more.
const LEAST_BYTES: usize = 4096;

/// What a client takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taste {
    takes_gzip: bool,
    is_head: bool,
}

impl Taste {
    /// That of whoever sends this request.
    pub(super) fn of(request: &request::Parts) -> Self {
        let fields = request.headers.get_all(ACCEPT_ENCODING).iter();
        let mut codings = fields.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        Self { takes_gzip: codings.any(takes_gzip), is_head: request.method == Method::HEAD }
    }

    /// Compresses an answer that asks for it.
    pub(super) fn serve(self, response: &mut Response<ResponseBody>) {
        let is_wanted = |value: HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"gzip");
        if !response.headers_mut().remove(WISH).is_some_and(is_wanted) || !is_whole(response) {
            return;
        }
        vary(response.headers_mut());
        let has_body =
            self.is_head || !matches!(response.body(), ResponseBody::Whole(body) if body.is_empty());
        if !self.takes_gzip || !has_body {
            return;
        }
        describe(response.headers_mut());
        if !self.is_head {
            let body = std::mem::replace(response.body_mut(), ResponseBody::Whole(Bytes::new()));
            *response.body_mut() = ResponseBody::Gzipped(Box::new(Gzip::new(body)));
        }
    }
}

/// Whether an answer has a body that is not encoded yet, and not a part of another.
fn is_whole(response: &Response<ResponseBody>) -> bool {
    let status = response.status();
    !status.is_informational()
        && ![StatusCode::NO_CONTENT, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
        && ![CONTENT_ENCODING, CONTENT_RANGE].iter().any(|name| response.headers().contains_key(name))
}

/// Others may get this answer in another form.
fn vary(headers: &mut HeaderMap) {
    let fields = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = fields.flat_map(|value| value.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str())) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Its fields are those of another form of the same.
fn describe(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    // Both are about the bytes before.
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    // RFC 9110 8.8.1: the same for whoever reads it, but not byte for byte.
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    let weak = strong.map(|tag| [b"W/", tag.as_bytes()].concat());
    if let Some(weak) = weak.and_then(|weak| HeaderValue::from_bytes(&weak).ok()) {
        headers.insert(ETAG, weak);
    }
}

/// A body that is compressed as it comes. What has come is on its way before more is waited for.
#[derive(Debug)]
pub(super) struct Gzip {
    body: ResponseBody,
    /// What came, and is not compressed yet.
    rest: Bytes,
    /// `None` after its end.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// It has taken something that it has not given back.
    holds: bool,
    /// What came before the break is on its way.
    is_flushed: bool,
}

impl Gzip {
    fn new(body: ResponseBody) -> Self {
        let encoder = GzEncoder::new(Vec::new(), Compression::default());
        Self { body, rest: Bytes::new(), encoder: Some(encoder), holds: false, is_flushed: false }
    }

    /// What the encoder has made; it never fails, because it writes to memory.
    fn made(&mut self) -> Option<Bytes> {
        let made = self.encoder.as_mut().map(|encoder| std::mem::take(encoder.get_mut())).unwrap_or_default();
        (!made.is_empty()).then(|| made.into())
    }

    fn compress(&mut self) -> Option<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let encoder = self.encoder.as_mut()?;
        let _ = encoder.write_all(&piece);
        self.holds = true;
        if encoder.get_ref().len() < LEAST_BYTES { None } else { self.made() }
    }

    fn flush(&mut self) -> Option<Bytes> {
        self.holds = false;
        let _ = self.encoder.as_mut()?.flush();
        self.made()
    }

    fn finish(&mut self) -> Option<Bytes> {
        self.encoder.take().and_then(|encoder| encoder.finish().ok()).map(Bytes::from)
    }

    /// The next piece, or the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let give = |made: Bytes| Poll::Ready(Some(Ok(Frame::data(made))));
        loop {
            if !self.rest.is_empty() {
                if let Some(made) = self.compress() {
                    return give(made);
                }
                if !self.rest.is_empty() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if self.encoder.is_none() {
                return Poll::Ready(None);
            }
            let next = Pin::new(&mut self.body).poll_frame(cx);
            if self.holds
                && !matches!(next, Poll::Ready(Some(Ok(_)) | None))
                && let Some(made) = self.flush()
            {
                return give(made);
            }
            match ready!(next) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                None => return self.finish().map_or(Poll::Ready(None), give),
                Some(Err(broken)) if self.is_flushed => return Poll::Ready(Some(Err(broken))),
                // As in `pipe`.
                Some(Err(_)) => {
                    self.is_flushed = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether all of it was given.
    pub(super) fn is_end(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;
    use tokio::task::yield_now;

    use super::super::pipe::{Buffers, pipe};
    use super::*;

    fn taste(accepts: &str, method: Method) -> Taste {
        let request = http::Request::builder().method(method).header("accept-encoding", accepts);
        Taste::of(&request.body(()).unwrap().into_parts().0)
    }

    fn answer(fields: &[(&str, &str)], status: u16, body: &[u8]) -> Response<ResponseBody> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(ResponseBody::Whole(Bytes::copy_from_slice(body))).unwrap()
    }

    fn sorted(text: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines
    }

    fn lines(response: &Response<ResponseBody>) -> String {
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        response.headers().iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn who_gets_what() {
        let wish = ("uWSGI-Encoding", "gzip");
        let body = &b"hello"[..];
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a [u8], &'a str);
        let rows: &[Row<'_>] = &[
            ("gzip", &[wish], 200, body, "vary: Accept-Encoding\ncontent-encoding: gzip"),
            (
                "br, gzip;q=0.5",
                &[wish, ("content-length", "5"), ("accept-ranges", "bytes")],
                200,
                body,
                "vary: Accept-Encoding\ncontent-encoding: gzip",
            ),
            (
                "gzip",
                &[wish, ("etag", "\"a\"")],
                404,
                body,
                "etag: W/\"a\"\nvary: Accept-Encoding\ncontent-encoding: gzip",
            ),
            (
                "gzip",
                &[wish, ("etag", "W/\"a\""), ("vary", "x, accept-encoding")],
                200,
                body,
                "etag: W/\"a\"\nvary: x, accept-encoding\ncontent-encoding: gzip",
            ),
            // Not this client, but another.
            (
                "gzip;q=0",
                &[wish, ("content-length", "5")],
                200,
                body,
                "content-length: 5\nvary: Accept-Encoding",
            ),
            ("br", &[wish], 200, body, "vary: Accept-Encoding"),
            ("gzip", &[wish, ("content-length", "0")], 200, b"", "content-length: 0\nvary: Accept-Encoding"),
            // Not this answer.
            ("gzip", &[], 200, body, ""),
            ("gzip", &[("uWSGI-Encoding", "br")], 200, body, ""),
            ("gzip", &[wish, ("content-encoding", "br")], 200, body, "content-encoding: br"),
            ("gzip", &[wish, ("content-range", "bytes 0-4/9")], 206, body, "content-range: bytes 0-4/9"),
            ("gzip", &[wish], 304, b"", ""),
            ("gzip", &[wish], 204, b"", ""),
        ];
        for (accepts, fields, status, body, expected) in rows {
            let mut response = answer(fields, *status, body);
            taste(accepts, Method::GET).serve(&mut response);
            assert_eq!(sorted(&lines(&response)), sorted(expected), "{accepts} {fields:?}");
            let is_gzipped = matches!(response.body(), ResponseBody::Gzipped(_));
            assert_eq!(is_gzipped, expected.contains("content-encoding: gzip"), "{accepts} {fields:?}");
        }
        let mut response = answer(&[wish, ("content-length", "5")], 200, b"");
        taste("gzip", Method::HEAD).serve(&mut response);
        assert_eq!(sorted(&lines(&response)), ["content-encoding: gzip", "vary: Accept-Encoding"]);
        assert!(matches!(response.body(), ResponseBody::Whole(_)));
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    fn plain(packed: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn a_long_body_is_compressed_piece_by_piece() {
        run(async {
            let body: Vec<u8> = (0..1_000_000_u32).flat_map(|n| (n % 1000).to_le_bytes()).collect();
            let mut body_of =
                ResponseBody::Gzipped(Box::new(Gzip::new(ResponseBody::Whole(body.clone().into()))));
            assert!(!body_of.is_end_stream());
            let mut packed = Vec::new();
            while let Some(frame) = body_of.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= 2 * PIECE_BYTES);
                packed.extend_from_slice(&piece);
            }
            assert!(body_of.is_end_stream() && packed.len() < body.len() / 10);
            assert!(plain(&packed) == body);
        });
    }

    #[test]
    fn what_has_come_is_sent_before_more_is_waited_for_and_a_break_stays_one() {
        run(async {
            let buffers = Buffers::default();
            let (writer, reader) = pipe(&buffers);
            let mut body = ResponseBody::Gzipped(Box::new(Gzip::new(ResponseBody::Piped(reader))));
            assert!(writer.write(Bytes::from_static(b"first")).await);
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let mut text = [0; 5];
            GzDecoder::new(&first[..]).read_exact(&mut text).unwrap();
            assert_eq!(&text, b"first");
            let (second, ()) = tokio::join!(body.frame(), async {
                yield_now().await;
                assert!(writer.write(Bytes::from_static(b"second")).await);
                drop(writer);
            });
            assert!(second.unwrap().is_ok());
            assert_eq!(body.frame().await.map(|frame| frame.map(|_| ())), Some(Err(Broken)));
        });
    }
}
