//! The table as a page of the documentation.

use std::fmt::Write;

use super::{By, Kind, PARTS, Part, Row, Standing, families};

const HEAD: &str = "# Options

Every option of uWSGI that is known to be used, what liege makes of it, and who obeys it. An option works in a file
(`processes = 4`), on the command line (`--processes 4`, `--processes=4`, `-p 4`) and in the environment
(`UWSGI_PROCESSES=4`). [configuration.md](configuration.md) tells how files are read; `liege help OPTION` tells one row
of this page. The page is made from the table in the code (`make docs`).
";

/// `docs/options.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for part in PARTS {
        section(&mut text, part);
    }
    text.push_str("\n## Everything else that uWSGI knows\n\nNobody was seen to use these; they are told apart from placeholders all the same.\n");
    for row in families::ROWS.iter() {
        let _ = writeln!(text, "\n- {}: {}: {}", row.standing.label(), escaped(row.doc), names(row));
    }
    text
}

fn section(text: &mut String, Part { title, note, rows }: &Part) {
    let _ = write!(text, "\n## {title}\n\n");
    if !note.is_empty() {
        let _ = write!(text, "{note}\n\n");
    }
    text.push_str("| option | value | default | obeyed by | meaning |\n|---|---|---|---|---|\n");
    for row in *rows {
        let short = row.short.map(|letter| format!(", `-{letter}`")).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {}{short} | {} | {} | {} | {} |",
            names(row),
            row.kind.label(),
            row.default,
            row.standing.label(),
            escaped(row.doc),
        );
    }
}

fn names(row: &Row) -> String {
    let names: Vec<_> = row.names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

impl Kind {
    /// What people call such a value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Number => "number",
            Self::Text | Self::FreeText => "text",
            Self::Path => "path",
            Self::Address => "address",
            Self::Mode => "mode",
            Self::Identity => "name or number",
            Self::Pair => "name=value",
            Self::Language => "–",
        }
    }
}

impl Standing {
    /// Who obeys it, or what becomes of it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Obeyed(By::Config) => "the reader",
            Self::Obeyed(By::Master) => "the master",
            Self::Obeyed(By::Worker) => "the workers",
            Self::Obeyed(By::Router) => "the router",
            Self::Obeyed(By::Emperor) => "the emperor",
            Self::Obeyed(By::Both) => "the emperor, the master",
            Self::Always => "always so",
            Self::NoEffect => "no effect",
            Self::Refused => "refused",
            Self::CommandLine => "the command line",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_option() {
        let text = markdown();
        for name in super::super::names() {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
