//! `liege config FILE`: the configuration as it counts, each value with its origin; and what a change would do.

use std::path::Path;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure;
use super::paper::{Paper, Tone, columns, complain, print};
use super::subject::{self, Reading, Subject};
use crate::config::diagnostic::Severity;
use crate::config::diff::{self, Change, Need};
use crate::config::raw::{Entry, Role, differences};
use crate::config::table;

/// What to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Print JSON.
    pub json: bool,
    /// An earlier content of the file.
    pub old: Option<std::path::PathBuf>,
}

/// Prints the configuration, or what differs from an earlier one.
#[must_use]
pub fn run(subject: &Subject, manner: &Manner) -> Exit {
    if let (Subject::Files(files), Some(old)) = (subject, &manner.old) {
        return files.first().map_or(Exit::Usage, |file| compare(file, old, manner.json));
    }
    let mut exit = Exit::Done;
    for reading in subject.read() {
        let Some(reading) = reading else {
            exit = Exit::Failed;
            continue;
        };
        match manner.json {
            true => print(&format!("{:#}\n", document(&reading))),
            false => print(&text(&reading, Paper::stdout())),
        }
        if reading.raw.has_errors() {
            exit = Exit::Failed;
        } else if !reading.is_good() {
            complain(&format!("{} is refused as it stands: liege check tells why", reading.name));
        }
    }
    exit
}

/// `options` in order, `warnings` as text, and the `error` that ended the reading.
fn document(reading: &Reading) -> Value {
    let said = reading.raw.said();
    let options: Vec<_> = said
        .iter()
        .zip(&reading.raw.entries)
        .map(|((key, value), entry)| json!([key, value, reading.origin(entry)]))
        .collect();
    let error = reading.raw.diagnostics.iter().find(|told| told.severity == Severity::Error);
    let error = error.map(|told| json!({"exit": 1, "message": told.message}));
    let warnings: Vec<_> = reading
        .diagnostics
        .iter()
        .filter(|told| told.severity == Severity::Warning)
        .map(ToString::to_string)
        .collect();
    json!({"options": options, "warnings": warnings, "error": error})
}

fn text(reading: &Reading, paper: Paper) -> String {
    let mut out = String::new();
    for told in reading.raw.diagnostics.iter().filter(|told| told.severity == Severity::Error) {
        out.push_str(&failure::on_paper(told, "", paper));
    }
    let entries = &reading.raw.entries;
    let rows: Vec<Vec<String>> =
        entries.iter().map(|entry| vec![reading.origin(entry), line(entry)]).collect();
    for (number, (shown, entry)) in columns(&rows, &[], None).into_iter().zip(entries).enumerate() {
        let counts = counts(entry, entries.get(number + 1..).unwrap_or_default());
        let note = if counts == Counts::Overridden { "  (a later one counts)" } else { "" };
        let shown = crate::trace::escaped(&format!("{shown}{note}"));
        let tone = if counts == Counts::Yes { shown } else { paper.tone(Tone::Faint, &shown) };
        out.push_str(&format!("{tone}\n"));
    }
    out
}

fn line(entry: &Entry) -> String {
    match &entry.value {
        Some(value) if value.is_empty() => entry.key.clone(),
        Some(value) => format!("{} = {value}", entry.key),
        None => format!("{} = true", entry.key),
    }
}

/// Whether an entry has an effect of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Yes,
    /// Another entry of the option comes later.
    Overridden,
    /// It acted while it was read, or is a placeholder.
    Acted,
}

fn counts(entry: &Entry, later: &[Entry]) -> Counts {
    let Some(row) = table::find(&entry.key).filter(|_| entry.role != Role::Acted) else {
        return Counts::Acted;
    };
    let is_same = |other: &Entry| other.role != Role::Acted && row.names.contains(&other.key.as_str());
    if !row.is_repeatable() && later.iter().any(is_same) { Counts::Overridden } else { Counts::Yes }
}

fn compare(file: &Path, old: &Path, json: bool) -> Exit {
    let (Some(new), Some(before)) = (subject::read_file(file, None), subject::read_file(file, Some(old)))
    else {
        return Exit::Failed;
    };
    let refused = [(&before, old), (&new, file)].into_iter().find(|(reading, _)| !reading.is_good());
    if let Some((_, path)) = refused {
        complain(&format!("{} is refused: liege check tells why", path.display()));
        return Exit::Failed;
    }
    let (Some(new_spec), Some(old_spec)) = (&new.instance, &before.instance) else {
        complain("only what describes an instance can be compared");
        return Exit::Failed;
    };
    let mut change = diff::diff(old_spec, new_spec);
    change.options.retain(|option| *option != "name");
    let differences: Vec<(char, String)> = differences(&before.raw.entries, &new.raw.entries)
        .into_iter()
        .map(|(sign, entry)| (sign, line(entry)))
        .collect();
    if json {
        let document = json!({
            "options": change.options,
            "lines": differences.iter().map(|(sign, text)| format!("{sign}{text}")).collect::<Vec<_>>(),
            "needs": need(change.needs),
            "reload": effect(&change),
        });
        print(&format!("{document:#}\n"));
        return Exit::Done;
    }
    let paper = Paper::stdout();
    for (sign, text) in &differences {
        let tone = if *sign == '-' { Tone::Bad } else { Tone::Good };
        print(&format!("{}\n", paper.tone(tone, &crate::trace::escaped(&format!("{sign} {text}")))));
    }
    print(&format!("{}\n", effect(&change)));
    Exit::Done
}

const fn need(needs: Need) -> &'static str {
    match needs {
        Need::Nothing => "nothing",
        Need::Workers => "workers",
        Need::Generation => "generation",
        Need::Reexec => "reexec",
        Need::Replace => "replace",
    }
}

/// What the reload will do, for people.
fn effect(change: &Change) -> String {
    let what = match change.needs {
        Need::Nothing if change.options.is_empty() => return "nothing changes".to_owned(),
        Need::Nothing => "the master takes this over; workers stay as they are",
        Need::Workers => "workers are added or end; the others stay as they are",
        Need::Generation => "new workers are brought up beside the old ones, which finish their requests",
        Need::Reexec => "the master re-executes itself and brings up new workers; the sockets stay open",
        Need::Replace => "another instance takes this one's place; the sockets stay open",
    };
    format!("a reload changes {}: {what}", change.options.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Origin;

    #[test]
    fn only_the_last_of_an_option_counts_unless_it_is_repeatable() {
        let entry = |key: &str, role| Entry {
            key: key.to_owned(),
            value: Some("1".to_owned()),
            origin: Origin::of("x"),
            role,
            dressed: false,
        };
        let ordinary = |key| entry(key, Role::Ordinary);
        for (first, later, expected) in [
            (ordinary("processes"), ordinary("workers"), Counts::Overridden),
            (ordinary("processes"), ordinary("threads"), Counts::Yes),
            (ordinary("http-socket"), ordinary("http-socket"), Counts::Yes),
            (ordinary("name"), ordinary("name"), Counts::Acted),
            (entry("ini", Role::Acted), ordinary("ini"), Counts::Acted),
        ] {
            assert_eq!(counts(&first, std::slice::from_ref(&later)), expected, "{first:?} {later:?}");
        }
    }

    #[test]
    fn what_a_reload_does_is_told() {
        let change = Change { needs: Need::Workers, options: vec!["processes"] };
        assert_eq!(
            effect(&change),
            "a reload changes processes: workers are added or end; the others stay as they are"
        );
        assert_eq!(effect(&Change::default()), "nothing changes");
    }
}
