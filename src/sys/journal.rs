//! The journal of systemd by its native protocol, without ever waiting for it.

use std::env;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::stat::fstat;

/// Names where journald listens, if not at [`SOCKET`].
const VARIABLE: &str = "LIEGE_JOURNAL_SOCKET";
const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to the journal that reads this process's standard error.
#[derive(Debug)]
pub struct Journal {
    /// `JOURNAL_STREAM`: which file standard error was then.
    stream: String,
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// The journal, if it reads standard error: `stream` is what `JOURNAL_STREAM` says (`device:inode`).
    #[must_use]
    pub fn behind_stderr(stream: String) -> Option<Self> {
        let path = env::var_os(VARIABLE).unwrap_or_else(|| SOCKET.into()).into();
        let journal = Self { stream, path, socket: None };
        journal.reads_stderr().then_some(journal)
    }

    /// Whether it still does: standard error may have become a file since.
    #[must_use]
    pub fn reads_stderr(&self) -> bool {
        fstat(io::stderr()).is_ok_and(|stat| self.stream == format!("{}:{}", stat.st_dev, stat.st_ino))
    }

    /// What entries are written to, once one was: it can be asked for room.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Hands over one entry, or nothing of it.
    ///
    /// # Errors
    /// `WouldBlock`: the journal has no room. Any other: it is gone, or the entry is longer than a datagram may be.
    pub fn send(&mut self, fields: &[(&str, &str)]) -> io::Result<()> {
        let entry = encoded(fields);
        if let Some(socket) = &self.socket {
            match socket.send(&entry) {
                // A journal that was started anew listens again at the same path.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.socket = None,
                sent => return sent.map(drop),
            }
        }
        let socket = connected(&self.path)?;
        let sent = socket.send(&entry);
        self.socket = Some(socket);
        sent.map(drop)
    }
}

/// Connected, for only such a socket can see whether there is room at the other end.
fn connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// An entry as the native protocol has it: `NAME=value`, or with its length where a value has several lines.
fn encoded(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(256);
    for (name, value) in fields {
        entry.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::stderr::full;

    fn journal(path: &Path) -> Journal {
        Journal { stream: String::new(), path: path.into(), socket: None }
    }

    #[test]
    fn no_value_can_become_another_field() {
        for (fields, expected) in [
            (&[("PRIORITY", "6"), ("VASSAL", "a=b.ini")][..], &b"PRIORITY=6\nVASSAL=a=b.ini\n"[..]),
            (&[("MESSAGE", "a\nB=c")], b"MESSAGE\n\x05\0\0\0\0\0\0\0a\nB=c\n"),
            (&[("MESSAGE", "")], b"MESSAGE=\n"),
        ] {
            assert_eq!(encoded(fields), expected);
        }
    }

    #[test]
    fn only_the_stream_that_standard_error_is_names_a_journal() {
        let this = fstat(io::stderr()).unwrap();
        let named = |stream: String| Journal::behind_stderr(stream).is_some();
        assert!(named(format!("{}:{}", this.st_dev, this.st_ino)));
        for other in [format!("{}:{}", this.st_dev, this.st_ino + 1), String::new(), "x:y".to_owned()] {
            assert!(!named(other));
        }
    }

    #[test]
    fn a_journal_that_is_full_is_not_waited_for_and_takes_entries_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut journal = journal(&path);
        assert!(journal.socket().is_none());
        let error = (0..100_000).find_map(|_| journal.send(&[("MESSAGE", "x")]).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(full(journal.socket().unwrap()).is_some());
        reader.set_nonblocking(true).unwrap();
        let mut buffer = [0; 64];
        while let Ok(length) = reader.recv(&mut buffer) {
            assert_eq!(&buffer[..length], b"MESSAGE=x\n");
        }
        assert!(full(journal.socket().unwrap()).is_none());
        journal.send(&[("MESSAGE", "y")]).unwrap();
    }

    #[test]
    fn an_entry_that_is_no_datagram_is_refused_and_the_next_one_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut journal = journal(&path);
        let long = "x".repeat(64 * 1024 * 1024);
        assert_eq!(journal.send(&[("MESSAGE", &long)]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        journal.send(&[("MESSAGE", "1")]).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(reader.recv(&mut buffer).unwrap(), 10);
    }

    #[test]
    fn a_journal_that_is_gone_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut journal = journal(&path);
        assert_eq!(journal.send(&[]).unwrap_err().kind(), io::ErrorKind::NotFound);
        let first = UnixDatagram::bind(&path).unwrap();
        journal.send(&[("MESSAGE", "1")]).unwrap();
        drop(first);
        assert_eq!(journal.send(&[]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        journal.send(&[("MESSAGE", "2")]).unwrap();
        let mut buffer = [0; 64];
        let length = second.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"MESSAGE=2\n");
    }
}
