//! The command line: which role this process plays, and the only printer of errors for people.

use std::process::ExitCode;

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
