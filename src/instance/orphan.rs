//! An instance whose emperor died: it serves on and calls at the rendezvous until the next emperor answers; when none
//! does in time, it finishes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::event::Event;
use super::link::Link;
use super::master::{Master, Report};
use crate::config::hook::Point;
use crate::sys::{peer, seqpacket, user};
use crate::wire::PROTOCOL;
use crate::wire::channel::Channel;
use crate::wire::message::{Adoption, FromInstance, Policy, ToInstance};

/// Between the first calls, doubled each time up to the longest: instances by the hundred call the same emperor.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// Between calls where too many call: whoever calls without an end, as any user may, leaves room for moments only.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How many messages are kept for the next emperor; of more the first are lost.
const UNSENT: usize = 64;

/// The next emperor's channel, and what its operator decided.
pub(super) type Adopted = (OwnedFd, Policy);

/// What an emperor that is not there yet has to be told.
pub(super) type Unsent = RefCell<VecDeque<FromInstance>>;

impl Master {
    /// The emperor is gone.
    pub(super) fn orphaned(&mut self) {
        self.emperor = None;
        let Some(adoption) = self.policy.adoption.clone().filter(|adoption| adoption.grace_ms > 0) else {
            tracing::warn!("the emperor is gone: finishing");
            return self.act_and_stop(&Point::EmperorLost, None);
        };
        self.act(&Point::EmperorLost);
        let seconds = adoption.grace_ms / 1000;
        tracing::warn!("the emperor is gone: serving on for {seconds} s, until another one comes");
        tokio::task::spawn_local(call_until_answered(adoption, self.emperor_uid, self.reports.clone()));
    }

    /// An emperor answered, or none did in time.
    pub(super) fn hear_call(&mut self, adopted: Option<Adopted>) {
        let Some((channel, policy)) = adopted else {
            tracing::warn!("no emperor came: finishing");
            return self.handle(Event::Stop { mercy: None });
        };
        match Link::start(channel, self.reports.clone(), Report::Emperor) {
            Ok(link) => self.emperor = Some(link),
            Err(error) => {
                tracing::error!("the new emperor cannot be heard: {error}");
                return self.orphaned();
            }
        }
        tracing::info!("another emperor is there");
        self.policy = policy;
        let log = &self.current.said.spec.log;
        if log.logto.is_none() && log.logto2.is_none() {
            // Who opened this pipe gave us both ends in one, so what nobody has read yet is still in it.
            self.tell_emperor(&FromInstance::Output, &[io::stderr().as_fd()]);
        }
        self.introduce();
        for message in self.unsent.take() {
            self.tell_emperor(&message, &[]);
        }
    }

    /// Tells an emperor that knows nothing of this process all that it has to know.
    pub(super) fn introduce(&self) {
        let hello = FromInstance::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        self.tell_emperor(&hello, &self.boards().share());
        self.tell_configured();
        if !self.caches.is_empty() {
            self.tell_caches();
        }
        if let Some(state) = self.roster.announced {
            self.tell_emperor(&FromInstance::State(state), &[]);
        }
        if self.roster.shortfall.is_some() {
            self.tell_emperor(&FromInstance::Shortfall(self.roster.shortfall.clone()), &[]);
        }
        self.introduce_companions();
    }

    /// Sends the emperor a message, or keeps what the next one has to know.
    pub(super) fn tell_emperor(&self, message: &FromInstance, fds: &[BorrowedFd<'_>]) {
        match &self.emperor {
            Some(emperor) => emperor.send(message, fds),
            None => self.keep_unsent(message),
        }
    }

    /// Keeps a message that has no descriptors, and is not part of an introduction, for the next emperor.
    fn keep_unsent(&self, message: &FromInstance) {
        let lasting = matches!(
            message,
            FromInstance::Ended { .. }
                | FromInstance::Began { .. }
                | FromInstance::Event { .. }
                | FromInstance::Companion { .. }
                | FromInstance::Died(_)
                | FromInstance::AppFailed(_)
                | FromInstance::Failed(_)
        );
        if self.supervised && lasting {
            let mut unsent = self.unsent.borrow_mut();
            if unsent.len() >= UNSENT {
                unsent.pop_front();
            }
            unsent.push_back(message.clone());
        }
    }
}

/// The time runs while nobody is there. An emperor that is, but has not answered yet, may itself wait for a file system:
/// what it finds then should still serve.
async fn call_until_answered(adoption: Adoption, emperor_uid: u32, reports: mpsc::Sender<Report>) {
    let mut end = Instant::now() + Duration::from_millis(adoption.grace_ms);
    let mut pause = FIRST_PAUSE;
    let mut warned = false;
    let adopted = loop {
        let began = Instant::now();
        match call(Path::new(&adoption.rendezvous), emperor_uid) {
            Ok(channel) => {
                if let Some(adopted) = hear_out(channel, end).await {
                    break Some(adopted);
                }
                end += began.elapsed();
            }
            // So many call already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(BUSY_PAUSE).await;
                end += began.elapsed();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !warned => {
                warned = true;
                tracing::warn!("cannot call an emperor at {}: {error}", adoption.rendezvous);
            }
            Err(_) => {}
        }
        if Instant::now() >= end {
            break None;
        }
        sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    // The inbox closes only when the master ends.
    let _ = reports.send(Report::Call(adopted)).await;
}

/// Calls once.
fn call(rendezvous: &Path, emperor_uid: u32) -> io::Result<Channel<FromInstance, ToInstance>> {
    // First at the door that only this user can reach: nobody else keeps that busy.
    let own = Adoption::own_door(rendezvous, user::current_uid());
    let socket = match seqpacket::connect(&own) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => seqpacket::connect(rendezvous),
        connected => connected,
    }?;
    let uid = peer::of(&socket)?.uid;
    // Whoever else listens there could have us reload, stop, or learn our sockets.
    if uid != emperor_uid {
        let reason =
            format!("uid {uid} listens there, and not uid {emperor_uid}, whose emperor started this");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Channel::new(socket)
}

/// The answer of whoever is there; `None`: it hung up. After `late` it is told that there is none yet.
async fn hear_out(channel: Channel<FromInstance, ToInstance>, late: Instant) -> Option<Adopted> {
    let answer = async move {
        loop {
            match channel.receive().await {
                // Every version understands the messages that an adopted instance gets.
                Ok(Some((ToInstance::Adopt { policy, .. }, _))) => {
                    return Some((channel.into_socket(), *policy));
                }
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(None) | Err(_) => return None,
            }
        }
    };
    tokio::pin!(answer);
    match timeout_at(late, &mut answer).await {
        Ok(answer) => answer,
        Err(_) => {
            tracing::warn!("an emperor is there, but does not answer: serving on until it does");
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;
    use crate::wire::channel;

    /// Who listens at the rendezvous, and from when on.
    #[derive(Clone, Copy, PartialEq)]
    enum There {
        Nobody,
        /// Hangs up on everybody.
        Unwilling,
        /// Answers only when the time would be over, and all others wait outside.
        Slow,
        Ready,
    }

    /// Beyond the time that an instance waits for.
    const LATE: Duration = Duration::from_millis(400);

    async fn outcome(emperor_uid: u32, there: There) -> Option<Adopted> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rendezvous");
        let (reports, mut inbox) = mpsc::channel(1);
        let adoption = Adoption {
            rendezvous: path.to_string_lossy().into_owned(),
            grace_ms: if there == There::Ready { 30_000 } else { 150 },
        };
        let listener = std::cell::OnceCell::new();
        let work = async {
            tokio::task::spawn_local(call_until_answered(adoption, emperor_uid, reports));
            // Nobody is there for a while.
            sleep(FIRST_PAUSE * 2).await;
            let mut called = None;
            if there == There::Unwilling {
                let listener = listener.get_or_init(|| seqpacket::listen(&path, 0o666, 8).unwrap());
                tokio::task::spawn_local(hang_up(listener.try_clone().unwrap()));
            } else if there != There::Nobody {
                let listener = listener.get_or_init(|| seqpacket::listen(&path, 0o666, 0).unwrap());
                let _before = (there == There::Slow).then(|| seqpacket::connect(&path));
                sleep(if there == There::Slow { LATE } else { FIRST_PAUSE }).await;
                if there == There::Slow {
                    drop(seqpacket::accept(listener));
                    sleep(LATE).await;
                }
                while called.is_none() {
                    called = seqpacket::accept(listener).ok();
                    sleep(FIRST_PAUSE).await;
                }
                let policy = Policy { binary: "new".into(), ..Policy::default() };
                let adopt = ToInstance::Adopt { protocol: PROTOCOL + 1, policy: Box::new(policy) };
                channel::send(called.as_ref().unwrap(), &adopt, &[]).unwrap();
            }
            match inbox.recv().await {
                Some(Report::Call(adopted)) => adopted,
                other => panic!("{other:?}"),
            }
        };
        LocalSet::new().run_until(work).await
    }

    async fn hang_up(listener: OwnedFd) {
        loop {
            drop(seqpacket::accept(&listener));
            sleep(FIRST_PAUSE / 5).await;
        }
    }

    #[tokio::test]
    async fn an_emperor_of_the_right_user_is_found_when_it_comes() {
        for there in [There::Ready, There::Slow] {
            let (_, policy) = outcome(user::current_uid(), there).await.unwrap();
            assert_eq!(policy.binary, "new");
        }
    }

    #[tokio::test]
    async fn a_door_of_ones_own_is_free_however_many_call_at_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rendezvous");
        let _full = seqpacket::listen(&path, 0o666, 0).unwrap();
        let _before = seqpacket::connect(&path).unwrap();
        assert!(seqpacket::connect(&path).is_err());
        let uid = user::current_uid();
        let door = seqpacket::listen(&Adoption::own_door(&path, uid), 0o600, 8).unwrap();
        let (reports, mut inbox) = mpsc::channel(1);
        let adoption = Adoption { rendezvous: path.to_string_lossy().into_owned(), grace_ms: 30_000 };
        let work = async {
            tokio::task::spawn_local(call_until_answered(adoption, uid, reports));
            let called = loop {
                match seqpacket::accept(&door) {
                    Ok(called) => break called,
                    Err(_) => sleep(FIRST_PAUSE).await,
                }
            };
            let adopt = ToInstance::Adopt { protocol: PROTOCOL, policy: Box::default() };
            channel::send(&called, &adopt, &[]).unwrap();
            inbox.recv().await
        };
        let heard = LocalSet::new().run_until(work).await;
        assert!(matches!(heard, Some(Report::Call(Some(_)))));
    }

    #[tokio::test]
    async fn nobody_is_waited_for_longer_than_the_grace_and_no_other_user_is_obeyed() {
        assert!(outcome(user::current_uid(), There::Nobody).await.is_none());
        assert!(outcome(user::current_uid(), There::Unwilling).await.is_none());
        assert!(outcome(user::current_uid() + 1, There::Unwilling).await.is_none());
    }
}
