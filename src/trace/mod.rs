//! The log: one escaped line for each event, to standard error or its journal, without ever waiting for the reader.

mod entry;
mod out;
mod parts;

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

use self::entry::priority;
use self::out::Out;
use self::parts::Parts;
use crate::config::log_level::LogLevel;
use crate::config::logging::UWSGI_DATE;
use crate::sys::journal::Journal;
pub use crate::sys::stderr::LINE_LIMIT_BYTES;
use crate::sys::{clock, local_time};

/// Where lines go, and what they begin with, when a configuration says so.
struct Manner {
    /// The format of `strftime` of the date in front of each line.
    date: Option<String>,
    diversion: Option<Diversion>,
}

/// What takes the lines of this process.
pub struct Diversion {
    /// Takes a line with its end; `false`: there is no room for it, and it goes to standard error.
    pub sink: Box<dyn Fn(&str) -> bool + Send>,
    /// They go to standard error, too.
    pub copied: bool,
}

/// Where lines go otherwise.
static OUT: Mutex<Out> = Mutex::new(Out::new());

fn out() -> MutexGuard<'static, Out> {
    OUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None`: the next line will be taken. Else what has room for it when it can be written to: what can wait should, so
/// that the lines of all others find room.
#[must_use]
pub fn full() -> Option<OwnedFd> {
    out().full()
}

static MANNER: Mutex<Manner> = Mutex::new(Manner { date: None, diversion: None });

/// Begins each line with the date as this format of `strftime` says it, or as usual.
pub fn date_lines(format: Option<&str>) {
    MANNER.lock().unwrap_or_else(PoisonError::into_inner).date = format.map(str::to_owned);
}

/// Sends the lines of this process another way, or to standard error again.
pub fn divert(diversion: Option<Diversion>) {
    MANNER.lock().unwrap_or_else(PoisonError::into_inner).diversion = diversion;
}

/// What stands before the message of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style<'a> {
    /// The time, and the level where it is not `INFO`.
    Timed,
    /// The same in colour.
    Coloured,
    /// An entry of the journal, which adds the time; the priority as `<6>` where that takes lines only.
    Journal,
    /// The level where it is not `INFO`: the reader is our emperor, which adds the time.
    Bare,
    /// One JSON object: `time`, `level`, `vassal` if the line is one's, `message`.
    Json,
    /// The date as this format of `strftime` says it and a dash, as uWSGI's lines; the level where it is not `INFO`.
    Dated(&'a str),
    /// The priority, then that date.
    DatedJournal(&'a str),
    /// The level where it is not `INFO`, then that date: our emperor tells by it how bad the line is.
    DatedBare(&'a str),
}

/// How a process of ours ends: `failed` begins the line that tells why, where it is not as it should.
#[must_use]
pub fn exit_code(failed: &str, ended: io::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{failed}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts logging. `LIEGE_LOG` chooses what (`debug`, `info,liege::emperor=trace`), `info` by default; a process
/// with an emperor (`supervised`) leaves the time to it. With `LIEGE_LOG_FORMAT=json` every line is a JSON object. A
/// second call changes nothing.
pub fn start(supervised: bool) {
    let journal = env::var("JOURNAL_STREAM").ok().and_then(Journal::behind_stderr);
    let style = Style::of(supervised, journal.is_some());
    if matches!(style, Style::Journal) {
        out().journal = journal;
    }
    let wanted = env::var("LIEGE_LOG").unwrap_or_default();
    let (filter, mistake) = match wanted.parse::<Targets>() {
        Ok(filter) if !wanted.is_empty() => (filter.with_target(AUDIT, LevelFilter::INFO), None),
        Ok(_) => (everything_from(LevelFilter::INFO), None),
        Err(error) => (everything_from(LevelFilter::INFO), Some(error)),
    };
    let (filter, level) = reload::Layer::new(filter);
    let started: Result<(), TryInitError> =
        tracing_subscriber::registry().with(Lines { style }.with_filter(filter)).try_init();
    if started.is_ok() {
        let _ = LEVEL.set(level);
    }
    if let (Ok(()), Some(error)) = (started, mistake) {
        tracing::warn!("LIEGE_LOG={wanted}: {error}; logging `info`");
    }
}

/// The target of lines about who asked for what: they are written whatever level was asked for.
pub const AUDIT: &str = "liege::audit";

/// The target of lines that a vassal wrote.
pub const OUTPUT: &str = "liege::vassal";

fn everything_from(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target(AUDIT, LevelFilter::INFO)
}

/// What a running process logs can be changed here.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Logs so much from now on, whatever `LIEGE_LOG` said.
pub fn set_level(level: LogLevel) {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    if let Some(Err(error)) = LEVEL.get().map(|handle| handle.reload(everything_from(filter))) {
        tracing::warn!("the log level stays as it is: {error}");
    }
}

/// `text` with every character escaped that could end a line, steer a terminal or turn the reading direction.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // What is harmless is taken over in one piece: whoever floods a log makes this the most of the emperor's work.
    while let Some((at, special)) = first_special(rest) {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + special.len_utf8()..).unwrap_or_default();
        match special {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => {
                let _ = match u8::try_from(c) {
                    Ok(byte) => write!(out, "\\x{byte:02x}"),
                    Err(_) => write!(out, "\\u{{{:x}}}", u32::from(c)),
                };
            }
        }
    }
    out.push_str(rest);
    out
}

/// The first character that has to be escaped, and where it begins.
fn first_special(text: &str) -> Option<(usize, char)> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    text.char_indices().find(|(_, c)| c.is_control() || is_format_control(*c))
}

/// Line and paragraph separators, and what turns the reading direction.
const fn is_format_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl Style<'_> {
    fn of(supervised: bool, journal: bool) -> Self {
        if !supervised && env::var_os("LIEGE_LOG_FORMAT").is_some_and(|format| format == "json") {
            Self::Json
        } else if journal {
            Self::Journal
        } else if supervised {
            Self::Bare
        } else if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
            Self::Coloured
        } else {
            Self::Timed
        }
    }

    fn start(self, level: Level, out: &mut String) {
        match self {
            Self::Timed | Self::Coloured => {
                let _ = write!(out, "{} ", now());
                match (colour(level), self) {
                    (Some(colour), Self::Coloured) => {
                        let _ = write!(out, "\u{1b}[{colour}m{level}\u{1b}[0m ");
                    }
                    _ => Self::Bare.start(level, out),
                }
            }
            Self::Journal => {
                let _ = write!(out, "<{}>", priority(level));
            }
            Self::Json => {}
            Self::Dated(format) => {
                out.push_str(&dated(format));
                Self::Bare.start(level, out);
            }
            Self::DatedJournal(format) => {
                Self::Journal.start(level, out);
                out.push_str(&dated(format));
            }
            Self::DatedBare(format) => {
                Self::Bare.start(level, out);
                out.push_str(&dated(format));
            }
            Self::Bare if level == Level::INFO => {}
            Self::Bare => {
                let _ = write!(out, "{level} ");
            }
        }
    }
}

fn dated(format: &str) -> String {
    format!("{} - ", local_time::formatted(format, clock::epoch_seconds()))
}

const fn colour(level: Level) -> Option<u8> {
    match level {
        Level::ERROR => Some(31),
        Level::WARN => Some(33),
        Level::INFO => None,
        Level::DEBUG | Level::TRACE => Some(2),
    }
}

/// The layer that turns events into lines.
#[derive(Debug)]
struct Lines {
    style: Style<'static>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let manner = MANNER.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, parts) = (*event.metadata().level(), Parts::of(event));
        if let Some(Diversion { sink, copied }) = &manner.diversion {
            // As uWSGI's lines about what happens: their readers add no time.
            let format = manner.date.as_deref().unwrap_or(UWSGI_DATE);
            if sink(&line(Style::Dated(format), level, &parts)) && !copied {
                return;
            }
        }
        let mut out = out();
        // In a file nobody adds the time or shows the colours, and it may have become one since the start.
        let style = match (self.style, &manner.date) {
            (Style::Json, _) => Style::Json,
            (Style::Journal, Some(format)) => Style::DatedJournal(format),
            (Style::Bare, Some(format)) if !out.is_file() => Style::DatedBare(format),
            (_, Some(format)) => Style::Dated(format),
            _ if out.is_file() => Style::Timed,
            (style, _) => style,
        };
        out.put(style, level, &parts);
    }
}

/// `2026-11-20T15:56:27.123Z`.
fn now() -> String {
    let mut time = String::new();
    // Microseconds are more than enough.
    if SystemTime.format_time(&mut Writer::new(&mut time)).is_ok() {
        time.truncate(23);
        time.push('Z');
    }
    time
}

fn json(level: Level, parts: &Parts) -> String {
    #[derive(serde::Serialize)]
    struct Object<'a> {
        time: String,
        level: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        vassal: Option<&'a str>,
        message: &'a str,
    }
    let (level, message) = entry::judged(level, parts);
    let message = format!("{message}{}", parts.fields);
    let vassal = parts.vassal.as_deref();
    // Text is always written.
    let told = |message: &str| {
        serde_json::to_string(&Object { time: now(), level, vassal, message }).unwrap_or_default() + "\n"
    };
    let line = told(&message);
    if line.len() <= LINE_LIMIT_BYTES {
        return line;
    }
    let room = LINE_LIMIT_BYTES.saturating_sub(told("…").len());
    let mut length = 0;
    let fits = |c: &char| {
        length += escaped_length(*c);
        length <= room
    };
    told(&(message.chars().take_while(fits).collect::<String>() + "…"))
}

/// How many bytes a character has in JSON.
const fn escaped_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..' ' => 6,
        c => c.len_utf8(),
    }
}

/// One line with its end, never longer than what a pipe takes whole.
fn line(style: Style<'_>, level: Level, parts: &Parts) -> String {
    if style == Style::Json {
        return json(level, parts);
    }
    let mut line = String::with_capacity(128);
    style.start(level, &mut line);
    tagged(line, parts, &parts.message) + "\n"
}

/// `line` with `[vassal] message key=value` behind it, cut where it is too long, without an end.
fn tagged(mut line: String, parts: &Parts, message: &str) -> String {
    if let Some(vassal) = &parts.vassal {
        let _ = write!(line, "[{}] ", escaped(vassal));
    }
    line.push_str(&escaped(message));
    line.push_str(&escaped(&parts.fields));
    if line.len() >= LINE_LIMIT_BYTES {
        let mut end = LINE_LIMIT_BYTES - 1 - '…'.len_utf8();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_from_outside_stays_one_harmless_line() {
        for (text, expected) in [
            ("plain ü", "plain ü"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred\u{7f}", "\\x1b[31mred\\x7f"),
            ("\u{9b}31m", "\\x9b31m"),
            ("a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}"),
            ("ü\nü ü\u{1b}ü", "ü\\nü ü\\x1bü"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_line_says_when_how_bad_who_and_what() {
        let parts = Parts {
            vassal: Some("a\n.ini".into()),
            message: "gone\n".into(),
            fields: " pid=7".into(),
            ..Parts::default()
        };
        assert_eq!(line(Style::Bare, Level::INFO, &parts), "[a\\n.ini] gone\\n pid=7\n");
        assert_eq!(line(Style::Bare, Level::WARN, &parts), "WARN [a\\n.ini] gone\\n pid=7\n");
        assert_eq!(line(Style::Journal, Level::ERROR, &parts), "<3>[a\\n.ini] gone\\n pid=7\n");
        let timed = line(Style::Timed, Level::ERROR, &parts);
        let (time, rest) = timed.split_at(25);
        assert!(time.ends_with("Z ") && time.contains('T'), "{timed}");
        assert_eq!(rest, "ERROR [a\\n.ini] gone\\n pid=7\n");
        assert!(!timed.contains('\u{1b}'));
        assert_eq!(line(Style::Dated("%%"), Level::WARN, &parts), "% - WARN [a\\n.ini] gone\\n pid=7\n");
    }

    #[test]
    fn a_line_of_json_says_the_same_to_programs() {
        let parts = Parts {
            vassal: Some("a\"\n.ini".into()),
            message: "gone\u{1b}\n".into(),
            fields: " pid=7".into(),
            ..Parts::default()
        };
        let told = line(Style::Json, Level::WARN, &parts);
        assert!(told.ends_with("}\n") && told.lines().count() == 1, "{told}");
        let read: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&read["level"], &read["vassal"]), (&"warn".into(), &"a\"\n.ini".into()));
        assert_eq!(read["message"], "gone\u{1b}\n pid=7");
        assert_eq!(read["time"].as_str().unwrap().len(), 24);
        let own = line(Style::Json, Level::INFO, &Parts::default());
        assert!(!own.contains("vassal"), "{own}");
        for message in ["\u{1}ü", "x", "\"\\\n"] {
            let long = Parts { message: message.repeat(5000), ..Parts::default() };
            let long = line(Style::Json, Level::INFO, &long);
            // As much as there is room for.
            assert!((LINE_LIMIT_BYTES - 8..=LINE_LIMIT_BYTES).contains(&long.len()), "{}", long.len());
            let read: serde_json::Value = serde_json::from_str(&long).unwrap();
            assert!(read["message"].as_str().is_some_and(|message| message.ends_with('…')));
        }
    }

    #[test]
    fn a_vassals_line_says_how_bad_it_is_in_json_too() {
        for (message, is_output, expected) in [
            ("ERROR no", true, ("error", "ERROR no")),
            ("<4>almost full", true, ("warn", "almost full")),
            ("<7>q", true, ("debug", "q")),
            ("hello", true, ("info", "hello")),
            ("ERROR is told of by us", false, ("info", "ERROR is told of by us")),
        ] {
            let parts = Parts { message: message.into(), is_output, ..Parts::default() };
            let read: serde_json::Value =
                serde_json::from_str(&line(Style::Json, Level::INFO, &parts)).unwrap();
            let told = (read["level"].as_str().unwrap(), read["message"].as_str().unwrap());
            assert_eq!(told, expected);
        }
        let dated = Parts { message: "full".into(), ..Parts::default() };
        assert_eq!(line(Style::DatedBare("%%"), Level::WARN, &dated), "WARN % - full\n");
    }

    #[test]
    fn no_line_is_longer_than_a_pipe_takes_whole() {
        let parts = Parts { message: "ü".repeat(5000), ..Parts::default() };
        let line = line(Style::Bare, Level::INFO, &parts);
        assert!(line.len() <= LINE_LIMIT_BYTES && line.ends_with("…\n"));
    }
}
