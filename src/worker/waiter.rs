//! How an application thread waits for the network.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use tokio::runtime::Runtime;

/// How an application thread waits for the network. Call it detached from the interpreter only.
#[derive(Clone, Debug)]
pub(super) enum Waiter {
    /// The application runs in the I/O thread: the loop runs on while it waits.
    Loop(Arc<Runtime>),
    /// Another thread runs the loop: this one sleeps.
    Sleep,
}

impl Waiter {
    /// Waits for `future`.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Loop(runtime) => runtime.block_on(future),
            Self::Sleep => sleep_until(future),
        }
    }
}

struct WakeThread(Thread);

impl Wake for WakeThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn sleep_until<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(WakeThread(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_thread_is_woken_from_another() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = thread::spawn(move || sender.send(7));
        assert_eq!(Waiter::Sleep.wait(receiver), Ok(7));
        other.join().unwrap().unwrap();
    }
}
