//! Failures and diagnostics as text for people: the place, the line itself, what to do.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use super::paper::{self, Paper, Tone};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::sys::file;
use crate::trace::escaped;
use crate::wire::failure::Failure;

/// How much of a file is read to show one of its lines.
const SOURCE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How many characters of a line are shown.
const SHOWN_MAX: usize = 72;

/// Those failures that there are, under their titles. One that is there twice is shown under the first of them.
#[must_use]
pub fn each_once<'a>(
    titled: impl IntoIterator<Item = (&'static str, Option<&'a Failure>)>,
) -> Vec<(&'static str, &'a Failure)> {
    let mut shown: Vec<(&str, &Failure)> = Vec::new();
    for (title, failure) in titled {
        if let Some(failure) = failure.filter(|one| !shown.iter().any(|(_, other)| other == one)) {
            shown.push((title, failure));
        }
    }
    shown
}

/// A failure with its places, traceback and advice, each line after `indent`.
#[must_use]
pub fn lines(failure: &Failure, indent: &str) -> String {
    let mut out = String::new();
    // A configuration's failure is its diagnostics; the sentence would only count them.
    if failure.diagnostics.is_empty() {
        let _ = writeln!(out, "{indent}{}", escaped(&failure.message));
    }
    for one in &failure.diagnostics {
        out.push_str(&diagnostic(one, indent));
    }
    for line in failure.traceback.iter().flat_map(|traceback| traceback.lines()) {
        let _ = writeln!(out, "{indent}  {}", escaped(line));
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(out, "{indent}→ {}", escaped(hint));
    }
    out
}

/// A diagnostic: `file:line: error: option: message`, the line with a mark below what is meant if it can be read, and
/// what to write instead.
#[must_use]
pub fn diagnostic(diagnostic: &Diagnostic, indent: &str) -> String {
    on_paper(diagnostic, indent, Paper { width: None, colour: false })
}

/// The same, wrapped and coloured as the paper allows.
#[must_use]
pub fn on_paper(diagnostic: &Diagnostic, indent: &str, paper: Paper) -> String {
    let place = match diagnostic.line {
        Some(line) => format!("{}:{line}", diagnostic.file),
        None => diagnostic.file.clone(),
    };
    let (severity, tone) = match diagnostic.severity {
        Severity::Warning => ("warning", Tone::Passing),
        Severity::Error => ("error", Tone::Bad),
    };
    let option = diagnostic.option.as_ref().map(|option| format!("{option}: ")).unwrap_or_default();
    let text = escaped(&format!("{place}: {severity}: {option}{}", diagnostic.message));
    let first = paper::wrapped(&text, &format!("{indent}    "), indent, paper.width);
    let label = format!(" {severity}:");
    let mut out = format!("{}\n", first.replacen(&label, &paper.tone(tone, &label), 1));
    let source = diagnostic.line.and_then(|line| source_line(Path::new(&diagnostic.file), line));
    if let (Some(source), Some(line)) = (source, diagnostic.line) {
        let (shown, mark) = marked(source.trim(), diagnostic);
        let _ = writeln!(out, "{indent}  {} {shown}", paper.tone(Tone::Faint, &format!("{line} |")));
        if !mark.is_empty() {
            let margin = " ".repeat(line.to_string().len());
            let _ = writeln!(
                out,
                "{indent}  {margin} {} {}",
                paper.tone(Tone::Faint, "|"),
                paper.tone(tone, &mark)
            );
        }
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        let text = format!("→ {}", escaped(suggestion));
        out.push_str(&paper::wrapped(&text, &format!("{indent}    "), &format!("{indent}  "), paper.width));
        out.push('\n');
    }
    out
}

/// A line as shown, and the mark below the part of it that is meant; empty where that cannot be told.
fn marked(source: &str, diagnostic: &Diagnostic) -> (String, String) {
    let (name, value) = source.split_once('=').map_or((source, ""), |(name, value)| (name.trim_end(), value));
    let value = value.trim();
    let (start, part) = match diagnostic.option.as_deref() == Some(name) {
        // Something else on this line: an included file, a placeholder, a block.
        false => (0, source),
        true if diagnostic.cause.is_of_name() || value.is_empty() => (0, name),
        true => (source.len().saturating_sub(value.len()), value),
    };
    let before = escaped(source.get(..start).unwrap_or_default()).chars().count();
    let length = escaped(part).chars().count();
    let shown = paper::clipped(&escaped(source), SHOWN_MAX);
    if diagnostic.option.is_none() || before >= SHOWN_MAX {
        return (shown, String::new());
    }
    (shown, format!("{}{}", " ".repeat(before), "^".repeat(length.clamp(1, SHOWN_MAX - before))))
}

fn source_line(path: &Path, line: u32) -> Option<String> {
    let opened = file::open_untrusted(path).ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file()))?;
    let mut bytes = Vec::new();
    opened.take(SOURCE_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let line = bytes.split(|&b| b == b'\n').nth(index)?;
    Some(String::from_utf8_lossy(line).chars().take(200).collect()).filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::Cause;

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ini");
        std::fs::write(&path, "[uwsgi]\n  procesess = 4\x1b\n").unwrap();
        let file = path.display().to_string();
        let mistake = Diagnostic {
            severity: Severity::Error,
            file: file.clone(),
            line: Some(2),
            option: Some("procesess".into()),
            message: "unknown option".into(),
            suggestion: Some("did you mean processes?".into()),
            cause: Cause::Unknown,
        };
        let shown = diagnostic(&mistake, "");
        let expected = format!(
            "{file}:2: error: procesess: unknown option\n  2 | procesess = 4\\x1b\n    | ^^^^^^^^^\n  → did you mean processes?\n"
        );
        assert_eq!(shown, expected);
        let elsewhere = Diagnostic { line: Some(99), suggestion: None, ..mistake };
        assert_eq!(diagnostic(&elsewhere, ""), format!("{file}:99: error: procesess: unknown option\n"));
    }

    #[test]
    fn what_failed_for_one_reason_is_told_once() {
        let (one, other) = (Failure::new("one"), Failure::new("other"));
        let again = one.clone();
        let shown = each_once([("a", Some(&one)), ("b", Some(&again)), ("c", None), ("d", Some(&other))]);
        assert_eq!(shown, [("a", &one), ("d", &other)]);
    }

    #[test]
    fn the_mark_is_below_what_is_meant() {
        for (source, option, cause, mark) in [
            ("processes = four", Some("processes"), Cause::Value, "            ^^^^"),
            ("processes = four", Some("processes"), Cause::NotYet, "^^^^^^^^^"),
            ("a = a", Some("a"), Cause::Value, "    ^"),
            ("a=a", Some("a"), Cause::Value, "  ^"),
            ("vacuum", Some("vacuum"), Cause::Value, "^^^^^^"),
            ("chdir =", Some("chdir"), Cause::Value, "^^^^^"),
            ("env = A=b", Some("env"), Cause::Value, "      ^^^"),
            ("ini = gone.ini", None, Cause::Value, ""),
            ("ü = \u{1b}x", Some("ü"), Cause::Value, "    ^^^^^"),
            ("x = y", Some("other"), Cause::Value, "^^^^^"),
        ] {
            let diagnostic = Diagnostic {
                severity: Severity::Error,
                file: "a.ini".into(),
                line: Some(1),
                option: option.map(str::to_owned),
                message: String::new(),
                suggestion: None,
                cause,
            };
            assert_eq!(marked(source, &diagnostic).1, mark, "{source}");
        }
    }

    #[test]
    fn a_traceback_is_whole_and_harmless() {
        let failure =
            Failure::new("cannot load").with_traceback("Traceback:\n  boom\x1b[31m").with_hint("mend it");
        assert_eq!(lines(&failure, ""), "cannot load\n  Traceback:\n    boom\\x1b[31m\n→ mend it\n");
    }
}
