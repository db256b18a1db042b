//! The command line: which role this process plays, and the only printer for people.

pub mod act;
pub mod check;
pub mod client;
pub mod command;
pub mod effective;
pub mod emperor;
pub mod exit;
pub mod failure;
pub mod manual;
pub mod paper;
pub mod pidfile;
pub mod reader;
pub mod serve;
pub mod status;
pub mod subject;

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use client::{Client, ClientError};
use command::{Command, Role};
use exit::Exit;
use paper::{Paper, complain, print};

use crate::sys::{fd, signals};
use crate::{instance, router};

/// The answer to `--version`.
pub const VERSION: &str = concat!("liege ", env!("CARGO_PKG_VERSION"), "\n");

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // A reader that hangs up is an error of a write, in every role.
    let _ = signals::ignore_sigpipe();
    // Without procfs nothing else works either.
    let _ = fd::keep_private();
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let supervised = std::env::var_os("LIEGE_CHANNEL_FD").is_some();
    match command::parse(&program, arguments.collect(), supervised) {
        Ok(command) => run(command),
        Err(usage) => {
            complain(&format!("{usage} (liege --help)"));
            Exit::Usage.into()
        }
    }
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Role(role) => play(role),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(subject, manner) => check::run(&subject, manner).into(),
        Command::Config(subject, manner) => effective::run(&subject, &manner).into(),
        Command::Status { names, json, api } => {
            ask(api.as_deref(), async |client| status::run(&client, &names, json).await.map(|()| Exit::Done))
        }
        Command::Act { action, wait, json, api } => {
            ask(api.as_deref(), async |client| act::run(&client, &action, wait, json).await)
        }
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
    match role {
        Role::Router => router::run::main(),
        Role::Instance => instance::run::vassal(),
        Role::Rehearse => instance::rehearse::main(),
        Role::Trial => instance::trial::main(),
        Role::Validate => instance::validate::main(),
    }
}

/// Runs a command that asks the API.
fn ask(api: Option<&Path>, command: impl AsyncFnOnce(Client) -> Result<Exit, ClientError>) -> ExitCode {
    let asked = async { command(Client::find(api).await?).await };
    block_on(asked).into()
}

fn block_on(asked: impl Future<Output = Result<Exit, ClientError>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(asked) {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error.to_string());
            match error {
                ClientError::Unreachable { .. } | ClientError::Broken { .. } => Exit::Unreachable,
                ClientError::Refused(_) | ClientError::Name(_) => Exit::Failed,
            }
        }
    }
}
