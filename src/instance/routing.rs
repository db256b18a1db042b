//! The router of `http`: kept while a generation wants one, and given the connections of the workers that serve.

use std::time::Duration;

use super::decide::QUICK;
use super::event::Effect;
use super::roster::{Phase, Roster, Router, SlotState, Stage};
use crate::tick::Tick;

/// Starts the router when one is wanted, and ends it when none is.
pub(super) fn keep_router(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let wanted = roster.wants_router();
    match roster.router {
        Router::Absent { not_before } if wanted && not_before <= now => {
            let newest = roster.generations.iter().filter(|g| g.stage != Stage::Retired && g.settings.router);
            let generation = newest.map(|g| g.number).min().unwrap_or_default();
            roster.router = Router::Starting { since: now };
            out.push(Effect::StartRouter { generation });
        }
        Router::Ready { .. } if !wanted => {
            let mercy = roster.generations.iter().map(|g| g.settings.mercy).max().unwrap_or_default();
            roster.router = Router::Draining { deadline: Some(now + mercy) };
            out.push(Effect::DrainRouter);
        }
        Router::Starting { .. } if !wanted => {
            roster.router = Router::Draining { deadline: None };
            out.push(Effect::KillRouter);
        }
        _ => {}
    }
}

/// The router is gone: another one is needed, and workers with connections to it.
pub(super) fn router_gone(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let delay = match roster.router {
        Router::Absent { .. } => return,
        Router::Starting { .. } => QUICK,
        Router::Ready { since } if now.since(since) < QUICK => QUICK,
        Router::Ready { .. } | Router::Draining { .. } => Duration::ZERO,
    };
    roster.router = Router::Absent { not_before: now + delay };
    for slot in 0..roster.slots.len() {
        let Some(place) = roster.slots.get_mut(slot).filter(|s| s.routed) else { continue };
        place.routed = false;
        match place.state {
            SlotState::Draining => out.push(Effect::Drain { slot }),
            // Its connections ended with the router; only a new worker gets new ones.
            _ => place.recycle = true,
        }
    }
}

/// Gives a worker's connections to the router.
pub(super) fn route(roster: &mut Roster, slot: usize, out: &mut Vec<Effect>) {
    let Some(place) = roster.slots.get(slot).copied() else { return };
    let wanted = roster.generation(place.generation).is_some_and(|g| g.settings.router);
    if let Some(place) = roster.slots.get_mut(slot).filter(|s| wanted && !s.routed && !s.recycle) {
        place.routed = true;
        out.push(Effect::AddToRouter { slot });
    }
}

/// Gives the connections of all that serve to the router.
pub(super) fn route_all(roster: &mut Roster, out: &mut Vec<Effect>) {
    let Some(serving) = roster.serving().map(|g| g.number) else { return };
    if !matches!(roster.router, Router::Ready { .. }) {
        return;
    }
    for slot in 0..roster.slots.len() {
        if roster.slots.get(slot).is_some_and(|s| s.generation == serving && s.state == SlotState::Serving) {
            route(roster, slot, out);
        }
    }
}

impl Roster {
    /// Whether some generation that serves or is to serve has a router before it.
    pub(super) fn wants_router(&self) -> bool {
        self.phase == Phase::Running
            && self.generations.iter().any(|g| g.stage != Stage::Retired && g.has_router())
    }
}
