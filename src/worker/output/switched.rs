//! A connection that another protocol takes over.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Output, Way};
use crate::gateway::websocket::Fields;
use crate::sys::stream;
use crate::wire::packed::Packed;
use crate::worker::feed::ReplyBody;
use crate::worker::packet::PacketSocket;
use crate::worker::routed::Answer;
use crate::worker::switch::{Switch, Taken};

/// How long a client may take to accept the answer after which another protocol has the connection.
const SWITCH_TIME: Duration = Duration::from_secs(30);
/// How that answer begins.
const SWITCHING_HEAD: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";

/// What has to live as long as the request whose connection another protocol has.
#[derive(Debug)]
pub(super) enum Keeper {
    Routed(Answer),
    #[expect(dead_code, reason = "the end of the request closes it")]
    Socket(Arc<PacketSocket>),
}

impl Keeper {
    /// The request is over; whether somebody could not be told so.
    pub(super) fn end(self) -> bool {
        match self {
            Self::Routed(mut answer) => answer.end(true).is_err(),
            Self::Socket(_) => false,
        }
    }
}

impl Output {
    /// Has another protocol take the connection over, after an answer that says so with these fields.
    ///
    /// # Errors
    /// There is an answer already, the front end cannot, or the client is gone.
    pub(in crate::worker) fn switch(&mut self, fields: &Fields) -> io::Result<Taken> {
        if self.is_sending() {
            return Err(io::Error::other("the response has begun"));
        }
        let taken = match &mut self.way {
            Way::Http(_, sender, _) => {
                let (switch, receiver) = Switch::new();
                let sender = sender.take().ok_or(io::ErrorKind::BrokenPipe)?;
                let waker = sender.send(switching(fields, switch)?).map_err(|_| io::ErrorKind::BrokenPipe)?;
                self.waiter.wake(waker);
                let taken = self.waiter.wait_for(SWITCH_TIME, receiver).and_then(Result::ok);
                taken.ok_or(io::ErrorKind::BrokenPipe)?
            }
            Way::Routed(_, answer) => {
                let (fd, other) = stream::pair()?;
                let mut packed = Packed::default();
                fields.iter().for_each(|(name, value)| packed.field(name, value));
                answer.switch(&packed.into_bytes(), &other)?;
                Taken { fd, unread: Vec::new() }
            }
            Way::Socket(_, socket) => {
                let mut head = SWITCHING_HEAD.to_vec();
                for (name, value) in fields {
                    head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
                }
                head.extend(b"\r\n");
                Taken { fd: socket.switch(&head, &self.waiter)?, unread: Vec::new() }
            }
            Way::Switched(_) => return Err(io::Error::other("it was called twice")),
        };
        self.sent.status = 101;
        self.sent.fields = fields.len() + 2;
        self.sent.head_bytes = SWITCHING_HEAD.len()
            + fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        self.is_bodiless = true;
        self.way = Way::Switched(match std::mem::replace(&mut self.way, Way::Switched(None)) {
            Way::Routed(_, answer) => Some(Keeper::Routed(answer)),
            Way::Socket(_, socket) => Some(Keeper::Socket(socket)),
            Way::Http(..) | Way::Switched(_) => None,
        });
        Ok(taken)
    }
}

/// A response after which `switch` gets the connection.
fn switching(fields: &Fields, switch: Switch) -> io::Result<hyper::Response<ReplyBody>> {
    let mut response = hyper::Response::builder()
        .status(101)
        .header(http::header::UPGRADE, "websocket")
        .header(http::header::CONNECTION, "Upgrade");
    for (name, value) in fields {
        response = response.header(*name, value.as_slice());
    }
    response.extension(switch).body(ReplyBody::Whole(None)).map_err(io::Error::other)
}
