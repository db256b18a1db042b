//! What an instance consists of at this moment, as data: generations, zygotes, worker slots, the router, operations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cheaper::Memory;
use super::farewell::Farewell;
pub use super::operations::Pending;
pub use super::settings::Settings;
use crate::pace::Pace;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId};

/// Everything that [`super::decide`] knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Where the instance is in its life.
    pub phase: Phase,
    /// Physical places of workers; the index is the slot's number on the scoreboard.
    pub slots: Vec<Slot>,
    /// In the order of their numbers: retired ones, at most one that serves, at most one candidate.
    pub generations: Vec<Generation>,
    /// Zygotes that were told to end.
    pub closing: Vec<Closing>,
    /// The router process.
    pub router: Router,
    /// The operation whose configuration is being rehearsed.
    pub pending: Option<Pending>,
    /// What the instance asked for itself, and begins when its pace lets it.
    #[serde(default)]
    pub waiting: Option<Pending>,
    /// How often it reloads by itself.
    #[serde(default)]
    pub pace: Pace,
    /// The number of the newest generation.
    pub newest_generation: u64,
    /// The number of the newest zygote.
    pub newest_zygote: u64,
    /// The state that was announced last.
    pub announced: Option<InstanceState>,
    /// Until when whoever asked for a stop waits for it.
    #[serde(default)]
    pub limit: Option<Tick>,
    /// How far those who live beside the workers are on their way out.
    #[serde(default)]
    pub farewell: Farewell,
    /// Why fewer workers serve than are wanted, where no more can be forked.
    #[serde(default)]
    pub shortfall: Option<Failure>,
}

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It serves, or is on the way to it.
    #[default]
    Running,
    /// It was asked to stop; whoever has not ended by then is killed.
    Stopping {
        /// When mercy ends.
        deadline: Tick,
    },
    /// Everything is over.
    Ended,
}

/// The zygote and the workers made from one reading of the configuration and one load of the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// Its configuration.
    pub settings: Settings,
    /// Where it is in its life.
    pub stage: Stage,
    /// Its zygote.
    pub zygote: Zygote,
    /// Workers load the application themselves: configured, or found necessary.
    pub lazy: bool,
    /// Whether it has an application, as far as is known.
    pub app: bool,
    /// The operation that waits for it.
    pub operation: Option<OperationId>,
    /// When that ends at the latest, once the generation serves.
    #[serde(default)]
    pub conclude_at: Option<Tick>,
    /// Nothing is forked before; set after workers died at once.
    pub fork_after: Option<Tick>,
    /// How many workers died at once, one after the other.
    pub quick_deaths: u32,
    /// How many slots its zygote knows.
    pub reach: usize,
    /// The highest number of a worker that was forked.
    #[serde(default)]
    pub begun: u32,
    /// How many zygotes ended in failure, one after the other.
    pub failed_zygotes: u32,
    /// When it should be ready, while it is not and nothing was said about it.
    #[serde(default)]
    pub late_at: Option<Tick>,
    /// How many workers it shall have, where that is not all of `processes`.
    #[serde(default)]
    pub wanted: Option<u32>,
    /// What is remembered of the looks at its workers.
    #[serde(default)]
    pub memory: Memory,
}

impl Generation {
    /// How many workers it shall have.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.wanted.unwrap_or(self.settings.processes)
    }

    /// Whether it has workers, but none of them before somebody connects.
    pub(super) fn is_cheap(&self) -> bool {
        self.settings.processes > 0 && self.wanted() == 0
    }

    /// Whether a router stands before it: always where it needs no workers, else while there are some.
    pub(super) fn has_router(&self) -> bool {
        self.settings.router && !self.is_cheap()
    }
}

/// Where a generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It is being brought up.
    Candidate,
    /// It is the one that serves.
    Serving,
    /// Its workers finish their requests.
    Retired,
}

/// A generation's zygote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Zygote {
    /// There is none.
    Absent {
        /// When the next one may be started.
        not_before: Tick,
    },
    /// It loads the application.
    Loading {
        /// Its number.
        id: u64,
    },
    /// It forks on request.
    Ready {
        /// Its number.
        id: u64,
        /// Since when.
        since: Tick,
    },
}

impl Zygote {
    /// Its number, if there is one.
    #[must_use]
    pub const fn id(self) -> Option<u64> {
        match self {
            Self::Absent { .. } => None,
            Self::Loading { id } | Self::Ready { id, .. } => Some(id),
        }
    }
}

/// A zygote that was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Its number.
    pub zygote: u64,
    /// When it is killed; `None`: it was.
    pub deadline: Option<Tick>,
}

/// A physical place for a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// What is in it.
    pub state: SlotState,
    /// The worker's number, from 1.
    pub worker: u32,
    /// Its generation.
    pub generation: u64,
    /// The zygote that forks it.
    pub zygote: u64,
    /// Whether its process exists for sure.
    pub forked: bool,
    /// When that was asked for.
    pub born: Tick,
    /// It shall be replaced, and drained once its replacement is ready.
    pub recycle: bool,
    /// It is the first of its number in its generation.
    #[serde(default)]
    pub first: bool,
    /// The slot that it replaces.
    pub replaces: Option<usize>,
    /// Whether the router sends it requests.
    pub routed: bool,
    /// The router has said that it sends it no more.
    #[serde(default)]
    pub passed_over: bool,
    /// It has said that it accepts no more.
    #[serde(default)]
    pub closed: bool,
    /// When it is killed, if it drains until then.
    pub deadline: Option<Tick>,
}

/// What is in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotState {
    /// Nothing.
    #[default]
    Empty,
    /// The zygote was asked to fork it.
    Forking,
    /// It exists and does not accept yet.
    Loading,
    /// It accepts.
    Serving,
    /// It finishes what it has.
    Draining,
}

/// The router process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Router {
    /// There is none.
    Absent {
        /// When the next one may be started.
        not_before: Tick,
    },
    /// It was started.
    Starting {
        /// When.
        since: Tick,
    },
    /// It accepts connections.
    Ready {
        /// Since when.
        since: Tick,
    },
    /// It finishes what it has.
    Draining {
        /// When it is killed; `None`: it was.
        deadline: Option<Tick>,
    },
}

impl Default for Router {
    fn default() -> Self {
        Self::Absent { not_before: Tick::default() }
    }
}

impl Roster {
    /// The generation that serves.
    #[must_use]
    pub fn serving(&self) -> Option<&Generation> {
        self.generations.iter().find(|g| g.stage == Stage::Serving)
    }

    /// The generation that is being brought up.
    #[must_use]
    pub fn candidate(&self) -> Option<&Generation> {
        self.generations.iter().find(|g| g.stage == Stage::Candidate)
    }

    /// A generation by its number.
    #[must_use]
    pub fn generation(&self, number: u64) -> Option<&Generation> {
        self.generations.iter().find(|g| g.number == number)
    }

    /// A generation by its number, to change it.
    pub(super) fn generation_mut(&mut self, number: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.number == number)
    }

    /// The generation that a zygote belongs to.
    pub(super) fn generation_of_zygote(&mut self, zygote: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.zygote.id() == Some(zygote))
    }

    /// How many workers of a generation accept requests.
    #[must_use]
    pub fn accepting(&self, generation: u64) -> usize {
        self.slots.iter().filter(|s| s.generation == generation && s.state == SlotState::Serving).count()
    }

    /// The numbers of workers that a generation lacks, each with the slot that the new one replaces.
    #[must_use]
    pub fn missing(&self, generation: &Generation) -> Vec<(u32, Option<usize>)> {
        let active = self.active(generation.number);
        let mut lacking =
            usize::try_from(generation.wanted()).unwrap_or(usize::MAX).saturating_sub(active.len());
        let mut missing = Vec::new();
        for worker in 1..=generation.settings.processes.max(generation.wanted()) {
            match active.get(&worker).map(Vec::as_slice) {
                None if lacking > 0 => {
                    lacking -= 1;
                    missing.push((worker, None));
                }
                Some([n])
                    if self.slots.get(*n).is_some_and(|s| s.recycle && s.state == SlotState::Serving) =>
                {
                    missing.push((worker, Some(*n)));
                }
                _ => {}
            }
        }
        missing
    }

    /// The numbers of workers of a generation that serve or will, each with its slots: two while one is replaced.
    #[must_use]
    pub fn active(&self, generation: u64) -> BTreeMap<u32, Vec<usize>> {
        let mut active: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (n, slot) in self.slots.iter().enumerate().filter(|(_, s)| s.generation == generation) {
            if matches!(slot.state, SlotState::Forking | SlotState::Loading | SlotState::Serving) {
                active.entry(slot.worker).or_default().push(n);
            }
        }
        active
    }

    /// Whether the instance waits for somebody to connect before it has any worker.
    #[must_use]
    pub fn is_cheap(&self) -> bool {
        self.phase == Phase::Running && self.serving().is_some_and(Generation::is_cheap)
    }

    /// When [`super::decide`] wants to be called again though nothing happened.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        if self.phase == Phase::Ended {
            return None;
        }
        let slots = self.slots.iter().filter_map(|s| s.deadline);
        let closing = self.closing.iter().filter_map(|c| c.deadline);
        let mut next = slots.chain(closing).min();
        let mut at = |tick: Tick| next = Some(next.map_or(tick, |n: Tick| n.min(tick)));
        if let Router::Draining { deadline: Some(deadline) } = self.router {
            at(deadline);
        }
        if self.phase == Phase::Running {
            self.next_conclusion().into_iter().for_each(&mut at);
            self.waiting.map(|_| self.pace.free_at()).into_iter().for_each(&mut at);
            if let Router::Absent { not_before } = self.router
                && self.wants_router()
            {
                at(not_before);
            }
            self.candidate().and_then(|candidate| candidate.late_at).into_iter().for_each(&mut at);
            self.serving().and_then(|serving| serving.memory.next).into_iter().for_each(&mut at);
            for generation in self.generations.iter().filter(|g| g.stage != Stage::Retired) {
                match generation.zygote {
                    Zygote::Absent { not_before } if self.wants_zygote(generation) => at(not_before),
                    Zygote::Ready { .. } if self.has_room_for(generation) => {
                        generation.fork_after.into_iter().for_each(&mut at);
                    }
                    _ => {}
                }
            }
        }
        next
    }

    /// Whether a generation should have a zygote: one is kept ready for the next worker, unless it loads nothing.
    pub(super) fn wants_zygote(&self, generation: &Generation) -> bool {
        let forks = generation.settings.mules || !self.missing(generation).is_empty();
        generation.stage != Stage::Retired && (!generation.lazy || forks)
    }

    /// A free slot among the first `reach`: the last one, so that a generation whose zygote knows fewer finds some.
    pub(super) fn free_slot(&self, reach: usize) -> Option<usize> {
        self.slots
            .iter()
            .take(reach)
            .enumerate()
            .filter(|(_, s)| s.state == SlotState::Empty)
            .map(|(n, _)| n)
            .next_back()
    }

    fn has_room_for(&self, generation: &Generation) -> bool {
        !self.missing(generation).is_empty() && self.free_slot(generation.reach).is_some()
    }
}
