//! Puts right what an application has written over: the router knows by itself which requests it laid, and to whom it gave
//! lanes. What a worker has claimed stays its own.

use super::Central;
use crate::wire::queue::{LaneState, Lease};

/// What came of it.
#[derive(Debug, Default)]
pub(in crate::router) struct Mended {
    /// Something was written over.
    pub(in crate::router) was_spoilt: bool,
    /// The lanes to be rung for: their threads may sleep.
    pub(in crate::router) rings: Vec<usize>,
}

impl Central {
    /// Looks at what is shared with the threads of these leases. A `thorough` look wakes those who seem to be busy, too, and
    /// opens lanes that seem to be closed since the last one: a thread that leaves ends its connection at once.
    pub(in crate::router) fn mend(&mut self, leases: impl Iterator<Item = Lease>, thorough: bool) -> Mended {
        let mut mended = Mended::default();
        mended.was_spoilt |= self.queue.restore(self.bound, self.waiting.len());
        for (number, cell) in self.cells.iter().take(self.bound).enumerate() {
            mended.was_spoilt |= matches!(cell, super::Cell::Free) && self.queue.restore_free(number);
        }
        let doubted = if thorough { std::mem::take(&mut self.doubted) } else { Vec::new() };
        for lease in leases {
            let is_released = self.crews.is_released(lease.lane);
            let is_of = self.queue.is_of(lease);
            let is_closed = is_of && !is_released && self.queue.lane(lease.lane) == LaneState::Closed;
            if !is_of || (is_closed && doubted.contains(&lease)) {
                mended.was_spoilt = true;
                self.queue.give(lease);
                if is_released {
                    self.queue.close(lease.lane);
                }
                mended.rings.push(lease.lane);
            } else if is_closed && thorough {
                self.doubted.push(lease);
            } else if thorough && self.queue.lane(lease.lane) == LaneState::Busy {
                mended.rings.push(lease.lane);
            }
        }
        if mended.was_spoilt {
            self.look_again();
        }
        mended
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::atomic::Ordering;

    use tokio::sync::oneshot;

    use super::*;
    use crate::router::job::Job;
    use crate::router::socket::Socket;
    use crate::router::upload::Payload;
    use crate::sys::shared::SharedWords;
    use crate::sys::stream;
    use crate::wire::queue::SharedQueue;

    fn submit(central: &mut Central) {
        let (_, line) = stream::pair().unwrap();
        let job = Job {
            ticket: 1,
            since_us: 0,
            head: b"head".to_vec(),
            payload: Payload::Empty,
            may_switch: false,
            client: Socket::of_line(line).unwrap(),
            reply: oneshot::channel().0,
        };
        central.submit(job).unwrap();
    }

    /// Whatever was written over the memory: the next request is taken by the thread that is there, and the next worker
    /// finds a queue.
    #[tokio::test]
    async fn what_an_application_has_written_over_is_put_right() {
        for value in [0, 1, 2, 3, 4, u64::MAX, u64::from_le_bytes([1; 8]), 1 << 3 | 4, 1 << 3 | 1] {
            let mut central = Central::new().unwrap();
            let lease = central.join((0, 1)).unwrap();
            let memory = || central_memory(&central);
            let (worker, words) =
                (SharedQueue::open(memory()).unwrap(), SharedWords::map(memory(), true, usize::MAX).unwrap());
            assert!(worker.rest(lease));
            words.words().iter().for_each(|word| word.store(value, Ordering::Relaxed));
            submit(&mut central);
            let mut rung = false;
            for thorough in [false, true, true] {
                let mended = central.mend([lease].into_iter(), thorough);
                assert!(mended.was_spoilt || thorough, "{value:x}");
                rung |= mended.rings.contains(&lease.lane) || central.rings().contains(&lease.lane);
            }
            assert!(rung, "{value:x}");
            assert_eq!(worker.state_for(lease), LaneState::Busy, "{value:x}");
            assert_eq!(worker.claim(lease.lane).map(|claim| claim.cell), Some(0), "{value:x}");
            assert_eq!(worker.claim(lease.lane), None, "{value:x}");
            assert!(SharedQueue::open(central_memory(&central)).is_ok(), "{value:x}");
            assert!(!central.mend([lease].into_iter(), false).was_spoilt, "{value:x}");
        }
    }

    /// The first of two requests takes longer than the second: nobody has written over anything.
    #[tokio::test]
    async fn requests_that_end_in_another_order_are_no_fault() {
        let mut central = Central::new().unwrap();
        let leases = [central.join((0, 1)).unwrap(), central.join((1, 1)).unwrap()];
        let worker = SharedQueue::open(central_memory(&central)).unwrap();
        let claims = leases.map(|lease| {
            submit(&mut central);
            worker.claim(lease.lane).unwrap()
        });
        let _ = worker.finish(claims[1]);
        assert_eq!(central.collect().len(), 1);
        let mended = central.mend(leases.into_iter(), true);
        assert!(!mended.was_spoilt);
    }

    /// A thread whose request was given up answers all the same, when another request has its cell.
    #[tokio::test]
    async fn a_late_answer_spoils_no_other_request() {
        let mut central = Central::new().unwrap();
        let leases = [central.join((0, 1)).unwrap(), central.join((1, 1)).unwrap()];
        let memory = || central_memory(&central);
        let (worker, words) =
            (SharedQueue::open(memory()).unwrap(), SharedWords::map(memory(), true, usize::MAX).unwrap());
        submit(&mut central);
        let late = worker.claim(leases[0].lane).unwrap();
        words.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        assert_eq!(central.collect().len(), 1, "given up");
        assert!(central.mend(leases.into_iter(), false).was_spoilt);
        submit(&mut central);
        for lane in [None, Some(leases[1].lane)] {
            let claimed = lane.and_then(|lane| worker.claim(lane));
            assert!(!worker.holds(late));
            assert!(!worker.finish(late));
            assert!(central.collect().is_empty());
            if let Some(claim) = claimed {
                assert!(worker.holds(claim));
                let _ = worker.finish(claim);
                assert!(matches!(&central.collect()[..], [(_, Some(_))]));
            }
        }
    }

    #[test]
    fn a_thread_that_leaves_is_left_alone() {
        let mut central = Central::new().unwrap();
        let leases = [central.join((0, 1)).unwrap(), central.join((1, 1)).unwrap()];
        let worker = SharedQueue::open(central_memory(&central)).unwrap();
        assert!(worker.rest(leases[1]));
        central.release((1, 1)).unwrap();
        worker.leave(leases[0]);
        let mended = central.mend(leases.into_iter(), true);
        assert!(!mended.was_spoilt && mended.rings.is_empty());
        assert_eq!(leases.map(|lease| worker.state_for(lease)), [LaneState::Closed; 2]);
    }

    fn central_memory(central: &Central) -> std::os::fd::OwnedFd {
        central.queue.fd().as_fd().try_clone_to_owned().unwrap()
    }
}
