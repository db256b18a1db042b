//! A lane's connection to a worker's thread: rings, and what is too long for a cell of the queue.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use tokio::net::UnixStream;

use super::answer;
use super::crews::WorkerKey;
use super::front::Front;
use super::job::Trouble;
use super::pipe::{Writer, pipe};
use crate::sys::{seqpacket, stream};
use crate::wire::lane::{FRAME_BYTES, Frames, HELLO_BYTES, Kind, Malformed, Pull, hello, to_header};
use crate::wire::queue::Lease;

/// How much is read at once.
const READ_BYTES: usize = 4096;
/// The same while an answer comes.
const LONG_READ_BYTES: usize = 128 * 1024;

/// The router's end of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) lease: Lease,
    pub(super) worker: WorkerKey,
    pub(super) socket: UnixStream,
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
pub(super) async fn serve(front: Rc<Front>, worker: WorkerKey, socket: UnixStream) {
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
    let mut frames = Frames::default();
    loop {
        let Some((kind, bytes)) = frames.take()? else {
            let length = if matches!(answering, Answering::Nothing) { READ_BYTES } else { LONG_READ_BYTES };
            if !lane.read(&mut frames, length).await? {
                return Ok(());
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
        match seqpacket::send(&self.socket, &frame, &[queue]) {
            // It died: reading tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Wakes the worker's thread.
    pub(super) fn ring(&self) {
        // Nothing else is on its way to a thread that sleeps, so there is room; its end is noticed by reading.
        let _ = stream::send(&self.socket, &[IoSlice::new(&to_header(Kind::Ring, 0))]);
    }

    /// Lets the worker know that it is over.
    pub(super) fn end_writing(&self) {
        let _ = stream::end_writing(&self.socket);
    }

    /// Reads what is there; `false` at the end.
    async fn read(&self, frames: &mut Frames, length: usize) -> io::Result<bool> {
        loop {
            self.socket.readable().await?;
            let buffer = frames.buffer();
            buffer.reserve(length);
            match self.socket.try_read_buf(buffer) {
                Ok(length) => return Ok(length > 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
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
        while !left.is_empty() {
            self.socket.writable().await?;
            match self.socket.try_write(left) {
                Ok(length) => left = left.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It died: reading tells.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}
