//! How many workers there are: as the load, an operator until the next reload, or nobody's asking wants it. One number,
//! `Generation::wanted`; missing workers are forked, those beyond finish what they have.

use std::cmp::Reverse;

use super::cheaper::{Crew, Sample, Verdict};
use super::event::Effect;
use super::roster::{Generation, Phase, Roster, Router, Settings, SlotState, Stage};
use super::settle;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::Outcome;

/// How many workers a new generation has; `None`: all. Under load it has as many as the one that it follows.
pub(super) fn at_first(roster: &Roster, settings: &Settings) -> Option<u32> {
    let Settings { cheaper, processes, .. } = settings;
    let serving = roster.serving();
    if serving.map_or(cheaper.cheap, Generation::is_cheap) {
        return Some(0);
    }
    let follows = serving.map_or(0, Generation::wanted).min(*processes);
    cheaper.is_on().then(|| cheaper.first(*processes).max(follows))
}

/// An operator wants so many workers.
pub(super) fn ask(
    roster: &mut Roster,
    workers: u32,
    idle: &[usize],
    now: Tick,
    out: &mut Vec<Effect>,
) -> Outcome {
    let number = match room(roster, workers) {
        Ok(number) => number,
        Err(failure) => return Outcome::Refused(failure),
    };
    let needs = roster.serving().map_or(0, |serving| serving.settings.needs);
    // Idle ones first, then the highest number.
    let mut numbers: Vec<(bool, u32)> = roster
        .active(number)
        .into_iter()
        .filter(|(worker, _)| *worker > needs)
        .map(|(worker, slots)| (slots.iter().all(|slot| idle.contains(slot)), worker))
        .collect();
    numbers.sort_unstable_by_key(|&(is_idle, worker)| (Reverse(is_idle), Reverse(worker)));
    let rest = usize::try_from(workers.saturating_sub(needs)).unwrap_or(usize::MAX);
    let surplus = numbers.len().saturating_sub(rest);
    let surplus: Vec<u32> = numbers.into_iter().take(surplus).map(|(_, worker)| worker).collect();
    resize(roster, number, workers, "an operator wants it".to_owned(), out);
    retire(roster, number, &surplus, now, out);
    stirred(roster, now);
    Outcome::Done
}

/// An operator wants one worker more, or one less, between `cheaper` and `processes`.
pub(super) fn step(roster: &mut Roster, more: bool, idle: &[usize], now: Tick, out: &mut Vec<Effect>) {
    let Some(serving) = followed(roster) else {
        let why = "the number of workers does not change (cheaper is off, or nothing serves)";
        return out.push(Effect::Log(why.to_owned()));
    };
    let (wanted, Settings { cheaper, processes, .. }) = (serving.wanted(), serving.settings);
    let to = if more { wanted.saturating_add(1) } else { wanted.saturating_sub(1) };
    if to > processes || to < cheaper.least {
        let limits = format!("cheaper = {}, processes = {processes}", cheaper.least);
        return out.push(Effect::Log(format!("the number of workers stays {wanted} ({limits})")));
    }
    if let Outcome::Refused(failure) = ask(roster, to, idle, now, out) {
        out.push(Effect::Tell(failure.to_string()));
    }
}

/// Asks for a look when it is time for one.
pub(super) fn look(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    if let Some(serving) = followed(roster)
        && serving.memory.next.is_some_and(|next| next <= now)
    {
        serving.memory.next = None;
        out.push(Effect::Look);
    }
}

/// The workers were looked at.
pub(super) fn looked(roster: &mut Roster, sample: &Sample, now: Tick, out: &mut Vec<Effect>) {
    let Some(serving) = followed(roster) else { return };
    let (number, most, wanted) = (serving.number, serving.settings.processes, serving.wanted());
    let rules = serving.settings.cheaper;
    let crew = Crew { active: wanted, most };
    let Some(serving) = followed(roster) else { return };
    match serving.memory.look(&rules, crew, sample, now) {
        Verdict::Stay(None) => {}
        Verdict::Stay(Some(line)) => out.push(Effect::Log(line)),
        Verdict::More(more, reason) => resize(roster, number, wanted.saturating_add(more), reason, out),
        Verdict::Fewer(reason) => {
            if let Some(worker) = oldest_idle(roster, number, sample) {
                resize(roster, number, wanted.saturating_sub(1), reason, out);
                retire(roster, number, &[worker], now, out);
            }
        }
    }
    let Some(serving) = followed(roster) else { return };
    let crew = Crew { active: serving.wanted(), most };
    match serving.memory.may_rest(&rules, crew, sample) {
        Some(busy) => out.push(Effect::LookOut { busy }),
        None => serving.memory.stir(now),
    }
}

/// Looks begin again, if the load decides.
pub(super) fn stirred(roster: &mut Roster, now: Tick) {
    if let Some(serving) = followed(roster) {
        serving.memory.stir(now);
    }
}

/// No worker runs from now on, until somebody connects.
pub(super) fn go_cheap(roster: &mut Roster, reason: String, now: Tick, out: &mut Vec<Effect>) {
    if roster.phase != Phase::Running || roster.candidate().is_some() {
        return;
    }
    let Some(serving) = roster.serving().filter(|serving| serving.wanted() > 0) else { return };
    let number = serving.number;
    resize(roster, number, 0, reason, out);
    send_home(roster, now, out);
    if let Some(serving) = roster.generation_mut(number) {
        serving.memory.next = None;
    }
}

/// Without a wish for workers they end, but after the router: what it has taken in is answered.
pub(super) fn send_home(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let Some(number) = roster.serving().filter(|_| roster.is_cheap()).map(|serving| serving.number) else {
        return;
    };
    if !matches!(roster.router, Router::Absent { .. }) {
        return;
    }
    let all: Vec<u32> = roster.active(number).into_keys().collect();
    retire(roster, number, &all, now, out);
}

/// Somebody connects: the first workers are needed.
pub(super) fn called(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    if !roster.is_cheap() {
        return;
    }
    let Some(serving) = roster.serving() else { return };
    let Settings { cheaper, processes, .. } = serving.settings;
    resize(roster, serving.number, cheaper.first(processes), "somebody connects".to_owned(), out);
    stirred(roster, now);
}

/// The generation that serves, if the load decides about its workers now.
fn followed(roster: &mut Roster) -> Option<&mut Generation> {
    let number = roster.serving().filter(|_| roster.phase == Phase::Running)?.number;
    roster.generation_mut(number).filter(|serving| serving.settings.cheaper.is_on() && serving.wanted() > 0)
}

/// The worker that is idle, that no socket needs, and that was forked first.
fn oldest_idle(roster: &Roster, generation: u64, sample: &Sample) -> Option<u32> {
    let is_idle = |slot: &usize| sample.workers.iter().any(|seen| seen.slot == *slot && !seen.busy);
    let needs = roster.serving().map_or(0, |serving| serving.settings.needs);
    let beyond = roster.active(generation).into_iter().filter(|(worker, _)| *worker > needs);
    let serving = beyond.filter(|(_, slots)| slots.iter().all(is_idle));
    let born = serving.filter_map(|(worker, slots)| {
        slots
            .iter()
            .filter_map(|slot| roster.slots.get(*slot))
            .map(|slot| slot.born)
            .min()
            .map(|b| (b, worker))
    });
    born.min().map(|(_, worker)| worker)
}

fn resize(roster: &mut Roster, generation: u64, to: u32, reason: String, out: &mut Vec<Effect>) {
    let Some(generation) = roster.generation_mut(generation) else { return };
    let from = generation.wanted();
    generation.wanted = Some(to);
    if from != to {
        out.push(Effect::Resized { from, to, reason });
    }
    // What takes over soon is to have as many.
    let candidate = roster.generations.iter_mut().find(|g| g.stage == Stage::Candidate);
    if let Some(candidate) = candidate.filter(|g| g.settings.cheaper.is_on()) {
        let most = candidate.settings.processes;
        candidate.wanted = Some(candidate.wanted().max(to.min(most)));
    }
}

/// Lets workers finish.
fn retire(roster: &mut Roster, generation: u64, workers: &[u32], now: Tick, out: &mut Vec<Effect>) {
    for slot in 0..roster.slots.len() {
        let is_one = |slot: &super::roster::Slot| {
            slot.generation == generation
                && workers.contains(&slot.worker)
                && !matches!(slot.state, SlotState::Empty | SlotState::Draining)
        };
        if roster.slots.get(slot).is_some_and(is_one) {
            settle::drain(roster, slot, now, out);
        }
    }
}

/// The generation that serves, if it can have so many.
fn room(roster: &Roster, workers: u32) -> Result<u64, Failure> {
    let Some(serving) = roster.serving().filter(|_| roster.phase == Phase::Running) else {
        return Err(Failure::new("no generation serves"));
    };
    if serving.settings.processes == 0 {
        return Err(Failure::new("it has no workers: nothing in its file is for one"));
    }
    let (most, needs) = (serving.reach, serving.settings.needs);
    if workers == 0 || usize::try_from(workers).is_ok_and(|workers| workers > most) {
        return Err(Failure::new(format!("{workers} workers are not between 1 and {most}"))
            .with_hint("set `processes` in the file and reload"));
    }
    if workers < needs {
        return Err(Failure::new(format!("{workers} workers would not serve every socket: {needs} do"))
            .with_hint("change `map-socket` in the file and reload"));
    }
    Ok(serving.number)
}
