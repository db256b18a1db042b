//! What a text would mean as the file of a vassal: looked at in a process with limits, which runs nothing and starts
//! nothing.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::config::diff;
use crate::config::instance::InstanceSpec;
use crate::config::load::{self, Loaded};
use crate::config::raw::{Raw, differences};
use crate::config::secret;
use crate::config::surroundings::World;
use crate::sys::{limits, memfd, signals, wait};
use crate::wire::validation::{Change, FILE_LIMIT_BYTES, Question, Verdict};
use crate::wire::{channel, inherited};

/// What looking at it may cost.
const CPU_SECONDS: u64 = 5;
const MEMORY_BYTES: u64 = 1024 * 1024 * 1024;

/// The role `liege validate NAME`: one question, one answer.
#[must_use]
pub fn main() -> ExitCode {
    crate::trace::start(true);
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the validation failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> io::Result<()> {
    signals::ignore_sigpipe()?;
    let channel = inherited::take()?;
    limits::limit_cpu_seconds(CPU_SECONDS)?;
    limits::limit_memory_bytes(MEMORY_BYTES)?;
    wait::readable(&channel, None)?;
    let Some((question, fds)) = channel::receive::<Question>(&channel)? else { return Ok(()) };
    let texts = fds.into_iter().map(|fd| memfd::read_all(fd, FILE_LIMIT_BYTES));
    let texts = texts.collect::<io::Result<Vec<_>>>()?;
    let (new, old) = (texts.first().map(Vec::as_slice), texts.get(1).map(Vec::as_slice));
    channel::send(&channel, &judge(&question, new.unwrap_or_default(), old), &[])
}

fn judge(question: &Question, new: &[u8], old: Option<&[u8]>) -> Verdict {
    let new = Read::of(question, new);
    let change = old.and_then(|old| compare(&Read::of(question, old), &new));
    Verdict { diagnostics: new.loaded.diagnostics, change }
}

struct Read {
    raw: Raw,
    loaded: Loaded<InstanceSpec>,
}

impl Read {
    fn of(Question { path, options, on_demand }: &Question, bytes: &[u8]) -> Self {
        let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
        let world = World::at(directory.to_owned()).called_on(on_demand.clone());
        let raw = load::entries(options, path, bytes, &world);
        Self { raw, loaded: load::vassal_under(options, path, bytes, &world) }
    }
}

fn compare(old: &Read, new: &Read) -> Option<Change> {
    let (old_spec, new_spec) = (old.loaded.spec.as_ref()?, new.loaded.spec.as_ref()?);
    let mut change = diff::diff(old_spec, new_spec);
    change.options.retain(|option| *option != "name");
    let lines = differences(&old.raw.entries, &new.raw.entries).into_iter();
    let lines = lines.map(|(sign, entry)| format!("{sign}{}", secret::without(entry)));
    Some(Change {
        needs: change.needs,
        options: change.options.into_iter().map(str::to_owned).collect(),
        lines: lines.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::Address;
    use crate::config::diff::Need;

    const TEXT: &str =
        "[uwsgi]\nhttp-socket = 127.0.0.1:1\nwsgi-file = /app.py\nenv = A=secret\nprocesses = 2\n";

    #[test]
    fn a_verdict_has_mistakes_and_what_differs() {
        let question = Question { path: "/v/a.ini".into(), options: Box::default(), on_demand: None };
        let judge = |new: &str, old| judge(&question, new.as_bytes(), old);
        let old = Some(TEXT.as_bytes());
        let more = judge(&TEXT.replace("= 2", "= 4"), old);
        let change = more.change.clone().unwrap();
        assert!(more.is_good());
        assert_eq!((change.needs, &change.options[..]), (Need::Workers, &["processes".to_owned()][..]));
        assert_eq!(change.lines, ["-processes = 2", "+processes = 4"]);
        let lines = judge(&TEXT.replace("secret", "hidden"), old).change.unwrap().lines;
        assert_eq!(lines, ["-env = A=…", "+env = A=…"]);
        let same = judge(TEXT, old).change.unwrap();
        assert_eq!((same.needs, same.lines.len()), (Need::Nothing, 0));
        assert_eq!(judge(TEXT, None).change, None);
        let wrong = judge(&TEXT.replace("= 2", "= many"), old);
        assert!(!wrong.is_good() && wrong.change.is_none());
        let told = &wrong.diagnostics[0];
        assert_eq!(
            (told.file.as_str(), told.line, told.option.as_deref()),
            ("/v/a.ini", Some(5), Some("processes"))
        );
    }

    #[test]
    fn who_is_waited_for_needs_no_other_socket() {
        let text = b"[uwsgi]\nwsgi-file = /app.py\n";
        for (on_demand, good) in [(None, false), (Some(Address::Unix("/d.sock".into())), true)] {
            let question = Question { path: "/v/a.ini".into(), options: Box::default(), on_demand };
            assert_eq!(judge(&question, text, None).is_good(), good, "{question:?}");
        }
    }

    #[test]
    fn a_text_that_would_run_commands_runs_none() {
        let home = tempfile::tempdir().unwrap();
        let trace = home.path().join("trace");
        let text = format!("{TEXT}procname-prefix = @(exec://touch {})\n", trace.display());
        let question = Question { path: "/v/a.ini".into(), options: Box::default(), on_demand: None };
        let _ = judge(&question, text.as_bytes(), None);
        assert!(!trace.exists());
    }
}
