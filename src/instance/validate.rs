//! What a text would mean as the file of a vassal: looked at in a process with limits, which runs nothing and starts
//! nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{host, jail, source};
use crate::config::diagnostic::{Cause, Diagnostic, Severity};
use crate::config::diff;
use crate::config::instance::InstanceSpec;
use crate::config::load::{self, Loaded};
use crate::config::raw::{Raw, differences};
use crate::config::secret;
use crate::config::socket::PassedSocket;
use crate::config::surroundings::{Purpose, World};
use crate::sys::{limits, memfd, signals, user, wait};
use crate::wire::failure::Failure;
use crate::wire::validation::{Change, FILE_LIMIT_BYTES, Part, Question, Verdict};
use crate::wire::{channel, inherited};

/// What looking at it may cost.
const CPU_SECONDS: u64 = 5;
const MEMORY_BYTES: u64 = 1024 * 1024 * 1024;

/// The role `liege validate NAME`: one question, one answer.
#[must_use]
pub fn main() -> ExitCode {
    crate::trace::start(true);
    crate::trace::exit_code("the validation failed", answer())
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

/// Whoever the file belongs to, and whatever it says: nothing is read with more rights than who is to run it has, or, where
/// the emperor's are needed to read the file, than who asks for it has.
fn judge(question: &Question, new: &[u8], old: Option<&[u8]>) -> Result<Verdict, Failure> {
    let starter = match question.tenant {
        Some(tenant) => {
            jail::become_tenant(tenant, &question.privileges)?;
            tenant.uid
        }
        None => user::current_uid(),
    };
    let mut verdict = Verdict::default();
    verdict.omit(Part::Application, "nothing of it is started: the reload tries it");
    if !question.programs.is_empty() {
        of_another_program(question, &mut verdict);
        return Ok(verdict);
    }
    let world = World::at(directory_of(question).to_owned())
        .called_on(question.on_demand.clone())
        .passed(question.passed.iter().cloned().map(PassedSocket::by_name).collect())
        .with_purpose(Purpose::LookAtVassal)
        .remembering();
    let old_read = old.map(|old| Read::of(question, old, &world));
    let is_trusted = question.trusted || old == Some(new);
    let world = if is_trusted { world } else { world.keeping_back() };
    let read = match is_trusted || user::current_uid() != 0 {
        true => Read::of(question, new, &world),
        false => user::as_nobody(|| Read::of(question, new, &world))?,
    };
    verdict.looked_at.push(Part::Options);
    verdict.change = old_read.and_then(|old| compare(&old, &read));
    let Read { raw, loaded } = read;
    verdict.diagnostics = loaded.diagnostics;
    if world.has_kept_back() {
        verdict.diagnostics.push(of_file(
            question,
            Severity::Warning,
            "variables of the environment that the file does not name yet were taken as empty",
            "only who may write files (api-write) is told what they hold",
        ));
    }
    match loaded.spec.or(loaded.draft) {
        Some(spec) => look_around(question, &raw, spec, starter, &mut verdict),
        None => verdict.omit(Part::Host, "too little of the text can be understood"),
    }
    Ok(verdict)
}

/// Looks at the host as whom the instance would run as.
fn look_around(question: &Question, raw: &Raw, mut spec: InstanceSpec, starter: u32, verdict: &mut Verdict) {
    spec.identity.deny_root_apps |= question.deny_root_apps;
    if let Some(tenant) = question.tenant {
        verdict.diagnostics.extend(source::belong_to(tenant, &mut spec.identity, &question.path));
    }
    let nobody = host::identity(raw, &spec.identity);
    let found = if nobody.is_empty() {
        match jail::become_user_quietly(&spec) {
            Ok(()) => {
                verdict.looked_at.push(Part::Host);
                host::look(raw, &spec, starter, &question.own)
            }
            Err(failure) => {
                verdict.omit(
                    Part::Host,
                    "it is looked at as whom the vassal runs as, and nobody can become that",
                );
                vec![raw.told(
                    Severity::Error,
                    "uid",
                    failure.message,
                    failure.hint.as_deref().unwrap_or_default(),
                )]
            }
        }
    } else {
        verdict.omit(
            Part::Host,
            "it is looked at as whom the vassal runs as, and there is no such user or group",
        );
        nobody
    };
    let taken = host::taken(raw, &spec, &question.taken);
    let name = Path::new(&question.path).file_name().unwrap_or_default().to_string_lossy();
    for mut told in found.into_iter().chain(taken) {
        // Who reads them stands in another directory.
        if told.file == name {
            told.file.clone_from(&question.path);
        }
        // Of two that say the same of one line the first has said it.
        let is_known = |known: &Diagnostic| {
            (known.line, &known.option, &known.message) == (told.line, &told.option, &told.message)
        };
        if !verdict.diagnostics.iter().any(is_known) {
            verdict.diagnostics.push(told);
        }
    }
}

/// What can be said where the options are for another program to understand.
fn of_another_program(question: &Question, verdict: &mut Verdict) {
    let named = question.programs.join(", ");
    verdict.omit(Part::Options, format!("they are for {named} to understand, which runs this vassal"));
    verdict.omit(Part::Host, format!("what {named} needs of it is known by that program only"));
    let begin_in = question.begin_in.as_deref().map(|path| directory_of(question).join(path));
    let mut tell = |message: String, suggestion: &str| {
        verdict.diagnostics.push(of_file(question, Severity::Error, message, suggestion));
    };
    if let Some(directory) = begin_in.as_ref().filter(|directory| !directory.is_dir()) {
        tell(format!("there is no directory {} to start it in", directory.display()), "make it");
    }
    let directory: PathBuf = begin_in.unwrap_or_else(|| directory_of(question).to_owned());
    if let Err(error) = host::program(&question.programs, &directory) {
        tell(error.to_string(), "install it, or name another");
    }
}

/// What is told of the file as a whole.
fn of_file(
    question: &Question,
    severity: Severity,
    message: impl Into<String>,
    suggestion: &str,
) -> Diagnostic {
    Diagnostic {
        severity,
        file: question.path.clone(),
        line: None,
        option: None,
        message: message.into(),
        suggestion: Some(suggestion.to_owned()),
        cause: Cause::Host,
    }
}

fn directory_of(question: &Question) -> &Path {
    Path::new(&question.path).parent().unwrap_or(Path::new("/"))
}

struct Read {
    raw: Raw,
    loaded: Loaded<InstanceSpec>,
}

impl Read {
    fn of(Question { path, options, .. }: &Question, bytes: &[u8], world: &World) -> Self {
        let raw = load::entries(options, path, bytes, world);
        let mut loaded = load::vassal_under(options, path, bytes, world);
        if let Some(draft) = &mut loaded.draft {
            draft.name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
        Self { raw, loaded }
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

    /// What the text itself tells.
    fn judged(question: &Question, new: &[u8], old: Option<&[u8]>) -> Verdict {
        let mut verdict = judge(question, new, old).unwrap();
        verdict.diagnostics.retain(|told| told.cause != Cause::Host);
        verdict
    }

    const TEXT: &str =
        "[uwsgi]\nhttp-socket = 127.0.0.1:1\nwsgi-file = /app.py\nenv = A=secret\nprocesses = 2\n";

    #[test]
    fn a_verdict_has_mistakes_and_what_differs() {
        let question = Question { path: "/v/a.ini".into(), ..Question::default() };
        let judge = |new: &str, old| judged(&question, new.as_bytes(), old);
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
            let question = Question { path: "/v/a.ini".into(), on_demand, ..Question::default() };
            assert_eq!(judged(&question, text, None).is_good(), good, "{question:?}");
        }
    }

    #[test]
    fn a_text_that_would_run_commands_runs_none() {
        let home = tempfile::tempdir().unwrap();
        let trace = home.path().join("trace");
        let text = format!("{TEXT}procname-prefix = @(exec://touch {})\n", trace.display());
        let question = Question { path: "/v/a.ini".into(), ..Question::default() };
        let _ = judged(&question, text.as_bytes(), None);
        assert!(!trace.exists());
    }
}
