//! Brings an instance from what it is to what it should be: the steps that follow from the state alone, whatever the
//! event was.

use std::time::Duration;

use super::cheaper::Memory;
use super::event::Effect;
use super::roster::{Closing, Generation, Phase, Roster, Router, Settings, Slot, SlotState, Stage, Zygote};
use super::{conclude, farewell, operations, routing, scale, shortfall};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId, Outcome};

/// A zygote has no requests; one that does not end by itself is stuck.
const ZYGOTE_MERCY: Duration = Duration::from_secs(2);
/// What those who live beside the workers get at least to end, within what an emperor gives a master beyond the mercy of
/// its workers.
const PARTING: Duration = Duration::from_millis(500);
/// The fewest slots: draining workers of earlier generations need places too.
const SPARE_SLOTS: u32 = 4;

/// Does whatever the state asks for. Called after every event; changes nothing when called again.
pub(super) fn settle(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    expire(roster, now, out);
    match roster.phase {
        Phase::Running => {
            operations::begin_waiting(roster, now, out);
            give_up_late(roster, now, out);
            routing::keep_router(roster, now, out);
            keep_zygotes(roster, now, out);
            fork_missing(roster, now, out);
            swap(roster, now, out);
            conclude::conclude(roster, now, out);
            routing::keep_router(roster, now, out);
            routing::route_all(roster, out);
            scale::send_home(roster, now, out);
            scale::look(roster, now, out);
            shortfall::look(roster, out);
        }
        Phase::Stopping { .. } => {
            let empty = roster.slots.iter().all(|s| s.state == SlotState::Empty);
            if empty && roster.closing.is_empty() && matches!(roster.router, Router::Absent { .. }) {
                farewell::leave(roster, out);
            }
        }
        Phase::Ended => {}
    }
    let slots = &roster.slots;
    roster.generations.retain(|g| {
        let has_slots = slots.iter().any(|s| s.state != SlotState::Empty && s.generation == g.number);
        g.stage != Stage::Retired || g.zygote.id().is_some() || has_slots || g.conclude_at.is_some()
    });
}

/// Adds a candidate, with places for its workers beside those that are there.
pub(super) fn add_generation(
    roster: &mut Roster,
    settings: Settings,
    operation: Option<OperationId>,
    now: Tick,
    out: &mut Vec<Effect>,
) {
    roster.newest_generation += 1;
    let number = roster.newest_generation;
    let wanted = scale::at_first(roster, &settings);
    roster.generations.push(Generation {
        number,
        settings,
        stage: Stage::Candidate,
        zygote: Zygote::Absent { not_before: Tick::default() },
        lazy: settings.lazy,
        app: true,
        operation,
        conclude_at: None,
        fork_after: None,
        quick_deaths: 0,
        reach: 0,
        begun: 0,
        failed_zygotes: 0,
        late_at: settings.patience.map(|patience| now + patience),
        wanted,
        memory: Memory::default(),
    });
    out.push(Effect::Adopt { generation: number });
    let workers = roster.generations.iter().map(|g| g.settings.processes).max().unwrap_or(1);
    let slots = slots_for(workers);
    let cores = roster.generations.iter().map(|g| g.settings.threads).max().unwrap_or(1);
    roster.slots.resize(slots.max(roster.slots.len()), Slot::default());
    out.push(Effect::Grow { slots: roster.slots.len(), cores });
}

/// How many slots an instance with so many workers has.
pub(super) fn slots_for(workers: u32) -> usize {
    usize::try_from(workers.saturating_mul(2).saturating_add(SPARE_SLOTS)).unwrap_or(usize::MAX)
}

/// Ends the candidate: its workers that already accept finish, all else is killed.
pub(super) fn abandon_candidate(roster: &mut Roster, outcome: Outcome, now: Tick, out: &mut Vec<Effect>) {
    let Some(candidate) = roster.generations.iter_mut().find(|g| g.stage == Stage::Candidate) else { return };
    let (number, zygote, operation) = (candidate.number, candidate.zygote, candidate.operation.take());
    retire(roster, number, zygote, now, out);
    out.push(Effect::Discard { generation: number });
    if let Some(operation) = operation {
        out.push(Effect::Ended { operation, outcome });
    }
}

/// Tells a zygote to end.
pub(super) fn close_zygote(roster: &mut Roster, zygote: u64, now: Tick, out: &mut Vec<Effect>) {
    if roster.closing.iter().all(|c| c.zygote != zygote) {
        roster.closing.push(Closing { zygote, deadline: Some(now + ZYGOTE_MERCY) });
        out.push(Effect::CloseZygote { zygote });
    }
}

/// Lets a worker finish that was to end before it begins, and has begun.
pub(super) fn begun(roster: &mut Roster, slot: usize, now: Tick, out: &mut Vec<Effect>) {
    let Some(place) = roster.slots.get_mut(slot).filter(|s| s.state == SlotState::Draining && s.forked)
    else {
        return;
    };
    place.state = SlotState::Serving;
    drain(roster, slot, now, out);
    if let Phase::Stopping { deadline } = roster.phase
        && let Some(place) = roster.slots.get_mut(slot)
    {
        place.deadline = place.deadline.map(|own| own.min(deadline));
    }
}

/// Lets a worker finish, or ends it if it has not begun.
pub(super) fn drain(roster: &mut Roster, slot: usize, now: Tick, out: &mut Vec<Effect>) {
    let router_ready = matches!(roster.router, Router::Ready { .. });
    let mercy = roster
        .slots
        .get(slot)
        .and_then(|s| roster.generation(s.generation))
        .map_or(Duration::ZERO, |g| g.settings.mercy);
    let Some(place) = roster.slots.get_mut(slot) else { return };
    let was = std::mem::replace(&mut place.state, SlotState::Draining);
    match was {
        SlotState::Empty => place.state = SlotState::Empty,
        SlotState::Draining => {}
        // Whether it exists is not known yet; that message, or the zygote's end, decides.
        SlotState::Forking => place.deadline = None,
        SlotState::Loading => out.push(Effect::KillUnlessBegun { slot }),
        SlotState::Serving => {
            place.deadline = Some(now + mercy);
            let first = if place.routed && router_ready {
                Effect::ReleaseFromRouter { slot }
            } else {
                place.routed = false;
                Effect::Drain { slot }
            };
            out.push(first);
        }
    }
}

/// Says how the instance stands, once.
pub(super) fn announce(roster: &mut Roster, state: InstanceState, out: &mut Vec<Effect>) {
    if roster.announced != Some(state) {
        roster.announced = Some(state);
        out.push(Effect::State(state));
    }
}

/// Stops: no new workers, running requests are finished.
pub(super) fn stop(roster: &mut Roster, mercy: Option<Duration>, now: Tick, out: &mut Vec<Effect>) {
    if roster.phase != Phase::Running {
        return;
    }
    let configured = roster.generations.iter().map(|g| g.settings.mercy).max().unwrap_or_default();
    let deadline = now + mercy.unwrap_or(configured);
    roster.phase = Phase::Stopping { deadline };
    roster.limit = mercy.map(|mercy| now + mercy + PARTING);
    announce(roster, InstanceState::Stopping, out);
    let stopped = || Outcome::RolledBack(Failure::new("the instance was stopped"));
    for asked in roster.give_up_requests() {
        out.push(Effect::Ended { operation: asked.operation, outcome: stopped() });
    }
    conclude::conclude_all(roster, out);
    abandon_candidate(roster, stopped(), now, out);
    let long_draining: Vec<usize> = (0..)
        .zip(&roster.slots)
        .filter_map(|(n, s)| (s.state == SlotState::Draining && s.forked && !s.routed).then_some(n))
        .collect();
    let router_drains = match roster.router {
        Router::Ready { .. } => {
            roster.router = Router::Draining { deadline: Some(deadline) };
            out.push(Effect::DrainRouter);
            true
        }
        Router::Starting { .. } => {
            roster.router = Router::Draining { deadline: None };
            out.push(Effect::KillRouter);
            false
        }
        Router::Draining { .. } => true,
        Router::Absent { .. } => false,
    };
    let generations: Vec<(u64, Zygote)> = roster.generations.iter().map(|g| (g.number, g.zygote)).collect();
    for (number, zygote) in generations {
        // The router finishes what it has with the workers there; its end, then, drains them.
        let waiting = |s: &Slot| router_drains && s.routed && s.state == SlotState::Serving;
        for slot in roster.slots.iter_mut().filter(|s| s.generation == number && waiting(s)) {
            slot.state = SlotState::Draining;
        }
        retire(roster, number, zygote, now, out);
    }
    for slot in roster.slots.iter_mut().filter(|s| s.state == SlotState::Draining && s.forked) {
        slot.deadline = Some(slot.deadline.map_or(deadline, |own| own.min(deadline)));
    }
    // They hear that it is a stop now.
    out.extend(long_draining.into_iter().map(|slot| Effect::Drain { slot }));
}

/// Stops at once: everything is killed.
pub(super) fn stop_now(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    stop(roster, Some(Duration::ZERO), now, out);
    roster.limit = Some(now);
    if roster.farewell == farewell::Farewell::Said {
        out.push(Effect::Part { by: roster.limit });
    }
    for (slot, place) in roster.slots.iter_mut().enumerate().filter(|(_, s)| s.forked) {
        place.deadline = None;
        out.push(Effect::Kill { slot });
    }
    for closing in &mut roster.closing {
        closing.deadline = None;
        out.push(Effect::KillZygote { zygote: closing.zygote });
    }
    if let Router::Draining { deadline } = &mut roster.router {
        *deadline = None;
        out.push(Effect::KillRouter);
    }
}

/// Ends an instance that cannot go on.
pub(super) fn fail(roster: &mut Roster, code: u8, failure: Failure, out: &mut Vec<Effect>) {
    roster.phase = Phase::Ended;
    conclude::conclude_all(roster, out);
    let operations = roster.give_up_requests().map(|asked| asked.operation);
    for operation in operations.chain(roster.generations.iter_mut().filter_map(|g| g.operation.take())) {
        out.push(Effect::Ended { operation, outcome: Outcome::RolledBack(failure.clone()) });
    }
    out.push(Effect::Exit { code, failure: Some(failure) });
}

fn retire(roster: &mut Roster, number: u64, zygote: Zygote, now: Tick, out: &mut Vec<Effect>) {
    for slot in 0..roster.slots.len() {
        if roster.slots.get(slot).is_some_and(|s| s.generation == number) {
            drain(roster, slot, now, out);
        }
    }
    match zygote {
        Zygote::Absent { .. } => {}
        Zygote::Loading { id } => {
            roster.closing.push(Closing { zygote: id, deadline: None });
            out.push(Effect::KillZygote { zygote: id });
        }
        Zygote::Ready { id, .. } => close_zygote(roster, id, now, out),
    }
    if let Some(generation) = roster.generation_mut(number) {
        generation.stage = Stage::Retired;
        generation.zygote = Zygote::Absent { not_before: now };
    }
}

/// Kills whoever was given time and did not use it.
fn expire(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let due = |deadline: &mut Option<Tick>| deadline.is_some_and(|d| d <= now) && deadline.take().is_some();
    for (slot, place) in roster.slots.iter_mut().enumerate() {
        if due(&mut place.deadline) {
            let worker = place.worker;
            out.push(Effect::Tell(format!("worker {worker} is taking too much time to die...NO MERCY !!!")));
            out.push(Effect::Kill { slot });
        }
    }
    for closing in &mut roster.closing {
        if due(&mut closing.deadline) {
            out.push(Effect::KillZygote { zygote: closing.zygote });
        }
    }
    if let Router::Draining { deadline } = &mut roster.router
        && due(deadline)
    {
        out.push(Effect::KillRouter);
    }
}

/// Gives up a candidate that is not ready in time. Where nothing else serves it is only told: better late than never.
fn give_up_late(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let others_serve = roster.serving().is_some();
    let due = |g: &&mut Generation| g.stage == Stage::Candidate && g.late_at.is_some_and(|at| at <= now);
    let Some(late) = roster.generations.iter_mut().find(due) else { return };
    late.late_at = None;
    if others_serve {
        return abandon_candidate(roster, Outcome::TimedOut, now, out);
    }
    out.push(Effect::Late { after: late.settings.patience.unwrap_or_default() });
    if let Some(operation) = late.operation.take() {
        out.push(Effect::Ended { operation, outcome: Outcome::TimedOut });
    }
}

fn keep_zygotes(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let due = |g: &Generation| matches!(g.zygote, Zygote::Absent { not_before } if not_before <= now);
    let wanted: Vec<u64> =
        roster.generations.iter().filter(|g| due(g) && roster.wants_zygote(g)).map(|g| g.number).collect();
    for number in wanted {
        roster.newest_zygote += 1;
        let (zygote, reach) = (roster.newest_zygote, roster.slots.len());
        let Some(generation) = roster.generation_mut(number) else { continue };
        generation.zygote = Zygote::Loading { id: zygote };
        generation.reach = reach;
        out.push(Effect::StartZygote { zygote, generation: number, lazy: generation.lazy });
    }
}

fn fork_missing(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let mut wanted = Vec::new();
    for generation in &mut roster.generations {
        if generation.fork_after.is_some_and(|at| at <= now) {
            generation.fork_after = None;
        }
    }
    for generation in
        roster.generations.iter().filter(|g| g.stage != Stage::Retired && g.fork_after.is_none())
    {
        if let Zygote::Ready { id, .. } = generation.zygote {
            let (number, reach) = (generation.number, generation.reach);
            wanted.extend(roster.missing(generation).into_iter().map(|(w, r)| (id, number, reach, w, r)));
        }
    }
    for (zygote, generation, reach, worker, replaces) in wanted {
        let Some(slot) = roster.free_slot(reach) else { continue };
        let first = roster.generation_mut(generation).is_some_and(|g| {
            let first = worker > g.begun;
            g.begun = g.begun.max(worker);
            first
        });
        if let Some(place) = roster.slots.get_mut(slot) {
            *place = Slot {
                state: SlotState::Forking,
                worker,
                generation,
                zygote,
                born: now,
                first,
                replaces,
                ..Slot::default()
            };
        }
        out.push(Effect::Fork { zygote, slot });
    }
}

/// Lets the candidate take over: all its workers accept, or there is nobody to take over from and one does.
fn swap(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let Some(candidate) = roster.candidate() else { return };
    let (number, wanted, routed) = (candidate.number, candidate.wanted(), candidate.has_router());
    let old = roster.serving().map(|g| (g.number, g.zygote));
    let needed = if old.is_some() { wanted } else { wanted.min(1) };
    let loaded = wanted > 0 || candidate.lazy || matches!(candidate.zygote, Zygote::Ready { .. });
    let ready = loaded && roster.accepting(number) >= usize::try_from(needed).unwrap_or(usize::MAX);
    if !ready || (routed && !matches!(roster.router, Router::Ready { .. })) {
        return;
    }
    out.push(Effect::Swap { generation: number });
    let Some(candidate) = roster.generation_mut(number) else { return };
    candidate.stage = Stage::Serving;
    if wanted > 0 && candidate.settings.cheaper.is_on() {
        candidate.memory.stir(now);
    }
    conclude::begin(candidate, now);
    let state = if candidate.app { InstanceState::Ready } else { InstanceState::ReadyWithoutApp };
    if state != InstanceState::Ready || roster.announced != Some(InstanceState::Loyal) {
        announce(roster, state, out);
    }
    routing::route_all(roster, out);
    if let Some((old, zygote)) = old {
        retire(roster, old, zygote, now, out);
    }
}
