//! What a process shares with everybody of its session: the terminal, the choice of process groups, the keyring that the
//! kernel keeps for it, and where sessions share the CPUs (`sched_autogroup_enabled`, sched(7)) its part of them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid, setpgid, setsid};

use super::limits;

/// `KEYCTL_JOIN_SESSION_KEYRING`, which libc does not name.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Where the kernel says, and is told, how nice a session is to others.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// Makes this process the leader of a session and group of its own, if it does not lead one yet. It has no terminal then:
/// whoever has one could type into the shell of the one who started the session. And nothing that it starts can join a
/// process group of somebody else's, to be missed by a signal to its own, or met by one that is not meant for it.
///
/// # Errors
/// `setpgid` or `setsid`.
pub fn lead() -> io::Result<()> {
    let us = getpid();
    if getsid(None)? == us {
        return Ok(());
    }
    // Who leads a group cannot leave its session: for this moment it is one of its parent's group.
    if getpgrp() == us {
        setpgid(Pid::from_raw(0), getpgid(Some(getppid()))?)?;
    }
    setsid()?;
    Ok(())
}

/// Makes the session of which this process is the leader as nice as the process: to other sessions the nice values of
/// its processes say nothing. A session of others, and a kernel by which sessions share nothing, stay as they are.
///
/// # Errors
/// `WouldBlock`: without `CAP_SYS_ADMIN` all processes of the host together may do this ten times a second; else only
/// root may make it less nice.
pub fn share_nice() -> io::Result<()> {
    if getsid(None)? != getpid() {
        return Ok(());
    }
    let Ok(shared) = fs::read_to_string(AUTOGROUP) else { return Ok(()) };
    let nice = limits::nice().to_string();
    if shared.trim_end().rsplit(' ').next() == Some(&nice) {
        return Ok(());
    }
    OpenOptions::new().write(true).open(AUTOGROUP)?.write_all(nice.as_bytes())
}

/// Gives this process, and all that it starts, an empty session keyring: every key in that which it was born with
/// could be read.
///
/// # Errors
/// The user has as many keys as he may have, or the kernel has none.
pub fn own_keyring() -> io::Result<()> {
    // SAFETY: with this operation keyctl takes a name, and none is allowed.
    #[expect(unsafe_code, reason = "there is no wrapper for keyctl")]
    let done =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
