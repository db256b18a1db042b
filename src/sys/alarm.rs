//! Being woken at a time of the wall's clock, and whenever somebody sets that clock.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use super::reactor;

/// An alarm clock. While it is set for nothing it costs nothing.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<AsyncFd<OwnedFd>>,
    set_for: Option<u64>,
}

impl Alarm {
    /// Sets it for a time, seconds since the epoch; `None`: for nothing.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn set(&mut self, at_epoch_s: Option<u64>) -> io::Result<()> {
        if at_epoch_s == self.set_for {
            return Ok(());
        }
        self.timer = at_epoch_s.map(timer).transpose()?;
        self.set_for = at_epoch_s;
        Ok(())
    }

    /// Returns when it rings, or the clock was set. Cancel-safe.
    pub async fn rings(&mut self) {
        match &self.timer {
            Some(timer) => {
                // Whatever the reason: it is set anew.
                let _ = timer.readable().await;
                (self.timer, self.set_for) = (None, None);
            }
            None => std::future::pending().await,
        }
    }
}

fn timer(at_epoch_s: u64) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    let at = Expiration::OneShot(TimeSpec::from(Duration::from_secs(at_epoch_s.max(1))));
    timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET)?;
    reactor::register_readable(timer.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[tokio::test]
    async fn it_rings_at_its_time_and_once() {
        let mut alarm = Alarm::default();
        alarm.set(Some(clock::epoch_seconds() + 1)).unwrap();
        alarm.rings().await;
        alarm.set(Some(1)).unwrap();
        alarm.rings().await;
        alarm.set(Some(clock::epoch_seconds() + 1000)).unwrap();
        alarm.set(None).unwrap();
        let left = tokio::time::timeout(Duration::from_millis(10), alarm.rings()).await;
        assert!(left.is_err(), "it is set for nothing");
    }
}
