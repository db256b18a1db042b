//! Serving: uWSGI's command line becomes an emperor, an instance, or something to do at once.

use std::ffi::OsString;
use std::process::ExitCode;

use super::exit::Exit;
use super::paper::{Paper, complain, print};
use super::{emperor, failure, manual, pidfile, reader};
use crate::config::command_line::{self, Action};
use crate::config::diagnostic::Severity;
use crate::config::emperor::EmperorSpec;
use crate::config::load::{self, Loaded};
use crate::config::raw::Raw;
use crate::config::socket::PassedSocket;
use crate::config::surroundings::{Purpose, World};
use crate::emperor::reexec;
use crate::instance::{self, uwsgi_emperor::Inheritance};
use crate::sys::activation::{self, Activation};

/// Does what the arguments say.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments: Result<Vec<String>, OsString> = arguments.into_iter().map(OsString::into_string).collect();
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(argument) => {
            complain(&format!("an argument is not UTF-8: {}", argument.to_string_lossy()));
            return Exit::Usage.into();
        }
    };
    // The image before this one read the configuration already; its workers serve meanwhile.
    if instance::run::is_carried() {
        return instance::run::standalone(&arguments, None, Activation::default());
    }
    let uwsgi_emperor = match Inheritance::take() {
        Ok(inheritance) => inheritance,
        Err(error) => {
            complain(&format!("the emperor of uWSGI that started this hands nothing over: {error}"));
            return Exit::Failed.into();
        }
    };
    let on_demand = uwsgi_emperor.as_ref().and_then(|emperor| Some(emperor.listener.as_ref()?.0.clone()));
    let handed = uwsgi_emperor.as_ref().and_then(|emperor| emperor.text.clone());
    let activation = activation::take();
    let world = World::here()
        .with_purpose(Purpose::Start)
        .called_on(on_demand)
        .handed(handed)
        .passed(PassedSocket::all(&activation.passed));
    let line = command_line::read(&arguments, &world);
    if reexec::is_rehearsal() && (line.action.is_some() || !line.raw.is_emperor()) {
        return super::no_emperor();
    }
    match line.action {
        Some(action) => act(action, &line.raw),
        None if line.raw.is_emperor() && uwsgi_emperor.is_some() => {
            complain("an emperor below an emperor of uWSGI is not supported: start it on its own");
            Exit::Failed.into()
        }
        None if line.raw.is_emperor() => {
            let loaded = load::emperor(line.raw, &world);
            let draft = loaded.draft.clone();
            let first = loaded.diagnostics.iter().find(|told| told.severity == Severity::Error);
            let first = first.map(ToString::to_string).unwrap_or_default();
            match accepted(loaded) {
                Ok(spec) => emperor::main(spec, activation),
                Err(_) => go_on_without(draft, &first, activation),
            }
        }
        None => {
            let loaded = load::instance(line.raw, &world);
            // Warnings alone are logged by the instance, which reads it all again.
            let names_another = loaded.draft.as_ref().is_some_and(|draft| draft.fallback.is_some());
            match loaded.spec.is_some() || names_another {
                true => instance::run::standalone(&arguments, uwsgi_emperor, activation),
                false => accepted(loaded).map_or_else(ExitCode::from, |_| ExitCode::FAILURE),
            }
        }
    }
}

/// The options of an emperor are refused. Whoever starts it need not try again until they are mended; but vassals that
/// serve are not left alone for that.
fn go_on_without(draft: Option<EmperorSpec>, first: &str, activation: Activation) -> ExitCode {
    let Some(mut last) = draft.and_then(emperor::options_of_the_last) else {
        reexec::give_reason(first);
        return Exit::Refused.into();
    };
    complain(
        "the options are refused: the vassals that run are taken over with those of the emperor before; mend them, then send SIGHUP",
    );
    last.instead = Some(format!(
        "its options are refused, and it goes by those of the emperor before: {first} (mend them, then send SIGHUP)"
    ));
    emperor::main(last, activation)
}

fn act(action: Action, raw: &Raw) -> ExitCode {
    match action {
        Action::Help => print(&manual::help(Paper::stdout().width)),
        Action::Version => print(super::VERSION),
        Action::Exit(status) => return status.into(),
        Action::Get(keys) => {
            let value = |key: &String| raw.entries.iter().find(|entry| entry.key == *key);
            for entry in keys.iter().filter_map(value) {
                print(&format!("{}\n", entry.value.as_deref().unwrap_or("true")));
            }
        }
        Action::Read(address) => return reader::run(&address).into(),
        Action::Signal(signal, file) => return pidfile::run(&file, signal).into(),
    }
    Exit::Done.into()
}

/// The spec, with what is doubtful told; or all that is wrong, told.
fn accepted<T>(loaded: Loaded<T>) -> Result<T, Exit> {
    for diagnostic in &loaded.diagnostics {
        complain(failure::diagnostic(diagnostic, "").trim_end());
    }
    loaded.spec.ok_or(Exit::Failed)
}
