//! Taking over the instances of an emperor that died: found by their records, known by pid and start time when they
//! call, and followed by their pidfds, for they are not our children.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::event::{Event, Heir, News};
use super::fleet::ExitKind;
use super::ledger::Stock;
use super::life::LifeId;
use super::masters::Masters;
use super::turns::Emperor;
use crate::sys::process::Child;
use crate::sys::{own, peer, reactor, seqpacket};
use crate::wire::failure::Failure;

/// How many callers are answered in each [`WINDOW`]; more wait.
const CALLERS: u32 = 1000;
const WINDOW: Duration = Duration::from_secs(1);

/// The end of a process that is not our child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The life that it belonged to.
    pub life: LifeId,
    /// Its pid.
    pub pid: u32,
}

/// Listens at the rendezvous; who calls goes to `callers`.
///
/// # Errors
/// Registering the socket.
pub fn listen(rendezvous: OwnedFd, callers: mpsc::Sender<OwnedFd>) -> std::io::Result<()> {
    let listener = reactor::register_readable(rendezvous)?;
    spawn_local(async move {
        let mut window = Instant::now() + WINDOW;
        let mut left = CALLERS;
        loop {
            if left == 0 {
                sleep_until(window).await;
            }
            if Instant::now() >= window {
                window = Instant::now() + WINDOW;
                left = CALLERS;
            }
            let Ok(mut ready) = listener.readable().await else { return };
            left -= 1;
            match seqpacket::accept(listener.get_ref()) {
                Ok(caller) => {
                    if callers.send(caller).await.is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => ready.clear_ready(),
                // No descriptor is left, or the caller hung up: the next window may be better.
                Err(_) => left = left.min(1),
            }
        }
    });
    Ok(())
}

/// Waits for the end of a process that is not our child.
pub(super) fn follow(child: &Child, life: LifeId, gone: mpsc::Sender<Gone>) -> std::io::Result<()> {
    let pidfd = reactor::register_readable(child.as_fd().try_clone_to_owned()?)?;
    let pid = child.pid();
    spawn_local(async move {
        let _ = pidfd.readable().await;
        let _ = gone.send(Gone { life, pid }).await;
    });
    Ok(())
}

impl Emperor {
    /// Takes stock of what the emperor before left behind.
    ///
    /// # Errors
    /// It cannot be known what runs: to start anything could make twins.
    pub(super) fn inherit(&mut self) -> Result<(), Failure> {
        let Some(ledger) = &self.masters.ledger else { return Ok(()) };
        let Stock { running, gone } = ledger.take_stock()?;
        let mut heirs = Vec::new();
        for (record, child) in running {
            self.hooks.began(record.life, &record.directory);
            let heir = Heir {
                vassal: record.vassal.clone(),
                directory: record.directory.clone(),
                life: record.life,
                pid: record.pid,
                started_epoch_ms: record.started_epoch_ms,
                file: record.file,
                tenant: record.tenant,
                // The end of its emperor is the end of another program.
                leaving: record.leaving || record.foreign,
            };
            match self.masters.await_caller(record, child) {
                Ok(()) => heirs.push(heir),
                Err(error) => {
                    let what = format!("cannot follow pid {} of {}: {error}", heir.pid, heir.vassal);
                    return Err(Failure::new(what));
                }
            }
        }
        let gone = gone.into_iter().map(|record| (record.vassal, record.pid)).collect();
        let adopt = self.adopts;
        self.decide(Event::Inherited { heirs, gone, adopt });
        Ok(())
    }

    /// Somebody called at the rendezvous.
    pub(super) fn answer(&mut self, caller: OwnedFd) {
        let known = peer::of(&caller).ok().and_then(|peer| self.masters.known(peer));
        let Some((vassal, life)) = known.filter(|_| self.adopts) else { return };
        match self.masters.adopt_caller(life, caller, &self.launcher.policy) {
            Ok(()) => self.decide(Event::News { vassal, life, news: News::Adopted }),
            // It calls again.
            Err(error) => tracing::warn!(vassal, "cannot answer its instance: {error}"),
        }
    }

    /// A process that is not our child ended.
    pub(super) fn ended_elsewhere(&mut self, Gone { life, pid }: Gone) {
        let Some(master) = self.masters.by_life.get(&life) else { return };
        let vassal = master.vassal.clone();
        let news = if master.child.pid() == pid && !master.reaped {
            self.hear_last_words(&vassal, life);
            let survivors = self.masters.bury(life);
            News::Exited { exit: ExitKind::Unknown, survivors }
        } else if self.masters.forget_remnant(life, pid) {
            News::Emptied
        } else {
            return;
        };
        self.decide(Event::News { vassal, life, news });
    }
}

impl Masters {
    /// A master that is not our child ended; answers whether something that it started is still there.
    pub fn bury(&mut self, life: LifeId) -> bool {
        let Some(master) = self.by_life.get_mut(&life) else { return false };
        master.reaped = true;
        let leader = master.child.pid();
        // While somebody has the leader's number, the group may be his; nobody can have had it in between and left.
        let members = if peer::started(leader).is_none() { peer::of_group(leader) } else { Ok(Vec::new()) };
        for pid in members.unwrap_or_default() {
            let Ok(child) = Child::adopt(pid) else { continue };
            let is_member = own::group_of(pid) == Some(leader);
            if is_member && follow(&child, life, self.gone.clone()).is_ok() {
                master.remnants.push(child);
            }
        }
        !master.remnants.is_empty()
    }

    /// Something that such a master started ended; answers whether it was the last.
    pub fn forget_remnant(&mut self, life: LifeId, pid: u32) -> bool {
        let Some(master) = self.by_life.get_mut(&life) else { return false };
        let before = master.remnants.len();
        master.remnants.retain(|remnant| remnant.pid() != pid);
        master.remnants.is_empty() && before > 0
    }

    /// The life that a caller is the master of: its pid, its start time and its user are those of the record.
    fn known(&self, caller: peer::Peer) -> Option<(String, LifeId)> {
        let (life, master) = self
            .by_life
            .iter()
            .find(|(_, master)| !master.reaped && master.child.pid() == caller.pid && caller.pid != 0)?;
        let record = master.record.as_ref()?;
        let is_it = peer::started(caller.pid) == Some(record.started)
            && record.uid.is_none_or(|uid| uid == caller.uid);
        if !is_it {
            tracing::warn!(
                vassal = master.vassal,
                "pid {} called, but is not the process of its record",
                caller.pid
            );
        }
        is_it.then(|| (master.vassal.clone(), *life))
    }
}
