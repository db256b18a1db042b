//! This process itself: what it may hold open, whom it is the parent of, and where it came from.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::process::Signal;

/// The arguments that this process was started with, whatever title was written over them since.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "here they are kept")]
pub fn arguments() -> &'static [OsString] {
    static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();
    ARGUMENTS.get_or_init(|| std::env::args_os().collect())
}

/// The path of the binary that this process runs, as the kernel has it: with no link in it, whatever name it was started
/// by. Of one that was replaced since it is the path of what replaced it.
#[must_use]
pub fn binary_path() -> PathBuf {
    let Ok(path) = fs::read_link("/proc/self/exe") else {
        return arguments().first().map(PathBuf::from).unwrap_or_default();
    };
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    replaced.filter(|_| !path.exists()).unwrap_or(path)
}

/// Raises the soft limit of open descriptors to the hard one, and answers what it was.
///
/// # Errors
/// `getrlimit` or `setrlimit`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(soft)
}

/// Sets the soft limit of open descriptors of a child of ours that was not reaped yet.
///
/// # Errors
/// `prlimit`: it changed its identity already, or is gone.
pub fn set_descriptor_limit(child: u32, soft: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let pid = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    let limit = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
    // SAFETY: the new limit is read from a valid place, and no old one is asked for.
    #[expect(unsafe_code, reason = "there is no wrapper for prlimit")]
    let done = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps other processes of the same user from reading this one's memory and descriptors: there is a key among them. It
/// leaves no core behind, either. Until the next `execve`.
///
/// # Errors
/// `prctl`.
pub fn hide_memory() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

static OUTER_PID: OnceLock<u32> = OnceLock::new();

/// Keeps the pid of this process outside of its namespace, which `/proc` tells until it is mounted anew.
pub fn remember_outer_pid() {
    let told = fs::read_link("/proc/self").ok().and_then(|name| name.to_str()?.parse().ok());
    OUTER_PID.get_or_init(|| told.unwrap_or_else(std::process::id));
}

/// The pid of this process for people and pid files.
#[must_use]
pub fn outer_pid() -> u32 {
    OUTER_PID.get().copied().unwrap_or_else(std::process::id)
}

/// The process that is `inner` in the namespace of `master`, of which it is a child, or that itself where the master has
/// no namespace of its own.
#[must_use]
pub fn child_in_namespace_of(master: u32, inner: u32) -> Option<u32> {
    if pids_of(master).len() <= pids_of(std::process::id()).len() {
        return Some(inner);
    }
    children_of(master).into_iter().find(|child| pids_of(*child).last() == Some(&inner))
}

/// The pids of a process, from our namespace inwards.
fn pids_of(pid: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether `/proc` names processes as this one does: not in a namespace without a `/proc` of its own.
#[must_use]
pub fn knows_its_pids() -> bool {
    let told = fs::read_link("/proc/self").ok().and_then(|name| name.to_str()?.parse().ok());
    told == Some(std::process::id())
}

/// The pids of this process's children, those that ended and were not reaped included.
///
/// # Errors
/// Reading procfs.
pub fn children() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        // A thread that just ended has no children left.
        let Ok(list) = fs::read_to_string(task?.path().join("children")) else { continue };
        pids.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// How large a process is, in bytes: virtual and resident. `None`: it is gone.
#[must_use]
pub fn size_of(pid: u32) -> Option<(u64, u64)> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let page = u64::try_from(page).ok()?;
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut sizes = pages.split(' ').map_while(|n| n.parse::<u64>().ok()?.checked_mul(page));
    Some((sizes.next()?, sizes.next()?))
}

/// The pids of a process's children; none when it is gone.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The title of a process that has given itself one, or was started with arguments, as `ps` shows it, clipped. `None`:
/// it is gone, or has none.
#[must_use]
pub fn title_of(pid: u32) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.take(256).read_to_end(&mut bytes).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let title = words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(title)
}

/// The short name of a process, as the kernel has it. `None`: it is gone.
#[must_use]
pub fn name_of(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}

/// Whether a process has a handler for a signal, so that it does not die of it.
#[must_use]
pub fn catches(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    u32::try_from(signal.number() - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or_default() & 1 == 1)
}

/// When a process was started, seconds since the epoch. `None`: it is gone.
#[must_use]
pub fn started_epoch_s(pid: u32) -> Option<u64> {
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let since_boot_s = super::peer::started(pid)? / u64::try_from(hertz).ok().filter(|hertz| *hertz > 0)?;
    let boot_epoch_s = super::clock::epoch_seconds().saturating_sub(super::host::uptime_s());
    Some(boot_epoch_s + since_boot_s)
}

/// The process group of a process.
#[must_use]
pub fn group_of(pid: u32) -> Option<u32> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?);
    nix::unistd::getpgid(Some(pid)).ok().and_then(|group| u32::try_from(group.as_raw()).ok())
}

/// The session of a process.
#[must_use]
pub fn session_of(pid: u32) -> Option<u32> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?);
    nix::unistd::getsid(Some(pid)).ok().and_then(|session| u32::try_from(session.as_raw()).ok())
}

/// The path by which this process was started, made absolute, symbolic links kept: after an upgrade it leads to the
/// new binary.
///
/// # Errors
/// There is no first argument, or it is not found on the `PATH`.
pub fn started_as() -> io::Result<PathBuf> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "this process does not know its own path");
    let name = arguments().first().ok_or_else(missing)?;
    let path = std::env::var_os("PATH");
    let found = super::exec::find_program(name, path.as_deref()).ok_or_else(missing)?;
    std::path::absolute(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{Launch, wait};

    #[test]
    fn a_child_is_listed_with_its_group_and_takes_a_limit() {
        let (reader, writer) = io::pipe().unwrap();
        let (mut said, say) = io::pipe().unwrap();
        let child = Launch::new("/bin/sh")
            .arg("-c")
            .arg("echo begun; read go; ulimit -Sn")
            .stdin(reader.into())
            .stdout(say.into())
            .own_group()
            .spawn()
            .unwrap();
        // In the middle of an exec the kernel has no arguments to show.
        let mut begun = [0; 6];
        io::Read::read_exact(&mut said, &mut begun).unwrap();
        assert_eq!(&begun, b"begun\n");
        assert!(children().unwrap().contains(&child.pid()));
        assert_eq!(group_of(child.pid()), Some(child.pid()));
        assert_eq!(session_of(child.pid()), session_of(std::process::id()));
        assert!(
            children_of(std::process::id()).contains(&child.pid())
                || super::super::background::task_count().unwrap() > 1
        );
        assert!(name_of(child.pid()).is_some());
        assert!(title_of(child.pid()).unwrap().ends_with("-c echo begun; read go; ulimit -Sn"));
        assert!(started_epoch_s(child.pid()).unwrap().abs_diff(crate::sys::clock::epoch_seconds()) < 5);
        assert!(!catches(child.pid(), Signal::Usr2));
        // The kernel's count of few resident pages is not exact.
        assert!(size_of(child.pid()).unwrap().0 > 0);
        set_descriptor_limit(child.pid(), 77).unwrap();
        drop(writer);
        assert_eq!(io::read_to_string(said).unwrap(), "77\n");
        wait(&child).unwrap();
        assert_eq!((group_of(child.pid()), size_of(child.pid())), (None, None));
    }
}
