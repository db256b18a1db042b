//! The link to a vassal that another program runs: single bytes in the language of uWSGI. Nobody waits for it, and it
//! waits for nobody.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::kept::Numbered;
use super::life::LifeId;
use super::link::{Heard, Link, Said};
use super::masters::Masters;
use super::spawn::Listeners;
use crate::config::address::Listen;
use crate::sys::{reactor, stream};
use crate::wire::bytes::{FromVassal, ToVassal};
use crate::wire::message::ToInstance;

/// How often one vassal is read in each [`WINDOW`]. A read takes all that waits, so that no worker is held up by a full
/// socket, and counts each word in it once.
const READS: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);
const BUFFER_BYTES: usize = 4096;

/// Our end of the descriptor that the vassal knows by `UWSGI_EMPEROR_FD`. While it is open the vassal lives.
#[derive(Debug)]
pub struct Control {
    socket: Rc<AsyncFd<OwnedFd>>,
    task: JoinHandle<()>,
}

impl Control {
    /// Starts listening; what is heard goes to `ear`.
    ///
    /// # Errors
    /// Registering the socket.
    pub fn start(socket: OwnedFd, vassal: &str, life: LifeId, ear: mpsc::Sender<Heard>) -> io::Result<Self> {
        let socket = Rc::new(reactor::register_readable(socket)?);
        let task = spawn_local(listen(socket.clone(), vassal.to_owned(), life, ear));
        Ok(Self { socket, task })
    }

    /// Says something.
    ///
    /// # Errors
    /// The vassal has closed its end, or has not read for very long.
    pub fn send(&self, word: ToVassal) -> io::Result<()> {
        stream::send(self.socket.get_ref(), &[IoSlice::new(&[word.byte()])]).map(drop)
    }

    /// What a dead vassal said that was not heard yet.
    #[must_use]
    pub fn last_words(&self) -> Vec<FromVassal> {
        self.task.abort();
        let mut buffer = [0; BUFFER_BYTES];
        let length = stream::receive(self.socket.get_ref(), &mut buffer).unwrap_or(0);
        FromVassal::all_of(buffer.get(..length).unwrap_or_default())
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(socket: Rc<AsyncFd<OwnedFd>>, vassal: String, life: LifeId, ear: mpsc::Sender<Heard>) {
    let tell = async |said| {
        // The ear closes only when the emperor ends.
        let _ = ear.send(Heard { vassal: vassal.clone(), life, said }).await;
    };
    let mut buffer = [0; BUFFER_BYTES];
    let mut window = Instant::now() + WINDOW;
    let mut left = READS;
    loop {
        if left == 0 {
            sleep_until(window).await;
        }
        if Instant::now() >= window {
            window = Instant::now() + WINDOW;
            left = READS;
        }
        let Ok(mut ready) = socket.readable().await else { return };
        match stream::receive(socket.get_ref(), &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Ok(0) | Err(_) => return tell(Said::ControlEnded).await,
            Ok(length) => {
                left -= 1;
                for word in FromVassal::all_of(buffer.get(..length).unwrap_or_default()) {
                    tell(Said::Byte(word)).await;
                }
            }
        }
    }
}

impl Masters {
    /// Listens to a program of others.
    ///
    /// # Errors
    /// Registering the descriptor.
    pub fn follow_control(&self, control: OwnedFd, id: &str, life: LifeId) -> io::Result<Control> {
        Control::start(control, id, life, self.ear.clone())
    }

    /// An instance becomes another program, as its own configuration says: from here on it is spoken to by what came with
    /// that word. Whether it is so.
    pub(super) fn become_foreign(&mut self, life: LifeId, fds: Vec<OwnedFd>) -> bool {
        let Some(master) = self.by_life.get(&life).filter(|master| master.control.is_none()) else {
            return false;
        };
        let vassal = master.vassal.clone();
        let control = match fds.into_iter().next().filter(|fd| stream::is_unix_connection(fd)) {
            Some(fd) => self.follow_control(fd, &vassal, life),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        match control {
            Ok(control) => {
                if let Some(master) = self.by_life.get_mut(&life) {
                    master.control = Some(control);
                }
            }
            Err(error) => {
                tracing::warn!(vassal, "the program that it becomes cannot be followed: {error}");
                return false;
            }
        }
        self.write_down(life, |record| record.foreign = true);
        true
    }

    /// Whether another program than ours leads a life.
    #[must_use]
    pub fn is_foreign(&self, life: LifeId) -> bool {
        self.by_life.get(&life).is_some_and(|master| master.control.is_some())
    }

    /// What a dead master said that was not heard yet.
    #[must_use]
    pub fn last_words(&self, life: LifeId) -> Vec<Said> {
        let Some(master) = self.by_life.get(&life) else { return Vec::new() };
        let messages = master.link.iter().flat_map(Link::last_words).map(Said::Message);
        messages.chain(master.control.iter().flat_map(Control::last_words).map(Said::Byte)).collect()
    }

    /// The listeners of a vassal are of no use any more.
    pub fn give_up_listeners(&mut self, id: &str) {
        self.kept.remove(id);
        if let Some(vassal) = self.handle.fleet().vassals.get_mut(id) {
            vassal.listeners = Arc::default();
        }
    }

    /// Nobody tells statistics of a vassal that sleeps: who asks for them is refused, and wakes nobody. Answers what is
    /// kept of it all the same.
    pub(super) fn keep_doors(&mut self, id: &str) -> Option<Arc<Listeners>> {
        self.keep_only(id, |listen| listen.protocol.is_for_requests());
        self.kept.get(id).cloned()
    }

    /// Another program binds its sockets itself: what is kept of them would be in its way, but for the one on which it is
    /// waited for. Answers all that was kept.
    pub(super) fn keep_only_on_demand(&mut self, id: &str) -> Option<Numbered> {
        let on_demand = self.handle.fleet().vassals.get(id).and_then(|vassal| vassal.on_demand.clone());
        self.keep_only(id, |listen| Some(&listen.address) == on_demand.as_ref())
    }

    fn keep_only(&mut self, id: &str, is_wanted: impl Fn(&Listen) -> bool) -> Option<Numbered> {
        let mut fleet = self.handle.fleet();
        let vassal = fleet.vassals.get_mut(id)?;
        vassal.listeners = Arc::default();
        let kept = self.kept.remove(id)?;
        let wanted = kept.listeners().iter().filter(|(listen, _)| is_wanted(listen));
        let wanted: io::Result<Listeners> =
            wanted.map(|(listen, fd)| Ok((listen.clone(), fd.try_clone()?))).collect();
        if let Some(wanted) = wanted.ok().filter(|wanted| !wanted.is_empty()) {
            vassal.listeners = Arc::new(wanted);
            self.kept.insert(id, vassal.listeners.clone());
        }
        Some(kept)
    }
}

/// What a message is in uWSGI's language; `None`: there is no word for it.
pub(super) const fn in_bytes(message: &ToInstance) -> Option<ToVassal> {
    match message {
        ToInstance::Reload { .. } => Some(ToVassal::Reload),
        ToInstance::Stop { .. } => Some(ToVassal::GracefulStop),
        ToInstance::Start { .. }
        | ToInstance::Reexec { .. }
        | ToInstance::Scale { .. }
        | ToInstance::LogLevel(_)
        | ToInstance::Adopt { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_flood_is_taken_whole_and_says_little_and_the_end_is_told() {
        let (ours, theirs) = stream::pair().unwrap();
        let (ear, mut heard) = mpsc::channel(1000);
        let work = async {
            let control = Control::start(ours, "a.ini", 1, ear).unwrap();
            let mut theirs = UnixStream::from(theirs);
            theirs.write_all(&[[26; 250].as_slice(), &[5, 7, 17]].concat()).unwrap();
            for expected in [FromVassal::Heartbeat, FromVassal::Accepting, FromVassal::Loyal] {
                let Some(Heard { said: Said::Byte(word), .. }) = heard.recv().await else {
                    panic!("no byte")
                };
                assert_eq!(word, expected);
            }
            control.send(ToVassal::GracefulStop).unwrap();
            let mut byte = [0];
            io::Read::read_exact(&mut theirs, &mut byte).unwrap();
            assert_eq!(byte, [2]);
            theirs.write_all(&[22]).unwrap();
            drop(theirs);
            assert!(matches!(heard.recv().await.unwrap().said, Said::Byte(FromVassal::VoluntaryStop)));
            assert!(matches!(heard.recv().await.unwrap().said, Said::ControlEnded));
            assert!(control.send(ToVassal::Reload).is_err());
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn last_words_are_heard() {
        let (ours, theirs) = stream::pair().unwrap();
        let (ear, _heard) = mpsc::channel(1);
        let work = async {
            let control = Control::start(ours, "a.ini", 1, ear).unwrap();
            UnixStream::from(theirs).write_all(&[5]).unwrap();
            assert_eq!(control.last_words(), [FromVassal::Accepting]);
        };
        LocalSet::new().run_until(work).await;
    }
}
