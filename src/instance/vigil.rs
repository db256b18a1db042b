//! Whether the router still answers (`http-harakiri`), and what becomes of one that does not.

use std::time::Duration;

use super::master::Master;
use super::roster::Router;
use crate::sys::clock;
use crate::tick::Tick;
use crate::wire::message::ToRouter;

/// Later than that nobody ran, as in a machine that was suspended: the router gets its time anew.
const LATE: Duration = Duration::from_secs(2);

/// How it stands with the router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Vigil {
    /// It was not asked yet.
    #[default]
    New,
    /// It has answered, and is asked again then.
    Rests(Tick),
    /// It has to answer by then.
    Waits(Tick),
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Ask it.
    Ask,
    /// It hangs.
    Kill,
}

impl Vigil {
    /// When something is due.
    const fn next(self, now: Tick) -> Tick {
        match self {
            Self::New => now,
            Self::Rests(at) | Self::Waits(at) => at,
        }
    }

    /// Goes on; the router has so long to answer.
    fn step(&mut self, now: Tick, limit: Duration) -> Due {
        if self.next(now) > now {
            return Due::Nothing;
        }
        if let Self::Waits(deadline) = *self
            && now.since(deadline) <= LATE
        {
            *self = Self::New;
            return Due::Kill;
        }
        *self = Self::Waits(now + limit);
        Due::Ask
    }

    /// It has answered.
    pub(super) fn heard(&mut self, now: Tick, limit: Duration) {
        *self = Self::Rests(now + limit / 2);
    }
}

impl Master {
    /// How long the router may take to answer; `None`: it is not asked.
    fn router_limit(&self) -> Option<Duration> {
        let seconds = self.current.said.spec.router.harakiri_s;
        let is_asked = seconds > 0 && matches!(self.roster.router, Router::Ready { .. });
        is_asked.then(|| Duration::from_secs(seconds.into()))
    }

    /// When the router has to be asked, or to have answered.
    pub(super) fn next_vigil(&self) -> Option<Tick> {
        self.router_limit().map(|_| self.children.vigil.next(clock::now()))
    }

    /// Asks the router whether it is there, and kills one that does not answer: another takes its place.
    pub(super) fn watch_router(&mut self, now: Tick) {
        let Some(limit) = self.router_limit() else { return };
        let due = self.children.vigil.step(now, limit);
        let Some(router) = &self.children.router else { return };
        match due {
            Due::Nothing => {}
            Due::Ask => router.link.send(&ToRouter::AreYouThere, &[]),
            Due::Kill => {
                let (pid, seconds) = (router.pid().unwrap_or(0), limit.as_secs());
                tracing::warn!("*** HARAKIRI ON THE ROUTER (pid: {pid}): no answer for {seconds} s ***");
                router.kill();
            }
        }
    }

    /// The router has answered.
    pub(super) fn router_is_there(&mut self) {
        if let Some(limit) = self.router_limit() {
            self.children.vigil.heard(clock::now(), limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_in_time_hangs() {
        let limit = Duration::from_secs(10);
        let at = |seconds: u64| Tick::from_ms(seconds * 1000);
        let mut vigil = Vigil::default();
        for (second, answers, due, next) in [
            (100, false, Due::Ask, 110),
            (105, false, Due::Nothing, 110),
            (106, true, Due::Nothing, 111),
            (108, false, Due::Nothing, 111),
            (111, false, Due::Ask, 121),
            // The machine stood still.
            (500, false, Due::Ask, 510),
            (509, true, Due::Nothing, 514),
            (520, false, Due::Ask, 530),
            (531, false, Due::Kill, 531),
            // The next one.
            (532, false, Due::Ask, 542),
        ] {
            if answers {
                vigil.heard(at(second), limit);
            }
            assert_eq!(vigil.step(at(second), limit), due, "{second}");
            assert_eq!(vigil.next(at(second)), at(next), "{second}");
        }
    }
}
