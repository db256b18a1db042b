//! Facts about this machine and the user that runs us, and reading files without ever blocking on one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::unistd::{Group, SysconfVar, User, getgid, getuid, sysconf};

use super::file::open_untrusted;

/// CPUs online (`%k`), at least 1.
#[must_use]
pub fn cpus() -> u32 {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1);
    u32::try_from(online).unwrap_or(1).max(1)
}

/// The host's name (`%h`), empty when the system does not tell.
#[must_use]
pub fn name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether there is a network interface of this name.
#[must_use]
pub fn has_interface(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

/// How many processes and threads there can be on this machine; `None`: the system does not tell.
#[must_use]
pub fn most_processes() -> Option<u64> {
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok()).min()
}

/// The memory of this machine, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What new processes could have, as the kernel guesses.
    pub available_bytes: u64,
}

/// The memory of this machine; zeros when the system does not tell.
#[must_use]
pub fn memory() -> Memory {
    memory_in(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn memory_in(text: &str) -> Memory {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.unwrap_or_default().saturating_mul(1024)
    };
    Memory { total_bytes: field("MemTotal"), available_bytes: field("MemAvailable") }
}

/// Processes that ran or wanted to, on average over 1, 5 and 15 minutes.
#[must_use]
pub fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut averages = text.split(' ').map_while(|number| number.parse::<f64>().ok());
    std::array::from_fn(|_| averages.next().unwrap_or_default())
}

/// Seconds since the boot.
#[must_use]
pub fn uptime_s() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// The real uid and gid.
#[must_use]
pub fn ids() -> (u32, u32) {
    (getuid().as_raw(), getgid().as_raw())
}

/// Whether this process acts as root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The name of a user, its number where it has none.
#[must_use]
pub fn user_name(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// The name of a group, its number where it has none.
#[must_use]
pub fn group_name(gid: u32) -> String {
    match Group::from_gid(gid.into()) {
        Ok(Some(group)) => group.name,
        Ok(None) | Err(_) => gid.to_string(),
    }
}

/// Reads a regular file; of a longer one only `limit` + 1 bytes, so that the caller sees that it is too long.
///
/// # Errors
/// Those of opening and reading; `InvalidInput` for what is no regular file (a FIFO or device could block us).
pub fn read_regular(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = open_untrusted(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    read_up_to(file, limit)
}

/// Whether this is a pid file with this pid.
#[must_use]
pub fn holds_pid(path: &Path, pid: u32) -> bool {
    const LONGEST_BYTES: usize = 32;
    read_regular(path, LONGEST_BYTES).is_ok_and(|text| text.trim_ascii() == pid.to_string().as_bytes())
}

/// Reads standard input or another inherited descriptor (`/dev/fd/N`), which may be a pipe, up to `limit` + 1 bytes.
///
/// # Errors
/// Those of opening and reading.
pub fn read_inherited(descriptor: u32, limit: usize) -> io::Result<Vec<u8>> {
    read_up_to(File::open(format!("/dev/fd/{descriptor}"))?, limit)
}

fn read_up_to(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_holds_the_pid_is_its_pid_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        assert!(!holds_pid(&path, 12));
        for (text, holds) in [("12", true), ("12\n", true), ("123", false), ("", false), ("12 13", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(holds_pid(&path, 12), holds, "{text:?}");
        }
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(!holds_pid(&fifo, 12), "nobody waits for a writer");
    }

    #[test]
    fn a_directory_or_device_is_refused_and_a_long_file_is_cut() {
        assert!(read_regular(Path::new("/"), 10).is_err());
        assert!(read_regular(Path::new("/dev/null"), 10).is_err());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 4).unwrap(), b"01234");
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
    }

    #[test]
    fn the_machine_is_known() {
        assert!(cpus() >= 1);
        assert!(memory().total_bytes > memory().available_bytes && uptime_s() > 0);
        assert!(load().iter().all(|average| *average >= 0.0));
        let text = "MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:      3 kB\n";
        assert_eq!(memory_in(text), Memory { total_bytes: 2 << 20, available_bytes: 3072 });
        assert_eq!(memory_in("MemTotal: x"), Memory::default());
        assert!(!user_name(ids().0).is_empty());
    }
}
