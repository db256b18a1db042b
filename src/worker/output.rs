//! A response on its way from the application to the client, whatever the connection speaks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::feed::{Feed, ReplyBody};
use super::host::Host;
use super::job::Reply;
use super::packet::PacketSocket;
use super::reply::ReplySender;
use super::routed::Answer;
use super::routes::{Routing, Ruled};
use super::spool::{PIECE_BYTES, Part, Room};
use super::start_response::STATUS_LINE_BYTES;
use super::waiter::Waiter;
use crate::gateway::draft::{Draft, Text};
use crate::gateway::head::{Fault, Form, Head, Http, Wire};
use crate::gateway::response::{Body, NotStarted, Response, StartFault};
use crate::gateway::routes;
use crate::proto::http1::Watch;
use crate::proto::refusal::phrase;
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
}

/// What rules send in place of what was to be sent.
#[derive(Debug, Default)]
enum Instead {
    #[default]
    Nothing,
    /// The body of another answer, whose head was started.
    Body(Vec<u8>),
    /// No answer.
    Silence,
    /// It is out.
    Over,
}

#[derive(Debug)]
enum Way {
    Http(Response<Http>, Option<ReplySender>, Option<Feed>),
    Routed(Response<Packed>, Answer),
    Socket(Response<Wire>, Arc<PacketSocket>),
}

/// A head in the form that the connection needs.
#[derive(Debug)]
pub(super) enum AnyHead {
    Http(Head<Http>),
    Packed(Head<Packed>),
    Wire(Head<Wire>),
    /// For the rules.
    Draft(Head<Draft>),
}

/// What a response goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// hyper.
    Http,
    /// The router.
    Routed,
    /// A socket.
    Socket,
    /// Rules, before any of them.
    Rules,
}

impl AnyHead {
    /// Starts a head from a WSGI status.
    pub(super) fn new(medium: Medium, status: &[u8]) -> Result<Self, Fault> {
        Ok(match medium {
            Medium::Http => Self::Http(Head::new(status)?),
            Medium::Routed => Self::Packed(Head::new(status)?),
            Medium::Socket => Self::Wire(Head::new(status)?),
            Medium::Rules => Self::Draft(Head::new(status)?),
        })
    }

    /// Adds a field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Http(head) => head.field(name, value),
            Self::Packed(head) => head.field(name, value),
            Self::Wire(head) => head.field(name, value),
            Self::Draft(head) => head.field(name, value),
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::Http(head) => head.status(),
            Self::Packed(head) => head.status(),
            Self::Wire(head) => head.status(),
            Self::Draft(head) => head.status(),
        }
    }
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
        Self { way, watch, waiter, room, is_bodiless: false, routing, instead, sent }
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
            // Heads are made for the connection they belong to.
            _ => return Err(StartFault::HeadSent),
        }
        self.sent.status = status;
        self.sent.fields = fields;
        self.sent.head_bytes = bytes;
        Ok(())
    }

    /// The same for a head that goes past the rules first.
    fn start_by_rules(&mut self, head: Head<Draft>, with_exc_info: bool) -> Result<(), StartFault> {
        if self.is_sending() {
            return Err(if with_exc_info { StartFault::HeadSent } else { StartFault::Twice });
        }
        if self.is_started() && !with_exc_info {
            return Err(StartFault::Twice);
        }
        let Some(routing) = self.routing.clone() else { return Err(StartFault::HeadSent) };
        let status = head.status();
        self.instead = Instead::Nothing;
        let text = match routing.answered(head.into_text(), status) {
            Ruled::Head(text) => text,
            Ruled::Instead(answer) => {
                let text = routing.text_of(&answer);
                self.instead = Instead::Body(answer.body);
                text
            }
            Ruled::Silence => {
                self.instead = Instead::Silence;
                Text { status: b"500 Internal Server Error".to_vec(), ..Text::default() }
            }
        };
        let (fields, bytes) = (text.fields.len(), text.status.len() + STATUS_LINE_BYTES + text.bytes());
        let head = match &self.way {
            Way::Http(..) => AnyHead::Http(ruled(text)?),
            Way::Routed(..) => AnyHead::Packed(ruled(text)?),
            Way::Socket(..) => AnyHead::Wire(ruled(text)?),
        };
        self.start(head, true, fields, bytes)
    }

    /// Sends the answer of a rule for requests.
    pub(super) fn answer(&mut self, answer: &routes::Answer) -> Result<(), ItemError> {
        let gone = |fault: Fault| ItemError::Gone(io::Error::other(fault));
        let mut head = AnyHead::new(self.medium(), answer.status.as_bytes()).map_err(gone)?;
        for (name, value) in &answer.fields {
            head.field(name.as_bytes(), value).map_err(gone)?;
        }
        for (name, value) in Host::get().iter().flat_map(|host| &host.spec.app.add_headers) {
            head.field(name.as_bytes(), value.as_bytes()).map_err(gone)?;
        }
        // Nothing was started before.
        let _ = self.start(head, false, 0, 0);
        self.item(&answer.body, true)?;
        self.end()
    }

    /// Sends what rules have put in the place of what was to be sent; whether there is such.
    fn send_instead(&mut self) -> Result<bool, ItemError> {
        match std::mem::replace(&mut self.instead, Instead::Over) {
            Instead::Nothing => {
                self.instead = Instead::Nothing;
                return Ok(false);
            }
            Instead::Body(body) => {
                self.send(&body, true)?;
                self.finish()?;
            }
            Instead::Silence => self.break_off(),
            Instead::Over => {}
        }
        Ok(true)
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
        }
    }

    /// Sends an item of the body; `is_only` when nothing follows it.
    pub(super) fn item(&mut self, bytes: &[u8], is_only: bool) -> Result<(), ItemError> {
        let result = match self.send_instead() {
            Ok(false) => self.send(bytes, is_only),
            other => other.map(drop),
        };
        self.sent.is_cut |= matches!(result, Err(ItemError::Gone(_)));
        result
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
        }
        Ok(())
    }

    /// The application failed: an answer of ours where nothing was sent yet, otherwise the connection breaks visibly.
    /// Where it failed for the client's malformed body, the fault is the client's.
    pub(super) fn fail(&mut self) {
        self.refuse(self.watch.refusal().map_or(500, |refusal| refusal.status));
    }

    /// The same, with this status where nothing was sent yet.
    pub(super) fn refuse(&mut self, status: u16) {
        if !self.is_sending() && self.start_error(status).is_ok() {
            let sent = self.item(phrase(status).as_bytes(), true).and_then(|()| self.end());
            self.sent.is_cut |= sent.is_err();
            return;
        }
        self.break_off();
    }

    /// Ends the connection, whatever of an answer is out.
    pub(super) fn break_off(&mut self) {
        match &mut self.way {
            Way::Http(_, sender, feed) => {
                *sender = None;
                if let Some(feed) = feed {
                    self.waiter.wake(feed.end(false));
                }
            }
            Way::Routed(_, answer) => self.sent.is_cut |= answer.end(false).is_err(),
            Way::Socket(_, socket) => Arc::clone(socket).end(false, &self.waiter),
        }
    }

    /// Whether `start_response` was called.
    fn is_started(&self) -> bool {
        match &self.way {
            Way::Http(response, ..) => response.is_started(),
            Way::Routed(response, _) => response.is_started(),
            Way::Socket(response, _) => response.is_started(),
        }
    }

    /// Whether the head went out.
    pub(super) fn is_sending(&self) -> bool {
        match &self.way {
            Way::Http(response, ..) => response.is_sending(),
            Way::Routed(response, _) => response.is_sending(),
            Way::Socket(response, _) => response.is_sending(),
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
            Way::Socket(..) => Medium::Socket,
        }
    }

    fn start_error(&mut self, status: u16) -> Result<(), StartFault> {
        const NAME: &[u8] = b"Content-Type";
        const VALUE: &[u8] = b"text/plain";
        let status = format!("{status} {}", phrase(status));
        let mut head = AnyHead::new(self.medium(), status.as_bytes()).map_err(|_| StartFault::Twice)?;
        let _ = head.field(NAME, VALUE);
        self.start(head, true, 1, STATUS_LINE_BYTES + status.len() + NAME.len() + VALUE.len() + 4)
    }
}

/// A head out of what the rules left of it.
fn ruled<F: Form>(text: Text) -> Result<Head<F>, StartFault> {
    // With what rules added it may be too long.
    text.into_head().or_else(|_| Head::new(b"500 Internal Server Error")).map_err(|_| StartFault::HeadSent)
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
