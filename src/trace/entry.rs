//! What an entry of the journal says besides its message: whose it is, and how bad.

use tracing::Level;

use super::parts::Parts;
use super::{Style, dated, escaped, tagged};

/// Hands the fields of an event's entry to `send`.
pub(super) fn of<T>(
    style: Style<'_>,
    level: Level,
    parts: &Parts,
    send: impl FnOnce(&[(&str, &str)]) -> T,
) -> T {
    let (priority, message) = match parts.is_output {
        true => of_output(&parts.message),
        false => (priority(level), parts.message.as_str()),
    };
    let start = if let Style::DatedJournal(format) = style { dated(format) } else { String::new() };
    let (priority, message) = (priority.to_string(), tagged(start, parts, message));
    let vassal = parts.vassal.as_deref().map(escaped);
    let mut fields = vec![("PRIORITY", &*priority), ("SYSLOG_IDENTIFIER", "liege"), ("MESSAGE", &*message)];
    fields.extend(vassal.as_deref().map(|vassal| ("VASSAL", vassal)));
    send(&fields)
}

/// How bad it is in the words of JSON, and the message.
pub(super) fn judged(level: Level, parts: &Parts) -> (&'static str, &str) {
    if parts.is_output {
        let (priority, message) = of_output(&parts.message);
        let level = match priority {
            ..=ERROR => "error",
            WARNING => "warn",
            DEBUG.. => "debug",
            _ => "info",
        };
        return (level, message);
    }
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    (level, &parts.message)
}

/// The syslog priority.
pub(super) const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => WARNING,
        Level::INFO => INFO,
        Level::DEBUG | Level::TRACE => DEBUG,
    }
}

const ERROR: u8 = 3;
const WARNING: u8 = 4;
const INFO: u8 = 6;
const DEBUG: u8 = 7;

/// The priority that a line of a vassal gives itself, and the rest of it: by `<4>`, as services of systemd do, or by the
/// level that it begins with, as those of its master and of Python's `logging`. None is worse than an error: the journal
/// may tell an emergency to every terminal of the host.
fn of_output(line: &str) -> (u8, &str) {
    if let Some((number, rest)) = line.strip_prefix('<').and_then(|line| line.split_once('>'))
        && number.len() == 1
        && let Ok(priority @ 0..=7) = number.parse::<u8>()
    {
        return (priority.max(ERROR), rest);
    }
    let end = line.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(line.len());
    let priority = match line.get(..end).unwrap_or_default() {
        "CRITICAL" | "ERROR" => ERROR,
        "WARN" | "WARNING" => WARNING,
        "DEBUG" | "TRACE" => DEBUG,
        _ => INFO,
    };
    (priority, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(style: Style<'_>, level: Level, parts: &Parts) -> String {
        of(style, level, parts, |fields| {
            let lines = fields.iter().map(|(name, value)| format!("{name}={value}"));
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn an_entry_says_whose_it_is_and_how_bad() {
        let own = |message: &str| Parts { message: message.into(), ..Parts::default() };
        let of = |vassal: &str, is_output: bool, message: &str| Parts {
            vassal: Some(vassal.into()),
            is_output,
            ..own(message)
        };
        for (style, level, parts, expected) in [
            (Style::Journal, Level::INFO, own("up"), "PRIORITY=6\nSYSLOG_IDENTIFIER=liege\nMESSAGE=up"),
            (
                Style::DatedJournal("%%"),
                Level::ERROR,
                of("a\n.ini", false, "<6>gone"),
                "PRIORITY=3\nSYSLOG_IDENTIFIER=liege\nMESSAGE=% - [a\\n.ini] <6>gone\nVASSAL=a\\n.ini",
            ),
            (
                Style::Journal,
                Level::INFO,
                of("b.ini", true, "<4>x\nVASSAL=a.ini"),
                "PRIORITY=4\nSYSLOG_IDENTIFIER=liege\nMESSAGE=[b.ini] x\\nVASSAL=a.ini\nVASSAL=b.ini",
            ),
        ] {
            assert_eq!(text(style, level, &parts), expected);
        }
    }

    #[test]
    fn a_long_message_is_cut_where_it_can_be_seen() {
        let parts = Parts { message: "\u{1}".repeat(100_000), ..Parts::default() };
        let entry = text(Style::Journal, Level::INFO, &parts);
        assert!(entry.ends_with('…') && entry.len() < 5000, "{}", entry.len());
    }

    #[test]
    fn a_line_of_a_vassal_says_how_bad_it_is_itself() {
        for (line, expected) in [
            ("hello", (6, "hello")),
            ("", (6, "")),
            ("ERROR cannot bind", (3, "ERROR cannot bind")),
            ("WARNING:root:full", (4, "WARNING:root:full")),
            ("CRITICAL", (3, "CRITICAL")),
            ("DEBUG x", (7, "DEBUG x")),
            ("ERRORS: none", (6, "ERRORS: none")),
            ("<4>full", (4, "full")),
            ("<0>everybody's terminal", (3, "everybody's terminal")),
            ("<8>no priority", (6, "<8>no priority")),
            ("<+4>no priority", (6, "<+4>no priority")),
            ("<html>", (6, "<html>")),
        ] {
            assert_eq!(of_output(line), expected, "{line}");
        }
    }
}
