//! Failures and diagnostics as text for people: the place, the line itself, what to do.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::sys::file;
use crate::trace::escaped;
use crate::wire::failure::Failure;

/// How much of a file is read to show one of its lines.
const SOURCE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

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

/// A diagnostic: `file:line: error: option: message`, the line if it can be read, and what to write instead.
#[must_use]
pub fn diagnostic(diagnostic: &Diagnostic, indent: &str) -> String {
    let place = match diagnostic.line {
        Some(line) => format!("{}:{line}", diagnostic.file),
        None => diagnostic.file.clone(),
    };
    let severity = match diagnostic.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let option = diagnostic.option.as_ref().map(|option| format!("{option}: ")).unwrap_or_default();
    let text = format!("{place}: {severity}: {option}{}", diagnostic.message);
    let mut out = format!("{indent}{}\n", escaped(&text));
    let source = diagnostic.line.and_then(|line| source_line(Path::new(&diagnostic.file), line));
    if let (Some(source), Some(line)) = (source, diagnostic.line) {
        let _ = writeln!(out, "{indent}  {line} | {}", escaped(source.trim()));
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        let _ = writeln!(out, "{indent}  → {}", escaped(suggestion));
    }
    out
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
        };
        let shown = diagnostic(&mistake, "");
        let expected = format!(
            "{file}:2: error: procesess: unknown option\n  2 | procesess = 4\\x1b\n  → did you mean processes?\n"
        );
        assert_eq!(shown, expected);
        let elsewhere = Diagnostic { line: Some(99), suggestion: None, ..mistake };
        assert_eq!(diagnostic(&elsewhere, ""), format!("{file}:99: error: procesess: unknown option\n"));
    }

    #[test]
    fn a_traceback_is_whole_and_harmless() {
        let failure =
            Failure::new("cannot load").with_traceback("Traceback:\n  boom\x1b[31m").with_hint("mend it");
        assert_eq!(lines(&failure, ""), "cannot load\n  Traceback:\n    boom\\x1b[31m\n→ mend it\n");
    }
}
