//! Connections: accepted up to a limit, watched, and closed when they stand in the way of others.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Notify;

use super::door::Door;
use super::guard::Peer;
use super::tls::Secure;
use crate::emperor::visitors::{Owed, Visitors, Waiting};
use crate::proto::tls;
use crate::sys::{clock, socket};
use crate::tick::Tick;

/// How many connections a door holds.
pub const CONNECTIONS: usize = 64;
/// How long the head of a request may take, the wait for it included.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long nothing may move on a connection while no request is being worked on.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection rests before another may take its place.
const GRACE: Duration = Duration::from_millis(100);
/// How long accepting pauses when the system has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(200);
/// How often that is told.
const TOLD_APART: Duration = Duration::from_secs(10);
const HEAD_LIMIT_BYTES: usize = 32 * 1024;
const HEADERS_LIMIT: usize = 100;

/// Serves everybody who comes to a door; never ends.
pub async fn serve(door: Door, router: Router, visitors: Arc<Visitors>) -> Infallible {
    let guests = Guests { visitors, all: Mutex::default() };
    let mut told: Option<Tick> = None;
    loop {
        let served = match &door {
            Door::Unix(listener, _) => unix_guest(listener, &guests, &router).await,
            Door::Tcp(listener, _, secure) => tcp_guest(listener, secure.as_ref(), &guests, &router).await,
        };
        match served {
            Err(error) if !is_of_one_connection(&error) => {
                let now = clock::now();
                if told.is_none_or(|at| now.since(at) >= TOLD_APART) {
                    told = Some(now);
                    tracing::warn!("API: cannot accept a connection: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) | Ok(()) => {}
        }
    }
}

async fn unix_guest(listener: &UnixListener, guests: &Guests, router: &Router) -> io::Result<()> {
    let (stream, _) = guests.visitors.next(|| listener.accept()).await?;
    let credentials = stream.peer_cred()?;
    let groups = socket::peer_groups(stream.as_fd(), credentials.gid());
    let peer = Peer::Local { uid: credentials.uid(), groups, pid: credentials.pid() };
    welcome(guests, stream, peer, router).await;
    Ok(())
}

async fn tcp_guest(
    listener: &TcpListener,
    secure: Option<&Arc<Secure>>,
    guests: &Guests,
    router: &Router,
) -> io::Result<()> {
    let (stream, address) = guests.visitors.next(|| listener.accept()).await?;
    let peer = Peer::Remote { address, local: stream.local_addr()?, certificate: None };
    stream.set_nodelay(true)?;
    match secure {
        None => welcome(guests, stream, peer, router).await,
        Some(secure) => {
            if let Some(activity) = admit(guests, &peer).await {
                let stream = Watched { stream, activity: Arc::clone(&activity) };
                tokio::spawn(shake_hands(stream, peer, Arc::clone(secure), router.clone(), activity));
            }
        }
    }
    Ok(())
}

async fn shake_hands(
    stream: Watched<TcpStream>,
    mut peer: Peer,
    secure: Arc<Secure>,
    router: Router,
    activity: Arc<Activity>,
) {
    let accepted = tokio::time::timeout(HEAD_TIMEOUT, secure.acceptor().accept(stream)).await;
    // Who does not get that far has no request that could be answered.
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return secure.tell_refusal(&peer, &error),
        Err(_) => return,
    };
    let chain = stream.get_ref().1.peer_certificates();
    if let (Peer::Remote { certificate, .. }, Some(own)) = (&mut peer, chain.and_then(|chain| chain.first()))
    {
        // A name that cannot be told is one that nobody has.
        *certificate = Some(tls::common_name(own).unwrap_or_else(|| "?".to_owned()));
    }
    one(stream, peer, router, activity).await;
}

/// Whether accepting can go on at once: the client was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

async fn welcome(
    guests: &Guests,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: &Router,
) {
    let Some(activity) = admit(guests, &peer).await else { return };
    let stream = Watched { stream, activity: Arc::clone(&activity) };
    tokio::spawn(one(stream, peer, router.clone(), activity));
}

/// A place for one more, when there is one.
async fn admit(guests: &Guests, peer: &Peer) -> Option<Arc<Activity>> {
    loop {
        match guests.admit() {
            Place::Free(activity) => return Some(activity),
            Place::Soon(wait) => tokio::time::sleep(wait).await,
            Place::None => {
                tracing::warn!("API: {peer} was turned away: {CONNECTIONS} requests are being worked on");
                return None;
            }
        }
    }
}

async fn one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: Peer,
    router: Router,
    activity: Arc<Activity>,
) {
    let inner = TowerToHyperService::new(router);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(Arc::clone(&activity));
        inner.call(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .max_headers(HEADERS_LIMIT);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // How a client's connection ended concerns the client.
        _ = pin!(served) => {}
        () = activity.stalled() => {}
        () = activity.leave.notified() => {}
    }
}

/// The connections of a door.
#[derive(Debug)]
struct Guests {
    visitors: Arc<Visitors>,
    all: Mutex<Vec<Weak<Activity>>>,
}

/// Whether there is a place for one more.
enum Place {
    Free(Arc<Activity>),
    /// Perhaps then: those who came last have not had the time to ask.
    Soon(Duration),
    /// A request is being worked on for each.
    None,
}

impl Guests {
    /// Takes a place. When there is none left, the one goes for whom nothing has moved for the longest time.
    fn admit(&self) -> Place {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|guest| guest.upgrade().is_some_and(|guest| !guest.aside.load(Ordering::Relaxed)));
        if all.len() >= CONNECTIONS {
            let resting = |guest: &Arc<Activity>| guest.working.load(Ordering::Relaxed) == 0;
            let guests = all.iter().filter_map(Weak::upgrade).filter(resting);
            let Some(idlest) = guests.min_by_key(|guest| guest.moved_ms.load(Ordering::Relaxed)) else {
                return Place::None;
            };
            let wait = GRACE.saturating_sub(idlest.still());
            if !wait.is_zero() {
                return Place::Soon(wait);
            }
            idlest.leave.notify_one();
            all.retain(|guest| !std::ptr::eq(guest.as_ptr(), Arc::as_ptr(&idlest)));
        }
        let guest = Arc::new(Activity::new(&self.visitors));
        all.push(Arc::downgrade(&guest));
        Place::Free(guest)
    }
}

/// What goes on at a connection. Requests carry it as an extension.
#[derive(Debug)]
pub struct Activity {
    /// When a byte moved last, monotonic milliseconds.
    moved_ms: AtomicU64,
    /// How many requests are being worked on.
    working: AtomicU64,
    /// It only waits or listens, and takes no place from those who ask.
    aside: AtomicBool,
    /// Tells it to go.
    leave: Notify,
    visitors: Arc<Visitors>,
    /// An answer is waited for: of one that has come just now, or of a request.
    owed: Mutex<Option<Owed>>,
}

impl Activity {
    fn new(visitors: &Arc<Visitors>) -> Self {
        Self {
            owed: Mutex::new(Some(visitors.owe())),
            visitors: Arc::clone(visitors),
            moved_ms: AtomicU64::new(clock::now().as_ms()),
            working: AtomicU64::new(0),
            aside: AtomicBool::new(false),
            leave: Notify::new(),
        }
    }

    /// Whether an answer is waited for, from now on.
    fn set_owed(&self, is_owed: bool) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed = owed.take().or_else(|| Some(self.visitors.owe())).filter(|_| is_owed);
    }

    fn moved(&self) {
        self.moved_ms.store(clock::now().as_ms(), Ordering::Relaxed);
    }

    /// For how long nothing has moved.
    fn still(&self) -> Duration {
        clock::now().since(Tick::from_ms(self.moved_ms.load(Ordering::Relaxed)))
    }

    /// Ends when nothing has moved for too long although no request is being worked on.
    async fn stalled(&self) {
        loop {
            let left = STALL_TIMEOUT.saturating_sub(self.still());
            match (left.is_zero(), self.working.load(Ordering::Relaxed)) {
                (true, 0) => return,
                (true, _) => tokio::time::sleep(STALL_TIMEOUT).await,
                (false, _) => tokio::time::sleep(left).await,
            }
        }
    }
}

/// Counts a request while it is being worked on: from when it has come in whole until there is an answer.
#[derive(Debug)]
pub struct Working(Arc<Activity>);

impl Working {
    /// The work on a request begins; it ends with the value.
    #[must_use]
    pub fn on(activity: &Arc<Activity>) -> Self {
        activity.working.fetch_add(1, Ordering::Relaxed);
        activity.set_owed(true);
        Self(Arc::clone(activity))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        self.0.set_owed(false);
        self.0.moved();
    }
}

/// The connection of a request, as far as its handler is concerned.
#[derive(Clone, Debug)]
pub struct Aside(Option<Arc<Activity>>);

impl<S: Sync> FromRequestParts<S> for Aside {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Arc<Activity>>().cloned()))
    }
}

impl Aside {
    /// Gives up the place among those who ask for as long as nobody else needs to answer: until the value is dropped.
    #[must_use]
    pub fn step(&self) -> SteppedAside {
        let waiting = self.0.as_ref().map(|activity| activity.visitors.wait());
        self.stay();
        SteppedAside { activity: self.0.clone(), waiting }
    }

    /// The same for good.
    pub fn stay(&self) {
        if let Some(activity) = &self.0 {
            activity.aside.store(true, Ordering::Relaxed);
            activity.set_owed(false);
        }
    }
}

/// A request that waits beside those who are served.
#[derive(Debug)]
pub struct SteppedAside {
    activity: Option<Arc<Activity>>,
    /// Goes last: until then the answer is owed in any case.
    waiting: Option<Waiting>,
}

impl SteppedAside {
    /// Ends when there has to be an answer, whatever is waited for: the emperor is about to execute itself anew.
    pub async fn until_recalled(&self) {
        match &self.waiting {
            Some(waiting) => waiting.until_closed().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for SteppedAside {
    fn drop(&mut self) {
        if let Some(activity) = &self.activity {
            activity.aside.store(false, Ordering::Relaxed);
            activity.set_owed(true);
        }
    }
}

/// A stream that notes when bytes move.
struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.activity.moved();
        Poll::Ready(done)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.activity.moved();
        Poll::Ready(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
