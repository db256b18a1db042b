//! The store of the service manager, filled and emptied: the sockets that are kept for vassals go into it, and at the start
//! those that come out of it go to the vassals that they were kept for.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::deposit::{self, Deposit};
use super::fleet::Fleet;
use super::kept::{Kept, Numbered, SocketId};
use super::life::LifeId;
use super::masters::{Master, Masters};
use super::notify::{Question, ServiceManager};
use super::scan::Look;
use super::spawn::Listeners;
use super::store::{QUESTION, Step, Store, Wanted};
use super::turns::Emperor;
use crate::config::address::Listen;
use crate::sys::activation::Activation;
use crate::sys::{clock, socket};
use crate::tick::Tick;

pub(super) use told::nothing_stored;

/// What could not be done is tried again after this time; a service manager that is told much at once reads it bit by bit.
const AGAIN: Duration = Duration::from_millis(100);
/// What cannot be done for so long is worth a word.
const PATIENCE: Duration = Duration::from_secs(10);
/// While much happens it is brought up to date for this part of the time.
const PART: u32 = 10;

/// The store, what is written down of it, and what came out of it and is nobody's yet.
#[derive(Debug)]
pub(super) struct Storage {
    store: Store,
    runtime: PathBuf,
    at_hand: AtHand,
    /// From when on it may be settled again.
    free_at: Option<Tick>,
    /// When it has to be settled again; a step has failed, or much happens at once.
    again_at: Option<Tick>,
    failing: Failing,
    /// The service manager is asked whether it has room.
    asked: Option<Asked>,
    /// Whether it was said that there is less than there should be.
    said_less: bool,
}

/// How many sockets were stored when it was asked, for how many more, and what brings the answer.
#[derive(Debug)]
struct Asked {
    stored: usize,
    count: usize,
    answer: JoinHandle<io::Result<usize>>,
}

/// Since when something cannot be done, and whether that was told.
type Failing = Option<(Tick, bool)>;

/// What there is besides what is kept for vassals.
#[derive(Debug)]
struct AtHand {
    unclaimed: BTreeMap<String, (Deposit, Numbered)>,
    /// Those of socket units: the service manager has them already, and kept twice they would outlast their unit.
    of_units: BTreeSet<SocketId>,
}

impl Storage {
    /// What the service manager has passed goes to whom it was kept for; the rest it closes. `None`: it keeps nothing, or
    /// there is no place to write down what.
    pub(super) fn begin(manager: &ServiceManager, masters: &mut Masters, passed: Activation) -> Option<Self> {
        let useless = passed.strange.into_iter().filter_map(|(_, name)| name);
        let useless = useless.collect::<Vec<_>>();
        let sockets: BTreeMap<String, OwnedFd> =
            passed.passed.into_iter().filter_map(|passed| Some((passed.name?, passed.socket))).collect();
        let Some(mut storage) = Self::open(manager, masters) else {
            for name in sockets.keys().chain(&useless) {
                let _ = manager.close(name);
            }
            return None;
        };
        useless.iter().for_each(|name| storage.store.has(name, None));
        for (name, socket) in &sockets {
            storage.store.has(name, socket::number_of_listener(socket.as_fd()));
        }
        for deposit in deposit::all(&storage.runtime) {
            let of_name = |(name, listen): &(String, Listen)| {
                Some((listen.clone(), sockets.get(name)?.try_clone().ok()?))
            };
            let listeners: Option<Listeners> = deposit.sockets.iter().map(of_name).collect();
            storage.store.knows(deposit.clone());
            if let Some(listeners) = listeners {
                let listeners = Numbered::new(Arc::new(listeners));
                storage.at_hand.unclaimed.insert(deposit.vassal.clone(), (deposit, listeners));
            }
        }
        Some(storage)
    }

    /// Goes on with what an image before has stored.
    pub(super) fn resume(manager: &ServiceManager, masters: &mut Masters) -> Option<Self> {
        let mut storage = Self::open(manager, masters)?;
        // The image before may have asked.
        storage.store.is_useless(QUESTION);
        let kept: BTreeMap<&String, &Numbered> = masters.kept.iter().collect();
        for deposit in deposit::all(&storage.runtime) {
            for (name, listen) in &deposit.sockets {
                let kept = kept.get(&deposit.vassal).into_iter().flat_map(|kept| kept.each());
                let number = kept.filter(|(_, known, _)| *known == listen).find_map(|(number, ..)| number);
                storage.store.remembers(name, number);
            }
            storage.store.knows(deposit);
        }
        Some(storage)
    }

    fn open(manager: &ServiceManager, masters: &mut Masters) -> Option<Self> {
        let ledger = masters.ledger.as_ref().filter(|_| manager.store() > 0)?;
        masters.kept.touch();
        let of_units = masters.passed.values().flat_map(|listeners| listeners.iter());
        let of_units = of_units.filter_map(|(_, socket)| socket::number_of_listener(socket.as_fd()));
        Some(Self {
            store: Store::new(manager.store()),
            runtime: ledger.parts().0.to_owned(),
            at_hand: AtHand { unclaimed: BTreeMap::new(), of_units: of_units.collect() },
            free_at: None,
            again_at: None,
            failing: None,
            asked: None,
            said_less: false,
        })
    }

    pub(super) const fn next_deadline(&self) -> Option<Tick> {
        self.again_at
    }

    /// Brings the store to what is kept now.
    fn settle(&mut self, kept: &Kept, fleet: &Fleet, manager: &ServiceManager) {
        let began = clock::now();
        self.again_at = None;
        let (wanted, sockets) = self.at_hand.wanted(kept, fleet);
        let steps = self.store.settle(&wanted);
        let mut trouble = None;
        for step in steps {
            let done = match &step {
                // What it is asked with takes the room.
                Step::Add(..) if self.asked.is_some() => continue,
                Step::Remove(name) if self.asked.is_some() && name == QUESTION => continue,
                Step::Write(deposit) => deposit::write(&self.runtime, deposit),
                Step::Erase(vassal) => deposit::erase(&self.runtime, vassal),
                Step::Remove(name) => manager.close(name),
                Step::Add(number, name) => {
                    sockets.get(number).map_or(Ok(()), |socket| manager.keep(name, *socket))
                }
            };
            if let Err(error) = done {
                trouble = Some(error);
                // All that follows is said to the same one, who does not listen now.
                match step {
                    Step::Add(..) | Step::Remove(_) => break,
                    Step::Write(_) | Step::Erase(_) => continue,
                }
            }
            self.store.done(step);
        }
        let ended = clock::now();
        self.free_at = Some(ended + ended.since(began) * PART);
        match trouble.map_or_else(|| self.ask(manager), Err) {
            Err(error) => self.failed(&error),
            Ok(()) => self.failing = None,
        }
    }

    /// Asks for room, where it is not known whether there was enough.
    fn ask(&mut self, manager: &ServiceManager) -> io::Result<()> {
        let (stored, count) = (self.store.count(), self.store.question());
        if self.asked.is_some() || count == 0 {
            return Ok(());
        }
        let question = manager.ask_for_room(QUESTION, count);
        // It may have read one half of it.
        self.store.is_useless(QUESTION);
        let answer = tokio::task::spawn_local(Question::answer(question?));
        self.asked = Some(Asked { stored, count, answer });
        Ok(())
    }

    /// The service manager has answered for how many more it has room.
    pub(super) async fn answered(storage: &mut Option<Self>) {
        let Some(storage) = storage else { return pending().await };
        let Some(Asked { stored, count, answer }) = &mut storage.asked else { return pending().await };
        let (stored, count, taken) = (*stored, *count, answer.await);
        storage.asked = None;
        let now = clock::now();
        storage.again_at = Some(match taken {
            Ok(Ok(taken)) => {
                storage.store.answer(stored, count, taken);
                now
            }
            // It could not be waited for.
            _ => now + AGAIN,
        });
    }

    fn failed(&mut self, error: &io::Error) {
        let now = clock::now();
        self.again_at = Some(now + AGAIN);
        let (since, told) = self.failing.unwrap_or((now, false));
        let tell = !told && now >= since + PATIENCE;
        if tell {
            tracing::warn!("the service manager cannot be given sockets to keep: {error}");
        }
        self.failing = Some((since, told || tell));
    }
}

impl AtHand {
    /// What is to be kept now, and the sockets by their numbers. Of a vassal all are kept that are for requests, or none.
    fn wanted<'a>(
        &'a self,
        kept: &'a Kept,
        fleet: &Fleet,
    ) -> (BTreeMap<String, Wanted>, BTreeMap<SocketId, BorrowedFd<'a>>) {
        let (mut all, mut sockets) = (BTreeMap::new(), BTreeMap::new());
        let mut add = |id: &str, listeners: &'a Numbered, tenant, asleep| {
            let doors = listeners.each().filter(|(_, listen, _)| listen.protocol.is_for_requests());
            let doors =
                doors.filter(|(number, ..)| number.is_none_or(|number| !self.of_units.contains(&number)));
            let doors: Vec<_> = doors.collect();
            let numbered = doors.iter().map(|(number, listen, _)| Some(((*number)?, Listen::clone(listen))));
            let numbered = numbered.collect();
            sockets.extend(doors.iter().filter_map(|(number, _, socket)| Some(((*number)?, *socket))));
            all.insert(id.to_owned(), Wanted { tenant, asleep, sockets: numbered });
        };
        for (id, (deposit, listeners)) in &self.unclaimed {
            add(id, listeners, deposit.tenant, deposit.asleep);
        }
        for (id, listeners) in kept.iter() {
            let Some(vassal) = fleet.vassals.get(id) else { continue };
            add(id, listeners, vassal.tenant, vassal.sleeps_by_itself());
        }
        (all, sockets)
    }
}

impl Emperor {
    /// Brings the store to what is kept now, if that has changed; while much happens, not for all of it one by one.
    pub(super) fn store_sockets(&mut self) {
        let Some(storage) = &mut self.storage else { return };
        let now = clock::now();
        if self.masters.kept.take_changed() {
            let soon = storage.free_at.map_or(now, |free| free.max(now));
            storage.again_at = Some(storage.again_at.map_or(soon, |at| at.min(soon)));
        }
        if storage.again_at.is_some_and(|at| at <= now) {
            self.settle_store();
        }
    }

    /// The same, now.
    pub(super) fn settle_store(&mut self) {
        let Some(storage) = &mut self.storage else { return };
        let mut fleet = self.handle.fleet();
        storage.settle(&self.masters.kept, &fleet, &self.manager);
        let before = fleet.stored.clone();
        storage.tell(&mut fleet);
        if fleet.stored != before {
            self.handle.changed();
        }
    }

    /// Whoever is not among these has no use for what came out of the store.
    pub(super) fn keep_unclaimed_for(&mut self, looks: &BTreeMap<String, Look>) {
        let Some(storage) = &mut self.storage else { return };
        // Of what lies on a server that does not answer nobody knows.
        let is_there = |id: &String| match looks.get(id) {
            Some(look) => matches!(look, Look::Found(_) | Look::Unanswered(_)),
            None => matches!(self.sources.look(id, None).0, Look::Unanswered(_)),
        };
        let unclaimed = std::mem::take(&mut storage.at_hand.unclaimed).into_iter();
        let (there, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = unclaimed.partition(|(id, _)| is_there(id));
        storage.at_hand.unclaimed = there;
        for (id, (_, listeners)) in &gone {
            self.free_ports(id, listeners, None);
        }
    }

    /// A vassal that was found gets what came out of the store for it; of one that was not that is closed.
    pub(super) fn claim_sockets(&mut self, id: &str, look: &mut Look) {
        if matches!(look, Look::Unanswered(_)) {
            return;
        }
        let Some(storage) = &mut self.storage else { return };
        let Some((deposit, listeners)) = storage.at_hand.unclaimed.remove(id) else { return };
        self.masters.kept.touch();
        match look {
            // Who is waited for at a socket that nobody finds gets another one.
            Look::Found(found)
                if deposit.is_of(found) && found.on_demand.iter().all(|at| self.slumber.knows(id, at)) =>
            {
                found.slept = deposit.sleeps_on(found);
                if self.masters.kept.get(id).is_none() {
                    self.masters.kept.insert(id, Arc::clone(listeners.listeners()));
                }
            }
            _ => self.free_ports(id, &listeners, None),
        }
    }

    /// Closes what is kept of a vassal of which nothing runs.
    pub(super) fn close_kept(&mut self, id: &str) {
        if let Some(listeners) = self.masters.kept.remove(id) {
            self.free_ports(id, &listeners, None);
        }
    }

    /// Nobody will serve for this vassal on these: their ports are free from now on, whenever the service manager closes
    /// them. What somebody else has as well stays.
    pub(super) fn free_ports(&self, id: &str, listeners: &Numbered, but: Option<LifeId>) {
        let Some(storage) = &self.storage else { return };
        // One that runs has them, too, and ends as it should.
        let is_other = |(life, master): (&LifeId, &Master)| master.vassal == id && Some(*life) != but;
        if self.masters.by_life.iter().any(is_other) {
            return;
        }
        let AtHand { unclaimed, of_units } = &storage.at_hand;
        let kept = self.masters.kept.iter().map(|(_, listeners)| listeners);
        let others: Vec<&Numbered> = kept.chain(unclaimed.values().map(|(_, listeners)| listeners)).collect();
        let is_anothers = |number: SocketId| {
            of_units.contains(&number)
                || others.iter().any(|other| other.each().any(|(known, ..)| known == Some(number)))
        };
        for (_, _, listener) in listeners.each().filter(|(number, ..)| !number.is_none_or(is_anothers)) {
            socket::refuse_all(listener);
        }
    }
}
