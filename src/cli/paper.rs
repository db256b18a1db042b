//! What people read: written to standard output, in columns, in colour only on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::sys::terminal;
use crate::trace::escaped;

/// Where a command prints, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Columns; `None`: lines are as long as they are.
    pub width: Option<usize>,
    /// Whether colours are understood.
    pub colour: bool,
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// It passes, or needs a look.
    Passing,
    /// Something is broken.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Heading,
}

impl Paper {
    /// Standard output as it is.
    #[must_use]
    pub fn stdout() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        Self {
            width: if terminal { terminal::columns(&out) } else { None },
            colour: terminal
                && !terminal::is_dumb()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// The text in a tone.
    #[must_use]
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Passing => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Heading => "1",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Prints to standard output. A reader that hung up (`liege status | head`) has seen enough.
pub fn print(text: &str) {
    let _ = print_on(text);
}

/// The same for one who goes on printing: whether somebody still reads.
#[must_use]
pub fn print_on(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Prints an error to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "liege: {text}");
}

/// Columns side by side: all but the last as wide as their widest cell, the last as wide as the paper allows. The
/// columns whose number is in `right` are flush right. Returns the lines without tones.
#[must_use]
pub fn columns(rows: &[Vec<String>], right: &[usize], width: Option<usize>) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|n| rows.iter().filter_map(|row| row.get(n)).map(|c| length(c)).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (n, (cell, &wide)) in row.iter().zip(&widths).enumerate() {
                let space = " ".repeat(wide.saturating_sub(length(cell)));
                let gap = if n == 0 { "" } else { "  " };
                line.push_str(gap);
                match (right.contains(&n), n + 1 == row.len()) {
                    (true, _) => line.extend([space.as_str(), cell]),
                    (false, true) => line.push_str(cell),
                    (false, false) => line.extend([cell, space.as_str()]),
                }
            }
            width.map_or(line.clone(), |width| clipped(&line, width))
        })
        .collect()
}

/// The text, cut with an ellipsis where it is wider.
#[must_use]
pub fn clipped(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// The text after `first`, in lines no wider than the paper where its words allow that; further ones begin with
/// `hang`.
#[must_use]
pub fn wrapped(text: &str, hang: &str, first: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return format!("{first}{text}") };
    let mut out = first.to_owned();
    let mut column = length(first);
    let mut is_start = true;
    for word in text.split(' ') {
        let space = usize::from(!is_start);
        if !is_start && column + space + length(word) > width {
            out.push('\n');
            out.push_str(hang);
            column = length(hang);
        } else if !is_start {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length(word);
        is_start = false;
    }
    out
}

/// How many columns of a terminal the text takes.
#[must_use]
pub fn length(text: &str) -> usize {
    text.width()
}

/// An RFC 3339 time without the part of the second.
#[must_use]
pub fn second(rfc3339: &str) -> String {
    let text = escaped(rfc3339);
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

/// How long ago an RFC 3339 time was, in the one unit that matters; `-` for what is no time.
#[must_use]
pub fn age(rfc3339: Option<&str>, now: SystemTime) -> String {
    let time = rfc3339.and_then(|text| humantime::parse_rfc3339(text).ok());
    time.map_or_else(|| "-".to_owned(), |time| span(now.duration_since(time).unwrap_or_default()))
}

/// How long until an RFC 3339 time.
#[must_use]
pub fn until(rfc3339: &str, now: SystemTime) -> String {
    let time = humantime::parse_rfc3339(rfc3339).ok();
    time.map_or_else(|| "-".to_owned(), |time| span(time.duration_since(now).unwrap_or_default()))
}

/// A duration in the one unit that matters.
#[must_use]
pub fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A number in groups of three.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_fit() {
        let rows: Vec<Vec<String>> = [["a", "10", "x"], ["long name", "5", "a long note"]]
            .iter()
            .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
            .collect();
        assert_eq!(columns(&rows, &[1], None), ["a          10  x", "long name   5  a long note"]);
        assert_eq!(columns(&rows, &[1], Some(20)), ["a          10  x", "long name   5  a lo…"]);
        assert!(columns(&[], &[], None).is_empty());
    }

    #[test]
    fn long_text_is_wrapped_between_words() {
        for (width, expected) in [
            (None, "> one two three"),
            (Some(40), "> one two three"),
            (Some(9), "> one two\n  three"),
            (Some(3), "> one\n  two\n  three"),
        ] {
            assert_eq!(wrapped("one two three", "  ", "> ", width), expected);
        }
    }

    #[test]
    fn numbers_and_times_are_read_at_a_glance() {
        for (n, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), expected);
        }
        for (seconds, expected) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
        let now = humantime::parse_rfc3339("2026-11-20T16:00:10Z").unwrap();
        for (time, expected) in [
            (Some("2026-11-20T16:00:05.250Z"), "4 s"),
            (Some("2026-11-20T17:00:00Z"), "0 s"),
            (Some("yesterday"), "-"),
            (None, "-"),
        ] {
            assert_eq!(age(time, now), expected);
        }
    }

    #[test]
    fn wide_letters_take_two_columns() {
        assert_eq!(clipped("日本語のアプリ", 7), "日本語…");
        assert_eq!(clipped("日本語のアプリ", 6), "日本…");
        assert_eq!(clipped("日本", 4), "日本");
        assert_eq!(second("2026-11-26T20:25:01.123Z"), "2026-11-26T20:25:01Z");
        assert_eq!(second("\u{1b}"), "\\x1b");
    }

    #[test]
    fn only_a_terminal_sees_colours() {
        assert_eq!(Paper { width: None, colour: false }.tone(Tone::Bad, "x"), "x");
        assert_eq!(Paper { width: None, colour: true }.tone(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
