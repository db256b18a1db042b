//! Being woken at a time of the wall's clock and whenever somebody sets that clock, or again and again.

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

/// Ticks again and again. Each tick wakes this process once, where the runtime's own timers do so twice for what is more
/// than 64 ms away.
#[derive(Debug)]
pub struct Ticker(AsyncFd<OwnedFd>);

impl Ticker {
    /// Ticks from now on, once in each period.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn every(period: Duration) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, FLAGS)?;
        timer.set(Expiration::Interval(TimeSpec::from(period)), TimerSetTimeFlags::empty())?;
        Ok(Self(reactor::register_readable(timer.into())?))
    }

    /// Returns at the next tick, or at once after one that nobody waited for. Cancel-safe.
    pub async fn tick(&self) {
        if let Ok(mut ready) = self.0.readable().await {
            // How many there were does not matter.
            let _ = reactor::read(self.0.get_ref(), &mut [0; 8]);
            ready.clear_ready();
        }
    }
}

const FLAGS: TimerFlags = TimerFlags::TFD_CLOEXEC.union(TimerFlags::TFD_NONBLOCK);

fn timer(at_epoch_s: u64) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, FLAGS)?;
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

    #[tokio::test]
    async fn a_ticker_ticks_again_and_again() {
        let ticker = Ticker::every(Duration::from_millis(5)).unwrap();
        let started = clock::now();
        for _ in 0..3 {
            ticker.tick().await;
        }
        assert!(clock::now().since(started) >= Duration::from_millis(10));
        let ticker = Ticker::every(Duration::from_secs(1000)).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(10), ticker.tick()).await.is_err());
    }
}
