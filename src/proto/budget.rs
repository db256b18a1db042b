//! How much all connections together may hold in memory or in temporary files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An amount that many share.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: AtomicU64,
}

/// A part of a budget; it goes back when this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    amount: u64,
}

impl Budget {
    /// All of it free.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0) }))
    }

    /// Nothing yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), amount: 0 }
    }

    /// Whether all of it is in use.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.0.used.load(Ordering::Relaxed) >= self.0.limit
    }
}

impl Share {
    /// Makes the share as large as this, unless that exceeds the budget; whether it did.
    pub fn resize(&mut self, amount: u64) -> bool {
        if let Some(more) = amount.checked_sub(self.amount).filter(|&more| more > 0) {
            let Inner { limit, used } = &*self.budget.0;
            let fits = |used: u64| used.checked_add(more).filter(|sum| sum <= limit);
            if used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
                return false;
            }
            self.amount = amount;
        } else {
            self.force(amount);
        }
        true
    }

    /// The same, whatever the budget says: for what is there already.
    pub fn force(&mut self, amount: u64) {
        let used = &self.budget.0.used;
        if amount >= self.amount {
            used.fetch_add(amount - self.amount, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.amount - amount, Ordering::Relaxed);
        }
        self.amount = amount;
    }

    /// How large it is.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
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
