//! The channel to an instance. What comes is untrusted, and an instance that floods or does not read holds up nobody.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::life::LifeId;
use crate::sys::stream;
use crate::wire::bytes::FromVassal;
use crate::wire::channel::{self, Channel, Received};
use crate::wire::message::{FromInstance, ToInstance};

/// How many messages of one instance are read in each [`WINDOW`]; more wait in its channel.
const MESSAGES: u32 = 200;
/// A longer message counts as several.
const MESSAGE_BYTES: u64 = 64 * 1024;
const WINDOW: Duration = Duration::from_secs(1);
/// How many messages of a dead instance are still read.
const LAST_WORDS: usize = 200;

/// What was heard on a link.
#[derive(Debug)]
pub struct Heard {
    /// The vassal.
    pub vassal: String,
    /// The life.
    pub life: LifeId,
    /// What.
    pub said: Said,
}

/// Something that was heard.
#[derive(Debug)]
pub enum Said {
    /// A message of an instance.
    Message(Received<FromInstance>),
    /// There will be no more of them.
    ChannelEnded,
    /// A word of a program of others (see [`super::control`]).
    Byte(FromVassal),
    /// There will be no more of them.
    ControlEnded,
}

/// Our end of the channel to an instance.
#[derive(Debug)]
pub struct Link {
    channel: Rc<Channel<ToInstance, FromInstance>>,
    queued: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts listening; what is heard goes to `ear`.
    ///
    /// # Errors
    /// Registering the socket.
    pub fn start(socket: OwnedFd, vassal: &str, life: LifeId, ear: mpsc::Sender<Heard>) -> io::Result<Self> {
        let channel = Rc::new(Channel::new(socket)?);
        let queued = Rc::new(Notify::new());
        let listener = Listener { vassal: vassal.to_owned(), life, ear };
        let task = spawn_local(listener.listen(channel.clone(), queued.clone()));
        Ok(Self { channel, queued, task })
    }

    /// Sends a message, or queues it until the instance reads.
    ///
    /// # Errors
    /// The instance is gone, or has not read for too long.
    pub fn send(&self, message: &ToInstance, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.channel.send(message, fds)?;
        self.queued.notify_one();
        Ok(())
    }

    /// Nothing more will be sent: the instance finds the end, and is heard on.
    ///
    /// # Errors
    /// `shutdown`.
    pub fn end_sending(&self) -> io::Result<()> {
        stream::end_writing(&*self.channel)
    }

    /// What a dead instance said that was not heard yet, a bounded part of it.
    #[must_use]
    pub fn last_words(&self) -> Vec<Received<FromInstance>> {
        // Nobody else reads from here on.
        self.task.abort();
        let mut words = Vec::new();
        for _ in 0..LAST_WORDS {
            match channel::receive::<FromInstance>(self.channel.as_fd()) {
                Ok(Some(word)) => words.push(word),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(None) | Err(_) => break,
            }
        }
        words
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listener {
    vassal: String,
    life: LifeId,
    ear: mpsc::Sender<Heard>,
}

impl Listener {
    async fn listen(self, channel: Rc<Channel<ToInstance, FromInstance>>, queued: Rc<Notify>) {
        let mut window = Instant::now() + WINDOW;
        let mut left = MESSAGES;
        let mut before = 0;
        let mut complained = false;
        loop {
            if left == 0 {
                sleep_until(window).await;
            }
            if Instant::now() >= window {
                window = Instant::now() + WINDOW;
                left = MESSAGES;
                complained = false;
            }
            let message = tokio::select! {
                message = channel.receive() => message,
                flushed = channel.flush() => match flushed {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                () = queued.notified() => continue,
            };
            // Long ones take our time, and their descriptors are ours until the emperor gets to them.
            let bytes = channel.received_bytes();
            let lengths = bytes.saturating_sub(before) / MESSAGE_BYTES;
            before = bytes;
            let held = message.as_ref().map_or(0, |message| message.as_ref().map_or(0, |(_, fds)| fds.len()));
            for more in [u32::try_from(lengths).ok(), u32::try_from(held).ok(), Some(1)] {
                left = left.saturating_sub(more.unwrap_or(MESSAGES));
            }
            match message {
                Ok(Some(message)) => self.tell(Said::Message(message)).await,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // Once in each window: the log is everybody's.
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(
                            vassal = self.vassal,
                            "a message of the instance is not understood: {error}"
                        );
                    }
                }
                Ok(None) | Err(_) => return self.tell(Said::ChannelEnded).await,
            }
        }
    }

    async fn tell(&self, said: Said) {
        let heard = Heard { vassal: self.vassal.clone(), life: self.life, said };
        // The ear closes only when the emperor ends.
        let _ = self.ear.send(heard).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_flood_is_read_in_portions_and_ends_are_told() {
        let (ours, theirs) = channel::pair().unwrap();
        let (ear, mut heard) = mpsc::channel(1000);
        let work = async {
            let _link = Link::start(ours, "a.ini", 1, ear).unwrap();
            let flood = tokio::task::spawn_local(async move {
                let flooder = Channel::<FromInstance, ToInstance>::new(theirs).unwrap();
                for n in 0..2 * MESSAGES {
                    flooder.send(&FromInstance::Event { message: n.to_string() }, &[]).unwrap();
                }
                while flooder.flush().await.is_ok() {
                    tokio::task::yield_now().await;
                }
            });
            let start = Instant::now();
            for _ in 0..MESSAGES {
                assert!(matches!(heard.recv().await.unwrap().said, Said::Message(_)));
            }
            // The next one waits for the next window, which begins no sooner than this one is long.
            assert!(matches!(heard.recv().await.unwrap().said, Said::Message(_)));
            assert!(start.elapsed() >= WINDOW);
            flood.abort();
            while let Some(Heard { said: Said::Message(_), .. }) = heard.recv().await {}
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn long_messages_and_descriptors_count_as_many() {
        let (reader, _writer) = io::pipe().unwrap();
        for (message, fds, most) in [("x".repeat(50 * 64 * 1024), 0, 4), (String::new(), 100, 2)] {
            let (ours, theirs) = channel::pair().unwrap();
            let (ear, mut heard) = mpsc::channel(1000);
            let work = async {
                let _link = Link::start(ours, "a.ini", 1, ear).unwrap();
                for _ in 0..most + 2 {
                    let message = FromInstance::Event { message: message.clone() };
                    channel::send(&theirs, &message, &vec![reader.as_fd(); fds]).unwrap();
                }
                let start = Instant::now();
                for _ in 0..most {
                    heard.recv().await.unwrap();
                }
                heard.recv().await.unwrap();
                assert!(start.elapsed() >= WINDOW, "more than {most} in one window");
            };
            LocalSet::new().run_until(work).await;
        }
    }

    #[tokio::test]
    async fn garbage_costs_only_itself_and_last_words_are_heard() {
        let (ours, theirs) = channel::pair().unwrap();
        let (ear, mut heard) = mpsc::channel(10);
        let work = async {
            let link = Link::start(ours, "a.ini", 1, ear).unwrap();
            channel::send(&theirs, &"garbage", &[]).unwrap();
            channel::send(&theirs, &FromInstance::Scoreboard, &[]).unwrap();
            let first = heard.recv().await.unwrap();
            assert!(matches!(first.said, Said::Message((FromInstance::Scoreboard, _))));
            channel::send(&theirs, &FromInstance::Event { message: "last".into() }, &[]).unwrap();
            drop(theirs);
            assert_eq!(link.last_words().len(), 1);
        };
        LocalSet::new().run_until(work).await;
    }
}
