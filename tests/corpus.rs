//! Real public uWSGI files, and what uWSGI makes of them: ours must be the same, except where we say why not.

#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use liege::config::command_line;
use liege::config::diagnostic::{Cause, Diagnostic, Severity};
use liege::config::load;
use liege::config::raw::Raw;
use liege::config::surroundings::{Facts, Kind, Surroundings};
use serde_json::Value;

/// What we make of a value on purpose otherwise than uWSGI 2.0.31, and why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("016", "listen", "4095", "`listen` is expanded like any other option"),
    ("017", "listen", "4095", "`listen` is expanded like any other option"),
    ("347", "processes", "5", "parentheses count: %((2 * 2) + 1)"),
];

/// How many of the files give a spec; the rest need options that are refused, or are parts of a configuration. This
/// number may only grow.
const LOADED: usize = 246;

/// The errors that are right, by a part of their message, and why.
const ERRORS: &[(&str, &str)] = &[
    ("there is nothing to listen on", "part of a configuration: uWSGI ends, too"),
    ("No such file or directory", "an included file is not in the corpus: uWSGI ends, too"),
    ("is not a port", "a template that nobody filled in: uWSGI takes any port that is free"),
    ("@(exec://", "a command would be run"),
    ("there is no directory", "the `envdir` of another host: uWSGI ends, too"),
];

/// Where the files live in our imagination, and how the expected results call it.
const ROOT: (&str, &str) = ("/imagined-root", "@ROOT@");
const MICROS: (u64, &str) = (1_700_000_000_123_456, "@MICROS@");

/// The world that the corpus was recorded in: one file, a small environment.
struct Recorded {
    path: PathBuf,
    bytes: Vec<u8>,
    environment: BTreeMap<String, String>,
    cpus: u32,
}

impl Surroundings for Recorded {
    fn variables(&self) -> Vec<(String, String)> {
        self.environment.clone().into_iter().collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn directory(&self) -> PathBuf {
        self.path.parent().unwrap().to_owned()
    }

    fn read(&self, path: &Path, _limit: usize) -> io::Result<Vec<u8>> {
        match self.directory().join(path) {
            path if path == self.path => Ok(self.bytes.clone()),
            path if path == Path::new("/proc/sys/net/core/somaxconn") => Ok(b"4096\n".to_vec()),
            _ => Err(io::Error::from_raw_os_error(2)),
        }
    }

    fn read_inherited(&self, _descriptor: u32, _limit: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    /// As when the expected results were made.
    fn run(&self, _command: &str, _limit: usize) -> io::Result<Vec<u8>> {
        Err(io::Error::other("exec skipped"))
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        (self.directory().join(path) == self.path).then_some(Kind::File)
    }

    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.directory().join(path))
    }

    fn inode(&self, _path: &Path) -> Option<u64> {
        Some(1)
    }

    fn matches(&self, _pattern: &str) -> Vec<String> {
        Vec::new()
    }

    fn facts(&self) -> Facts {
        Facts { cpus: self.cpus, unix_us: MICROS.0, uid: 1000, gid: 1000, ..Facts::default() }
    }
}

#[test]
fn real_files_mean_what_they_mean_in_uwsgi() {
    let Some(corpus) = find() else {
        eprintln!("skipped: there is no corpus of real files beside this repository");
        return;
    };
    let mut wrong = Vec::new();
    let mut missing = Vec::new();
    let (mut files, mut loaded) = (0, 0);
    for expected in expectations(&corpus) {
        let id = expected["id"].as_str().unwrap();
        let world = world(&corpus, id, &expected);
        let raw = read(&world);
        files += 1;
        if expected["error"].is_null() {
            compare(id, &raw, &expected, &mut wrong);
        } else if !raw.has_errors() {
            wrong.push(format!("{id}: uWSGI refuses it: {}", expected["error"]));
        }
        let diagnostics = judge(raw, &world);
        let errors = diagnostics.iter().filter(|told| told.severity == Severity::Error);
        for error in errors {
            let is_known = |(part, _): &&(&str, &str)| error.message.contains(part);
            match error.cause {
                Cause::NotYet => missing.push(error.option.clone().unwrap_or_default()),
                Cause::Refused => {}
                _ if ERRORS.iter().any(|known| is_known(&known)) => {}
                _ => wrong.push(format!("{id}: a false error: {error}")),
            }
        }
        loaded += usize::from(!diagnostics.iter().any(|told| told.severity == Severity::Error));
    }
    assert!(wrong.is_empty(), "{} of {files} files differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missing.is_empty(), "{} uses of what liege cannot do yet: {missing:?}", missing.len());
    assert!(loaded >= LOADED, "only {loaded} of {files} files load");
}

fn judge(raw: Raw, world: &Recorded) -> Vec<Diagnostic> {
    if raw.is_emperor() {
        load::emperor(raw, world).diagnostics
    } else {
        load::instance(raw, world).diagnostics
    }
}

fn compare(id: &str, raw: &Raw, expected: &Value, wrong: &mut Vec<String>) {
    let said = raw.said();
    let options = expected["options"].as_array().unwrap();
    if said.len() != options.len() {
        wrong.push(format!("{id}: {} entries instead of {}", said.len(), options.len()));
    }
    for ((key, value), option) in said.iter().zip(options) {
        let value = value.replace(ROOT.0, ROOT.1).replace(&MICROS.0.to_string(), MICROS.1);
        let (wanted_key, wanted) = (option[0].as_str().unwrap(), option[1].as_str().unwrap());
        let difference = DIFFERENCES.iter().find(|(file, name, ..)| *file == id && name == key);
        let wanted = difference.map_or(wanted, |(_, _, ours, _)| ours);
        if (key.as_str(), value.as_str()) != (wanted_key, wanted) {
            wrong.push(format!("{id}: {key} = {value:?} instead of {wanted_key} = {wanted:?}"));
        }
    }
}

fn read(world: &Recorded) -> Raw {
    let name = world.path.file_name().unwrap().to_str().unwrap();
    command_line::read(&["--ini".to_owned(), name.to_owned()], world).raw
}

fn world(corpus: &Path, id: &str, expected: &Value) -> Recorded {
    let environment = expected["env"].as_object().unwrap().iter();
    Recorded {
        path: Path::new(ROOT.0).join(expected["file"].as_str().unwrap()),
        bytes: std::fs::read(corpus.join("ini").join(format!("{id}.ini"))).unwrap(),
        environment: environment
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        cpus: u32::try_from(expected["cpus"].as_u64().unwrap()).unwrap(),
    }
}

fn expectations(corpus: &Path) -> Vec<Value> {
    let mut paths: Vec<_> =
        std::fs::read_dir(corpus.join("ini-expected")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

/// The corpus lies in a folder beside the repository, or beside the folder of its worktrees.
fn find() -> Option<PathBuf> {
    let beside = |folder: &Path| folder.join("shared").join("corpus");
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(beside).find(|corpus| corpus.join("ini").is_dir())
}
