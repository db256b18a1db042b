//! What the emperor is told from time to time: that nobody asks anything, so that it may put the instance to sleep (`idle`;
//! without an emperor it goes cheap), and that the instance lives (`heartbeat`).

use std::time::Duration;

use super::event::Event;
use super::master::Master;
use super::roster::{Phase, Slot, SlotState};
use super::uwsgi_emperor::UwsgiEmperor;
use crate::stats::scoreboard::Field;
use crate::sys::clock;
use crate::tick::Tick;
use crate::wire::bytes::FromVassal;
use crate::wire::message::{FromInstance, InstanceState};

/// Since when nothing was seen to be asked, and how many requests there had been by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    since: Option<Tick>,
    requests: u64,
}

impl Rest {
    /// Looks at how many requests there were; answers whether there was none for so long. `busy`: one runs, or
    /// something else that is not to be disturbed.
    fn look(&mut self, now: Tick, requests: u64, busy: bool, idle: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        if busy || requests != self.requests {
            *self = Self { since: Some(now), requests };
            return false;
        }
        let long = now.since(since) >= idle;
        if long {
            self.since = Some(now);
        }
        long
    }
}

impl Master {
    /// When to look again.
    pub(super) fn next_idle(&self) -> Option<Tick> {
        self.idle().map(|idle| self.rest.since.unwrap_or_else(clock::now) + idle)
    }

    pub(super) fn look_for_rest(&mut self, now: Tick) {
        let Some(idle) = self.idle() else { return };
        if self.rest.since.is_some_and(|since| now < since + idle) {
            return;
        }
        let boards = self.boards();
        let serves = matches!(self.roster.announced, Some(InstanceState::Ready | InstanceState::Loyal));
        let begins = |slot: &Slot| matches!(slot.state, SlotState::Forking | SlotState::Loading);
        let loads = self.roster.candidate().is_some()
            || self.rehearsal.is_some()
            || self.roster.slots.iter().any(begins);
        let forwards = boards.newest().of_router(Field::Forwarding) > 0;
        // Who connects, sends or reads slowly has nobody else to go on with it.
        let engaged = boards.newest().is_router_engaged() || boards.slots().any(|slot| slot.is_engaged());
        let busy = !serves || loads || forwards || engaged || boards.slots().any(|slot| slot.is_busy());
        if self.rest.look(now, boards.requests(), busy, idle) {
            let idle_s = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
            if !self.is_woken() {
                let reason = format!("no request for {idle_s} s");
                self.handle(Event::GoCheap { reason });
                return;
            }
            tracing::info!("no request for {idle_s} s");
            self.tell_emperor(&FromInstance::Idle { idle_s }, &[]);
            self.say_to_uwsgi(FromVassal::VoluntaryStop);
        }
    }

    /// When to give the next sign of life.
    pub(super) fn next_beat(&self) -> Option<Tick> {
        self.heartbeat().map(|_| self.beat_at.unwrap_or_else(clock::now))
    }

    pub(super) fn beat(&mut self, now: Tick) {
        let Some(every) = self.heartbeat().filter(|_| self.beat_at.is_none_or(|at| at <= now)) else {
            return;
        };
        self.beat_at = Some(now + every);
        self.tell_emperor(&FromInstance::Heartbeat, &[]);
        self.say_to_uwsgi(FromVassal::Heartbeat);
    }

    fn heartbeat(&self) -> Option<Duration> {
        let every = self.current.said.spec.workers.heartbeat_s;
        let heard = self.emperor.is_some() || self.uwsgi_emperor.is_some();
        (heard && every > 0).then(|| Duration::from_secs(every.into()))
    }

    /// After which time the emperor is to be told.
    fn idle(&self) -> Option<Duration> {
        let idle_s = self.current.said.spec.workers.idle_s;
        // Without one who wakes it, or with what is not to sleep, it goes cheap.
        let stays = !self.supervised || self.keeps_awake();
        let rests = !self.paused && (self.is_woken() || (stays && !self.roster.is_cheap()));
        // Without workers there are none to send home.
        let spec = &self.current.said.spec;
        let serves = spec.has_workers() || (spec.serves() && self.is_woken());
        let wanted = idle_s > 0 && serves && rests && self.roster.phase == Phase::Running;
        wanted.then(|| Duration::from_secs(idle_s.into()))
    }

    /// Whether an emperor may end the instance, and starts it again when somebody connects.
    fn is_woken(&self) -> bool {
        let wakes = self.emperor.is_some() || self.uwsgi_emperor.as_ref().is_some_and(UwsgiEmperor::wakes);
        wakes && !self.keeps_awake()
    }

    /// Whether something lives beside the workers that must not sleep.
    fn keeps_awake(&self) -> bool {
        self.current.said.spec.companions.keeps_awake()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_only_after_a_whole_time_without_a_request() {
        let idle = Duration::from_secs(10);
        let mut rest = Rest::default();
        for (at_s, requests, busy, rests) in [
            (0, 0, false, false),
            (10, 0, false, true),
            (15, 0, false, false),
            (20, 0, true, false),
            (29, 1, false, false),
            (38, 1, false, false),
            (39, 1, false, true),
            (49, 1, false, true),
        ] {
            let now = Tick::from_ms(at_s * 1000);
            assert_eq!(rest.look(now, requests, busy, idle), rests, "{at_s}");
        }
    }
}
