//! Metrics as text: OpenMetrics 1.0, and the older text format 0.0.4.

use std::fmt::{Display, Write as _};

use http::HeaderMap;

use super::accept;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its samples end in `_total`.
    Counter,
    /// The same under a name of others without that end. OpenMetrics has no such counter: there it is of an unknown type.
    PlainCounter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bound, with sum and count.
    Histogram,
}

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/openmetrics-text`.
    OpenMetrics,
    /// `text/plain; version=0.0.4`.
    Text,
}

impl Form {
    /// What a scraper wants.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Self {
        match accept::best(headers, &["application/openmetrics-text"], "text/plain") {
            Some(_) => Self::OpenMetrics,
            None => Self::Text,
        }
    }

    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Metrics being written, a family at a time.
#[derive(Debug)]
pub struct Exposition {
    form: Form,
    out: String,
    name: &'static str,
    suffix: &'static str,
}

impl Exposition {
    /// Nothing yet.
    #[must_use]
    pub const fn new(form: Form) -> Self {
        Self { form, out: String::new(), name: "", suffix: "" }
    }

    /// Begins a family: `name` without `_total`. The unit, if any, is the name's last word.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let (word, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::PlainCounter if self.form == Form::OpenMetrics => ("unknown", ""),
            Kind::PlainCounter => ("counter", ""),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        // The older format knows only names of samples.
        let shown = if self.form == Form::Text { suffix } else { "" };
        let _ = writeln!(self.out, "# TYPE {name}{shown} {word}");
        if self.form == Form::OpenMetrics
            && let Some(unit) =
                ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")))
        {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name}{shown} {help}");
        (self.name, self.suffix) = (name, suffix);
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line(self.suffix, labels, None, value);
    }

    /// A histogram: how many were at most so many seconds (each class alone), how many there were, and their sum.
    pub fn histogram(&mut self, labels: &[(&str, &str)], classes: &[(f64, u64)], count: u64, sum: f64) {
        let mut below = 0_u64;
        for (end, here) in classes {
            below = below.saturating_add(*here);
            self.line("_bucket", labels, Some(&end.to_string()), below);
        }
        // They are read one after the other while requests end.
        let count = count.max(below);
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    /// All of it.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], end: Option<&str>, value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(end.map(|end| ("le", end))) {
            let _ = write!(self.out, "{before}{name}=\"");
            escape(&mut self.out, value);
            self.out.push('"');
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn escape(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header};

    fn written(form: Form) -> String {
        let mut exposition = Exposition::new(form);
        exposition.family("a_requests", Kind::Counter, "Requests.");
        exposition.sample(&[("vassal", "x\"\\\n")], 3_u64);
        exposition.family("their_hits", Kind::PlainCounter, "Hits.");
        exposition.sample(&[], 5_u64);
        exposition.family("a_wait_seconds", Kind::Histogram, "Waits.");
        exposition.histogram(&[], &[(0.001, 2), (2.5, 1)], 4, 7.25);
        exposition.finish()
    }

    #[test]
    fn both_formats_are_written_as_they_are_specified() {
        let histogram = "a_wait_seconds_bucket{le=\"0.001\"} 2\na_wait_seconds_bucket{le=\"2.5\"} 3\n\
                         a_wait_seconds_bucket{le=\"+Inf\"} 4\na_wait_seconds_sum 7.25\na_wait_seconds_count 4\n";
        let open = format!(
            "# TYPE a_requests counter\n# HELP a_requests Requests.\n\
             a_requests_total{{vassal=\"x\\\"\\\\\\n\"}} 3\n\
             # TYPE their_hits unknown\n# HELP their_hits Hits.\ntheir_hits 5\n# TYPE a_wait_seconds histogram\n\
             # UNIT a_wait_seconds seconds\n# HELP a_wait_seconds Waits.\n{histogram}# EOF\n"
        );
        let text = format!(
            "# TYPE a_requests_total counter\n# HELP a_requests_total Requests.\n\
             a_requests_total{{vassal=\"x\\\"\\\\\\n\"}} 3\n\
             # TYPE their_hits counter\n# HELP their_hits Hits.\ntheir_hits 5\n# TYPE a_wait_seconds histogram\n\
             # HELP a_wait_seconds Waits.\n{histogram}"
        );
        assert_eq!(written(Form::OpenMetrics), open);
        assert_eq!(written(Form::Text), text);
    }

    #[test]
    fn a_scraper_gets_what_it_accepts() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, Form::OpenMetrics),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
            ("*/*", Form::Text),
            ("", Form::Text),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::accepted(&headers), expected, "{accept}");
        }
    }
}
