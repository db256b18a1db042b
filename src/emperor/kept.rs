//! The listeners that are kept for vassals over the deaths of their masters.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::spawn::Listeners;
use crate::config::address::Listen;
use crate::sys::socket;

/// A socket: the number that the kernel knows it by, the same in every process.
pub type SocketId = u64;

/// By vassal; says whether something has changed since that was asked last.
#[derive(Debug, Default)]
pub struct Kept {
    by_vassal: BTreeMap<String, Numbered>,
    changed: bool,
}

/// Listeners with their numbers.
#[derive(Debug)]
pub struct Numbered {
    listeners: Arc<Listeners>,
    numbers: Vec<Option<SocketId>>,
}

/// One of them; without a number it is no listener that anybody reaches from here.
pub type One<'a> = (Option<SocketId>, &'a Listen, BorrowedFd<'a>);

impl Numbered {
    /// Looks up their numbers.
    #[must_use]
    pub fn new(listeners: Arc<Listeners>) -> Self {
        let numbers = listeners.iter().map(|(_, listener)| socket::number_of_listener(listener.as_fd()));
        Self { numbers: numbers.collect(), listeners }
    }

    /// All of them.
    pub fn each(&self) -> impl Iterator<Item = One<'_>> {
        let listeners = self.listeners.iter().zip(&self.numbers);
        listeners.map(|((listen, listener), number)| (*number, listen, listener.as_fd()))
    }

    /// The same without their numbers.
    #[must_use]
    pub const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }
}

impl Kept {
    /// Those of a vassal.
    #[must_use]
    pub fn get(&self, vassal: &str) -> Option<&Arc<Listeners>> {
        self.by_vassal.get(vassal).map(Numbered::listeners)
    }

    /// Keeps these for a vassal, in the place of others.
    pub fn insert(&mut self, vassal: &str, listeners: Arc<Listeners>) {
        self.by_vassal.insert(vassal.to_owned(), Numbered::new(listeners));
        self.changed = true;
    }

    /// Keeps none for a vassal; answers those that were.
    pub fn remove(&mut self, vassal: &str) -> Option<Numbered> {
        let removed = self.by_vassal.remove(vassal);
        self.changed |= removed.is_some();
        removed
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Numbered)> {
        self.by_vassal.iter()
    }

    /// Something has changed that concerns those who look after them.
    pub const fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether something has changed since this was asked last.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }
}
