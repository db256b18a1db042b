//! The manual page `liege(1)`, in the language of man.

use std::fmt::Write;

use super::verbs::{ACTIONS, SERVE, VERBS};
use super::{NOTES, STATUSES, argument};
use crate::config::table::{self, Kind, Standing};

/// The page.
#[must_use]
pub fn page() -> String {
    let mut text = format!(
        ".TH LIEGE 1 \"\" \"liege {}\" \"User Commands\"\n.SH NAME\nliege \\- run all the Python web apps of a host\n",
        env!("CARGO_PKG_VERSION")
    );
    text.push_str(".SH SYNOPSIS\n");
    for usage in SERVE {
        let _ = writeln!(text, ".br\n.B liege\n{}", roff(usage.line));
    }
    for verb in VERBS {
        for usage in verb.usages {
            let _ = writeln!(text, ".br\n.B liege\n{}", roff(usage.line));
        }
    }
    text.push_str(".SH DESCRIPTION\n");
    text.push_str(
        "An emperor watches directories; each uWSGI configuration file in them is one supervised instance that serves a Python web app. It takes the files and command lines of uWSGI.\n",
    );
    text.push_str(".SH COMMANDS\n");
    let usages = VERBS.iter().flat_map(|verb| verb.usages).chain(ACTIONS);
    for usage in usages {
        item(&mut text, usage.line, usage.doc);
    }
    text.push_str("\\fBliege help\\fR \\fICOMMAND\\fR tells the options of a command.\n");
    text.push_str(".SH OPTIONS\nThese take effect; each works in a file, too (\\fIprocesses = 4\\fR).\n");
    text.push_str("\\fBliege help\\fR \\fIOPTION\\fR tells of the others what becomes of them.\n");
    for row in table::rows() {
        if !matches!(row.standing, Standing::Obeyed(_)) || row.kind == Kind::Language {
            continue;
        }
        let names: Vec<String> = row.names.iter().map(|name| format!("--{name}")).collect();
        let short = row.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
        let default = match row.default {
            "" | "none" => String::new(),
            default => format!(" (default: {default})"),
        };
        let head = format!("{short}{} {}", names.join(", "), argument(row));
        item(&mut text, head.trim_end(), &format!("{}{default}", row.doc));
    }
    text.push_str(".SH NOTES\n");
    for note in NOTES {
        let _ = writeln!(text, "{}\n.PP", roff(note));
    }
    text.push_str(".SH EXIT STATUS\n");
    for (exit, doc) in STATUSES {
        item(&mut text, &(*exit as u8).to_string(), doc);
    }
    text.push_str(".SH SEE ALSO\n.BR uwsgi (1),\n.BR systemd.service (5)\n");
    text
}

fn item(text: &mut String, head: &str, doc: &str) {
    let _ = writeln!(text, ".TP\n.B {}\n{}", roff(head), roff(doc));
}

/// Text that man prints as it is; what stands between back-ticks is bold.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let mut out = String::new();
    for (number, part) in escaped.split('`').enumerate() {
        match number % 2 {
            0 => out.push_str(part),
            _ => {
                let _ = write!(out, "\\fB{part}\\fR");
            }
        }
    }
    // A dot at the start of a line would be a request.
    if out.starts_with('.') { format!("\\&{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_request() {
        assert_eq!(roff(".ini - `a\\b`"), "\\&.ini \\- \\fBa\\eb\\fR");
        assert_eq!(roff("it's"), "it\\(aqs");
    }

    #[test]
    fn every_option_that_takes_effect_is_on_the_page() {
        let text = page();
        for row in table::rows().filter(|row| matches!(row.standing, Standing::Obeyed(_))) {
            let shown = row.names.iter().all(|name| text.contains(&format!("\\-\\-{}", roff(name))));
            assert!(shown || row.kind == Kind::Language, "{}", row.name());
        }
    }
}
