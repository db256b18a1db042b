//! What a command prints: run by the shell, within limits of time and length.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process::{Child, Launch, wait};
use super::{pipe, wait::readable};

/// How long a command may take.
const TIME: Duration = Duration::from_secs(10);

/// Runs a command with `/bin/sh` in a directory, and gives at most `limit` + 1 bytes of what it prints. Its standard
/// input is empty; what it and its children left running is killed when it is over.
///
/// # Errors
/// It cannot be started, does not end within ten seconds (`TimedOut`), or fails.
pub fn output(command: &str, directory: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let (reader, writer) = pipe::plain()?;
    let shell = Launch::new("/bin/sh").arg("-c").arg(command).directory(directory).own_group();
    let child = shell.stdout(writer).spawn()?;
    let read = read(File::from(reader), &child, limit);
    // Whatever happened: nothing of it goes on.
    let _ = child.kill_group();
    let exit = wait(&child)?;
    let (bytes, ended) = read?;
    match exit.is_success() || !ended {
        true => Ok(bytes),
        false => Err(io::Error::other(format!("the command failed: {exit}"))),
    }
}

/// What is printed until the end of the output, and whether the command ended by itself.
fn read(mut reader: File, child: &Child, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    let deadline = Instant::now() + TIME;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("the command took more than {TIME:?}"));
    while bytes.len() <= limit {
        if !readable(reader.as_fd(), Some(deadline.saturating_duration_since(Instant::now())))? {
            return Err(late());
        }
        match reader.read(&mut piece)? {
            0 => {
                let left = deadline.saturating_duration_since(Instant::now());
                return if readable(child, Some(left))? { Ok((bytes, true)) } else { Err(late()) };
            }
            count => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok((bytes, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_prints_is_given() {
        let root = Path::new("/");
        assert_eq!(output("echo one; pwd; cat", root, 100).unwrap(), b"one\n/\n");
        assert_eq!(output("yes", root, 9).unwrap().get(..4), Some(&b"y\ny\n"[..]));
        assert!(output("exit 3", root, 9).unwrap_err().to_string().contains("exit status 3"));
        assert!(output("exec /nonexistent", root, 9).is_err());
    }
}
