//! What has come of a request that a front end sends, in the words of its protocol, until a thread can be taken for it.

use bytes::{Buf as _, Bytes, BytesMut};

use super::PREFETCH_BYTES;
use super::inlet::{Inlet, Records};
use super::outlet::Outlet;
use crate::config::address::Protocol;
use crate::gateway::packet::PacketRequest;
use crate::proto::fastcgi::{self, Event, Receiver};
use crate::proto::limits::Limits;
use crate::proto::scgi;
use crate::proto::uwsgi::{self, Checked, Fault};

/// What has come of a request.
pub(super) enum Intake {
    /// Variables in one piece, then the body.
    Plain(Plain),
    /// Records of FastCGI.
    Records(Box<Recorded>),
}

/// What bytes made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A thread can be taken for it.
    Complete,
    More,
}

/// The connection is to be closed.
pub(super) struct Cut {
    /// Sent before that.
    pub(super) answer: Vec<u8>,
    /// For the log.
    pub(super) why: Option<String>,
}

/// A request for which a thread can be taken.
pub(super) struct Whole {
    pub(super) request: PacketRequest,
    /// What came of the body.
    pub(super) body: Bytes,
    /// From where the rest comes.
    pub(super) inlet: Inlet,
    pub(super) outlet: Outlet,
}

/// A request of uwsgi or SCGI.
pub(super) struct Plain {
    is_scgi: bool,
    /// What came, without the variables once they are complete.
    bytes: BytesMut,
    /// How many bytes complete it, as far as is known.
    wanted: usize,
    request: Option<PacketRequest>,
}

/// A request of FastCGI.
pub(super) struct Recorded {
    receiver: Receiver,
    request: Option<Begun>,
    /// `CONTENT_LENGTH`; `None`: the body has the length that it has.
    announced: Option<u64>,
    body: BytesMut,
    is_ended: bool,
    replies: Vec<u8>,
}

/// A request of FastCGI whose variables have come.
struct Begun {
    id: u16,
    keeps: bool,
    packet: PacketRequest,
}

impl Intake {
    /// Of a new connection.
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Fastcgi => Self::keep(Receiver::default()),
            _ => Self::Plain(Plain {
                is_scgi: protocol == Protocol::Scgi,
                bytes: BytesMut::new(),
                wanted: 0,
                request: None,
            }),
        }
    }

    /// Of a connection that was kept.
    pub(super) fn keep(receiver: Receiver) -> Self {
        Self::Records(Box::new(Recorded {
            receiver,
            request: None,
            announced: None,
            body: BytesMut::new(),
            is_ended: false,
            replies: Vec::new(),
        }))
    }

    /// How many bytes more can be made use of.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Plain(plain) => plain.wanted.saturating_sub(plain.bytes.len()),
            Self::Records(records) => {
                if records.request.is_some() {
                    PREFETCH_BYTES
                } else {
                    0
                }
            }
        }
    }

    /// Whether nothing of the request has come.
    pub(super) fn is_at_rest(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.request.is_none() && plain.bytes.is_empty(),
            Self::Records(records) => records.request.is_none() && records.receiver.is_at_rest(),
        }
    }

    /// What to send to the front end meanwhile.
    pub(super) fn replies(&mut self) -> Vec<u8> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Records(records) => std::mem::take(&mut records.replies),
        }
    }

    /// Bytes came.
    pub(super) fn push(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Cut> {
        match self {
            Self::Plain(plain) => plain.push(bytes, limits),
            Self::Records(records) => records.push(bytes, limits),
        }
    }

    /// The request, once it is complete. A body of unknown length may have so many bytes, if not 0.
    pub(super) fn finish(self, limit: u64) -> Option<Whole> {
        match self {
            Self::Plain(plain) => plain.finish(),
            Self::Records(records) => records.finish(limit),
        }
    }
}

impl Plain {
    fn push(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Cut> {
        self.bytes.extend_from_slice(bytes);
        if self.request.is_none() && self.bytes.len() >= self.wanted {
            self.look(limits)?;
        }
        let is_complete = self.request.is_some() && self.bytes.len() >= self.wanted;
        Ok(if is_complete { Progress::Complete } else { Progress::More })
    }

    /// Looks for the variables.
    fn look(&mut self, limits: &Limits) -> Result<(), Cut> {
        let outlet = self.outlet();
        let fault = |fault| Cut::new(fault, Some(&outlet));
        let block = if self.is_scgi {
            match scgi::read(&self.bytes, limits).map_err(fault)? {
                scgi::Packet::Incomplete(bytes) => {
                    self.wanted = bytes;
                    return Ok(());
                }
                scgi::Packet::Request(block, length) => {
                    self.bytes.advance(length);
                    block
                }
            }
        } else {
            match uwsgi::read(&self.bytes, limits).map_err(fault)? {
                uwsgi::Packet::Incomplete(bytes) => {
                    self.wanted = bytes;
                    return Ok(());
                }
                uwsgi::Packet::Ping => return Err(Cut { answer: uwsgi::PONG.to_vec(), why: None }),
                uwsgi::Packet::Request(length) => {
                    let mut packet = self.bytes.split_to(length);
                    Checked::new(packet.split_off(uwsgi::HEAD_BYTES)).map_err(fault)?
                }
            }
        };
        let request = PacketRequest::new(block).map_err(|refusal| fault(Fault::Refused(refusal)))?;
        let body = usize::try_from(request.view().content_length).unwrap_or(usize::MAX);
        self.wanted = if body <= PREFETCH_BYTES { body } else { 0 };
        self.request = Some(request);
        Ok(())
    }

    fn outlet(&self) -> Outlet {
        if self.is_scgi { Outlet::Scgi } else { Outlet::Uwsgi }
    }

    fn finish(self) -> Option<Whole> {
        let outlet = self.outlet();
        let request = self.request?;
        let content_length = request.view().content_length;
        let mut body = self.bytes.freeze();
        // Bytes beyond the announced ones are no second request.
        body.truncate(usize::try_from(content_length).unwrap_or(usize::MAX));
        let left = content_length.saturating_sub(u64::try_from(body.len()).unwrap_or(0));
        Some(Whole { request, body, inlet: Inlet::Plain { left }, outlet })
    }
}

impl Recorded {
    fn push(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Cut> {
        self.receiver.push(bytes);
        loop {
            let next = self.receiver.next(limits);
            let outlet = self.receiver.id().map(|id| Outlet::Fastcgi { id, keeps: false });
            let fault = |fault| Cut::new(fault, outlet.as_ref());
            match next.map_err(fault)? {
                None => return Ok(Progress::More),
                Some(Event::Reply(bytes)) => self.replies.extend(bytes),
                Some(Event::Request(fastcgi::Request { id, keeps, block })) => {
                    let packet =
                        PacketRequest::new(block).map_err(|refusal| fault(Fault::Refused(refusal)))?;
                    let seen = packet.view();
                    let is_said = seen.variable(b"CONTENT_LENGTH").is_some_and(|value| !value.is_empty());
                    self.announced = is_said.then_some(seen.content_length);
                    self.request = Some(Begun { id, keeps, packet });
                }
                Some(Event::Body(part)) => {
                    self.body.extend_from_slice(&part);
                    if self.body.len() > PREFETCH_BYTES {
                        return Ok(Progress::Complete);
                    }
                }
                Some(Event::End) => {
                    self.is_ended = true;
                    return Ok(Progress::Complete);
                }
                Some(Event::Abort(id)) => return Err(Cut { answer: fastcgi::end(id), why: None }),
            }
        }
    }

    fn finish(self, limit: u64) -> Option<Whole> {
        let Begun { id, keeps, mut packet } = self.request?;
        let mut body = self.body.freeze();
        let received = u64::try_from(body.len()).unwrap_or(u64::MAX);
        body.truncate(self.announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX));
        if self.announced.is_none() && self.is_ended && received > 0 {
            // Applications know what to do with a length. Of a repeated variable the last counts.
            let block = packet.block().with(b"CONTENT_LENGTH", received.to_string().as_bytes()).ok()?;
            packet = PacketRequest::new(block).ok()?;
        }
        let records = Records::new(self.receiver, self.announced, received, limit, self.is_ended);
        Some(Whole {
            request: packet,
            body,
            inlet: Inlet::Records(Box::new(records)),
            outlet: Outlet::Fastcgi { id, keeps },
        })
    }
}

impl Cut {
    /// The end of a connection for this fault; the answer, where there is one, goes out in the form of its protocol.
    fn new(fault: Fault, outlet: Option<&Outlet>) -> Self {
        let (answer, why) = match fault {
            Fault::Refused(refusal) => {
                let answer = outlet.map(|outlet| outlet.whole(&refusal.response()));
                (answer.unwrap_or_default(), refusal.to_string())
            }
            Fault::Malformed(reason) => (Vec::new(), reason.to_owned()),
            Fault::Modifier(modifier) => (Vec::new(), format!("unavailable modifier requested: {modifier}")),
        };
        Self { answer, why: Some(why) }
    }
}
