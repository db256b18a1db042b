//! The rules of static files: which file a request asks for, and how it is answered. Nothing is opened here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::request::Parts;
use regex_lite::Regex;

use super::environ::path_info;
use super::packet::UwsgiRequest;
use crate::config::static_files::{ExpiresRule, GzipRule, Matter, StaticSpec};

/// The rules, ready to be used.
#[derive(Debug)]
pub struct Rules {
    spec: StaticSpec,
    gzip: Vec<Regex>,
    expires: Vec<(ExpiresRule, Option<Regex>)>,
    media_types: HashMap<String, String>,
}

/// What a request says that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `PATH_INFO`.
    pub path: Vec<u8>,
    /// `REQUEST_URI`.
    pub uri: Vec<u8>,
    /// Only for the head of the answer.
    pub is_head: bool,
    /// `Accept-Encoding` has gzip.
    pub gzip: bool,
    /// `If-Modified-Since`.
    pub since: Option<SystemTime>,
    /// `Range`, unless an `If-Range` makes it void.
    pub range: Option<String>,
}

/// Where a file may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// It must lie in here, or be this.
    pub root: &'a Path,
    /// Its name.
    pub path: PathBuf,
}

/// How a file is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200, all of it.
    Whole,
    /// 206, from here to before there.
    Part(u64, u64),
    /// 304.
    NotModified,
    /// 416.
    Unsatisfiable,
}

impl Asked {
    /// Of an HTTP request; `None`: it asks for no file.
    #[must_use]
    pub fn of_http(parts: &Parts) -> Option<Self> {
        if parts.method != http::Method::GET && parts.method != http::Method::HEAD {
            return None;
        }
        let field = |name: &str| parts.headers.get(name).map(http::HeaderValue::as_bytes);
        let uri = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let path = path_info(parts.uri.path()).into_owned();
        let is_head = parts.method == http::Method::HEAD;
        Some(Self { path, uri: uri.as_bytes().to_vec(), is_head, ..Self::of_fields(field) })
    }

    /// Of the variables of a packet.
    #[must_use]
    pub fn of_packet(request: &UwsgiRequest<'_>) -> Option<Self> {
        if request.method != b"GET" && request.method != b"HEAD" {
            return None;
        }
        let field = |name: &str| {
            let variable = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
            request.variable(variable.as_bytes())
        };
        let (path, uri) = (request.path.to_vec(), request.uri.to_vec());
        Some(Self { path, uri, is_head: request.is_head(), ..Self::of_fields(field) })
    }

    fn of_fields<'a>(field: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let text = |name| field(name).and_then(|value| std::str::from_utf8(value).ok());
        let gzip = text("accept-encoding").is_some_and(|codings| codings.split(',').any(takes_gzip));
        Self {
            gzip,
            since: text("if-modified-since").and_then(|date| httpdate::parse_http_date(date).ok()),
            // Without strong validators a condition on a part never holds.
            range: text("range").filter(|_| field("if-range").is_none()).map(str::to_owned),
            ..Self::default()
        }
    }
}

/// Whether an item of `Accept-Encoding` lets gzip in.
#[must_use]
pub fn takes_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let is_zero = |weight: &str| weight.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
    (name.eq_ignore_ascii_case("gzip") || name == "*") && !parts.any(is_zero)
}

impl Rules {
    /// The rules; `media_types` are the texts of the files that `mime-file` names. `None`: no file is ever sent.
    #[must_use]
    pub fn new(spec: &StaticSpec, media_types: &[String]) -> Option<Self> {
        (!spec.places.is_empty()).then(|| Self::for_any(spec, media_types))
    }

    /// The same for files that others than these rules name.
    #[must_use]
    pub fn for_any(spec: &StaticSpec, media_types: &[String]) -> Self {
        // What is no pattern was refused when the configuration was read.
        let pattern = |text: &str| Regex::new(text).ok();
        let gzip = spec.gzip.iter().filter_map(|rule| match rule {
            GzipRule::Matching(text) => pattern(text),
            _ => None,
        });
        let expires = spec.expires.iter().map(|rule| (rule.clone(), pattern(&rule.pattern)));
        Self {
            gzip: gzip.collect(),
            expires: expires.collect(),
            media_types: media_types.iter().flat_map(|text| read_media_types(text)).collect(),
            spec: spec.clone(),
        }
    }

    /// What was said.
    #[must_use]
    pub const fn spec(&self) -> &StaticSpec {
        &self.spec
    }

    /// Where the file may lie, best first.
    pub fn candidates<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = Candidate<'a>> {
        let ends = |ending: &String| path.ends_with(ending.as_bytes());
        let is_left_out = path.contains(&0) || self.spec.skip.iter().any(ends);
        let places = self.spec.places.iter().filter(move |_| !is_left_out);
        places.filter_map(move |place| {
            let rest = path.strip_prefix(place.prefix.as_bytes())?;
            let below = if place.keeps_prefix { path } else { rest };
            let slashes = below.iter().take_while(|byte| **byte == b'/').count();
            let below = Path::new(OsStr::from_bytes(below.get(slashes..).unwrap_or_default()));
            let is_itself = below.as_os_str().is_empty();
            let path = if is_itself { place.path.clone() } else { place.path.join(below) };
            Some(Candidate { root: &place.path, path })
        })
    }

    /// Whether `FILE.gz` is to be looked for.
    #[must_use]
    pub fn may_be_gzip(&self, asked: &Asked, path: &Path) -> bool {
        let name = path.as_os_str().as_bytes();
        let fits = |rule: &GzipRule| match rule {
            GzipRule::All => true,
            GzipRule::Below(start) => name.starts_with(start.as_os_str().as_bytes()),
            GzipRule::Ending(ending) => name.ends_with(ending.as_bytes()),
            GzipRule::Matching(_) => false,
        };
        let text = path.to_string_lossy();
        asked.gzip
            && (self.spec.gzip.iter().any(fits) || self.gzip.iter().any(|pattern| pattern.is_match(&text)))
    }

    /// `Content-Type`.
    #[must_use]
    pub fn media_type(&self, path: &Path) -> &str {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.and_then(|ending| self.media_types.get(&ending)) {
            Some(known) => known,
            None => mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream"),
        }
    }

    /// `Expires`.
    #[must_use]
    pub fn expires(
        &self,
        asked: &Asked,
        path: &Path,
        changed: SystemTime,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let (rule, _) = self.expires.iter().find(|(rule, pattern)| {
            let text = match rule.of {
                Matter::MediaType => return rule.pattern == self.media_type(path),
                Matter::File => path.to_string_lossy(),
                Matter::Uri => String::from_utf8_lossy(&asked.uri),
                Matter::PathInfo => String::from_utf8_lossy(&asked.path),
            };
            pattern.as_ref().is_some_and(|pattern| pattern.is_match(&text))
        })?;
        let from = if rule.from_change { changed } else { now };
        from.checked_add(Duration::from_secs(rule.seconds.into()))
    }

    /// How a file of so many bytes is answered with.
    #[must_use]
    pub fn answer(&self, asked: &Asked, changed: SystemTime, length: u64) -> Answer {
        // Dates of HTTP have whole seconds.
        let whole =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if asked.since.is_some_and(|since| whole(changed) <= whole(since)) {
            return Answer::NotModified;
        }
        match asked.range.as_deref().filter(|_| self.spec.ranges) {
            Some(range) => part(range, length),
            None => Answer::Whole,
        }
    }
}

/// The part that `Range` asks for (RFC 9110, section 14); one of several, or in other units, is not honoured.
fn part(range: &str, length: u64) -> Answer {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Answer::Whole;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Answer::Whole;
    }
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last < first => Answer::Whole,
        (Ok(first), _) if first >= length => Answer::Unsatisfiable,
        (Ok(first), Ok(last)) => Answer::Part(first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => Answer::Part(first, length),
        (Err(_), Ok(0)) if first.is_empty() => Answer::Unsatisfiable,
        (Err(_), Ok(_)) if first.is_empty() && length == 0 => Answer::Unsatisfiable,
        (Err(_), Ok(last)) if first.is_empty() => Answer::Part(length.saturating_sub(last), length),
        _ => Answer::Whole,
    }
}

/// `type ending ending …` on each line.
fn read_media_types(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            let media_type = words.next().unwrap_or_default().to_owned();
            words.map(move |ending| (ending.to_ascii_lowercase(), media_type.clone())).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::static_files::{ServeMode, StaticPlace};

    fn place(prefix: &str, path: &str, keeps_prefix: bool) -> StaticPlace {
        StaticPlace { prefix: prefix.to_owned(), path: path.into(), keeps_prefix }
    }

    fn rules(spec: StaticSpec) -> Rules {
        Rules::new(&StaticSpec { places: vec![place("/s", "/x", false)], ..spec }, &[]).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 5)
    }

    #[test]
    fn paths_lead_to_files() {
        let places = vec![
            place("", "/check", false),
            place("/static", "/app/static", false),
            place("/static/", "/other/", false),
            place("/m", "/two", true),
            place("/favicon.ico", "/icons/f.ico", false),
        ];
        let spec = StaticSpec { places, skip: vec![".php".into()], ..StaticSpec::default() };
        let rules = Rules::new(&spec, &[]).unwrap();
        for (path, expected) in [
            ("/static/a/b.css", "/check/static/a/b.css /app/static/a/b.css /other/a/b.css"),
            ("/staticx/a", "/check/staticx/a /app/static/x/a"),
            ("/static", "/check/static /app/static"),
            ("/m/a", "/check/m/a /two/m/a"),
            ("/favicon.ico", "/check/favicon.ico /icons/f.ico"),
            ("//etc/passwd", "/check/etc/passwd"),
            ("/static/../x", "/check/static/../x /app/static/../x /other/../x"),
            ("/", "/check"),
            ("/static/a.php", ""),
            ("/static/a\0", ""),
        ] {
            let found: Vec<_> =
                rules.candidates(path.as_bytes()).map(|c| c.path.display().to_string()).collect();
            assert_eq!(found.join(" "), expected, "{path}");
        }
        assert!(Rules::new(&StaticSpec::default(), &[]).is_none());
    }

    #[test]
    fn parts_are_counted_from_either_end() {
        for (range, length, expected) in [
            ("bytes=0-0", 10, Answer::Part(0, 1)),
            ("bytes=2-", 10, Answer::Part(2, 10)),
            ("bytes=2-99", 10, Answer::Part(2, 10)),
            ("bytes=-3", 10, Answer::Part(7, 10)),
            ("bytes=-99", 10, Answer::Part(0, 10)),
            ("bytes=10-", 10, Answer::Unsatisfiable),
            ("bytes=-0", 10, Answer::Unsatisfiable),
            ("bytes=0-", 0, Answer::Unsatisfiable),
            ("bytes=-1", 0, Answer::Unsatisfiable),
            ("bytes=3-2", 10, Answer::Whole),
            ("bytes=0-1,3-4", 10, Answer::Whole),
            ("bytes=-", 10, Answer::Whole),
            ("bytes=+1-2", 10, Answer::Whole),
            ("bytes=99999999999999999999-", 10, Answer::Whole),
            ("lines=0-1", 10, Answer::Whole),
        ] {
            assert_eq!(part(range, length), expected, "{range}");
        }
    }

    #[test]
    fn conditions_decide_before_parts() {
        let with = rules(StaticSpec { ranges: true, ..StaticSpec::default() });
        let without = rules(StaticSpec::default());
        for (since, range, expected, plain) in [
            (None, None, Answer::Whole, Answer::Whole),
            (Some(7), None, Answer::NotModified, Answer::NotModified),
            (Some(8), Some("bytes=0-1"), Answer::NotModified, Answer::NotModified),
            (Some(6), Some("bytes=0-1"), Answer::Part(0, 2), Answer::Whole),
        ] {
            let since = since.map(|since| UNIX_EPOCH + Duration::from_secs(since));
            let asked = Asked { since, range: range.map(str::to_owned), ..Asked::default() };
            assert_eq!(with.answer(&asked, at(7), 10), expected);
            assert_eq!(without.answer(&asked, at(7), 10), plain);
        }
    }

    #[test]
    fn fields_say_what_is_asked_for() {
        for (method, fields, expected) in [
            ("POST", vec![], None),
            ("HEAD", vec![], Some((false, false, false))),
            ("GET", vec![("accept-encoding", "br, gzip;q=0.5")], Some((true, false, false))),
            ("GET", vec![("accept-encoding", "gzip;q=0, br")], Some((false, false, false))),
            ("GET", vec![("range", "bytes=0-")], Some((false, false, true))),
            ("GET", vec![("range", "bytes=0-"), ("if-range", "\"x\"")], Some((false, false, false))),
            ("GET", vec![("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], Some((false, true, false))),
            ("GET", vec![("if-modified-since", "yesterday")], Some((false, false, false))),
        ] {
            let mut request = http::Request::builder().method(method).uri("/a%20b?c");
            for (name, value) in &fields {
                request = request.header(*name, *value);
            }
            let asked = Asked::of_http(&request.body(()).unwrap().into_parts().0);
            let told = asked.as_ref().map(|a| (a.gzip, a.since.is_some(), a.range.is_some()));
            assert_eq!(told, expected, "{method} {fields:?}");
            assert!(asked.is_none_or(|asked| asked.path == b"/a b" && asked.uri == b"/a%20b?c"));
        }
    }

    #[test]
    fn files_are_named_compressed_and_fresh_as_told() {
        let expires = |of, pattern: &str, seconds, from_change| ExpiresRule {
            of,
            pattern: pattern.to_owned(),
            seconds,
            from_change,
        };
        let spec = StaticSpec {
            places: vec![place("/", "/x", false)],
            gzip: vec![
                GzipRule::Below("/x/min".into()),
                GzipRule::Ending(".css".into()),
                GzipRule::Matching("^/x/r".into()),
            ],
            expires: vec![
                expires(Matter::PathInfo, "^/short", 1, false),
                expires(Matter::Uri, "v=2", 2, false),
                expires(Matter::MediaType, "image/png", 3, true),
                expires(Matter::File, r"\.js$", 4, true),
            ],
            mode: ServeMode::Plain,
            ..StaticSpec::default()
        };
        let types = "# types\ntext/x-own own OTHER\ntext/x-css css # ours\n".to_owned();
        let rules = Rules::new(&spec, &[types]).unwrap();
        let asked = |path: &str, uri: &str| Asked {
            path: path.into(),
            uri: uri.into(),
            gzip: true,
            ..Asked::default()
        };
        for (path, uri, media_type, gzip, expected) in [
            ("/a.png", "/a.png", "image/png", false, Some(10 + 3)),
            ("/a.js", "/a.js?v=2", "text/javascript", false, Some(100 + 2)),
            ("/a.js", "/a.js", "text/javascript", false, Some(10 + 4)),
            ("/short.JS", "/", "text/javascript", false, Some(100 + 1)),
            ("/min.txt", "/", "text/plain", true, None),
            ("/r.other", "/", "text/x-own", true, None),
            ("/a.css", "/", "text/x-css", true, None),
            ("/none", "/", "application/octet-stream", false, None),
        ] {
            let (asked, file) = (asked(path, uri), PathBuf::from(format!("/x{path}")));
            assert_eq!(rules.media_type(&file), media_type, "{path}");
            assert_eq!(rules.may_be_gzip(&asked, &file), gzip, "{path}");
            assert!(!rules.may_be_gzip(&Asked { gzip: false, ..asked.clone() }, &file));
            assert_eq!(rules.expires(&asked, &file, at(10), at(100)), expected.map(at), "{path}");
        }
    }
}
