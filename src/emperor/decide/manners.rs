//! How the fake instances of the simulated world behave, and the programs of others in it.

use super::world::World;
use crate::emperor::attributes::Attributes;
use crate::emperor::event::{Event, News};
use crate::emperor::fleet::ExitKind;
use crate::emperor::life::LifeId;
use crate::wire::bytes::FromVassal;

/// How the instances of a vassal behave from their launch on.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    /// Milliseconds from the launch, or the reload, to what comes of it.
    pub(super) load_ms: u64,
    /// What comes of a launch.
    pub(super) start: Start,
    /// What comes of a reload.
    pub(super) reload: Reload,
    /// Whether it ends when it is asked to, and at `SIGTERM`.
    pub(super) stops: bool,
    /// Whether it ends at `SIGTERM`.
    pub(super) terminates: bool,
    /// Whether it calls the emperor after the one that died.
    pub(super) calls: bool,
    /// Whether its death leaves processes behind until they are killed.
    pub(super) leaves_survivors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Serves,
    FailsToLaunch,
    Exits(i32),
    Mistaken,
    MissesAFile,
    Hangs,
    Crashes { after_ms: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Swaps,
    RollsBack,
    Hangs,
    NeedsReplacement,
    Dies,
}

impl Manners {
    pub(super) const GOOD: Self = Self {
        load_ms: 50,
        start: Start::Serves,
        reload: Reload::Swaps,
        stops: true,
        terminates: true,
        calls: true,
        leaves_survivors: false,
    };
}

impl Default for Manners {
    fn default() -> Self {
        Self::GOOD
    }
}

impl World {
    /// A file is written that names this program to run it.
    pub(super) fn run_by(&mut self, id: &str, program: Option<&str>) {
        let exec = program.map(str::to_owned);
        self.attributes
            .insert(id.to_owned(), Attributes { exec: exec.map(Into::into), ..Attributes::default() });
        self.write(id);
    }

    /// The program that leads the current life says something.
    pub(super) fn say(&mut self, id: &str, word: FromVassal) {
        let life = self.fleet.vassals.get(id).and_then(|vassal| vassal.current.as_ref()).map(|life| life.id);
        if let Some(life) = life {
            self.tell(Event::News { vassal: id.to_owned(), life, news: News::Byte(word) });
        }
    }

    pub(super) fn launch_foreign(&mut self, life: LifeId, load_ms: u64, start: Start) {
        match start {
            Start::Serves | Start::Crashes { .. } => {
                self.news(load_ms, life, News::Byte(FromVassal::Spawned));
                self.news(load_ms, life, News::Byte(FromVassal::Accepting));
                if let Start::Crashes { after_ms } = start {
                    let exit = News::Exited { exit: ExitKind::Signal(11), survivors: false };
                    self.news(load_ms + after_ms, life, exit);
                }
            }
            Start::Exits(_) | Start::Mistaken | Start::MissesAFile => {
                let exit = News::Exited { exit: ExitKind::Status(22), survivors: false };
                self.news(load_ms, life, exit);
            }
            Start::Hangs | Start::FailsToLaunch => {}
        }
    }

    pub(super) fn reload_foreign(&mut self, life: LifeId, manners: &Manners) {
        match manners.reload {
            Reload::Swaps => self.news(manners.load_ms, life, News::Byte(FromVassal::Accepting)),
            Reload::Dies => self.end(life, ExitKind::Signal(6), manners.load_ms),
            Reload::RollsBack | Reload::NeedsReplacement | Reload::Hangs => {}
        }
    }
}
