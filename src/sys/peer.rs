//! Other processes, told apart from any that get their number later: who is at the other end, since when it runs.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt};

/// Who is at the other end of a unix socket: of one that connected to us, who called `connect`; of one that we
/// connected to, who called `listen`; of a pair, who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The pid, in this process's namespace; 0 for a process outside it.
    pub pid: u32,
    /// The user.
    pub uid: u32,
}

/// Who is at the other end.
///
/// # Errors
/// `getsockopt(SO_PEERCRED)`.
pub fn of(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(Peer { pid: u32::try_from(credentials.pid()).unwrap_or(0), uid: credentials.uid() })
}

/// When a process was started, in clock ticks since the boot: with its pid this names one process of this boot.
/// `None`: there is none, or only its zombie.
#[must_use]
pub fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also brackets; after its last one stand the state and then numbers (proc(5)).
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let alive = !matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| alive)
}

/// Whether a process is on its way out, or gone: what it had open closes then by itself.
#[must_use]
pub fn is_ending(pid: u32) -> bool {
    /// `PF_EXITING` of the kernel's `sched.h`.
    const EXITING: u64 = 4;
    let flags = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse::<u64>().ok()
    };
    flags().is_none_or(|flags| flags & EXITING != 0)
}

/// The effective user of a process.
#[must_use]
pub fn user_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The processes whose group has this number, zombies left out.
///
/// # Errors
/// Listing procfs.
pub fn of_group(group: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if super::own::group_of(pid) == Some(group) && started(pid).is_some() {
            found.push(pid);
        }
    }
    Ok(found)
}

/// What tells this boot from every other one; empty where the kernel does not say.
#[must_use]
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{Launch, wait};
    use crate::sys::{seqpacket, user};

    #[test]
    fn a_process_is_known_by_its_pid_and_start_until_it_ends() {
        let (reader, writer) = io::pipe().unwrap();
        let child = Launch::new("/bin/cat").stdin(reader.into()).own_group().spawn().unwrap();
        let us = std::process::id();
        assert!(started(child.pid()).unwrap() >= started(us).unwrap());
        assert_eq!(user_of(child.pid()), Some(user::current_uid()));
        assert_eq!(of_group(child.pid()).unwrap(), [child.pid()]);
        assert!(!is_ending(child.pid()));
        drop(writer);
        wait(&child).unwrap();
        assert!(is_ending(child.pid()));
        assert_eq!((started(child.pid()), user_of(child.pid())), (None, None));
        assert_eq!(boot(), boot());
    }

    #[test]
    fn both_sides_of_a_rendezvous_know_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rendezvous");
        let listener = seqpacket::listen(&path, 0o666, 8).unwrap();
        let ours = seqpacket::connect(&path).unwrap();
        let theirs = seqpacket::accept(&listener).unwrap();
        let us = Peer { pid: std::process::id(), uid: user::current_uid() };
        assert_eq!((of(&ours).unwrap(), of(&theirs).unwrap()), (us, us));
        seqpacket::send(&ours, b"hello", &[]).unwrap();
        assert_eq!(seqpacket::receive(&theirs, 10).unwrap().unwrap().bytes, b"hello");
        assert_eq!(seqpacket::accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        assert!(seqpacket::connect(&path).is_err());
    }
}
