//! What happens to an instance, and what follows from it. No I/O, no clock.

use std::time::Duration;

use super::event::{Effect, Event};
use super::roster::{Generation, Pending, Phase, Roster, Router, Slot, SlotState, Stage};
use super::zygotes::{self, Loaded};
use super::{farewell, operations, routing, scale, settle, shortfall};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId, Outcome};

/// The exit status that says: no application, and one is needed.
pub const EXIT_NO_APP: u8 = 22;
/// A worker that ends within this time of its birth "died at once".
pub(super) const QUICK: Duration = Duration::from_secs(1);
/// The delay after the first too quick death; it doubles up to [`LONGEST_FORK_DELAY`].
const FIRST_FORK_DELAY: Duration = Duration::from_millis(100);
const LONGEST_FORK_DELAY: Duration = Duration::from_secs(2);
/// So many quick deaths beyond one for each worker end an instance that never was ready.
const HOPELESS: u32 = 3;

/// Takes one event, changes the roster, and says what is to be done, in order. Late and repeated events change nothing.
pub fn decide(roster: &mut Roster, event: Event, now: Tick, out: &mut Vec<Effect>) {
    if roster.phase == Phase::Ended {
        return;
    }
    match event {
        Event::Begin(settings) => {
            settle::announce(roster, InstanceState::Starting, out);
            settle::add_generation(roster, settings, None, now, out);
        }
        Event::Reload(operation) => {
            operations::request(roster, Pending { operation, reexec: None }, now, out)
        }
        Event::Reexec { operation, reload } => {
            operations::request(roster, Pending { operation, reexec: Some(reload) }, now, out);
        }
        Event::Rehearsed { operation, plan } => {
            operations::rehearsed(roster, operation, plan, now, out);
        }
        Event::ReexecFailed(failure) => {
            if let Some(pending) = roster.pending.take() {
                out.push(ended(pending.operation, Outcome::RolledBack(failure)));
            }
        }
        Event::Reexecuted(settings) => operations::reexecuted(roster, settings, now, out),
        Event::ZygoteLoaded { zygote, app, threads, failure } => {
            zygotes::loaded(roster, zygote, Loaded { app, threads, failure }, now, out);
        }
        Event::ZygoteLoadFailed { zygote, failure } => {
            zygotes::failed(roster, zygote, failure, true, now, out);
        }
        Event::ZygoteHookFailed { zygote, failure } => {
            zygotes::failed(roster, zygote, failure, false, now, out);
        }
        Event::ZygoteGone { zygote, how } => zygotes::gone(roster, zygote, &how, now, out),
        Event::Forked { slot } => forked(roster, slot, out),
        Event::Begun { slot } => settle::begun(roster, slot, now, out),
        Event::ForkFailed { slot, failure } => fork_failed(roster, slot, failure, now, out),
        Event::WorkerWithoutApp { slot, failure } => {
            if let Some(place) = roster.slots.get(slot).copied()
                && roster.generation(place.generation).is_some_and(|g| g.settings.names_app)
            {
                give_up_candidate(roster, place.generation, failure, now, out);
            }
        }
        Event::WorkerReady { slot, app } => worker_ready(roster, slot, app, now, out),
        Event::WorkerLoadFailed { slot, failure } => {
            worker_failed(roster, slot, (failure, EXIT_NO_APP), now, out);
        }
        Event::WorkerHookFailed { slot, failure } => worker_failed(roster, slot, (failure, 1), now, out),
        Event::Recycle { slot } => {
            if let Some(slot) = roster.slots.get_mut(slot).filter(|s| s.state == SlotState::Serving) {
                slot.recycle = true;
            }
        }
        Event::WorkerGone { slot, how } => worker_gone(roster, slot, &how, now, out),
        Event::Overran { slot, grace } => overran(roster, slot, grace, now, out),
        Event::RouterReady => {
            if matches!(roster.router, Router::Starting { .. }) {
                roster.router = Router::Ready { since: now };
            }
        }
        Event::RouterGone => routing::router_gone(roster, now, out),
        Event::Closed { slot } => roster.slots.get_mut(slot).into_iter().for_each(Slot::close),
        Event::PassedOver { slot, generation } => {
            if let Some(place) = roster.slots.get_mut(slot).filter(|s| s.generation == generation) {
                place.passed_over = place.routed;
            }
        }
        Event::Released { slot, generation } => {
            if let Some(place) = roster.slots.get_mut(slot)
                && place.generation == generation
                && place.state == SlotState::Draining
                && place.routed
            {
                place.routed = false;
                out.push(Effect::Drain { slot });
            }
        }
        Event::Lost { slot, generation } => {
            if let Some(place) = roster.slots.get_mut(slot)
                && place.generation == generation
                && place.state == SlotState::Serving
            {
                place.recycle = true;
                let is_quick = now.since(place.born) < QUICK;
                if let Some(generation) = roster.generation_mut(generation).filter(|_| is_quick) {
                    too_soon(generation, now);
                }
            }
        }
        Event::Answered => {
            if matches!(roster.announced, Some(InstanceState::Ready | InstanceState::ReadyWithoutApp)) {
                settle::announce(roster, InstanceState::Loyal, out);
            }
        }
        Event::Scale { operation, workers, idle } => {
            let outcome = scale::ask(roster, workers, &idle, now, out);
            out.push(ended(operation, outcome));
        }
        Event::Step { more, idle } => scale::step(roster, more, &idle, now, out),
        Event::Looked(sample) => scale::looked(roster, &sample, now, out),
        Event::Stirred => scale::stirred(roster, now),
        Event::GoCheap { reason } => scale::go_cheap(roster, reason, now, out),
        Event::Called => scale::called(roster, now, out),
        Event::Stop { mercy } => settle::stop(roster, mercy, now, out),
        Event::StopNow => settle::stop_now(roster, now, out),
        Event::Alone => farewell::alone(roster),
        Event::Timer => {}
    }
    settle::settle(roster, now, out);
}

/// A worker is beyond a limit. One that gets time to finish takes nothing new: another has its place at once.
fn overran(roster: &mut Roster, slot: usize, grace: Option<Duration>, now: Tick, out: &mut Vec<Effect>) {
    let Some(place) = roster.slots.get_mut(slot).filter(|s| s.forked) else { return };
    let Some(grace) = grace else {
        place.deadline = None;
        out.push(Effect::Kill { slot });
        return;
    };
    out.push(Effect::Warn { slot });
    settle::drain(roster, slot, now, out);
    if let Some(place) = roster.slots.get_mut(slot) {
        place.deadline = place.deadline.map(|deadline| deadline.min(now + grace));
    }
}

fn forked(roster: &mut Roster, slot: usize, out: &mut Vec<Effect>) {
    let Some(place) = roster.slots.get_mut(slot).filter(|s| !s.forked) else { return };
    match place.state {
        SlotState::Forking => {
            place.forked = true;
            place.state = SlotState::Loading;
        }
        // Its generation was given up meanwhile.
        SlotState::Draining => {
            place.forked = true;
            place.deadline = None;
            out.push(Effect::KillUnlessBegun { slot });
        }
        SlotState::Empty | SlotState::Loading | SlotState::Serving => {}
    }
}

fn fork_failed(roster: &mut Roster, slot: usize, failure: Failure, now: Tick, out: &mut Vec<Effect>) {
    let Some(place) = roster.slots.get(slot).copied().filter(|s| !s.forked && s.state != SlotState::Empty)
    else {
        return;
    };
    clear(roster, slot, out);
    out.push(Effect::Tell(format!("worker {} could not be forked: {failure}", place.worker)));
    shortfall::refused(roster, place.generation, &failure, out);
    let Some(generation) = roster.generation_mut(place.generation) else { return };
    let excess = too_soon(generation, now);
    generation.fork_after = generation.fork_after.max(Some(now + QUICK));
    given_up(roster, place.generation, failure, excess, now, out);
}

fn worker_ready(roster: &mut Roster, slot: usize, app: bool, now: Tick, out: &mut Vec<Effect>) {
    let router_ready = matches!(roster.router, Router::Ready { .. });
    let Some(place) = roster.slots.get_mut(slot) else { return };
    if !matches!(place.state, SlotState::Forking | SlotState::Loading) {
        return;
    }
    (place.state, place.forked) = (SlotState::Serving, true);
    let place = *place;
    let Some(generation) = roster.generation(place.generation) else { return };
    if !app && generation.settings.names_app {
        let failure = Failure::new(format!("worker {} could not load the application", place.worker))
            .with_hint("its log has the traceback");
        if give_up_candidate(roster, place.generation, failure, now, out) {
            return;
        }
    }
    if let Some(generation) = roster.generation_mut(place.generation).filter(|g| g.stage == Stage::Candidate)
    {
        generation.app &= app;
    }
    if router_ready && roster.serving().is_some_and(|g| g.number == place.generation) {
        routing::route(roster, slot, out);
    }
    if let Some(old) = place.replaces {
        if let Some(new) = roster.slots.get_mut(slot) {
            new.replaces = None;
        }
        let replaced = roster.slots.get(old).is_some_and(|o| {
            o.generation == place.generation && o.worker == place.worker && o.state == SlotState::Serving
        });
        if replaced {
            settle::drain(roster, old, now, out);
        }
    }
}

/// A worker cannot serve and ends; an instance without others ends with it, and with this status.
fn worker_failed(
    roster: &mut Roster,
    slot: usize,
    (failure, status): (Failure, u8),
    now: Tick,
    out: &mut Vec<Effect>,
) {
    let Some(place) = roster.slots.get(slot).copied() else { return };
    if !matches!(place.state, SlotState::Forking | SlotState::Loading)
        || give_up_candidate(roster, place.generation, failure.clone(), now, out)
    {
        return;
    }
    if roster.serving().is_none() {
        settle::fail(roster, status, failure, out);
    } else {
        out.push(Effect::Tell(format!("worker {} cannot serve: {failure}", place.worker)));
    }
}

fn worker_gone(roster: &mut Roster, slot: usize, how: &str, now: Tick, out: &mut Vec<Effect>) {
    let Some(place) = roster.slots.get(slot).copied().filter(|s| s.state != SlotState::Empty) else { return };
    clear(roster, slot, out);
    for other in &mut roster.slots {
        if other.replaces == Some(slot) {
            other.replaces = None;
        }
    }
    if place.state == SlotState::Draining {
        return;
    }
    let was_ready = place.state == SlotState::Serving;
    let Some(generation) = roster.generation_mut(place.generation) else { return };
    if was_ready && now.since(place.born) >= QUICK {
        generation.quick_deaths = 0;
        return;
    }
    let excess = too_soon(generation, now);
    let failure = Failure::new(format!("worker {} ended while it started: {how}", place.worker));
    given_up(roster, place.generation, failure, excess, now, out);
}

/// Gives up a candidate of which a worker is lost, and an instance that never was ready when `excess` are.
fn given_up(
    roster: &mut Roster,
    generation: u64,
    failure: Failure,
    excess: u32,
    now: Tick,
    out: &mut Vec<Effect>,
) {
    let never_ready = roster.serving().is_none();
    if !give_up_candidate(roster, generation, failure.clone(), now, out) && never_ready && excess > HOPELESS {
        settle::fail(roster, 1, failure, out);
    }
}

/// A worker was of no use soon after it was forked: beyond one for each that is wanted, the next wait longer and longer.
/// Answers how many are beyond.
fn too_soon(generation: &mut Generation, now: Tick) -> u32 {
    generation.quick_deaths = generation.quick_deaths.saturating_add(1);
    let excess = generation.quick_deaths.saturating_sub(generation.wanted());
    if excess > 0 {
        generation.fork_after = Some(now + doubled(FIRST_FORK_DELAY, excess - 1, LONGEST_FORK_DELAY));
    }
    excess
}

/// Gives a candidate up if another generation serves.
fn give_up_candidate(
    roster: &mut Roster,
    generation: u64,
    failure: Failure,
    now: Tick,
    out: &mut Vec<Effect>,
) -> bool {
    let is_candidate = roster.candidate().is_some_and(|g: &Generation| g.number == generation);
    if !is_candidate || roster.serving().is_none() {
        return false;
    }
    settle::abandon_candidate(roster, Outcome::RolledBack(failure), now, out);
    true
}

pub(super) fn clear(roster: &mut Roster, slot: usize, out: &mut Vec<Effect>) {
    if let Some(place) = roster.slots.get_mut(slot) {
        *place = Slot::default();
        out.push(Effect::Clear { slot });
    }
}

pub(super) const fn ended(operation: OperationId, outcome: Outcome) -> Effect {
    Effect::Ended { operation, outcome }
}

pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.min(16))).min(longest)
}
