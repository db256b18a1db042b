//! How much all connections together may hold in memory and in temporary files.

use std::cell::Cell;
use std::rc::Rc;

/// An amount that many share.
#[derive(Clone, Debug)]
pub(super) struct Budget(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: Cell<u64>,
}

/// A part of a budget; it goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    amount: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self(Rc::new(Inner { limit, used: Cell::new(0) }))
    }

    /// Nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), amount: 0 }
    }

    /// Whether all of it is in use.
    pub(super) fn is_spent(&self) -> bool {
        self.0.used.get() >= self.0.limit
    }
}

impl Share {
    /// Makes the share as large as this, unless that exceeds the budget; whether it did.
    pub(super) fn resize(&mut self, amount: u64) -> bool {
        let others = self.budget.0.used.get().saturating_sub(self.amount);
        let used = others.saturating_add(amount);
        if amount > self.amount && used > self.budget.0.limit {
            return false;
        }
        self.budget.0.used.set(used);
        self.amount = amount;
        true
    }

    /// The same, whatever the budget says: for what is there already.
    pub(super) fn force(&mut self, amount: u64) {
        let others = self.budget.0.used.get().saturating_sub(self.amount);
        self.budget.0.used.set(others.saturating_add(amount));
        self.amount = amount;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.force(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_budget_unless_forced_and_go_back() {
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.resize(6) && !b.resize(5) && b.resize(4) && budget.is_spent());
        b.force(9);
        assert!(!a.resize(7) && a.resize(1));
        drop(b);
        assert!(!budget.is_spent() && a.resize(10));
    }
}
