//! The master's care for the scoreboards: births, deaths, room for more, and the way into the next image.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::master::Master;
use super::reexec::{BoardRecord, Luggage};
use crate::stats::boards::Boards;
use crate::stats::scoreboard::{Field, Scoreboard};
use crate::stats::tally::Tally;
use crate::sys::{clock, fd};
use crate::wire::message::FromInstance;

impl Master {
    /// The scoreboard in use.
    pub(super) fn scoreboard(&self) -> Arc<Scoreboard> {
        Arc::clone(&self.board.borrow())
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
            Ok(new) => Arc::new(new),
            Err(error) => {
                self.tell(format!("no scoreboard of {slots} slots and {cores} cores: {error}"));
                return;
            }
        };
        new.inherit(&old);
        *self.board.borrow_mut() = new;
        self.show_tallies();
        self.share_with_router();
        self.tell_emperor(&FromInstance::Scoreboard, &self.boards().share());
    }

    /// All scoreboards in use, the newest first, then those of the youngest zygotes.
    pub(super) fn boards(&self) -> Boards {
        let of_zygotes = self.children.boards.values().rev();
        let of_workers = self.children.workers.values().rev().map(|worker| &worker.board);
        Boards::new(self.scoreboard(), of_zygotes.chain(of_workers).cloned())
    }

    /// Nothing is in the slot any more: what its worker counted is kept.
    pub(super) fn clear(&mut self, slot: usize) {
        let boards = self.boards();
        // Without a process known by now there is none, or its channel's end stops it.
        let Some(worker) = self.children.workers.remove(&slot) else { return };
        let Some(entry) = worker.board.slot(slot) else { return };
        let tally = self.tallies.entry(worker.number).or_default();
        tally.add(entry);
        boards.retire(&worker.board, slot, (worker.number.into(), tally));
    }

    /// Shows on the scoreboard what each worker's number has counted in lives that are over.
    pub(super) fn show_tallies(&self) {
        self.tallies.keys().for_each(|number| self.show_tally(*number));
    }

    /// The same of one number.
    pub(super) fn show_tally(&self, number: u32) {
        let boards = self.boards();
        self.tallies.get(&number).into_iter().for_each(|tally| boards.set_tally(number.into(), tally));
        boards.newest().set_tallied(self.numbers());
    }

    /// What each worker's number has counted over all its lives, those that go on included.
    pub(super) fn counted(&self) -> BTreeMap<u32, Tally> {
        let mut counted = self.tallies.clone();
        for (slot, worker) in &self.children.workers {
            let tally = counted.entry(worker.number).or_default();
            worker.board.slot(*slot).into_iter().for_each(|entry| tally.add(entry));
        }
        counted
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

impl Master {
    /// Takes the earlier scoreboards along over an `execve`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack_earlier_boards(&self, luggage: &mut Luggage) -> io::Result<Vec<BoardRecord>> {
        let record = |board: &Arc<Scoreboard>| {
            let (zygotes, workers) = (self.children.boards.iter(), self.children.workers.iter());
            Ok(BoardRecord {
                memory: luggage.take_owned(fd::duplicate_high(board.share())?)?,
                zygotes: zygotes.filter(|(_, of)| Arc::ptr_eq(of, board)).map(|(id, _)| *id).collect(),
                slots: workers.filter(|(_, w)| Arc::ptr_eq(&w.board, board)).map(|(slot, _)| *slot).collect(),
            })
        };
        self.boards().iter().skip(1).map(record).collect()
    }
}

/// The scoreboards in the next image.
pub(super) struct CarriedBoards {
    newest: Arc<Scoreboard>,
    earlier: Vec<(Arc<Scoreboard>, BoardRecord)>,
}

impl CarriedBoards {
    /// Opens them.
    ///
    /// # Errors
    /// A descriptor that is not there, or no scoreboard.
    pub(super) fn open(newest: RawFd, earlier: Vec<BoardRecord>) -> io::Result<Self> {
        let open = |number| Scoreboard::open(fd::adopt(number)?, true).map(Arc::new);
        let earlier = earlier.into_iter().map(|record| Ok((open(record.memory)?, record)));
        Ok(Self { newest: open(newest)?, earlier: earlier.collect::<io::Result<_>>()? })
    }

    /// The newest.
    pub(super) fn newest(&self) -> Arc<Scoreboard> {
        Arc::clone(&self.newest)
    }

    /// The one that a zygote gives its workers.
    pub(super) fn of_zygote(&self, zygote: u64) -> Arc<Scoreboard> {
        self.find(|record| record.zygotes.contains(&zygote))
    }

    /// The one that the worker in a slot writes.
    pub(super) fn of_slot(&self, slot: usize) -> Arc<Scoreboard> {
        self.find(|record| record.slots.contains(&slot))
    }

    fn find(&self, is_on_it: impl Fn(&BoardRecord) -> bool) -> Arc<Scoreboard> {
        let earlier = self.earlier.iter().find(|(_, record)| is_on_it(record));
        Arc::clone(earlier.map_or(&self.newest, |(board, _)| board))
    }
}
