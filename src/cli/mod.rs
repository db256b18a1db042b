//! The command line: which role this process plays, and the only printer for people.

pub mod act;
mod beside;
pub mod check;
pub mod client;
pub mod command;
pub mod effective;
pub mod emperor;
pub mod endpoint;
pub mod events;
pub mod exit;
pub mod failure;
pub mod fleet;
pub mod follow;
pub mod hosts;
pub mod logs;
pub mod manual;
pub mod names;
pub mod paper;
pub mod pidfile;
pub mod progress;
pub mod reader;
pub mod serve;
pub mod stacks;
pub mod status;
pub mod subject;
pub mod top;
mod trust;
pub mod watch;
pub mod why;

use std::future::Future;
use std::process::ExitCode;

use client::{Client, ClientError};
use command::{Ask, Command, Errand, Role};
use exit::Exit;
use paper::{Paper, complain, print};

use crate::emperor::{prober, reexec};
use crate::sys::{fd, own, signals, title};
use crate::{hook, instance, router};

/// The answer to `--version`.
pub const VERSION: &str = concat!("liege ", env!("CARGO_PKG_VERSION"), "\n");

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // A reader that hangs up is an error of a write, in every role.
    let _ = signals::ignore_sigpipe();
    // Without procfs nothing else works either.
    let _ = fd::keep_private();
    let mut arguments = own::arguments().iter().cloned();
    let program = arguments.next().unwrap_or_default();
    let supervised = std::env::var_os("LIEGE_CHANNEL_FD").is_some();
    match command::parse(&program, arguments.collect(), supervised) {
        Ok(command) if reexec::is_rehearsal() && !matches!(command, Command::Serve(_)) => no_emperor(),
        Ok(command) => run(command),
        Err(usage) => {
            complain(&format!("{usage} (liege --help)"));
            Exit::Usage.into()
        }
    }
}

/// What an emperor that is to be executed anew rehearses is none: nothing of it is done.
fn no_emperor() -> ExitCode {
    let reason = "with these arguments and options this is no emperor";
    complain(reason);
    reexec::give_reason(reason);
    Exit::Refused.into()
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Role(role) => play(role),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(subject, manner) => check::run(&subject, manner).into(),
        Command::Config(subject, manner) => effective::run(&subject, &manner).into(),
        Command::Ask(wish) => block_on(ask(wish)).into(),
        Command::Version => {
            print(VERSION);
            Exit::Done.into()
        }
        Command::Help(None) => {
            print(&manual::help(Paper::stdout().width));
            Exit::Done.into()
        }
        Command::Help(Some(topic)) => match manual::explain(&topic, Paper::stdout().width) {
            Ok(text) => {
                print(&text);
                Exit::Done.into()
            }
            Err(text) => {
                complain(&text);
                Exit::Usage.into()
            }
        },
        Command::Completions(shell) => {
            print(&manual::completions(shell));
            Exit::Done.into()
        }
    }
}

/// A process that our emperor or a master started. Nothing may be opened before it has taken its channel over.
fn play(role: Role) -> ExitCode {
    // Started by `/proc/self/exe`, it would be called `exe`.
    title::name(&format!("liege {}", role.word()));
    match role {
        Role::Router => router::run::main(),
        Role::Instance => instance::run::vassal(),
        Role::Hooks => hook::role::main(),
        Role::Keeper => instance::keeper::main(),
        Role::Rehearse => instance::rehearse::main(),
        Role::Trial => instance::trial::main(),
        Role::Validate => instance::validate::main(),
        Role::Probe => prober::main(),
    }
}

/// Runs a command that asks one API, or several.
async fn ask(Ask { errand, json, access }: Ask) -> Result<Exit, ClientError> {
    let client = async || Client::find(&access).await;
    match errand {
        Errand::Status { names, only_names } if access.hosts.is_some() => {
            Ok(hosts::status(hosts::find(&access).await?, &names, only_names, json).await)
        }
        Errand::Status { names, only_names } => status::run(&client().await?, &names, only_names, json).await,
        Errand::Top { names, once, interval_s } => {
            top::run(hosts::find(&access).await?, &names, once, interval_s, json).await
        }
        Errand::Page { listen } => fleet::run(hosts::find(&access).await?, listen).await,
        Errand::Events { names, tail } => events::run(hosts::find(&access).await?, &names, tail, json).await,
        Errand::Logs { names, tail } => logs::run(&client().await?, &names, tail, json).await,
        Errand::Stacks { names } => stacks::run(&client().await?, &names, json).await,
        Errand::Why { names } => why::run(&client().await?, &names, json).await,
        Errand::Act { deed, target, wait } => act::run(&client().await?, deed, &target, wait, json).await,
    }
}

fn block_on(asked: impl Future<Output = Result<Exit, ClientError>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    let done = runtime.block_on(asked);
    // A name that nobody resolves holds nobody up.
    runtime.shutdown_background();
    match done {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error.to_string());
            match error {
                ClientError::Unreachable { .. } | ClientError::Broken { .. } => Exit::Unreachable,
                ClientError::Refused(_) | ClientError::Name(_) => Exit::Failed,
                ClientError::Access(_) => Exit::Usage,
            }
        }
    }
}
