//! What the emperor puts off until a server has answered, or has not: listings, looks, and what is done for vassals whose
//! files lie there. Everything else goes on.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::event::Effect;
use super::life::LifeId;
use super::prober::Answer;
use super::servers::{Need, Reach, Turn};
use super::turns::Emperor;
use crate::sys::clock;

/// What waits, each with its need, in order.
#[derive(Debug, Default)]
pub(super) struct Parked(VecDeque<(Need, Work)>);

#[derive(Debug)]
pub(super) enum Work {
    /// Listing the sources.
    Survey,
    /// A look at the files of a name.
    Look(String),
    /// Something that is to be done for a vassal, or for one of its lives.
    Effect(Effect),
}

impl Parked {
    /// Puts something off.
    pub(super) fn put(&mut self, need: Need, work: Work) {
        let is_again = |(_, parked): &(Need, Work)| match (parked, &work) {
            (Work::Survey, Work::Survey) => true,
            (Work::Look(one), Work::Look(other)) => one == other,
            _ => false,
        };
        // The later need counts: what happened meanwhile is seen, too.
        self.0.retain(|parked| !is_again(parked));
        self.0.push_back((need, work));
    }

    /// Whether an effect must wait behind another one for the same vassal or life.
    fn is_behind(&self, effect: &Effect) -> bool {
        let (vassals, life) = subject(effect);
        self.0.iter().any(|(_, work)| {
            let Work::Effect(parked) = work else { return false };
            let (others, other) = subject(parked);
            (life.is_some() && life == other)
                || vassals.iter().flatten().any(|one| others.contains(&Some(one)))
        })
    }
}

/// Which vassals and which life an effect is for.
fn subject(effect: &Effect) -> ([Option<&str>; 2], Option<LifeId>) {
    match effect {
        Effect::Launch { vassal, life } | Effect::Adopt { vassal, life } => {
            ([Some(vassal), None], Some(*life))
        }
        Effect::Send { life, file_of, .. } => ([file_of.as_deref(), None], Some(*life)),
        Effect::Terminate { life, .. } | Effect::Kill { life } | Effect::Release { life } => {
            ([None, None], Some(*life))
        }
        Effect::Sleep { vassal }
        | Effect::Awake { vassal }
        | Effect::Close { vassal }
        | Effect::Forget { vassal } => ([Some(vassal), None], None),
        Effect::Bequeath { from, to } => ([Some(from), Some(to)], None),
        Effect::Rescan
        | Effect::Log { .. }
        | Effect::Ready
        | Effect::Attend { .. }
        | Effect::LogLevel(_)
        | Effect::Reexec(_)
        | Effect::Exit => ([None, None], None),
    }
}

impl Emperor {
    /// Does something, or puts it off: what needs a file that lies on a server, and what follows it.
    pub(super) fn do_when_reached(&mut self, effect: Effect, need: Need) {
        let waits = self.parked.is_behind(&effect)
            || self.file_for(&effect).is_some_and(|path| self.servers.reach(&path, need) == Reach::Soon);
        match waits {
            true => self.parked.put(need, Work::Effect(effect)),
            false => self.do_one(effect),
        }
    }

    /// The file that is opened for an effect.
    fn file_for(&self, effect: &Effect) -> Option<PathBuf> {
        let (Effect::Launch { vassal, .. } | Effect::Send { file_of: Some(vassal), .. }) = effect else {
            return None;
        };
        self.handle.fleet().vassals.get(vassal).map(|known| known.path.clone())
    }

    /// Asks whom there is to ask.
    pub(super) fn ask_servers(&mut self) {
        self.probers.keep(|mount| self.servers.has(mount));
        for question in self.servers.questions(clock::now()) {
            self.probers.ask(question);
        }
    }

    /// A server has answered.
    pub(super) fn server_answered(&mut self, (mount, answer): Answer) {
        let turn = self.servers.answered(mount, answer, clock::now());
        self.servers_turned(turn.into_iter().collect());
        self.go_on_with_parked();
    }

    /// What the time brings: servers that have not answered.
    pub(super) fn catch_up_with_servers(&mut self) {
        let turns = self.servers.catch_up(clock::now());
        if !turns.is_empty() {
            self.servers_turned(turns);
            self.go_on_with_parked();
        }
    }

    fn servers_turned(&mut self, turns: Vec<Turn>) {
        for turn in turns {
            match turn {
                Turn::Silent(what) => {
                    tracing::warn!("{what}: what lies there waits, and what runs of it goes on");
                }
                Turn::Back(what) => tracing::info!("{what}"),
            }
            // Somebody is to know it, and what happened meanwhile is to be seen.
            self.rescan_at = clock::now();
        }
    }

    /// Nothing is put off any longer: this image ends, and the next one lists everything. Who has not answered does not
    /// answer.
    pub(super) fn end_parking(&mut self) {
        self.parked.0.retain(|(_, work)| matches!(work, Work::Effect(_)));
        while !self.parked.0.is_empty() {
            self.servers.give_up();
            self.go_on_with_parked();
        }
    }

    pub(super) fn go_on_with_parked(&mut self) {
        for (need, work) in std::mem::take(&mut self.parked.0) {
            match work {
                Work::Survey => self.survey(need),
                Work::Look(id) => self.look_for(&id, need),
                Work::Effect(effect) => {
                    self.do_when_reached(effect, need);
                    self.carry_out(Vec::new());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_for_the_same_vassal_or_life_waits_behind_another() {
        let mut parked = Parked::default();
        let (vassal, life) = ("a.ini".to_owned(), 1);
        parked.put(Need::default(), Work::Effect(Effect::Launch { vassal: vassal.clone(), life }));
        for (effect, waits) in [
            (Effect::Kill { life }, true),
            (Effect::Kill { life: 2 }, false),
            (Effect::Close { vassal: vassal.clone() }, true),
            (Effect::Close { vassal: "b.ini".to_owned() }, false),
            (Effect::Bequeath { from: "b.ini".to_owned(), to: vassal }, true),
            (Effect::Rescan, false),
            (Effect::Exit, false),
        ] {
            assert_eq!(parked.is_behind(&effect), waits, "{effect:?}");
        }
        for work in [Work::Survey, Work::Look("a".into()), Work::Survey, Work::Look("b".into())] {
            parked.put(Need::default(), work);
        }
        assert_eq!(parked.0.len(), 4, "nothing is done twice");
    }
}
