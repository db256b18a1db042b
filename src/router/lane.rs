//! A lane's connection to a worker's thread: rings, and what is too long for a cell of the queue.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use tokio::io::unix::AsyncFd;

use super::answer;
use super::crews::WorkerKey;
use super::front::Front;
use super::job::Trouble;
use super::pipe::{Writer, pipe};
use crate::sys::{reactor, seqpacket, stream};
use crate::wire::lane::{FRAME_BYTES, Frames, HELLO_BYTES, Kind, Malformed, Pull, hello, to_header};
use crate::wire::queue::Lease;

/// How much is read at once.
const READ_BYTES: usize = 4096;
/// The same while an answer comes.
const LONG_READ_BYTES: usize = 128 * 1024;
/// So many descriptors come at most before the frames that they belong to.
const FDS_AHEAD: usize = 2;

/// The router's end of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) lease: Lease,
    pub(super) worker: WorkerKey,
    /// Registered for reading only: its other end would wake the router each time that it has read a ring.
    pub(super) socket: AsyncFd<OwnedFd>,
}

/// Why a lane is given up.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the worker speaks of a request that it does not have")]
    Unknown,
}

/// An answer that comes over the lane.
#[derive(Default)]
enum Answering {
    #[default]
    Nothing,
    Head(usize),
    Body(usize, Writer),
    /// Nobody wants it.
    Unwanted(usize),
}

/// Serves a lane of a worker until its connection ends.
pub(super) async fn serve(front: Rc<Front>, worker: WorkerKey, socket: AsyncFd<OwnedFd>) {
    let Some(lane) = front.join(worker, socket) else {
        return tracing::error!("a worker's thread stays unused: there are too many; restart the vassal");
    };
    let mut answering = Answering::Nothing;
    if let Err(fault) = converse(&front, &lane, &mut answering).await
        && front.may_log()
    {
        tracing::error!("a worker's connection is closed: {fault}");
    }
    match answering {
        Answering::Nothing | Answering::Head(_) => {}
        Answering::Body(cell, _) | Answering::Unwanted(cell) => front.end(cell),
    }
    front.leave(&lane);
}

async fn converse(front: &Front, lane: &Lane, answering: &mut Answering) -> Result<(), Fault> {
    front.greet(lane)?;
    let (mut frames, mut fds) = (Frames::default(), VecDeque::new());
    loop {
        let Some((kind, bytes)) = frames.take()? else {
            let length = if matches!(answering, Answering::Nothing) { READ_BYTES } else { LONG_READ_BYTES };
            if !lane.read(&mut frames, &mut fds, length).await? {
                return Ok(());
            }
            if fds.len() > FDS_AHEAD {
                return Err(Fault::Unknown);
            }
            continue;
        };
        match (kind, std::mem::take(answering)) {
            (Kind::Ring, was) => {
                *answering = was;
                front.collect();
            }
            (Kind::Pull, Answering::Nothing) => {
                let pull = Pull::from_bytes(&bytes).ok_or(Fault::Unknown)?;
                lane.hand_over(front, pull).await?;
            }
            (Kind::Begin, Answering::Nothing) => {
                let cell = bytes.as_ref().try_into().ok().map(u64::from_le_bytes);
                let cell = cell.and_then(|cell| usize::try_from(cell).ok()).ok_or(Fault::Unknown)?;
                *answering = Answering::Head(cell);
            }
            (Kind::Head, Answering::Head(cell)) => {
                let job = front.begin(lane, cell).ok_or(Fault::Unknown)?;
                *answering = match answer::head(bytes.into()) {
                    Some(head) => {
                        let (writer, reader) = pipe(&front.buffers);
                        job.answer(Ok(answer::piped(head, reader)));
                        Answering::Body(cell, writer)
                    }
                    None => {
                        front.refuse(job, Trouble::BadAnswer);
                        front.give_up(cell);
                        Answering::Unwanted(cell)
                    }
                };
            }
            (Kind::Switch, Answering::Head(cell)) => {
                let job = front.begin(lane, cell).ok_or(Fault::Unknown)?;
                let line = fds.pop_front().filter(|_| job.may_switch);
                match line.and_then(|line| answer::switched(bytes.into(), line)) {
                    Some(response) => job.answer(Ok(response)),
                    None => front.refuse(job, Trouble::BadAnswer),
                }
                // What follows goes another way, to its end.
                *answering = Answering::Unwanted(cell);
            }
            (Kind::Data, Answering::Body(cell, writer)) => {
                *answering = if writer.write(bytes).await {
                    Answering::Body(cell, writer)
                } else {
                    front.give_up(cell);
                    Answering::Unwanted(cell)
                };
            }
            (Kind::Data, Answering::Unwanted(cell)) => *answering = Answering::Unwanted(cell),
            (Kind::End, Answering::Body(cell, writer)) => {
                writer.finish();
                front.end(cell);
            }
            // The pipe's end without its finish looks broken to the client.
            (Kind::Abort, Answering::Body(cell, _))
            | (Kind::End | Kind::Abort, Answering::Unwanted(cell)) => {
                front.end(cell);
            }
            _ => return Err(Fault::Unknown),
        }
    }
}

impl Lane {
    /// The lane's number.
    pub(super) const fn number(&self) -> usize {
        self.lease.lane
    }

    /// Tells the worker which lane this is, and where the queue is.
    pub(super) fn greet(&self, queue: BorrowedFd<'_>) -> io::Result<()> {
        let frame = [&to_header(Kind::Hello, HELLO_BYTES)[..], &hello(self.lease)].concat();
        match seqpacket::send(self.socket.get_ref(), &frame, &[queue]) {
            // It died: reading tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Wakes the worker's thread.
    pub(super) fn ring(&self) {
        // Nothing else is on its way to a thread that sleeps, so there is room; its end is noticed by reading.
        let _ = stream::send(self.socket.get_ref(), &[IoSlice::new(&to_header(Kind::Ring, 0))]);
    }

    /// Lets the worker know that it is over.
    pub(super) fn end_writing(&self) {
        let _ = stream::end_writing(self.socket.get_ref());
    }

    /// Reads what is there; `false` at the end.
    async fn read(
        &self,
        frames: &mut Frames,
        fds: &mut VecDeque<OwnedFd>,
        length: usize,
    ) -> io::Result<bool> {
        loop {
            let mut ready = self.socket.readable().await?;
            let buffer = frames.buffer();
            let before = buffer.len();
            buffer.resize(before + length, 0);
            let space = buffer.get_mut(before..).unwrap_or_default();
            let read = stream::receive_with_fds(self.socket.get_ref(), space);
            buffer.truncate(before + read.as_ref().map_or(0, |(read, _)| *read));
            match read {
                Ok((read, came)) => {
                    // The kernel stops behind a descriptor, whatever else is there.
                    if read < length && came.is_empty() {
                        ready.clear_ready();
                    }
                    fds.extend(came);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                // The worker died with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a worker a part of its request.
    async fn hand_over(&self, front: &Front, pull: Pull) -> Result<(), Fault> {
        let (head, payload) = front.pulled(self, pull).ok_or(Fault::Unknown)?;
        let length = usize::try_from(pull.length).unwrap_or(FRAME_BYTES);
        let in_head =
            usize::try_from(pull.at).ok().and_then(|at| head.get(at..)).filter(|rest| !rest.is_empty());
        let part = match in_head {
            Some(rest) => rest.get(..length).unwrap_or(rest).to_vec().into(),
            None => {
                let at = pull.at.saturating_sub(u64::try_from(head.len()).unwrap_or(0));
                payload.part(at, length).await?
            }
        };
        let frame = [&to_header(Kind::Piece, part.len())[..], &part].concat();
        let mut left = &frame[..];
        let mut registered = None;
        while !left.is_empty() {
            match stream::send(self.socket.get_ref(), &[IoSlice::new(left)]) {
                Ok(length) => left = left.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = match &registered {
                        Some(socket) => socket,
                        None => registered.insert(reactor::register(self.socket.get_ref().try_clone()?)?),
                    };
                    socket.writable().await?.clear_ready();
                }
                // It died: reading tells.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}
