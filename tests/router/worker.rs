//! Plays a thread of a worker: a lane to the router, and the central queue.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use liege::gateway::head::Head;
use liege::sys::{seqpacket, wait};
use liege::wire::lane::{
    FRAME_BYTES, Frames, HEADER_BYTES, HELLO_BYTES, Kind, Pull, header, lease, to_header,
};
use liege::wire::packed::{Packed, to_request};
use liege::wire::queue::{Claim, LaneState, Lease, SharedQueue};

use crate::master::PATIENCE;

pub(crate) struct Worker {
    socket: UnixStream,
    frames: Frames,
    central: Option<(SharedQueue, Lease)>,
    claim: Option<Claim>,
}

/// A request as a worker got it.
#[derive(Debug)]
pub(crate) struct Got {
    /// The request line and the fields, each a line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, frames: Frames::default(), central: None, claim: None }
    }

    /// The next request, whole.
    pub(crate) fn receive(&mut self) -> Got {
        let (mut got, head_length, body_length) = self.receive_head();
        while (got.body.len() as u64) < body_length {
            let at = head_length + got.body.len() as u64;
            let left = body_length - got.body.len() as u64;
            got.body.extend(self.pull(at, left));
        }
        got
    }

    /// The next request as far as its cell holds it, and the lengths of its head and its body.
    pub(crate) fn receive_head(&mut self) -> (Got, u64, u64) {
        let claim = loop {
            if let Some(claim) = self.try_claim() {
                break claim;
            }
            if self.rests() {
                assert_eq!(self.next_frame(), Some(Kind::Ring), "a request, not the end");
            }
        };
        assert_eq!(self.claim.replace(claim), None, "the last request was not answered");
        let mut contents = self.queue().place(claim.cell).get().unwrap();
        while contents.head.len() < contents.head_length {
            let at = contents.head.len() as u64;
            let piece = self.pull(at, contents.head_length as u64 - at);
            contents.head.extend(piece);
        }
        let parts = to_request(contents.head).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            head += &format!("{name}: {}\r\n", String::from_utf8(value.as_bytes().to_vec()).unwrap());
        }
        (Got { head, body: contents.body }, contents.head_length as u64, contents.body_length)
    }

    /// A part of the request.
    pub(crate) fn pull(&mut self, at: u64, length: u64) -> Vec<u8> {
        let cell = self.claim.unwrap().cell as u64;
        self.send(Kind::Pull, &Pull { cell, at, length: length.min(FRAME_BYTES as u64) }.to_bytes());
        loop {
            match self.frames.take().unwrap() {
                Some((Kind::Piece, bytes)) => return bytes.to_vec(),
                Some((Kind::Ring, _)) => {}
                Some((kind, _)) => panic!("{kind:?}"),
                None => assert!(self.read(), "a part of the request, not the end"),
            }
        }
    }

    /// The next request, answered with this text; its target.
    pub(crate) fn answer(&mut self, text: &str) -> String {
        let got = self.receive();
        self.reply(text);
        got.target().to_owned()
    }

    /// An answer with this text.
    pub(crate) fn reply(&mut self, text: &str) {
        let length = text.len().to_string();
        self.respond("200 OK", &[("Content-Length", &length)], text.as_bytes());
    }

    /// A whole answer: in the cell, or over the lane where it does not fit.
    pub(crate) fn respond(&mut self, status: &str, fields: &[(&str, &str)], body: &[u8]) {
        let head = head(status, fields);
        if !liege::wire::queue::Place::fits(head.len(), body.len()) {
            self.begin(status, fields);
            self.data(body);
            return self.end();
        }
        self.finish(&head, body);
    }

    /// Whatever this is, as an answer in the cell.
    pub(crate) fn finish(&mut self, head: &[u8], body: &[u8]) {
        let claim = self.claim.take().unwrap();
        self.queue().place(claim.cell).put(head, Some(body), body.len() as u64);
        if self.queue().finish(claim) {
            self.send(Kind::Ring, &[]);
        }
    }

    /// The head of an answer that follows over the lane.
    pub(crate) fn begin(&mut self, status: &str, fields: &[(&str, &str)]) {
        self.send_head(&head(status, fields));
    }

    /// The same, whatever it is.
    pub(crate) fn send_head(&mut self, head: &[u8]) {
        let cell = self.claim.unwrap().cell as u64;
        self.send(Kind::Begin, &cell.to_le_bytes());
        self.send(Kind::Head, head);
    }

    /// A part of its body.
    pub(crate) fn data(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(FRAME_BYTES) {
            self.send(Kind::Data, piece);
        }
    }

    /// It is complete.
    pub(crate) fn end(&mut self) {
        self.claim.take().unwrap();
        self.send(Kind::End, &[]);
    }

    /// It breaks off.
    pub(crate) fn abort(&mut self) {
        self.claim.take().unwrap();
        self.send(Kind::Abort, &[]);
    }

    /// The beginning of an answer and its break, in one piece.
    pub(crate) fn break_off(&mut self, fields: &[(&str, &str)], body: &[u8]) {
        let cell = self.claim.take().unwrap().cell as u64;
        let head = head("200 OK", fields);
        let frames = [
            (Kind::Begin, &cell.to_le_bytes()[..]),
            (Kind::Head, &head),
            (Kind::Data, body),
            (Kind::Abort, b""),
        ];
        let frames = frames.map(|(kind, bytes)| [&to_header(kind, bytes.len())[..], bytes].concat());
        self.write(&frames.concat());
    }

    pub(crate) fn send(&mut self, kind: Kind, bytes: &[u8]) {
        self.write(&[&to_header(kind, bytes.len())[..], bytes].concat());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Whether somebody waits for the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        self.queue().place(self.claim.unwrap().cell).is_wanted()
    }

    /// Nothing waits.
    pub(crate) fn assert_idle(&mut self) {
        self.greet();
        assert_eq!(self.try_claim(), None, "no request");
    }

    /// Goes to sleep.
    pub(crate) fn rest(&mut self) {
        self.greet();
        assert!(self.rests(), "something is to be done");
    }

    /// The router closes it.
    pub(crate) fn assert_closed(&mut self) {
        while let Some(kind) = self.next_frame() {
            assert_eq!(kind, Kind::Ring);
        }
        assert!(matches!(self.queue().state_for(self.lease()), LaneState::Closed | LaneState::Absent));
        // Only now does the router know that nothing comes any more.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// It has answered its last request, and closes the lane as the router wants.
    pub(crate) fn leave(&mut self) {
        while self.queue().state_for(self.lease()) != LaneState::Closing {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.try_claim(), None, "nothing more");
        self.queue().leave(self.lease());
        self.socket.shutdown(Shutdown::Write).unwrap();
        self.assert_closed();
    }

    /// Waits until it was rung for, and does nothing.
    pub(crate) fn wait_for_request(&mut self) {
        self.rest();
        assert!(wait::readable(&self.socket, Some(PATIENCE)).unwrap());
    }

    /// Dies with what it has and has not.
    pub(crate) fn die(self) {}

    fn try_claim(&mut self) -> Option<Claim> {
        self.greet();
        self.queue().run(self.lease());
        if self.queue().state_for(self.lease()) != LaneState::Busy {
            return None;
        }
        self.queue().claim(self.lease().lane)
    }

    fn rests(&mut self) -> bool {
        self.queue().rest(self.lease())
    }

    fn queue(&self) -> &SharedQueue {
        &self.central.as_ref().unwrap().0
    }

    fn lease(&self) -> Lease {
        self.central.as_ref().unwrap().1
    }

    fn greet(&mut self) {
        if self.central.is_some() {
            return;
        }
        assert!(wait::readable(&self.socket, Some(PATIENCE)).unwrap(), "no greeting");
        let length = HEADER_BYTES + HELLO_BYTES;
        let mut packet = seqpacket::receive(&self.socket, length).unwrap().expect("a greeting");
        let (head, hello) = packet.bytes.split_at(HEADER_BYTES);
        assert_eq!(header(head.try_into().unwrap()), Some((Kind::Hello, HELLO_BYTES)));
        let queue = SharedQueue::open(packet.fds.remove(0)).unwrap();
        self.central = Some((queue, lease(hello).unwrap()));
    }

    fn next_frame(&mut self) -> Option<Kind> {
        loop {
            if let Some((kind, _)) = self.frames.take().unwrap() {
                return Some(kind);
            }
            if !self.read() {
                return None;
            }
        }
    }

    fn read(&mut self) -> bool {
        let mut space = [0; 64 * 1024];
        match self.socket.read(&mut space) {
            Ok(length) => {
                self.frames.add(&space[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The head of an answer.
pub(crate) fn head(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Head::<Packed>::new(status.as_bytes()).unwrap();
    for (name, value) in fields {
        head.field(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head.into_bytes()
}

impl Got {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice in {}", self.head);
        value
    }
}
