//! Plays a worker: one connection from the router, a request at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::master::PATIENCE;

pub(crate) struct Worker(UnixStream);

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
        Self(socket)
    }

    /// The next request, whole.
    pub(crate) fn receive(&mut self) -> Got {
        let head = self.receive_head();
        let length = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Got { head, body }
    }

    /// The next request's head.
    pub(crate) fn receive_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(self.0.read(&mut byte).expect("a request"), 1, "a request, not the end");
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    /// The next request, answered with this text; its target.
    pub(crate) fn answer(&mut self, text: &str) -> String {
        let got = self.receive();
        self.reply(text);
        got.target().to_owned()
    }

    /// An answer with this text.
    pub(crate) fn reply(&mut self, text: &str) {
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Writes until the router takes no more, but at most so many bytes; how many it took.
    pub(crate) fn write_until_held_back(&mut self, limit: usize) -> usize {
        self.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let piece = [b'x'; 16 * 1024];
        let mut written = 0;
        while written < limit {
            match self.0.write(&piece) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        written
    }

    /// Whether writing fails because the router closed the connection.
    pub(crate) fn is_cut_off(&mut self) -> bool {
        loop {
            if let Err(error) = self.0.write_all(&[b'x'; 1024]) {
                return error.kind() == ErrorKind::BrokenPipe;
            }
        }
    }

    /// Nothing comes.
    pub(crate) fn assert_idle(&mut self) {
        self.0.set_nonblocking(true).unwrap();
        let read = self.0.read(&mut [0]);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock, "no request");
        self.0.set_nonblocking(false).unwrap();
    }

    /// The router closes it.
    pub(crate) fn assert_closed(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }

    /// Waits until there is something to read, and leaves it there.
    pub(crate) fn wait_for_request(&self) {
        assert!(liege::sys::wait::readable(&self.0, Some(PATIENCE)).unwrap());
    }

    /// Dies with what it has read and not read.
    pub(crate) fn die(self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

impl Got {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().skip(1).filter_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = values.next();
    assert!(values.next().is_none(), "{name} twice in {head}");
    value
}
