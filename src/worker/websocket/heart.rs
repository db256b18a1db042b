//! When a silent client is asked whether it is there, and when it counts as gone. Pure: no input or output, no clock.

use std::time::Duration;

use crate::config::websocket::WebsocketSpec;
use crate::tick::Tick;

/// The heart of a websocket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heart {
    /// From silence to a ping, …
    frequency: Option<Duration>,
    /// … and from there to the end.
    tolerance: Duration,
    heard: Tick,
    pinged: Option<Tick>,
}

/// What is to be done when nothing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Wait so long at most; `None`: as long as it takes.
    Wait(Option<Duration>),
    /// Ask.
    Ping,
    /// No answer came in time.
    Lost,
}

impl Heart {
    /// Of a client that was heard just now.
    pub(super) fn new(spec: &WebsocketSpec, now: Tick) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        Self {
            frequency: (spec.ping_freq_s > 0).then(|| seconds(spec.ping_freq_s)),
            tolerance: seconds(spec.pong_tolerance_s),
            heard: now,
            pinged: None,
        }
    }

    /// Something came.
    pub(super) fn hear(&mut self, now: Tick) {
        self.heard = now;
        self.pinged = None;
    }

    /// Nothing is there.
    pub(super) fn beat(&mut self, now: Tick) -> Beat {
        let Some(frequency) = self.frequency else { return Beat::Wait(None) };
        let (since, limit) = match self.pinged {
            Some(pinged) => (pinged, self.tolerance),
            None => (self.heard, frequency),
        };
        let left = limit.saturating_sub(now.since(since));
        if !left.is_zero() {
            return Beat::Wait(Some(left));
        }
        if self.pinged.is_some() {
            return Beat::Lost;
        }
        self.pinged = Some(now);
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_asked_and_then_given_up() {
        let wait = |ms| Beat::Wait(Some(Duration::from_millis(ms)));
        let spec = WebsocketSpec { ping_freq_s: 30, pong_tolerance_s: 3, ..WebsocketSpec::default() };
        let mut heart = Heart::new(&spec, Tick::from_ms(1000));
        for (at_ms, hears, expected) in [
            (1000, false, wait(30_000)),
            (30_999, false, wait(1)),
            (31_000, false, Beat::Ping),
            (31_000, false, wait(3000)),
            (33_999, true, wait(30_000)),
            (63_999, false, Beat::Ping),
            (66_998, false, wait(1)),
            (66_999, false, Beat::Lost),
        ] {
            let now = Tick::from_ms(at_ms);
            if hears {
                heart.hear(now);
            }
            assert_eq!(heart.beat(now), expected, "{at_ms}");
        }
    }

    #[test]
    fn a_frequency_of_zero_asks_nobody() {
        let spec = WebsocketSpec { ping_freq_s: 0, ..WebsocketSpec::default() };
        let mut heart = Heart::new(&spec, Tick::from_ms(1));
        assert_eq!(heart.beat(Tick::from_ms(u64::MAX / 2)), Beat::Wait(None));
    }
}
