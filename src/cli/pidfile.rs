//! uWSGI's `--reload PIDFILE`, `--stop PIDFILE`, and `--pause PIDFILE` with its other names.

use std::fs;
use std::path::Path;

use super::exit::Exit;
use super::paper::complain;
use crate::config::command_line::Signal as Asked;
use crate::sys::process::{Signal, signal_process};
use crate::sys::signals::PAUSE;

/// Sends the signal to the process that the file names.
#[must_use]
pub fn run(file: &Path, asked: Asked) -> Exit {
    let signal = match asked {
        Asked::Reload => Signal::Hup,
        Asked::Stop => Signal::Int,
        Asked::Pause => Signal::Other(PAUSE),
    };
    match fs::read_to_string(file).map_err(|error| error.to_string()).and_then(|text| pid(&text)) {
        Err(reason) => {
            complain(&format!("{}: {reason}", file.display()));
            Exit::Failed
        }
        Ok(pid) => match signal_process(pid, signal) {
            Ok(()) => Exit::Done,
            Err(error) => {
                complain(&format!("cannot signal process {pid} of {}: {error}", file.display()));
                Exit::NoProcess
            }
        },
    }
}

/// A positive number alone on the first line: uWSGI signals its own process group for anything else.
fn pid(text: &str) -> Result<u32, String> {
    let first = text.lines().next().unwrap_or_default().trim();
    match first.parse() {
        Ok(pid) if pid > 0 && i32::try_from(pid).is_ok() => Ok(pid),
        _ => Err(format!("there is no pid in it, but {first:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_positive_number_is_a_pid() {
        for (text, expected) in [
            ("42\n", Some(42)),
            ("42", Some(42)),
            (" 42 \n", Some(42)),
            ("", None),
            ("0\n", None),
            ("-1\n", None),
            ("4294967295\n", None),
            ("12 34", None),
            ("abc", None),
        ] {
            assert_eq!(pid(text).ok(), expected, "{text:?}");
        }
    }
}
