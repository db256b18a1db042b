//! The master's end of a channel to one of its processes, or to the emperor: sends at once, forwards what comes in.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::damper::{Damper, PERIOD};
use crate::proto::rate::Rate;
use crate::sys::{clock, fd, stream};
use crate::wire::channel::{self, Channel, Received};

/// How many messages of all peers wait for the master; a peer that says more waits itself.
pub(super) const INBOX: usize = 256;

/// So many messages of one peer are heard in 10 ms: who asks for more than that has its master busy with nothing else.
const PORTION: u32 = 64;

/// An end of a channel whose messages go to the master's inbox until the peer is gone.
#[derive(Debug)]
pub(super) struct Link<Out, In>(Rc<Shared<Out, In>>);

#[derive(Debug)]
struct Shared<Out, In> {
    channel: Channel<Out, In>,
    queued: Notify,
    ended: Cell<bool>,
}

impl<Out, In> Link<Out, In>
where
    Out: Serialize + 'static,
    In: DeserializeOwned + 'static,
{
    /// Begins to forward: `wrap` makes the inbox's item of a message, or of `None` when there will be no more.
    ///
    /// # Errors
    /// Registering the socket.
    pub(super) fn start<T: 'static>(
        socket: OwnedFd,
        inbox: mpsc::Sender<T>,
        wrap: impl Fn(Option<Received<In>>) -> T + 'static,
    ) -> io::Result<Self> {
        let channel = Channel::new(socket)?;
        let shared = Rc::new(Shared { channel, queued: Notify::new(), ended: Cell::new(false) });
        tokio::task::spawn_local(forward(Rc::clone(&shared), inbox, wrap));
        Ok(Self(shared))
    }

    /// Sends a message, or queues it. A peer that is gone is not an error here: its end is told by the inbox.
    pub(super) fn send(&self, message: &Out, fds: &[BorrowedFd<'_>]) {
        if let Err(error) = self.0.channel.send(message, fds) {
            tracing::debug!("a message was not sent: {error}");
        }
        self.0.queued.notify_one();
    }

    /// The peer's process ended: what it said is heard, then there will be no more, even if a child of its holds the
    /// other end.
    pub(super) fn end(&self) {
        self.0.ended.set(true);
        self.0.queued.notify_one();
    }
}

impl<Out, In> Link<Out, In> {
    /// Lets the peer read end-of-file; it can still be heard.
    pub(super) fn close(&self) {
        if let Err(error) = stream::end_writing(&self.0.channel) {
            tracing::debug!("a channel was not closed: {error}");
        }
    }

    /// A duplicate of the socket, for a hand-over.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        fd::duplicate_high(&self.0.channel)
    }
}

async fn forward<Out: Serialize, In: DeserializeOwned, T>(
    shared: Rc<Shared<Out, In>>,
    inbox: mpsc::Sender<T>,
    wrap: impl Fn(Option<Received<In>>) -> T,
) {
    let channel = &shared.channel;
    let mut damper = Damper::new(PORTION, Duration::ZERO);
    let complaints = Rate::default();
    loop {
        let received = tokio::select! {
            biased;
            () = shared.queued.notified() => {
                if shared.ended.get() {
                    break;
                }
                continue;
            }
            flushed = channel.flush() => match flushed {
                Ok(()) => continue,
                Err(_) => break,
            },
            received = channel.receive() => received,
        };
        match received {
            Ok(Some(message)) => {
                if inbox.send(wrap(Some(message))).await.is_err() {
                    return;
                }
            }
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                if complaints.allows(clock::now()) {
                    tracing::warn!("a message that cannot be read: {error}");
                }
                sleep(PERIOD).await;
            }
            Err(_) => break,
        }
        if let Some(rest) = damper.hear(Instant::now()) {
            sleep(rest).await;
        }
    }
    // What was said before the end counts, also when the end was learnt another way.
    loop {
        match channel::receive::<In>(channel.as_fd()) {
            Ok(Some(message)) => {
                if inbox.send(wrap(Some(message))).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Ok(None) | Err(_) => break,
        }
    }
    let _ = inbox.send(wrap(None)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_said_before_the_end_is_heard_even_if_the_other_end_stays_open() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (ours, theirs) = channel::pair().unwrap();
                let (inbox, mut said) = mpsc::channel(INBOX);
                let link = Link::<u32, u32>::start(ours, inbox, |m| m.map(|m| m.0)).unwrap();
                for n in 0..50 {
                    channel::send(&theirs, &n, &[]).unwrap();
                }
                link.end();
                for n in 0..50 {
                    assert_eq!(said.recv().await, Some(Some(n)));
                }
                assert_eq!(said.recv().await, Some(None));
                drop(theirs);
            })
            .await;
    }

    #[tokio::test]
    async fn a_closed_link_still_hears() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (ours, theirs) = channel::pair().unwrap();
                let (inbox, mut said) = mpsc::channel(INBOX);
                let link = Link::<u32, u32>::start(ours, inbox, |m| m.map(|m| m.0)).unwrap();
                link.close();
                assert!(channel::receive::<u32>(&theirs).unwrap().is_none());
                channel::send(&theirs, &7, &[]).unwrap();
                assert_eq!(said.recv().await, Some(Some(7)));
                drop(theirs);
                assert_eq!(said.recv().await, Some(None));
            })
            .await;
    }
}
