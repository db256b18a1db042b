//! The listeners that are kept for vassals over the deaths of their masters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::spawn::Listeners;

/// By vassal; says whether something has changed since that was asked last.
#[derive(Debug, Default)]
pub struct Kept {
    by_vassal: BTreeMap<String, Arc<Listeners>>,
    changed: bool,
}

impl Kept {
    /// Those of a vassal.
    #[must_use]
    pub fn get(&self, vassal: &str) -> Option<&Arc<Listeners>> {
        self.by_vassal.get(vassal)
    }

    /// Keeps these for a vassal, in the place of others.
    pub fn insert(&mut self, vassal: &str, listeners: Arc<Listeners>) {
        self.by_vassal.insert(vassal.to_owned(), listeners);
        self.changed = true;
    }

    /// Keeps none for a vassal; answers those that were.
    pub fn remove(&mut self, vassal: &str) -> Option<Arc<Listeners>> {
        let removed = self.by_vassal.remove(vassal);
        self.changed |= removed.is_some();
        removed
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<Listeners>)> {
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
