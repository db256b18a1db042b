//! `liege check FILE…|DIR…`: what is wrong with configurations, without starting anything.

mod addresses;
mod host;
mod trial;

use std::collections::BTreeMap;

use serde::Serialize;

use super::exit::Exit;
use super::failure;
use super::paper::{Paper, Tone, print};
use super::subject::{Reading, Subject};
use crate::config::diagnostic::{Cause, Diagnostic, Severity};

/// How to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Print JSON.
    pub json: bool,
    /// Try to load the application in its own interpreter.
    pub import: bool,
}

/// What was found out about one configuration.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    file: &'a str,
    good: bool,
    diagnostics: &'a [Diagnostic],
}

/// Prints every mistake and doubt.
#[must_use]
pub fn run(subject: &Subject, manner: Manner) -> Exit {
    let read = subject.read();
    let unreadable = read.iter().filter(|reading| reading.is_none()).count();
    let mut readings: Vec<Reading> = read.into_iter().flatten().collect();
    for reading in &mut readings {
        let mut found = host::look(reading);
        if manner.import && reading.is_good() && !found.iter().any(|told| told.severity == Severity::Error) {
            found.extend(trial::load(reading));
        }
        reading.diagnostics.extend(found);
    }
    addresses::compare(&mut readings);
    for reading in &mut readings {
        // As one reads the file, but for names that are nearly those of options: they lead.
        reading.diagnostics.sort_by_key(|told| {
            (!told.is_near_miss(), told.file != reading.name, told.line.unwrap_or(u32::MAX))
        });
    }
    match manner.json {
        true => tell_machines(&readings),
        false => tell_people(&readings, unreadable),
    }
    match unreadable == 0 && readings.iter().all(Reading::is_good) {
        true => Exit::Done,
        false => Exit::Failed,
    }
}

fn tell_machines(readings: &[Reading]) {
    let files: Vec<_> = readings
        .iter()
        .map(|reading| Verdict {
            file: &reading.name,
            good: reading.is_good(),
            diagnostics: &reading.diagnostics,
        })
        .collect();
    let document = serde_json::json!({ "files": files });
    print(&format!("{document:#}\n"));
}

fn tell_people(readings: &[Reading], unreadable: usize) {
    let paper = Paper::stdout();
    for reading in readings {
        for told in &reading.diagnostics {
            print(&failure::on_paper(told, "", paper));
        }
        let tone = if reading.is_good() { Tone::Good } else { Tone::Bad };
        print(&format!("{}: {}\n", reading.name, paper.tone(tone, &summary(&reading.diagnostics))));
    }
    if readings.len() + unreadable > 1 {
        print(&format!("\n{}", total(readings, unreadable)));
    }
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|told| told.severity == severity).count();
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "good".to_owned(),
        (0, warnings) => format!("good, {}", amount(warnings, "warning")),
        (errors, 0) => amount(errors, "error"),
        (errors, warnings) => format!("{}, {}", amount(errors, "error"), amount(warnings, "warning")),
    }
}

/// How many are good, and which options that liege cannot do yet were asked for.
fn total(readings: &[Reading], unreadable: usize) -> String {
    let good = readings.iter().filter(|reading| reading.is_good()).count();
    let bad = readings.len().saturating_sub(good);
    let mut text = format!("{good} good, {bad} with errors");
    if unreadable > 0 {
        text.push_str(&format!(", {unreadable} not readable"));
    }
    text.push('\n');
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let told = readings.iter().flat_map(|reading| &reading.diagnostics);
    for option in told.filter(|told| told.cause == Cause::NotYet).filter_map(|told| told.option.as_deref()) {
        *missing.entry(option).or_default() += 1;
    }
    if !missing.is_empty() {
        let named: Vec<_> = missing.iter().map(|(option, times)| format!("{option} {times}")).collect();
        text.push_str(&format!("what liege cannot do yet, and how often: {}\n", named.join(", ")));
    }
    text
}

fn amount(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
