//! What log lines are turned into on their way: the words of `log-encoder`, and what they do to a line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::logger::Mistake;

/// One `log-encoder`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoder {
    /// The named logger that it is for; `None`: all.
    pub only: Option<String>,
    /// What it does.
    pub change: Change,
}

/// What an encoder does to a line, which usually ends with a newline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// `prefix`: text before it.
    Prefix(String),
    /// `suffix`: text behind it, also behind the newline.
    Suffix(String),
    /// `nl`: a newline behind it.
    Newline,
    /// `format`: a template in its place.
    Format(Vec<Part>),
    /// `json`: the same, with what is filled in escaped for a JSON string.
    Json(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// `${msg}`: the line without its newline.
    Message,
    /// `${msgnl}`: the line.
    MessageNewline,
    /// `${unix}`: seconds since the epoch.
    Seconds,
    /// `${millis}`: milliseconds since the epoch.
    Millis,
    /// `${micros}`: microseconds since the epoch.
    Micros,
    /// `${strftime:FORMAT}`: the local time.
    Time(String),
}

/// The time, for templates.
pub trait Clock {
    /// Microseconds since the epoch.
    fn epoch_us(&self) -> u64;
    /// The local time as this format of `strftime` says.
    fn local(&self, format: &str) -> String;
}

impl Encoder {
    /// `kind[:logger][ argument]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let (head, argument) = text.split_once(' ').unwrap_or((text, ""));
        let (kind, only) = head.split_once(':').map_or((head, None), |(kind, only)| (kind, Some(only)));
        let change = match kind {
            "prefix" => Change::Prefix(argument.to_owned()),
            "suffix" => Change::Suffix(argument.to_owned()),
            "nl" => Change::Newline,
            "format" => Change::Format(template(argument)),
            "json" => Change::Json(template(argument)),
            "gzip" | "compress" | "zip" => {
                return Err(Mistake {
                    message: format!("liege does not compress lines one by one (`{kind}`)"),
                    hint: Some("let what renames the files compress them"),
                });
            }
            other => {
                return Err(Mistake {
                    message: format!("log encoder \"{other}\" not found"),
                    hint: Some("there are prefix, suffix, nl, format and json"),
                });
            }
        };
        Ok(Self { only: only.map(str::to_owned), change })
    }

    /// Whether it is for the logger of this name.
    fn is_for(&self, logger: Option<&str>) -> bool {
        self.only.is_none() || self.only.as_deref() == logger
    }
}

/// The line as a logger gets it.
#[must_use]
pub fn encode<'a>(
    encoders: &[Encoder],
    logger: Option<&str>,
    line: &'a [u8],
    clock: &dyn Clock,
) -> Cow<'a, [u8]> {
    let mut line = Cow::Borrowed(line);
    for encoder in encoders.iter().filter(|encoder| encoder.is_for(logger)) {
        line = Cow::Owned(encoder.change.apply(&line, clock));
    }
    line
}

impl Change {
    fn apply(&self, line: &[u8], clock: &dyn Clock) -> Vec<u8> {
        match self {
            Self::Prefix(text) => [text.as_bytes(), line].concat(),
            Self::Suffix(text) => [line, text.as_bytes()].concat(),
            Self::Newline => [line, b"\n"].concat(),
            Self::Format(parts) => fill(parts, line, clock, <[u8]>::to_vec),
            Self::Json(parts) => fill(parts, line, clock, in_json),
        }
    }
}

fn fill(parts: &[Part], line: &[u8], clock: &dyn Clock, escape: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() * 2);
    for part in parts {
        match part {
            Part::Text(text) => out.extend(text.as_bytes()),
            Part::Message => out.extend(escape(line.strip_suffix(b"\n").unwrap_or(line))),
            Part::MessageNewline => out.extend(escape(line)),
            Part::Seconds => out.extend((clock.epoch_us() / 1_000_000).to_string().bytes()),
            Part::Millis => out.extend((clock.epoch_us() / 1000).to_string().bytes()),
            Part::Micros => out.extend(clock.epoch_us().to_string().bytes()),
            Part::Time(format) => out.extend(escape(clock.local(format).as_bytes())),
        }
    }
    out
}

/// What stands between the quotes of a JSON string.
fn in_json(text: &[u8]) -> Vec<u8> {
    // Text is always written.
    let quoted = serde_json::to_string(&String::from_utf8_lossy(text)).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default().as_bytes().to_vec()
}

/// Splits `text ${name} text`; a name that nothing is known of stands for nothing.
fn template(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |text: &str, name: Option<&str>| {
        parts.extend((!text.is_empty()).then(|| Part::Text(text.to_owned())));
        parts.extend(name.and_then(part));
    };
    let mut rest = text;
    while let Some((before, (name, after))) =
        rest.split_once("${").and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        add(before, Some(name));
        rest = after;
    }
    add(rest, None);
    parts
}

fn part(name: &str) -> Option<Part> {
    match name {
        "msg" => Some(Part::Message),
        "msgnl" => Some(Part::MessageNewline),
        "unix" => Some(Part::Seconds),
        "millis" => Some(Part::Millis),
        "micros" => Some(Part::Micros),
        other => other.strip_prefix("strftime:").map(|format| Part::Time(format.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn epoch_us(&self) -> u64 {
            1_795_735_344_123_456
        }
        fn local(&self, format: &str) -> String {
            format!("<\"{format}\">")
        }
    }

    #[test]
    fn lines_become_what_uwsgi_makes_of_them() {
        for (encoders, logger, expected) in [
            (&[][..], None, "a \"b\"\n"),
            (&["prefix P: "], None, "P: a \"b\"\n"),
            (&["suffix  S"], None, "a \"b\"\n S"),
            (&["nl"], None, "a \"b\"\n\n"),
            (&["format <${msg}> $x ${unix} ${"], None, "<a \"b\"> $x 1795735344 ${"),
            (&["format ${strftime:%Y} ${msgnl}"], None, "<\"%Y\"> a \"b\"\n"),
            (&["format ${millis} ${micros}${nothing}"], None, "1795735344123 1795735344123456"),
            (
                &["json {\"m\":\"${msg}\",\"t\":\"${strftime:%Y}\"}", "nl"],
                None,
                "{\"m\":\"a \\\"b\\\"\",\"t\":\"<\\\"%Y\\\">\"}\n",
            ),
            (&["json ${msgnl}"], None, "a \\\"b\\\"\\n"),
            (&["prefix:err E", "prefix A"], None, "Aa \"b\"\n"),
            (&["prefix:err E", "prefix A"], Some("err"), "AEa \"b\"\n"),
            (&["prefix:err E"], Some("other"), "a \"b\"\n"),
        ] {
            let encoders: Vec<Encoder> = encoders.iter().map(|text| Encoder::parse(text).unwrap()).collect();
            let made = encode(&encoders, logger, b"a \"b\"\n", &Fixed);
            assert_eq!(String::from_utf8_lossy(&made), expected, "{encoders:?}");
        }
        assert_eq!(in_json(b"\xff\x01"), "\u{fffd}\\u0001".as_bytes());
    }

    #[test]
    fn what_is_no_encoder_is_refused() {
        for (text, part) in [
            ("nosuch x", "log encoder \"nosuch\" not found"),
            ("gzip", "compress lines"),
            ("", "log encoder \"\" not found"),
        ] {
            let mistake = Encoder::parse(text).unwrap_err();
            assert!(mistake.message.contains(part) && mistake.hint.is_some(), "{mistake:?}");
        }
    }
}
