//! What zygotes and workers print goes through a pipe of the master, so that no reader of the log can hold them up;
//! lines of requests through another one, where they go another way than the rest.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::log_file::LogFile;
use super::log_hub::{Hub, Surroundings, relay_own};
use super::log_rules::Stream;
use super::loggers::Inherited;
use super::reexec::Luggage;
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::{fd, pipe, reactor};

/// As much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// How long nothing is read after lines were lost, at first; it grows by as much while that goes on. Who floods the log
/// has some megabytes a second thrown away, and not as many as two CPUs can.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The scoreboard in use, on which dropped lines are counted.
pub(super) type Board = Rc<RefCell<Arc<Scoreboard>>>;

/// The pipes, and where they lead.
#[derive(Debug)]
pub(super) struct Output {
    general: Pipe,
    /// Made when it is wanted first.
    requests: RefCell<Option<Pipe>>,
    hub: Rc<RefCell<Hub>>,
}

/// The descriptors of an image, for the next one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct OutputRecord {
    /// The pipe for lines of requests.
    requests: Option<[RawFd; 2]>,
    /// What loggers write to that was there before the process.
    inherited: Vec<(i32, RawFd)>,
}

impl Output {
    /// Makes the pipe.
    ///
    /// # Errors
    /// `pipe`.
    pub(super) fn new(to: Surroundings) -> io::Result<Self> {
        let hub = Hub::new(to, Inherited::new());
        Ok(Self { general: Pipe::new()?, requests: RefCell::default(), hub })
    }

    /// The pipes of the image before this one.
    ///
    /// # Errors
    /// A descriptor is not there.
    pub(super) fn unpack(general: [RawFd; 2], record: OutputRecord, to: Surroundings) -> io::Result<Self> {
        let inherited: io::Result<Inherited> =
            record.inherited.into_iter().map(|(number, fd)| Ok((number, fd::adopt(fd)?))).collect();
        let hub = Hub::new(to, inherited?);
        let requests = RefCell::new(record.requests.map(Pipe::adopt).transpose()?);
        Ok(Self { general: Pipe::adopt(general)?, requests, hub })
    }

    /// Takes the descriptors along to the next image.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack(&self, luggage: &mut Luggage) -> io::Result<([RawFd; 2], OutputRecord)> {
        let general = self.general.pack(luggage)?;
        let requests = self.requests.borrow().as_ref().map(|pipe| pipe.pack(luggage)).transpose()?;
        let hub = self.hub.borrow();
        let inherited = hub.inherited.iter().map(|(number, fd)| Ok((*number, luggage.take(fd)?)));
        Ok((general, OutputRecord { requests, inherited: inherited.collect::<io::Result<_>>()? }))
    }

    /// An end for a child.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn for_child(&self) -> io::Result<OwnedFd> {
        self.general.writer.try_clone()
    }

    /// An end for the lines of requests, where they go another way.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn for_requests(&self, spec: &InstanceSpec) -> io::Result<Option<OwnedFd>> {
        if !spec.log.routing.has_requests() {
            return Ok(None);
        }
        let mut requests = self.requests.borrow_mut();
        if requests.is_none() {
            let pipe = Pipe::new()?;
            pipe.start(Stream::Requests, &self.hub)?;
            *requests = Some(pipe);
        }
        requests.as_ref().map(|pipe| pipe.writer.try_clone()).transpose()
    }

    /// Begins to relay.
    ///
    /// # Errors
    /// Registering a pipe.
    pub(super) fn start(&self) -> io::Result<()> {
        tokio::task::spawn_local(relay_own(Rc::clone(&self.hub)));
        if let Some(requests) = &*self.requests.borrow() {
            requests.start(Stream::Requests, &self.hub)?;
        }
        self.general.start(Stream::General, &self.hub)
    }

    /// Does what a configuration says about the log from now on.
    pub(super) fn obey(&self, spec: &InstanceSpec) {
        self.hub.borrow_mut().obey(spec);
    }

    /// Descriptor 2 is another file: what it was is open no more, so that whoever reads that sees its end.
    pub(super) fn let_go_of_stderr(&self) {
        self.hub.borrow_mut().let_go_of_stderr();
    }

    /// Does something with each file that is logged to.
    pub(super) fn with_file(&self, act: impl FnMut(&mut LogFile)) {
        self.hub.borrow_mut().with_files(act);
    }

    /// Writes lines that are not complete yet, and what waits, before whoever waits for the rest is gone.
    pub(super) fn flush(&self) {
        let mut hub = self.hub.borrow_mut();
        self.general.waiting.borrow_mut().flush(Stream::General, &mut hub);
        if let Some(requests) = &*self.requests.borrow() {
            requests.waiting.borrow_mut().flush(Stream::Requests, &mut hub);
        }
        hub.finish();
    }

    /// Relays what is in the pipes now, for the last time.
    pub(super) fn finish(&self) {
        let mut hub = self.hub.borrow_mut();
        self.general.finish(Stream::General, &mut hub);
        if let Some(requests) = &*self.requests.borrow() {
            requests.finish(Stream::Requests, &mut hub);
        }
        hub.finish();
    }
}

/// A pipe: the end that is read here, and the one that children get.
#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    waiting: Rc<RefCell<Lines>>,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe::for_output()?;
        Ok(Self { reader, writer, waiting: Rc::default() })
    }

    fn adopt([reader, writer]: [RawFd; 2]) -> io::Result<Self> {
        Ok(Self { reader: fd::adopt(reader)?, writer: fd::adopt(writer)?, waiting: Rc::default() })
    }

    fn pack(&self, luggage: &mut Luggage) -> io::Result<[RawFd; 2]> {
        Ok([luggage.take(&self.reader)?, luggage.take(&self.writer)?])
    }

    fn start(&self, stream: Stream, hub: &Rc<RefCell<Hub>>) -> io::Result<()> {
        let reader = fd::duplicate_high(&self.reader)?;
        let file = File::from(reader.as_fd().try_clone_to_owned()?);
        let source = reactor::register_readable(reader)?;
        let waiting = Rc::clone(&self.waiting);
        tokio::task::spawn_local(relay(source, file, waiting, stream, Rc::clone(hub)));
        Ok(())
    }

    fn finish(&self, stream: Stream, hub: &mut Hub) {
        let Ok(reader) = self.reader.try_clone() else { return };
        let mut file = File::from(reader);
        let mut waiting = self.waiting.borrow_mut();
        let mut buffer = vec![0; READ_BYTES];
        // Non-blocking, and whoever wrote to it is gone.
        while let Ok(length @ 1..) = file.read(&mut buffer) {
            waiting.relay(buffer.get(..length).unwrap_or_default(), stream, hub);
        }
        waiting.flush(stream, hub);
    }
}

async fn relay(
    source: AsyncFd<OwnedFd>,
    mut file: File,
    waiting: Rc<RefCell<Lines>>,
    stream: Stream,
    hub: Rc<RefCell<Hub>>,
) {
    let mut buffer = vec![0; READ_BYTES];
    let mut pause = PAUSE;
    loop {
        let until_told = hub.borrow().until_told();
        if let Some(until) = until_told
            && timeout(until, source.readable()).await.is_err()
        {
            hub.borrow_mut().tell_lost();
            continue;
        }
        let Ok(mut ready) = source.readable().await else { return };
        match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let read = buffer.get(..length).unwrap_or_default();
                let lost = hub.borrow().lost();
                waiting.borrow_mut().relay(read, stream, &mut hub.borrow_mut());
                if hub.borrow().lost() > lost {
                    sleep(pause).await;
                    pause = (pause + PAUSE).min(LONGEST_PAUSE);
                } else {
                    pause = PAUSE;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        // A flood must not keep the master from anything else.
        tokio::task::yield_now().await;
    }
}

/// Cuts a stream into pieces: lines, or as many of them as a pipe takes at once.
#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    fn relay(&mut self, bytes: &[u8], stream: Stream, hub: &mut Hub) {
        self.waiting.extend_from_slice(bytes);
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_slice();
        let (limit, several) = hub.piece();
        while let Some(end) = next_piece(rest, limit, several) {
            let (piece, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            hub.write(stream, piece);
            rest = tail;
        }
        self.waiting = rest.to_vec();
    }

    fn flush(&mut self, stream: Stream, hub: &mut Hub) {
        let mut rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            rest.push(b'\n');
            hub.write(stream, &rest);
        }
    }
}

/// Where the next piece ends: after the last line that fits (or the first), or in the middle of one that never would.
fn next_piece(bytes: &[u8], limit: usize, several: bool) -> Option<usize> {
    let window = bytes.get(..limit.min(bytes.len()))?;
    let end = if several { memrchr(b'\n', window) } else { memchr(b'\n', window) };
    match end {
        Some(at) => Some(at + 1),
        None => (window.len() == limit).then_some(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_within_the_limit() {
        let long = "x".repeat(30) + "\nafter\n";
        let cases: [(&[u8], Option<usize>, Option<usize>); 6] = [
            (b"", None, None),
            (b"half", None, None),
            (b"one\n", Some(4), Some(4)),
            (b"one\ntwo\nhalf", Some(8), Some(4)),
            (long.as_bytes(), Some(20), Some(20)),
            (&long.as_bytes()[20..], Some(17), Some(11)),
        ];
        for (bytes, several, one) in cases {
            assert_eq!(next_piece(bytes, 20, true), several);
            assert_eq!(next_piece(bytes, 20, false), one);
        }
    }
}
