//! A thing that is lent to one at a time, as long as there is one, so that whoever waits while he has it holds no lock.

use std::future::{Future, poll_fn};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A thing that is lent to one at a time.
#[derive(Debug)]
pub(super) struct Place<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    thing: Option<T>,
    is_lent: bool,
    /// It is taken away when it comes back.
    is_over: bool,
    waiting: Vec<Waker>,
}

/// A thing that was lent, and goes back by itself.
#[derive(Debug)]
pub(super) struct Lent<'a, T> {
    place: &'a Place<T>,
    thing: Option<T>,
}

impl<T> Place<T> {
    /// With this thing.
    pub(super) const fn new(thing: T) -> Self {
        Self(Mutex::new(State { thing: Some(thing), is_lent: false, is_over: false, waiting: Vec::new() }))
    }

    /// The thing, under a lock: nobody may wait meanwhile who is not a thread of his own.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock().thing.as_mut().map(work)
    }

    /// The same, if nobody has it now.
    pub(super) fn try_with<R>(&self, work: impl FnOnce(Option<&mut T>) -> R) -> Option<R> {
        self.0.try_lock().ok().map(|mut state| work(state.thing.as_mut()))
    }

    /// Waits for the thing; `None` when there is none any more.
    pub(super) fn borrow(&self) -> impl Future<Output = Option<Lent<'_, T>>> {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.is_over {
                return Poll::Ready(None);
            }
            if state.is_lent {
                state.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            state.is_lent = true;
            let thing = state.thing.take();
            Poll::Ready(Some(Lent { place: self, thing }))
        })
    }

    /// Takes it away: now, or, where it is lent, when it comes back.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        state.is_over = true;
        state.thing.take()
    }

    /// The same, if nobody has it now.
    pub(super) fn try_take(&self) -> Option<Option<T>> {
        let mut state = self.0.try_lock().ok()?;
        state.is_over = true;
        Some(state.thing.take())
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lent<'_, T> {
    /// The thing.
    pub(super) fn get(&mut self) -> Option<&mut T> {
        self.thing.as_mut()
    }

    /// Keeps it: there is none any more.
    pub(super) fn keep(mut self) -> Option<T> {
        self.place.lock().is_over = true;
        self.thing.take()
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        let (unwanted, waiting) = {
            let mut state = self.place.lock();
            state.is_lent = false;
            let mut thing = self.thing.take();
            if !state.is_over {
                state.thing = thing.take();
            }
            (thing, std::mem::take(&mut state.waiting))
        };
        // Both run other code: never under the lock.
        drop(unwanted);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn one_has_it_and_the_others_wait() {
        let mut cx = Context::from_waker(Waker::noop());
        let place = Place::new(1);
        let Poll::Ready(Some(mut lent)) = pin!(place.borrow()).poll(&mut cx) else { panic!() };
        *lent.get().unwrap() = 2;
        assert!(pin!(place.borrow()).poll(&mut cx).is_pending());
        drop(lent);
        assert_eq!(place.with(|thing| *thing), Some(2));
        let Poll::Ready(Some(lent)) = pin!(place.borrow()).poll(&mut cx) else { panic!() };
        assert_eq!(place.take(), None);
        drop(lent);
        assert_eq!(place.with(|thing| *thing), None);
        assert!(matches!(pin!(place.borrow()).poll(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn what_is_kept_is_gone() {
        let mut cx = Context::from_waker(Waker::noop());
        let place = Place::new(1);
        let Poll::Ready(Some(lent)) = pin!(place.borrow()).poll(&mut cx) else { panic!() };
        assert_eq!(lent.keep(), Some(1));
        assert!(matches!(pin!(place.borrow()).poll(&mut cx), Poll::Ready(None)));
        assert_eq!(Place::new(1).take(), Some(1));
    }
}
