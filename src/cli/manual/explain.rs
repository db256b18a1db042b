//! `liege help OPTION`: one row of the table; `liege help COMMAND`: one command.

use std::fmt::Write;

use super::verbs::Verb;
use super::{argument, entry, verb};
use crate::cli::paper::wrapped;
use crate::config::suggest;
use crate::config::table::{self, Kind, Row, Standing};

/// What is known of an option or a command.
///
/// # Errors
/// There is neither; the text names what was probably meant.
pub fn explain(topic: &str, width: Option<usize>) -> Result<String, String> {
    let name = topic.trim_start_matches('-');
    if let Some(verb) = verb(topic) {
        let mut text = of_verb(verb, width);
        if let Some(row) = table::find(name) {
            let _ = write!(text, "\nand as an option:\n\n{}", of_row(name, row, width));
        }
        return Ok(text);
    }
    let by_letter = || {
        let mut letters = name.chars();
        letters.next().filter(|_| letters.next().is_none()).and_then(table::find_short)
    };
    match table::find(name).or_else(by_letter) {
        Some(row) => Ok(of_row(name, row, width)),
        None => {
            let near = suggest::nearest(name, table::names());
            let advice = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            Err(format!("there is no option or command {name}{advice}"))
        }
    }
}

fn of_verb(verb: &Verb, width: Option<usize>) -> String {
    let width = width.unwrap_or(super::WIDTH);
    let mut text = String::new();
    for usage in verb.usages {
        entry(&mut text, &format!("liege {}", usage.line), usage.doc, width);
    }
    for (option, doc) in verb.options() {
        entry(&mut text, &format!("  {option}"), doc, width);
    }
    text
}

fn of_row(asked: &str, row: &Row, width: Option<usize>) -> String {
    // A family's members are no aliases of each other.
    let is_family = matches!(row.standing, Standing::NoEffect | Standing::Refused);
    let names = if is_family { asked.to_owned() } else { row.names.join(", ") };
    let short = row.short.map(|letter| format!(", -{letter}")).unwrap_or_default();
    let mut text = format!("{names}{short}\n");
    let line = |text: &mut String, what: &str| {
        let _ = writeln!(text, "{}", wrapped(what, "  ", "  ", width));
    };
    let verdict = match row.standing {
        Standing::Obeyed(_) | Standing::Always | Standing::CommandLine => row.doc.to_owned(),
        Standing::NoEffect => format!("{}: {}", row.standing.label(), row.doc),
        Standing::Refused => format!("refused, liege does not do this: {}", row.doc),
    };
    line(&mut text, &verdict);
    if row.standing == Standing::CommandLine {
        line(&mut text, "only on the command line: it is done at once, instead of serving");
    }
    if let Standing::Obeyed(_) = row.standing {
        line(&mut text, &format!("obeyed by {}", row.standing.label()));
    }
    if row.kind != Kind::Language {
        line(&mut text, &format!("value: {}", row.kind.label()));
    }
    if !row.default.is_empty() {
        line(&mut text, &format!("default: {}", row.default));
    }
    let argument = argument(row);
    let (in_file, on_line) = match argument {
        "" => (format!("{asked} = true"), format!("--{asked}")),
        _ if row.optional => (format!("{asked} = {argument}"), format!("--{asked}[={argument}]")),
        _ => (format!("{asked} = {argument}"), format!("--{asked} {argument}")),
    };
    if row.standing != Standing::CommandLine {
        line(&mut text, &format!("in a file: {in_file}"));
    }
    line(&mut text, &format!("on the command line: {on_line}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_commands_are_explained() {
        for (topic, parts) in [
            ("workers", &["processes, workers, -p\n", "default: 1", "--workers N"][..]),
            ("--processes", &["processes, workers, -p"]),
            ("-p", &["processes, workers"]),
            ("master", &["There is always a master", "--master\n"]),
            ("need-app", &["--need-app\n"]),
            ("chmod-socket", &["--chmod-socket[=MODE]"]),
            ("thunder-lock", &["thunder-lock\n  no effect: "]),
            ("fastrouter", &["fastrouter\n  refused, liege does not do this: "]),
            ("webdav-css", &["refused"]),
            ("check", &["liege check", "--import"]),
            ("emperor", &["liege emperor DIR", "\nemperor\n  A directory", "--emperor PATH"]),
            ("version", &["version\n  Prints the version\n  only on the command line"]),
        ] {
            let text = explain(topic, Some(80)).unwrap();
            assert!(parts.iter().all(|part| text.contains(part)), "{topic}: {text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
        let error = explain("procesess", None).unwrap_err();
        assert_eq!(error, "there is no option or command procesess (did you mean processes?)");
        for row in table::rows() {
            assert!(row.names.iter().all(|name| explain(name, None).is_ok()), "{}", row.name());
        }
    }
}
