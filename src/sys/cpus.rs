//! Which CPUs a process keeps to.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Has this process, and all that it starts from now on, keep to `count` of the CPUs that it may use: the ones that
/// belong to the worker of this number, from 1. Answers which.
///
/// # Errors
/// `sched_getaffinity` or `sched_setaffinity`.
pub fn keep_to(worker: u32, count: u32) -> io::Result<Vec<usize>> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let allowed: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or_default()).collect();
    let own = share(&allowed, worker, count);
    let mut set = CpuSet::new();
    for cpu in &own {
        set.set(*cpu)?;
    }
    sched_setaffinity(this, &set)?;
    Ok(own)
}

/// Worker after worker takes the next CPUs, round again when all are taken, as in uWSGI.
fn share(allowed: &[usize], worker: u32, count: u32) -> Vec<usize> {
    let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let first = number(worker.saturating_sub(1).saturating_mul(count)).checked_rem(allowed.len());
    let round = allowed.iter().cycle().skip(first.unwrap_or_default());
    let mut own: Vec<usize> = round.take(number(count).min(allowed.len())).copied().collect();
    own.sort_unstable();
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_takes_the_next_cpus() {
        for (allowed, worker, count, own) in [
            (&[0, 1, 2, 3][..], 1, 1, &[0][..]),
            (&[0, 1, 2, 3], 4, 1, &[3]),
            (&[0, 1, 2, 3], 5, 1, &[0]),
            (&[0, 1, 2, 3], 2, 2, &[2, 3]),
            (&[0, 1, 2], 2, 2, &[0, 2]),
            (&[4, 7], 2, 1, &[7]),
            (&[4, 7], 1, 9, &[4, 7]),
            (&[], 1, 1, &[]),
        ] {
            assert_eq!(share(allowed, worker, count), own, "{allowed:?}: {count} for worker {worker}");
        }
    }
}
