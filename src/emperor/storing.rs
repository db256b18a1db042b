//! The store of the service manager, filled and emptied: the sockets that are kept for vassals go into it, and at the start
//! those that come out of it go to the vassals that they were kept for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::deposit::{self, Deposit};
use super::fleet::Fleet;
use super::masters::Masters;
use super::notify::ServiceManager;
use super::scan::{Found, Look};
use super::spawn::Listeners;
use super::store::{SocketId, Step, Store, Wanted};
use super::turns::Emperor;
use crate::config::address::Listen;
use crate::sys::activation::Activation;
use crate::sys::{clock, socket};
use crate::tick::Tick;

/// What could not be done is tried again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// The store, what is written down of it, and what came out of it and is nobody's yet.
#[derive(Debug)]
pub(super) struct Storage {
    store: Store,
    runtime: PathBuf,
    unclaimed: BTreeMap<String, (Deposit, Listeners)>,
    again_at: Option<Tick>,
}

impl Storage {
    /// What the service manager has passed goes to whom it was kept for; the rest it closes. `None`: it keeps nothing, or
    /// there is no place to write down what.
    pub(super) fn begin(manager: &ServiceManager, masters: &mut Masters, passed: Activation) -> Option<Self> {
        let Some(mut storage) = Self::open(manager, masters) else {
            let names = passed.passed.iter().map(|passed| passed.name.as_ref());
            for name in names.chain(passed.strange.iter().map(|(_, name)| name.as_ref())).flatten() {
                let _ = manager.close(name);
            }
            return None;
        };
        let mut sockets = BTreeMap::new();
        for passed in passed.passed {
            let Some(name) = passed.name else { continue };
            storage.store.has(&name, socket::number_of_listener(passed.socket.as_fd()));
            sockets.insert(name, passed.socket);
        }
        for (_, name) in passed.strange {
            storage.store.has(&name.unwrap_or_default(), None);
        }
        for deposit in deposit::all(&storage.runtime) {
            let of_name = |(name, listen): &(String, _)| {
                let socket: &OwnedFd = sockets.get(name)?;
                Some((Clone::clone(listen), socket.try_clone().ok()?))
            };
            let listeners: Option<Listeners> = deposit.sockets.iter().map(of_name).collect();
            storage.store.knows(deposit.clone());
            if let Some(listeners) = listeners {
                tracing::debug!(vassal = deposit.vassal, "its sockets were kept");
                storage.unclaimed.insert(deposit.vassal.clone(), (deposit, listeners));
            }
        }
        Some(storage)
    }

    /// Goes on with what an image before has stored.
    pub(super) fn resume(manager: &ServiceManager, masters: &mut Masters) -> Option<Self> {
        let mut storage = Self::open(manager, masters)?;
        for deposit in deposit::all(&storage.runtime) {
            let kept = masters.kept.get(&deposit.vassal);
            for (name, listen) in &deposit.sockets {
                let of_it = kept.iter().flat_map(|kept| kept.iter()).find(|(known, _)| known == listen);
                let number = of_it.and_then(|(_, listener)| socket::number_of_listener(listener.as_fd()));
                storage.store.remembers(name, number);
            }
            storage.store.knows(deposit);
        }
        Some(storage)
    }

    fn open(manager: &ServiceManager, masters: &mut Masters) -> Option<Self> {
        let ledger = masters.ledger.as_ref().filter(|_| manager.store() > 0)?;
        masters.kept.touch();
        Some(Self {
            store: Store::new(manager.store()),
            runtime: ledger.parts().0.to_owned(),
            unclaimed: BTreeMap::new(),
            again_at: None,
        })
    }

    pub(super) const fn next_deadline(&self) -> Option<Tick> {
        self.again_at
    }

    /// Does a step.
    fn take(&self, step: &Step, manager: &ServiceManager, sockets: &BTreeMap<SocketId, BorrowedFd<'_>>) -> io::Result<()> {
        let written = |result: io::Result<()>| {
            result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.runtime.display())))
        };
        match step {
            Step::Write(deposit) => written(deposit::write(&self.runtime, deposit)),
            Step::Erase(vassal) => written(deposit::erase(&self.runtime, vassal)),
            Step::Remove(name) => manager.close(name),
            Step::Add(number, name) => sockets.get(number).map_or(Ok(()), |socket| manager.keep(name, *socket)),
        }
    }

    /// What came out of the store for a vassal that was found.
    fn claim(&mut self, found: &Found) -> Option<Result<(bool, Listeners), Listeners>> {
        let (deposit, listeners) = self.unclaimed.remove(&found.id)?;
        Some(if deposit.is_of(found) { Ok((deposit.sleeps_on(found), listeners)) } else { Err(listeners) })
    }
}

impl Emperor {
    /// Brings the store to what is kept now.
    pub(super) fn store_sockets(&mut self) {
        let Some(storage) = &mut self.storage else { return };
        let is_due = storage.again_at.is_some_and(|at| at <= clock::now());
        if !self.masters.kept.take_changed() && !is_due {
            return;
        }
        let mut fleet = self.handle.fleet();
        let (wanted, sockets) = wanted(&self.masters, &storage.unclaimed, &fleet);
        let (steps, left_out) = storage.store.settle(&wanted);
        for vassal in left_out {
            tracing::warn!(
                vassal,
                "its sockets end with this emperor: the service manager keeps {} at most, and {} of one vassal",
                storage.store.most(),
                super::store::OF_ONE
            );
        }
        let failed_before = storage.again_at.take().is_some();
        for step in steps {
            if let Err(error) = storage.take(&step, &self.manager, &sockets) {
                if !failed_before {
                    tracing::warn!("the service manager does not keep sockets now: {error}");
                }
                storage.again_at = Some(clock::now() + AGAIN);
                break;
            }
            storage.store.done(step);
        }
        let kept = storage.store.kept();
        for (id, vassal) in &mut fleet.vassals {
            vassal.outlasts = kept.contains(id.as_str());
        }
    }

    /// Whoever is not among these has no use for what came out of the store.
    pub(super) fn keep_unclaimed_for(&mut self, looks: &BTreeMap<String, Look>) {
        let Some(storage) = &mut self.storage else { return };
        let is_there = |id: &String| matches!(looks.get(id), Some(Look::Found(_)));
        let (there, gone) = std::mem::take(&mut storage.unclaimed).into_iter().partition(|(id, _)| is_there(id));
        storage.unclaimed = there;
        for (id, (_, listeners)) in gone {
            self.give_back(&id, &listeners);
        }
    }

    /// A vassal that was found gets what came out of the store for it; of one that was not that is closed.
    pub(super) fn claim_sockets(&mut self, id: &str, look: &mut Look) {
        let Some(storage) = &mut self.storage else { return };
        let claimed = match look {
            Look::Found(found) => storage.claim(found),
            _ => storage.unclaimed.remove(id).map(|(_, listeners)| Err(listeners)),
        };
        match (claimed, look) {
            (Some(Ok((slept, listeners))), Look::Found(found)) => {
                found.slept = slept;
                if self.masters.kept.get(id).is_none() {
                    self.masters.kept.insert(id, Arc::new(listeners));
                }
            }
            (Some(Ok((_, listeners)) | Err(listeners)), _) => self.give_back(id, &listeners),
            (None, _) => {}
        }
    }

    /// Nobody will serve on these: their ports are free from now on, whenever the service manager closes them.
    fn give_back(&mut self, id: &str, listeners: &Listeners) {
        self.masters.kept.touch();
        // One that runs has them, too, and ends as it should.
        if self.masters.by_life.values().all(|master| master.vassal != id) {
            listeners.iter().for_each(|(_, listener)| socket::refuse_all(listener));
        }
    }

    /// The same of what is kept of a vassal of which nothing runs, but for what another vassal has as well.
    pub(super) fn free_ports(&self, id: &str) {
        let kept = &self.masters.kept;
        if self.storage.is_none() {
            return;
        }
        let numbers = |listeners: &Listeners| -> Vec<SocketId> {
            listeners.iter().filter_map(|(_, socket)| socket::number_of_listener(socket.as_fd())).collect()
        };
        let of_others = kept.iter().filter(|(other, _)| *other != id).map(|(_, listeners)| listeners);
        let passed = self.masters.passed.values();
        let others: BTreeSet<SocketId> = of_others.chain(passed).flat_map(|listeners| numbers(listeners)).collect();
        for (_, listener) in kept.get(id).into_iter().flat_map(|kept| kept.iter()) {
            let number = socket::number_of_listener(listener.as_fd());
            if number.is_some_and(|number| !others.contains(&number)) {
                socket::refuse_all(listener);
            }
        }
    }
}

/// What is to be kept now, and the sockets by their numbers.
fn wanted<'a>(
    masters: &'a Masters,
    unclaimed: &'a BTreeMap<String, (Deposit, Listeners)>,
    fleet: &Fleet,
) -> (BTreeMap<String, Wanted>, BTreeMap<SocketId, BorrowedFd<'a>>) {
    let number = |socket: &OwnedFd| socket::number_of_listener(socket.as_fd());
    // Those of socket units the service manager has already; kept twice, they would outlast their unit.
    let passed = masters.passed.values().flat_map(|listeners| listeners.iter());
    let passed: BTreeSet<SocketId> = passed.filter_map(|(_, socket)| number(socket)).collect();
    let (mut all, mut sockets) = (BTreeMap::new(), BTreeMap::new());
    let mut add = |id: &str, listeners: &'a Listeners, tenant, asleep| {
        let doors = listeners.iter().filter(|(listen, _)| listen.protocol.is_for_requests());
        let doors: Option<Vec<_>> =
            doors.map(|(listen, socket)| Some((number(socket)?, listen, socket))).collect();
        // One that cannot be kept: then none is, and all end together.
        let doors = doors.into_iter().flatten().filter(|(number, ..)| !passed.contains(number));
        let doors: Vec<_> = doors.collect();
        sockets.extend(doors.iter().map(|&(number, _, socket)| (number, OwnedFd::as_fd(socket))));
        let named = doors.into_iter().map(|(number, listen, _)| (number, Listen::clone(listen))).collect();
        all.insert(id.to_owned(), Wanted { tenant, asleep, sockets: named });
    };
    for (id, (deposit, listeners)) in unclaimed {
        add(id, listeners, deposit.tenant, deposit.asleep);
    }
    for (id, listeners) in masters.kept.iter() {
        let Some(vassal) = fleet.vassals.get(id) else { continue };
        add(id, listeners, vassal.tenant, vassal.sleeps_by_itself());
    }
    (all, sockets)
}
