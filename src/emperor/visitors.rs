//! Whom the API has let in, and who waits for an answer: before the emperor executes itself anew they get it, and who comes
//! meanwhile waits at the door for the next image.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Who waits for an answer.
#[derive(Debug, Default)]
pub struct Visitors {
    owed: AtomicUsize,
    waiting: AtomicUsize,
    closed: watch::Sender<bool>,
}

/// An answer that somebody waits for.
#[derive(Debug)]
pub struct Owed(Arc<Visitors>);

/// Somebody who waits for something to happen, and is answered when nobody is let in any more.
#[derive(Debug)]
pub struct Waiting(Arc<Visitors>);

impl Visitors {
    /// One more waits, until the value is dropped.
    #[must_use]
    pub fn owe(self: &Arc<Self>) -> Owed {
        self.owed.fetch_add(1, Ordering::Relaxed);
        Owed(Arc::clone(self))
    }

    /// One more waits for something to happen, until the value is dropped.
    #[must_use]
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    /// Whether anybody waits, for an answer or for something to happen.
    #[must_use]
    pub fn are_owed(&self) -> bool {
        self.owed.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Nobody is let in from now on, or somebody is again.
    pub fn close(&self, closed: bool) {
        self.closed.send_replace(closed);
    }

    /// Whether nobody is let in.
    #[must_use]
    pub fn are_kept_out(&self) -> bool {
        *self.closed.borrow()
    }

    /// Lets the next one in, when that is allowed. `accept` must lose nothing when it is dropped.
    pub async fn next<T, F: Future<Output = T>>(&self, accept: impl Fn() -> F) -> T {
        let mut closed = self.closed.subscribe();
        loop {
            // The sender is this very value.
            let _ = closed.wait_for(|closed| !closed).await;
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => {}
                accepted = accept() => return accepted,
            }
        }
    }
}

impl Waiting {
    /// Ends when nobody is let in any more: who waits has to be answered now.
    pub async fn until_closed(&self) {
        // The sender is kept by this very value.
        let _ = self.0.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_something_is_told_to_go() {
        let visitors = Arc::new(Visitors::default());
        let waiting = visitors.wait();
        let going = tokio::spawn(async move { waiting.until_closed().await });
        tokio::task::yield_now().await;
        assert!(visitors.are_owed() && !going.is_finished());
        visitors.close(true);
        going.await.unwrap();
        assert!(!visitors.are_owed());
    }

    #[tokio::test]
    async fn who_is_let_in_is_owed_an_answer_and_others_wait() {
        let visitors = Arc::new(Visitors::default());
        let owed = visitors.owe();
        assert!(visitors.are_owed());
        drop(owed);
        assert!(!visitors.are_owed());
        assert_eq!(visitors.next(|| ready(7)).await, 7);
        visitors.close(true);
        let waiting = Arc::clone(&visitors);
        let waiting = tokio::spawn(async move { waiting.next(|| ready(8)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        visitors.close(false);
        assert_eq!(waiting.await.unwrap(), 8);
    }
}
