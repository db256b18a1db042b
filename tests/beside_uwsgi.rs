//! Files that use every feature of the language, read by a real uWSGI (`--show-config`) and by us: the same entries
//! with the same texts, except where we say why not.

#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

#[path = "beside_uwsgi/around.rs"]
mod around;
#[path = "beside_uwsgi/cases.rs"]
mod cases;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use around::Around;
use cases::{CASES, Case, REFUSED, VARIABLES};
use liege::config::{command_line, load};

#[test]
fn a_real_uwsgi_reads_the_same() {
    let programs = programs();
    if programs.is_empty() {
        eprintln!(
            "skipped: there is no uwsgi on the PATH, nor in tests/.venv/uwsgi (tests/make-environments)"
        );
    }
    let mut wrong = Vec::new();
    for program in &programs {
        for case in CASES.iter().filter(|case| program.can(case.needs)) {
            compare(program, case, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_a_real_uwsgi_refuses_is_refused() {
    for (arguments, files, message) in REFUSED {
        let case = Case { arguments, files, ours: &[], needs: "" };
        let folder = case.folder();
        let raw = command_line::read(&words(arguments), &Around::at(folder.path())).raw;
        let loaded = load::instance(raw, &Around::at(folder.path()));
        let told: Vec<_> = loaded.errors().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(message)), "{arguments} {files:?}: {told:?}");
        for program in programs() {
            let output = show(&program, arguments, folder.path());
            let log = String::from_utf8_lossy(&output.stderr);
            let is_refused = !output.status.success() && !log.contains("The -s/--socket option is missing");
            assert!(is_refused, "{} {arguments} {files:?}: {log}", program.path.display());
        }
    }
}

#[test]
fn every_case_is_read_without_an_error() {
    for case in CASES {
        let folder = case.folder();
        let (said, errors) = ours(case, folder.path());
        assert_eq!(errors, Vec::<String>::new(), "{}: {said:?}", case.arguments);
        for (key, text, _) in case.ours {
            assert!(said.contains(&((*key).to_owned(), (*text).to_owned())), "{}: {key}", case.arguments);
        }
    }
}

/// A uwsgi, and what it was built with.
struct Program {
    path: PathBuf,
    flags: String,
}

impl Program {
    fn can(&self, feature: &str) -> bool {
        self.flags.contains(feature)
    }
}

fn programs() -> Vec<Program> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/uwsgi/bin/uwsgi");
    [PathBuf::from("uwsgi"), built]
        .into_iter()
        .filter_map(|path| {
            let output = Command::new(&path).arg("--cflags").stdin(Stdio::null()).output().ok()?;
            let flags = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            Some(Program { path, flags: flags.into_owned() })
        })
        .collect()
}

fn compare(program: &Program, case: &Case, wrong: &mut Vec<String>) {
    let folder = case.folder();
    let theirs = theirs(program, case, folder.path());
    let (said, _) = ours(case, folder.path());
    let said: Vec<_> = said
        .into_iter()
        .map(|(key, value)| {
            let difference = case.ours.iter().find(|(name, text, _)| *name == key && *text == value);
            let value = difference.map_or(value, |(.., theirs)| (*theirs).to_owned());
            // The text of an entry may have many lines, and spaces at its end.
            format!("{key} = {value}").trim_end().to_owned()
        })
        .collect();
    if theirs != said {
        let name = program.path.display();
        wrong.push(format!("{name} {}\n  uwsgi: {theirs:?}\n  ours:  {said:?}", case.arguments));
    }
}

/// What uWSGI says that the configuration is, `key = value`.
fn theirs(program: &Program, case: &Case, folder: &Path) -> Vec<String> {
    let output = show(program, case.arguments, folder);
    let log = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    let shown = log.split(";uWSGI instance configuration\n[uwsgi]\n").nth(1);
    let shown = shown.and_then(|rest| rest.split(";end of configuration").next());
    let Some(shown) = shown else { return vec![format!("it shows no configuration: {log}")] };
    shown.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn show(program: &Program, arguments: &str, folder: &Path) -> Output {
    Command::new(&program.path)
        .args(words(arguments))
        .current_dir(folder)
        .env_clear()
        .envs(VARIABLES.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The arguments, after one that shows the configuration: behind them an open block could hold it.
fn words(arguments: &str) -> Vec<String> {
    ["--show-config"].into_iter().chain(arguments.split(' ')).map(str::to_owned).collect()
}

fn ours(case: &Case, folder: &Path) -> (Vec<(String, String)>, Vec<String>) {
    let raw = command_line::read(&words(case.arguments), &Around::at(folder)).raw;
    let errors = raw.diagnostics.iter().map(ToString::to_string).filter(|line| line.contains(": error: "));
    (raw.said(), errors.collect())
}
