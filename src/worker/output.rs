//! A response on its way from the application to the client, whatever the connection speaks.

mod failed;
mod head;
mod ruled;
mod switched;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub(super) use head::{AnyHead, Medium};
use ruled::Instead;
use switched::Keeper;

use super::feed::{Feed, ReplyBody};
use super::host::Host;
use super::job::Reply;
use super::packet::PacketSocket;
use super::reply::ReplySender;
use super::routed::Answer;
use super::routes::Routing;
use super::spool::{PIECE_BYTES, Part, Room};
use super::waiter::Waiter;
use crate::gateway::head::{Head, Http, Wire};
use crate::gateway::response::{Body, NotStarted, Response, StartFault};
use crate::proto::http1::Watch;
use crate::wire::packed::Packed;

/// How long an application waits for a client to take a piece before the client counts as slow.
const PATIENCE: Duration = Duration::from_millis(20);

/// A response on its way. Methods that send also wait; call them detached.
#[derive(Debug)]
pub(super) struct Output {
    way: Way,
    /// Why the request's body broke off, if it did.
    watch: Watch,
    waiter: Waiter,
    room: Arc<Room>,
    is_bodiless: bool,
    /// The rules that the answer goes past; `None`: there are none.
    routing: Option<Arc<Routing>>,
    instead: Instead,
    /// How many more failed writes the application is not told of.
    tolerated: u64,
    /// What went out, for the log and the scoreboard.
    pub(super) sent: Sent,
}

/// What went out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) status: u16,
    pub(super) fields: usize,
    pub(super) head_bytes: usize,
    pub(super) body_bytes: u64,
    /// Writing failed: the client is gone.
    pub(super) is_cut: bool,
    /// It is a file that the client asked for, or a part of it.
    pub(super) is_file: bool,
}

#[derive(Debug)]
enum Way {
    Http(Response<Http>, Option<ReplySender>, Option<Feed>),
    Routed(Response<Packed>, Answer),
    Socket(Response<Wire>, Arc<PacketSocket>),
    /// Another protocol has the connection.
    Switched(Option<Keeper>),
}

/// Why an item was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ItemError {
    /// `start_response` was not called.
    #[error("start_response was not called before the first item of the response")]
    NotStarted,
    /// The client is gone.
    #[error("cannot write to the client: {0}")]
    Gone(#[from] io::Error),
}

impl From<NotStarted> for ItemError {
    fn from(_: NotStarted) -> Self {
        Self::NotStarted
    }
}

impl Output {
    /// Nothing sent yet.
    pub(super) fn new(
        reply: Reply,
        is_head: bool,
        waiter: Waiter,
        room: Arc<Room>,
        routing: Option<Arc<Routing>>,
    ) -> Self {
        let (way, watch) = match reply {
            Reply::Http(sender, watch) => (Way::Http(Response::new(is_head), Some(sender), None), watch),
            Reply::Routed(mut answer) => {
                answer.waiter = waiter.clone();
                (Way::Routed(Response::new(is_head), answer), Watch::default())
            }
            Reply::Socket(socket) => (Way::Socket(Response::new(is_head), socket), Watch::default()),
        };
        let (instead, sent) = (Instead::Nothing, Sent::default());
        let tolerated = Host::get().map_or(0, |host| host.spec.exchange.write_errors_tolerance);
        Self { way, watch, waiter, room, is_bodiless: false, routing, instead, tolerated, sent }
    }

    /// `start_response` was called with this head, of so many fields and bytes.
    pub(super) fn start(
        &mut self,
        head: AnyHead,
        with_exc_info: bool,
        fields: usize,
        bytes: usize,
    ) -> Result<(), StartFault> {
        if let AnyHead::Draft(head) = head {
            return self.start_by_rules(head, with_exc_info);
        }
        let status = head.status();
        match (&mut self.way, head) {
            (Way::Http(response, ..), AnyHead::Http(head)) => response.start(head, with_exc_info)?,
            (Way::Routed(response, _), AnyHead::Packed(head)) => response.start(head, with_exc_info)?,
            (Way::Socket(response, _), AnyHead::Wire(head)) => response.start(head, with_exc_info)?,
            // Frameworks answer a websocket's request as any other.
            (Way::Switched(_), _) => return Ok(()),
            // Heads are made for the connection they belong to.
            _ => return Err(StartFault::HeadSent),
        }
        self.sent.status = status;
        self.sent.fields = fields;
        self.sent.head_bytes = bytes;
        Ok(())
    }

    /// Whether sending an item of this length, and the end, may have to wait.
    pub(super) fn may_wait(&self, length: usize) -> bool {
        if !matches!(self.instead, Instead::Nothing) {
            return true;
        }
        match &self.way {
            Way::Http(..) => length > PIECE_BYTES,
            Way::Routed(_, answer) => !answer.is_short(self.sent.fields, self.sent.head_bytes, length),
            Way::Socket(..) => true,
            Way::Switched(_) => false,
        }
    }

    /// Sends an item of the body; `is_only` when nothing follows it.
    pub(super) fn item(&mut self, bytes: &[u8], is_only: bool) -> Result<(), ItemError> {
        let result = match self.send_instead() {
            Ok(false) => self.send(bytes, is_only),
            other => other.map(drop),
        };
        match result {
            Err(ItemError::Gone(error)) => {
                self.sent.is_cut = true;
                self.tolerated = self.tolerated.checked_sub(1).ok_or(error)?;
                Ok(())
            }
            other => other,
        }
    }

    fn send(&mut self, bytes: &[u8], is_only: bool) -> Result<(), ItemError> {
        match &mut self.way {
            Way::Http(response, sender, feed) => {
                let step = response.item(bytes.len(), is_only)?;
                let mut item = bytes.get(..step.take).unwrap_or_default();
                self.sent.body_bytes += as_u64(item.len());
                if let Some((head, body)) = step.head {
                    self.is_bodiless = body == Body::None;
                    let is_whole = body == Body::None || body == Body::Length(as_u64(item.len()));
                    let reply = if is_whole && item.len() <= PIECE_BYTES {
                        let whole = Some(Bytes::copy_from_slice(item)).filter(|bytes| !bytes.is_empty());
                        item = &[];
                        ReplyBody::Whole(whole)
                    } else {
                        let (own, taker) = Feed::new(&self.room);
                        if is_whole && own.push_whole(item) {
                            item = &[];
                        }
                        *feed = Some(own);
                        ReplyBody::Fed(taker)
                    };
                    give(&self.waiter, sender, head, reply)?;
                }
                if let Some(feed) = feed {
                    for piece in item.chunks(PIECE_BYTES) {
                        pass(&self.waiter, feed, piece)?;
                    }
                }
            }
            Way::Routed(response, answer) => {
                let step = response.item(bytes.len(), is_only)?;
                let item = bytes.get(..step.take).unwrap_or_default();
                self.sent.body_bytes += as_u64(item.len());
                if let Some((head, body)) = step.head {
                    self.is_bodiless = body == Body::None;
                    let head = head.into_bytes();
                    if self.is_bodiless || body == Body::Length(as_u64(item.len())) {
                        return Ok(answer.whole(&head, item)?);
                    }
                    answer.begin(&head)?;
                }
                if !item.is_empty() {
                    answer.data(item)?;
                }
            }
            Way::Socket(response, socket) => {
                let step = response.item(bytes.len(), is_only)?;
                let item = bytes.get(..step.take).unwrap_or_default();
                let head = match step.head {
                    Some((head, body)) => {
                        self.is_bodiless = body == Body::None;
                        head.into_bytes()
                    }
                    None => Vec::new(),
                };
                self.sent.body_bytes += as_u64(item.len());
                socket.write(&head, item, &self.waiter)?;
            }
            Way::Switched(_) => {}
        }
        Ok(())
    }

    /// Sends a part of a file that nothing comes before, and that is read while it is sent; `false` if that is not
    /// possible.
    pub(super) fn file(&mut self, mut part: Part) -> Result<bool, ItemError> {
        if self.send_instead()? {
            return Ok(true);
        }
        let Way::Http(response, sender, feed) = &mut self.way else { return Ok(false) };
        if response.is_sending() {
            return Ok(false);
        }
        let step = response.item(usize::try_from(part.left()).unwrap_or(usize::MAX), true)?;
        part.end = part.at.saturating_add(as_u64(step.take));
        self.sent.body_bytes += part.left();
        if let Some((head, body)) = step.head {
            self.is_bodiless = body == Body::None;
            let (own, taker) = Feed::new(&self.room);
            own.push_file(part);
            let reply = if self.is_bodiless { ReplyBody::Whole(None) } else { ReplyBody::Fed(taker) };
            *feed = Some(own).filter(|_| !self.is_bodiless);
            let given = give(&self.waiter, sender, head, reply);
            self.sent.is_cut |= given.is_err();
            given?;
        }
        Ok(true)
    }

    /// Sends what is left; breaks the connection when less came than was announced.
    pub(super) fn end(&mut self) -> Result<(), ItemError> {
        if self.send_instead()? { Ok(()) } else { self.finish() }
    }

    fn finish(&mut self) -> Result<(), ItemError> {
        match &mut self.way {
            Way::Http(response, sender, feed) => {
                let end = response.end()?;
                if let Some((head, _)) = end.head
                    && end.complete
                {
                    give(&self.waiter, sender, head, ReplyBody::Whole(None))?;
                }
                // Without an answer the connection ends.
                *sender = None;
                if let Some(feed) = feed {
                    self.waiter.wake(feed.end(end.complete));
                }
            }
            Way::Routed(response, answer) => {
                let end = response.end()?;
                if let Some((head, _)) = end.head
                    && end.complete
                {
                    answer.whole(&head.into_bytes(), &[])?;
                }
                answer.end(end.complete)?;
            }
            Way::Socket(response, socket) => {
                let end = response.end()?;
                if let Some((head, _)) = end.head {
                    socket.write(&head.into_bytes(), &[], &self.waiter)?;
                }
                Arc::clone(socket).end(end.complete, &self.waiter);
            }
            Way::Switched(keeper) => self.sent.is_cut |= keeper.take().is_some_and(Keeper::end),
        }
        Ok(())
    }

    /// Whether the head went out.
    pub(super) fn is_sending(&self) -> bool {
        match &self.way {
            Way::Http(response, ..) => response.is_sending(),
            Way::Routed(response, _) => response.is_sending(),
            Way::Socket(response, _) => response.is_sending(),
            Way::Switched(_) => true,
        }
    }

    /// Whether the response is complete whatever the application still gives.
    pub(super) fn is_full(&self) -> bool {
        if matches!(self.instead, Instead::Over) {
            return true;
        }
        match &self.way {
            Way::Http(response, ..) => response.is_full(),
            Way::Routed(response, _) => response.is_full(),
            Way::Socket(response, _) => response.is_full(),
            Way::Switched(_) => true,
        }
    }

    /// Whether the response has no body, so that nothing more need be asked of the application.
    pub(super) fn is_bodiless(&self) -> bool {
        self.is_bodiless
    }

    /// What it goes to.
    pub(super) const fn medium(&self) -> Medium {
        if self.routing.is_some() {
            return Medium::Rules;
        }
        match self.way {
            Way::Http(..) => Medium::Http,
            Way::Routed(..) => Medium::Routed,
            Way::Socket(..) | Way::Switched(_) => Medium::Socket,
        }
    }
}

/// Has a piece sent, while the client keeps up; holds it for a slow one.
fn pass(waiter: &Waiter, feed: &Feed, piece: &[u8]) -> io::Result<()> {
    waiter.wait(async {
        feed.room().await?;
        if !feed.push(piece) {
            feed.taken().await?;
            feed.force(piece);
        }
        Ok::<_, io::Error>(())
    })?;
    if !feed.is_slow() {
        match waiter.wait_for(PATIENCE, feed.taken()) {
            Some(taken) => taken?,
            None => feed.set_slow(),
        }
    }
    Ok(())
}

fn give(
    waiter: &Waiter,
    sender: &mut Option<ReplySender>,
    head: Head<Http>,
    body: ReplyBody,
) -> io::Result<()> {
    let sender = sender.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let waker = sender.send(head.into_response(body)).map_err(|_| io::ErrorKind::BrokenPipe)?;
    waiter.wake(waker);
    Ok(())
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
