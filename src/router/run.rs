//! The router process: does what its master says, until the master says to finish or is gone.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

use super::central::Central;
use super::door::Doors;
use super::front::{Front, Phase};
use super::lane;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::{own, reactor, signals};
use crate::trace;
use crate::wire::channel::Channel;
use crate::wire::inherited;
use crate::wire::message::{FromRouter, ToRouter};

/// For how long silent connections stay open when the router finishes: a request that is on its way on one of them
/// is answered.
const SILENCE: Duration = Duration::from_secs(1);
/// How long requests get when the master is gone: nobody replaces its workers.
const ORPHAN_TIME: Duration = Duration::from_secs(60);
/// Threads for temporary files.
const FILE_THREADS: usize = 4;

/// `liege router NAME`: serves until its master says to finish.
#[must_use]
pub fn main() -> ExitCode {
    // First of all, so that no descriptor opened later can be taken for the channel.
    let channel = inherited::take();
    trace::start(true);
    trace::exit_code("the router ends", channel.and_then(serve))
}

fn serve(channel: OwnedFd) -> io::Result<()> {
    signals::ignore_requests()?;
    if let Err(error) = own::raise_descriptor_limit() {
        tracing::warn!("cannot raise the limit of open descriptors: {error}");
    }
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(FILE_THREADS)
        .thread_keep_alive(Duration::from_secs(10))
        // Not inside of the tasks: only here all connections that were ready have had their turn.
        .on_thread_park(|| with_front(Front::end_round))
        .on_thread_unpark(|| with_front(Front::begin_round))
        .build_local(LocalOptions::default())?;
    runtime.block_on(async { obey(Channel::new(channel)?).await })
}

thread_local! {
    /// For the hooks of the runtime, which know nothing of their own.
    static FRONT: RefCell<Weak<Front>> = const { RefCell::new(Weak::new()) };
}

fn with_front(act: impl FnOnce(&Front)) {
    let front = FRONT.with_borrow(Weak::upgrade);
    if let Some(front) = front {
        act(&front);
    }
}

/// Does what the master says until the end.
async fn obey(channel: Channel<FromRouter, ToRouter>) -> io::Result<()> {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let front = Front::new(Central::new()?, reports);
    FRONT.set(Rc::downgrade(&front));
    let watch = spawn_local({
        let front = Rc::clone(&front);
        async move { front.watch().await }
    });
    let mut doors = Doors::default();
    let mut orphan_until: Option<Instant> = None;
    loop {
        tokio::select! {
            message = channel.receive(), if orphan_until.is_none() => match message {
                Ok(Some((message, fds))) => {
                    if let Err(error) = follow(&front, &channel, &mut doors, message, fds) {
                        tracing::error!("cannot follow the master: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!("cannot understand the master: {error}");
                }
                Ok(None) | Err(_) => {
                    tracing::warn!("the master is gone: finishing what is there");
                    orphan_until = Some(Instant::now() + ORPHAN_TIME);
                    begin_to_finish(&front, &mut doors);
                }
            },
            // A master that is gone is noticed by receiving.
            _ = channel.flush(), if orphan_until.is_none() => {}
            Some(report) = reported.recv() => {
                let _ = channel.send(&report, &[]);
            }
            () = front.empty(), if front.phase() > Phase::Serving => break,
            () = sleep_until(orphan_until.unwrap_or_else(Instant::now)), if orphan_until.is_some() => {
                tracing::warn!("requests are left unanswered after {} s", ORPHAN_TIME.as_secs());
                break;
            }
        }
    }
    watch.abort();
    Ok(())
}

fn follow(
    front: &Rc<Front>,
    channel: &Channel<FromRouter, ToRouter>,
    doors: &mut Doors,
    message: ToRouter,
    fds: Vec<OwnedFd>,
) -> io::Result<()> {
    match message {
        ToRouter::Serve { listeners, spec } => {
            trace::date_lines(spec.log.date.as_deref());
            front.obey(&spec);
            if front.phase() == Phase::Serving {
                doors.replace(front, listeners, fds, &spec.router)?;
                channel.send(&FromRouter::Ready, &[front.memory()?.as_fd()])?;
            }
        }
        ToRouter::Scoreboard => {
            // An application can write over it at any time.
            fds.into_iter()
                .filter_map(|fd| Scoreboard::open(fd, true).ok())
                .for_each(|board| front.count_on(board));
        }
        ToRouter::AddWorker { slot, generation } => {
            for fd in fds {
                let socket = reactor::register_readable(fd)?;
                spawn_local(lane::serve(Rc::clone(front), (slot, generation), socket));
            }
        }
        ToRouter::AreYouThere => channel.send(&FromRouter::IAmThere, &[])?,
        ToRouter::ReleaseWorker { slot, generation } => front.release((slot, generation)),
        ToRouter::LastCall => doors.last_call(),
        ToRouter::Drain => begin_to_finish(front, doors),
    }
    Ok(())
}

/// Lets nobody in any more, makes every answer the last of its connection, and closes those that stay silent.
fn begin_to_finish(front: &Rc<Front>, doors: &mut Doors) {
    doors.close();
    if front.phase() > Phase::Serving {
        return;
    }
    front.enter(Phase::Draining);
    let front = Rc::clone(front);
    spawn_local(async move {
        sleep(SILENCE).await;
        front.enter(Phase::Closing);
    });
}
