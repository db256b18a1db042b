//! All processes of this host, and what each of their threads does, as procfs has it.

use std::fs;
use std::io;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use super::user;

/// A process, or a thread of one, as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: u32,
    /// Whether it runs, or waits for a CPU.
    pub is_runnable: bool,
    /// The parent of its process.
    pub parent: u32,
    /// The session of its process.
    pub session: u32,
    /// CPU time as itself so far, in [clock ticks](ticks_per_second).
    pub user_ticks: u64,
    /// CPU time in the kernel so far, in clock ticks.
    pub system_ticks: u64,
    /// How many threads its process has.
    pub threads: u64,
    /// When it began, in clock ticks since the boot: with its id this names it.
    pub started: u64,
}

/// All processes that this one can see.
///
/// # Errors
/// Listing procfs.
pub fn processes() -> io::Result<Vec<Seen>> {
    let pids = numbers_in("/proc")?;
    // Who has ended meanwhile is not there.
    Ok(pids.into_iter().filter_map(process).collect())
}

/// One process; `None`: it is gone.
#[must_use]
pub fn process(pid: u32) -> Option<Seen> {
    seen(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The threads of a process; none when it is gone.
#[must_use]
pub fn threads_of(pid: u32) -> Vec<Seen> {
    let tids = numbers_in(&format!("/proc/{pid}/task")).unwrap_or_default();
    let thread = |tid| seen(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?);
    tids.into_iter().filter_map(thread).collect()
}

/// The user to whom a process is counted, also when it has ended and was not reaped; `None`: it is gone.
#[must_use]
pub fn counted_to(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "Uid:")
}

/// What a thread was doing when it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It is not stopped.
    Runs,
    /// It was starting a process or a thread.
    Forks,
    /// Something else.
    Other,
}

/// What a thread of a process was doing when it was stopped. A root without `CAP_SYS_PTRACE`, as in most containers, may
/// know what the user of a process may; where the kernel restricts that further, of what descends from this process.
///
/// # Errors
/// It is gone, or nobody may know it, or the kernel does not tell.
pub fn doing(pid: u32, tid: u32) -> io::Result<Doing> {
    let path = format!("/proc/{pid}/task/{tid}/syscall");
    let text = fs::read_to_string(&path).or_else(|error| {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        match (field(&status, "Uid:"), field(&status, "Gid:")) {
            (Some(uid), Some(gid)) => user::with_file_rights_of(uid, gid, || fs::read_to_string(&path))?,
            _ => Err(error),
        }
    });
    Ok(done_in(&text?))
}

/// How many clock ticks a second has.
#[must_use]
pub fn ticks_per_second() -> u64 {
    let told = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    told.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// Now, in clock ticks since the boot.
#[must_use]
pub fn now_ticks() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |now| {
        let hertz = ticks_per_second();
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        part(now.tv_sec()) * hertz + part(now.tv_nsec()) * hertz / 1_000_000_000
    })
}

/// What a line of `/proc/PID/stat` says (proc_pid_stat(5)).
fn seen(stat: &str) -> Option<Seen> {
    // The name may hold anything, also brackets.
    let (front, rest) = stat.rsplit_once(") ")?;
    let id = front.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let state = *fields.first()?;
    Some(Seen {
        id,
        is_runnable: state == "R",
        parent: u32::try_from(number(1)?).ok()?,
        session: u32::try_from(number(3)?).ok()?,
        user_ticks: number(11)?,
        system_ticks: number(12)?,
        threads: number(17)?,
        started: number(19)?,
    })
}

fn field(status: &str, name: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What the line of `/proc/PID/syscall` says: the number of a system call first, -1 for none.
fn done_in(syscall: &str) -> Doing {
    let first = syscall.split_ascii_whitespace().next().unwrap_or_default();
    match first.parse::<libc::c_long>() {
        Ok(libc::SYS_clone | libc::SYS_clone3) => Doing::Forks,
        #[cfg(target_arch = "x86_64")]
        Ok(libc::SYS_fork | libc::SYS_vfork) => Doing::Forks,
        Ok(_) => Doing::Other,
        Err(_) => Doing::Runs,
    }
}

fn numbers_in(directory: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::own;
    use crate::sys::process::{Launch, Signal, wait};

    #[test]
    fn a_line_tells_what_somebody_does() {
        let line = |name: &str, state: &str| {
            format!(
                "7 ({name}) {state} 3 7 5 0 -1 4194560 11 0 0 0 21 22 0 0 20 0 4 0 1234 0 0 18446744073709551615"
            )
        };
        let expected = Seen {
            id: 7,
            is_runnable: true,
            parent: 3,
            session: 5,
            user_ticks: 21,
            system_ticks: 22,
            threads: 4,
            started: 1234,
        };
        for (name, state, is_runnable) in [("python", "R", true), ("a) S 1 (b", "T", false), ("", "Z", false)]
        {
            assert_eq!(seen(&line(name, state)), Some(Seen { is_runnable, ..expected }), "{name} {state}");
        }
        for text in ["", "7 (python)", "7 (python) R 3", "x (python) R 3 7 5 0", "7 python R 3 7 5 0 -1"] {
            assert_eq!(seen(text), None, "{text}");
        }
    }

    #[test]
    fn a_stopped_thread_tells_the_system_call_it_was_in() {
        for (text, expected) in [
            (format!("{} 0x0 0x0 0x7ffd 0x7f\n", libc::SYS_clone), Doing::Forks),
            (format!("{} 0x0 0x0\n", libc::SYS_clone3), Doing::Forks),
            (format!("{} 0x0 0x0\n", libc::SYS_read), Doing::Other),
            ("-1 0x7ffd 0x7f\n".to_owned(), Doing::Other),
            ("running\n".to_owned(), Doing::Runs),
            (String::new(), Doing::Runs),
        ] {
            assert_eq!(done_in(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_child_is_found_with_its_threads_and_tells_when_it_is_stopped() {
        let (reader, writer) = io::pipe().unwrap();
        let child = Launch::new("/bin/cat").stdin(reader.into()).own_group().spawn().unwrap();
        let pid = child.pid();
        let found = processes().unwrap().into_iter().find(|process| process.id == pid).unwrap();
        assert_eq!((found.parent, found.threads), (std::process::id(), 1));
        assert_eq!(Some(found.session), own::session_of(pid));
        assert_eq!(process(pid).unwrap().started, found.started);
        assert_eq!(threads_of(pid).iter().map(|thread| thread.id).collect::<Vec<_>>(), [pid]);
        assert_eq!(counted_to(pid), Some(user::current_uid()));
        assert!(now_ticks() >= found.started && now_ticks() - found.started < 60 * ticks_per_second());
        child.signal(Signal::Stop).unwrap();
        while !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ") {
            std::thread::yield_now();
        }
        // Who may not trace another is not told.
        assert!(doing(pid, pid).map_or(true, |doing| doing == Doing::Other));
        child.signal(Signal::Cont).unwrap();
        drop(writer);
        wait(&child).unwrap();
        assert_eq!((process(pid), counted_to(pid), threads_of(pid).len()), (None, None, 0));
    }
}
