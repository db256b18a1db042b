//! The master's care for the scoreboard: births, deaths, and room for more.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::master::Master;
use crate::stats::scoreboard::{Field, Scoreboard};
use crate::sys::clock;
use crate::wire::message::FromInstance;

impl Master {
    /// The scoreboard in use.
    pub(super) fn scoreboard(&self) -> Rc<Scoreboard> {
        Rc::clone(&self.board.borrow())
    }

    /// A larger scoreboard takes the place of one that is too small, or has no place for what is to be shown.
    pub(super) fn grow(&mut self, slots: usize, cores: usize) {
        let old = self.scoreboard();
        let wanted = self.configs.values().any(|config| config.said.spec.request_vars.shown);
        let variables = wanted || old.has_variables();
        if old.slots() >= slots && old.cores() >= cores && old.has_variables() == variables {
            return;
        }
        let new = match Scoreboard::create_with(slots.max(old.slots()), cores.max(old.cores()), variables) {
            Ok(new) => Rc::new(new),
            Err(error) => {
                self.tell(format!("no scoreboard of {slots} slots and {cores} cores: {error}"));
                return;
            }
        };
        new.inherit(&old);
        *self.board.borrow_mut() = Rc::clone(&new);
        self.show_tallies();
        self.share_with_router();
        self.tell_emperor(&FromInstance::Scoreboard, &[new.share()]);
    }

    /// Nothing is in the slot any more: what its worker counted is kept.
    pub(super) fn clear(&mut self, slot: usize) {
        let board = self.scoreboard();
        // Without a process known by now there is none, or its channel's end stops it.
        let Some(worker) = self.children.workers.remove(&slot) else { return };
        let Some(entry) = worker.board.slot(slot) else { return };
        self.tallies.entry(worker.number).or_default().add(entry);
        board.change(|| {
            if !Rc::ptr_eq(&worker.board, &board) {
                board.keep(entry);
            }
            worker.board.retire(slot);
            self.show_tally(worker.number);
        });
    }

    /// Shows on the scoreboard what each worker's number has counted.
    pub(super) fn show_tallies(&self) {
        self.tallies.keys().for_each(|number| self.show_tally(*number));
    }

    /// Shows what this worker's number has counted but for lives that are on the scoreboard in use.
    pub(super) fn show_tally(&self, number: u32) {
        let board = self.scoreboard();
        let mut tally = self.tallies.get(&number).copied().unwrap_or_default();
        let elsewhere = self.children.workers.iter().filter(|(_, worker)| worker.number == number);
        for (slot, worker) in elsewhere.filter(|(_, worker)| !Rc::ptr_eq(&worker.board, &board)) {
            worker.board.slot(*slot).into_iter().for_each(|entry| tally.add(entry));
        }
        board.set_tally(number.into(), tally);
        board.set_tallied(self.numbers());
    }

    /// How many numbers of workers there are, with a process or without.
    fn numbers(&self) -> u32 {
        let wanted = self.roster.serving().map_or(0, |serving| serving.wanted());
        self.current.settings().processes.max(wanted)
    }

    /// The slot that stands for each worker's number: the one that accepts, of the newest generation.
    pub(super) fn slots_by_number(&self) -> BTreeMap<u32, Option<usize>> {
        let mut slots: BTreeMap<u32, Option<usize>> = (1..=self.numbers()).map(|n| (n, None)).collect();
        for (slot, worker) in &self.children.workers {
            if worker.process.child.is_none() || !slots.contains_key(&worker.number) {
                continue;
            }
            let better = slots.get(&worker.number).copied().flatten().is_none_or(|other| {
                let other = self.children.workers.get(&other);
                other.is_none_or(|o| (o.ready, o.generation) < (worker.ready, worker.generation))
            });
            if better {
                slots.insert(worker.number, Some(*slot));
            }
        }
        slots
    }

    /// Notes on the scoreboard that a worker's process exists.
    pub(super) fn note_birth(&mut self, slot: usize, pid: u32) {
        let Some(worker) = self.children.workers.get(&slot) else { return };
        let tally = self.tallies.entry(worker.number).or_default();
        tally.spawns += 1;
        let (spawns, harakiri) = (tally.spawns, tally.harakiri);
        let threads = self.configs.get(&worker.generation).map_or(1, |c| c.settings().threads);
        let line = if spawns == 1 {
            format!("spawned uWSGI worker {} (pid: {pid}, cores: {threads})", worker.number)
        } else {
            format!("Respawned uWSGI worker {} (new pid: {pid})", worker.number)
        };
        tracing::info!("{line}");
        if let Some(entry) = worker.board.slot(slot) {
            entry.set(Field::Pid, pid.into());
            entry.set(Field::LastSpawnEpochS, clock::epoch_seconds());
            entry.set(Field::RespawnCount, spawns);
            entry.set(Field::HarakiriCount, harakiri);
        }
        let number = worker.number;
        self.show_tally(number);
    }
}
