//! The line that a request leaves in the log: uWSGI's own, or what `log-format` makes of it.

use std::fmt::Write as _;

use pyo3::prelude::*;

use super::host::Host;
use super::job::Head;
use super::record::Course;
use crate::config::logging::LogSpec;
use crate::stats::scoreboard::{Field, Slot};
use crate::sys::clock;
use crate::sys::own;
use crate::sys::stderr::LINE_LIMIT_BYTES;
use crate::trace::escaped;

/// The longest text from outside in a line.
const TEXT_LIMIT_CHARS: usize = LINE_LIMIT_BYTES / 8;

/// One request that is over.
pub(super) struct Line<'a> {
    pub(super) host: &'static Host,
    pub(super) slot: Slot<'static>,
    /// The number of its thread.
    pub(super) core: usize,
    pub(super) head: &'a Head,
    pub(super) course: &'a Course,
    pub(super) taken_us: u64,
}

/// Whether a request leaves a line: every one, or what `log-4xx` and the like name in spite of `disable-logging`.
pub(super) fn is_wanted(log: &LogSpec, course: &Course, taken_us: u64) -> bool {
    let (sent, lines) = (&course.sent, &log.lines);
    if course.routing.as_ref().is_some_and(|routing| routing.is_quiet()) {
        return false;
    }
    log.requests
        || lines.client_errors && (400..500).contains(&sent.status)
        || lines.server_errors && (500..600).contains(&sent.status)
        || lines.empty && sent.body_bytes == 0
        || lines.broken && sent.is_cut
        || lines.slow_ms > 0 && taken_us / 1000 >= u64::from(lines.slow_ms)
        || lines.big_bytes > 0 && sent.body_bytes >= lines.big_bytes
}

impl Line<'_> {
    /// The line with its end.
    pub(super) fn text(&self, py: Python<'_>) -> PyResult<String> {
        let lines = &self.host.spec.log.lines;
        let mut line = match &lines.format {
            Some(template) => fill(template, |name| self.value(py, name).unwrap_or_else(|| "-".to_owned())),
            None => self.usual(py)?,
        };
        if lines.strftime {
            line = py.import("time")?.call_method1("strftime", (line,))?.extract()?;
        }
        line.push('\n');
        Ok(line)
    }

    /// The line as uWSGI writes it.
    fn usual(&self, py: Python<'_>) -> PyResult<String> {
        let (sent, weight, lines) = (&self.course.sent, &self.course.weight, &self.host.spec.log.lines);
        let mut line = String::with_capacity(256);
        if lines.memory {
            let (vsz, rss) = own::size_of(std::process::id()).unwrap_or_default();
            let _ = write!(
                line,
                "{{address space usage: {vsz} bytes/{}MB}} {{rss usage: {rss} bytes/{}MB}} ",
                vsz >> 20,
                rss >> 20
            );
        }
        let taken = match lines.micros {
            true => format!("{} micros", self.taken_us),
            false => format!("{} msecs", self.taken_us / 1000),
        };
        let text = |name| self.value(py, name).unwrap_or_default();
        let _ = write!(
            line,
            "[pid: {}|app: 0|req: {}/{}] {} ({}) {{{} vars in {} bytes}} [{}] {} {} => generated {} bytes in {taken} ({} {}) {} headers in {} bytes (1 switches on core {})",
            std::process::id(),
            self.slot.get(Field::Requests),
            self.host.board.requests(),
            text("addr"),
            self.variable("REMOTE_USER").unwrap_or_default(),
            weight.variables * 2,
            weight.bytes,
            text("ctime"),
            text("method"),
            text("uri"),
            sent.body_bytes,
            text("proto"),
            sent.status,
            sent.fields,
            sent.head_bytes,
            self.core,
        );
        Ok(line)
    }

    /// What a name of `log-format` stands for; `None`: nothing.
    fn value(&self, py: Python<'_>, name: &str) -> Option<String> {
        let sent = &self.course.sent;
        let time = |function: &str, arguments: &[&str]| -> Option<String> {
            let module = py.import("time").ok()?;
            let made = match arguments {
                [] => module.call_method0(function),
                [format, ..] => module.call_method1(function, (*format,)),
            };
            made.ok()?.extract().ok()
        };
        Some(match name {
            "addr" => self.address()?,
            "user" => self.variable("REMOTE_USER")?,
            "host" => self.variable("HTTP_HOST")?,
            "uagent" => self.variable("HTTP_USER_AGENT")?,
            "referer" => self.variable("HTTP_REFERER")?,
            "cl" => self.variable("CONTENT_LENGTH").unwrap_or_else(|| "0".to_owned()),
            "method" => self.variable("REQUEST_METHOD")?,
            "uri" => self.variable("REQUEST_URI")?,
            "proto" => self.variable("SERVER_PROTOCOL")?,
            "status" => sent.status.to_string(),
            "micros" => self.taken_us.to_string(),
            "msecs" => (self.taken_us / 1000).to_string(),
            "secs" => format!("{}.{:06}", self.taken_us / 1_000_000, self.taken_us % 1_000_000),
            "time" | "epoch" => clock::epoch_seconds().to_string(),
            "ctime" => time("ctime", &[])?,
            "ltime" => time("strftime", &["%d/%b/%Y:%H:%M:%S %z"])?,
            "ftime" => time("strftime", &["%Y-%m-%dT%H:%M:%S%z"])?,
            "size" => u64::try_from(sent.head_bytes).unwrap_or(0).saturating_add(sent.body_bytes).to_string(),
            "rsize" => sent.body_bytes.to_string(),
            "hsize" => sent.head_bytes.to_string(),
            "headers" => sent.fields.to_string(),
            "vars" => (self.course.weight.variables * 2).to_string(),
            "pktsize" => self.course.weight.bytes.to_string(),
            "pid" => std::process::id().to_string(),
            "wid" => self.host.worker_number().to_string(),
            "core" => self.core.to_string(),
            "switches" => "1".to_owned(),
            "modifier1" | "modifier2" => "0".to_owned(),
            "vsz" => own::size_of(std::process::id())?.0.to_string(),
            "rss" => own::size_of(std::process::id())?.1.to_string(),
            "vszM" => (own::size_of(std::process::id())?.0 >> 20).to_string(),
            "rssM" => (own::size_of(std::process::id())?.1 >> 20).to_string(),
            other => match self.course.routing.as_ref().and_then(|routing| routing.log_variable(other)) {
                Some(value) => clipped(&value),
                None => self.variable(other.strip_prefix("var.")?)?,
            },
        })
    }

    /// The client, or who it says it is where that is believed.
    fn address(&self) -> Option<String> {
        let lines = &self.host.spec.log.lines;
        let forwarded = lines.forwarded_for.then(|| self.variable("HTTP_X_FORWARDED_FOR")).flatten();
        forwarded.or_else(|| self.variable("REMOTE_ADDR"))
    }

    /// A variable of the request, as CGI names it.
    fn variable(&self, name: &str) -> Option<String> {
        match self.head {
            Head::Packet(packet) => {
                let request = packet.view();
                let bytes = match name {
                    "REQUEST_METHOD" => request.method,
                    "REQUEST_URI" => request.uri,
                    "REMOTE_ADDR" => request.remote_addr,
                    _ => request.variable(name.as_bytes())?,
                };
                Some(clipped(bytes))
            }
            Head::Http(parts, origin) => {
                let bytes = match name {
                    "REQUEST_METHOD" => parts.method.as_str().as_bytes(),
                    "REQUEST_URI" => {
                        parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes()
                    }
                    "REMOTE_ADDR" => return Some(origin.peer(parts, "").remote_addr.to_owned()),
                    "SERVER_PROTOCOL" if parts.version == http::Version::HTTP_10 => b"HTTP/1.0",
                    "SERVER_PROTOCOL" => b"HTTP/1.1",
                    _ => {
                        let field = name.strip_prefix("HTTP_").unwrap_or(name).replace('_', "-");
                        parts.headers.get(field.as_str())?.as_bytes()
                    }
                };
                Some(clipped(bytes))
            }
        }
    }
}

/// The template with each `%(name)` replaced.
fn fill(template: &str, mut value: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("%(") {
        out.push_str(before);
        match after.split_once(')') {
            Some((name, after)) => {
                out.push_str(&value(name));
                rest = after;
            }
            None => {
                out.push_str("%(");
                rest = after;
            }
        }
    }
    out + rest
}

/// Text from outside: escaped, and no longer than a line bears.
fn clipped(bytes: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(bytes)).chars().take(TEXT_LIMIT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::super::output::Sent;
    use super::*;
    use crate::config::logging::LineSpec;

    #[test]
    fn templates_are_filled() {
        for (template, expected) in
            [("%(a) %(b)x", "<a> <b>x"), ("100% %(a", "100% %(a"), ("", ""), ("%(a)%(a)", "<a><a>")]
        {
            assert_eq!(fill(template, |name| format!("<{name}>")), expected);
        }
    }

    #[test]
    fn lines_are_written_when_they_are_wanted() {
        let quiet = LineSpec::default();
        for (lines, status, body_bytes, ms, expected) in [
            (quiet.clone(), 500, 0, 9999, false),
            (LineSpec { client_errors: true, ..quiet.clone() }, 404, 1, 0, true),
            (LineSpec { client_errors: true, ..quiet.clone() }, 500, 1, 0, false),
            (LineSpec { server_errors: true, ..quiet.clone() }, 500, 1, 0, true),
            (LineSpec { empty: true, ..quiet.clone() }, 200, 0, 0, true),
            (LineSpec { slow_ms: 100, ..quiet.clone() }, 200, 1, 100, true),
            (LineSpec { slow_ms: 100, ..quiet.clone() }, 200, 1, 99, false),
            (LineSpec { big_bytes: 10, ..quiet.clone() }, 200, 10, 0, true),
        ] {
            let log = LogSpec { requests: false, lines, ..LogSpec::default() };
            let sent = Sent { status, body_bytes, ..Sent::default() };
            let course = Course { sent, ..Course::default() };
            assert_eq!(is_wanted(&log, &course, ms * 1000), expected, "{log:?} {course:?}");
            assert!(is_wanted(&LogSpec { requests: true, ..log }, &course, 0));
        }
    }
}
