//! `liege top`: what all vassals do, over and over, on a full screen; or once, as text.

pub mod draw;
pub mod page;
pub mod sample;
pub mod screen;
pub mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant, SystemTime};

use crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use self::draw::Picture;
use self::sample::{HostSight, Row};
use self::screen::Screen;
use self::view::{After, Choice, View};
use super::client::ClientError;
use super::exit::Exit;
use super::hosts::Host;
use super::names;
use super::paper::{Paper, print};
use crate::api::views::{Snapshot, VassalDetail};
use crate::sys::{signals, terminal};

/// How long a host that does not answer may hold up a single picture.
const GRACE: Duration = Duration::from_secs(1);
/// How many answers and keys wait.
const QUEUE: usize = 64;

/// What a host told.
#[derive(Debug)]
enum Told {
    /// Its vassals.
    All(Result<Box<Snapshot>, ClientError>),
    /// The open vassal.
    One(Choice, Result<Box<VassalDetail>, ClientError>),
}

/// All that is known and chosen.
#[derive(Debug)]
struct Top {
    hosts: Vec<HostSight>,
    wanted: Vec<String>,
    view: View,
    rows: Vec<Row>,
    detail: Option<(Choice, Result<VassalDetail, String>)>,
}

/// Shows these vassals of these hosts (all, if none is named) until told to end; `once`, or where the output is no
/// terminal with a cursor that can be moved, only once.
///
/// # Errors
/// The only host knows no such name, or the terminal does not obey.
pub async fn run(
    hosts: Vec<Host>,
    names: &[String],
    once: bool,
    interval_s: u32,
    json: bool,
) -> Result<Exit, ClientError> {
    let interval = Duration::from_secs(interval_s.into());
    let mut top = Top {
        hosts: hosts.iter().map(|host| HostSight::new(host.name.clone())).collect(),
        wanted: names.to_vec(),
        view: View::default(),
        rows: Vec::new(),
        detail: None,
    };
    if let ([host], false) = (hosts.as_slice(), names.is_empty()) {
        let found = host.client.resolve(names).await?;
        if let [one] = found.as_slice() {
            let (name, link) = (one.name.clone(), one.link.clone());
            top.view.open = Some(Choice { host: host.name.clone(), name, link });
        }
    }
    let (open, opened) = watch::channel(top.view.open.clone());
    let (sender, told) = mpsc::channel(QUEUE);
    for (place, host) in hosts.into_iter().enumerate() {
        tokio::spawn(poll(place, host, interval, opened.clone(), sender.clone()));
    }
    let full = io::stdout().is_terminal() && io::stdin().is_terminal() && !terminal::is_dumb();
    if once || json || !full {
        return Ok(top.once(told, interval + GRACE, json).await);
    }
    let colour = Paper::stdout().colour;
    top.show(told, &open, colour).await.map_err(|error| ClientError::Access(format!("the terminal: {error}")))
}

/// Asks a host again and again.
async fn poll(
    place: usize,
    host: Host,
    interval: Duration,
    mut opened: watch::Receiver<Option<Choice>>,
    sender: mpsc::Sender<(usize, Told)>,
) {
    let mut due = tokio::time::Instant::now();
    loop {
        if due <= tokio::time::Instant::now() {
            due += interval;
            let snapshot = host.ask("/v1/snapshot").await.map(Box::new);
            if sender.send((place, Told::All(snapshot))).await.is_err() {
                return;
            }
        }
        let open = opened.borrow_and_update().clone().filter(|open| open.host == host.name);
        if let Some(open) = open {
            let detail = host.ask(&open.link).await.map(Box::new);
            if sender.send((place, Told::One(open, detail))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = opened.changed() => if changed.is_err() { return },
        }
        // A host that was slow is not asked twice at once.
        due = due.max(tokio::time::Instant::now().checked_sub(interval).unwrap_or(due));
    }
}

impl Top {
    fn hear(&mut self, place: usize, told: Told) {
        let now = Instant::now();
        match told {
            Told::All(Ok(snapshot)) => {
                if let Some(host) = self.hosts.get_mut(place) {
                    host.heard(*snapshot, now);
                }
            }
            Told::All(Err(error)) => {
                if let Some(host) = self.hosts.get_mut(place) {
                    host.silent(error.to_string(), now);
                }
            }
            Told::One(open, detail) => {
                let detail = detail.map(|detail| *detail).map_err(|error| error.to_string());
                self.detail = Some((open, detail));
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        let wanted = &self.wanted;
        let is_wanted =
            |row: &Row| wanted.is_empty() || wanted.iter().any(|name| names::is_meant(name, &row.name));
        self.rows = self.view.rows(self.hosts.iter().flat_map(HostSight::rows).filter(is_wanted));
    }

    fn picture(&self) -> Picture<'_> {
        let is_open = |(of, _): &&(Choice, _)| Some(of) == self.view.open.as_ref();
        Picture {
            hosts: &self.hosts,
            view: &self.view,
            rows: &self.rows,
            detail: self.detail.as_ref().filter(is_open).map(|(_, detail)| detail),
            now: SystemTime::now(),
            at: Instant::now(),
        }
    }

    /// Two looks at each host, for the rates between them.
    async fn once(mut self, mut told: mpsc::Receiver<(usize, Told)>, patience: Duration, json: bool) -> Exit {
        let mut looks = vec![2_u8; self.hosts.len()];
        let hear = async {
            while looks.iter().any(|left| *left > 0) {
                let Some((place, news)) = told.recv().await else { break };
                if let (Told::All(answer), Some(left)) = (&news, looks.get_mut(place)) {
                    *left = if answer.is_ok() { left.saturating_sub(1) } else { 0 };
                }
                self.hear(place, news);
            }
        };
        let _ = tokio::time::timeout(patience, hear).await;
        for host in self.hosts.iter_mut().filter(|host| host.here.is_none() && host.lost.is_none()) {
            host.silent(format!("nothing came within {} s", patience.as_secs()), Instant::now());
        }
        self.sort();
        match json {
            true => print(&format!("{}\n", self.json())),
            false => print(&draw::text(&self.picture())),
        }
        match self.hosts.iter().any(|host| host.lost.is_some()) {
            true => Exit::Unreachable,
            false => Exit::Done,
        }
    }

    fn json(&self) -> serde_json::Value {
        let host = |host: &HostSight| {
            let (here, lost) = (host.here.as_ref(), host.lost.as_ref());
            serde_json::json!({
                "name": host.name,
                "host": here.map(|snapshot| &snapshot.body.host),
                "emperor": here.map(|snapshot| &snapshot.body.emperor),
                "error": lost.map(|(why, _)| why),
            })
        };
        let hosts: Vec<_> = self.hosts.iter().map(host).collect();
        serde_json::json!({"hosts": hosts, "vassals": self.rows})
    }

    /// Has the screen until told to end.
    async fn show(
        &mut self,
        mut told: mpsc::Receiver<(usize, Told)>,
        open: &watch::Sender<Option<Choice>>,
        colour: bool,
    ) -> io::Result<Exit> {
        let mut ends = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ];
        let mut screen = Screen::open(colour)?;
        let mut keys = keys();
        loop {
            let (width, height) = screen.size();
            self.view.page = draw::room(&self.picture(), width, height);
            screen.draw(&draw::screen(&self.picture(), width, height))?;
            let [terminate, interrupt, hangup, quit] = &mut ends;
            tokio::select! {
                _ = terminate.recv() => return Ok(Exit::Done),
                _ = interrupt.recv() => return Ok(Exit::Done),
                _ = hangup.recv() => return Ok(Exit::Done),
                _ = quit.recv() => return Ok(Exit::Done),
                key = keys.recv() => match key {
                    // The terminal is gone.
                    None => return Ok(Exit::Done),
                    Some(Event::Key(key)) => match self.view.key(key, &self.rows) {
                        After::Draw => {
                            open.send_if_modified(|now| {
                                let is_new = *now != self.view.open;
                                now.clone_from(&self.view.open);
                                is_new
                            });
                            self.sort();
                        }
                        After::Quit => return Ok(Exit::Done),
                        After::Suspend => {
                            screen.lend(|| {
                                let _ = signals::suspend();
                            })?;
                        }
                    },
                    Some(Event::Resize(..)) => screen.forget(),
                    Some(_) => {}
                },
                news = told.recv() => match news {
                    Some(_) if self.view.paused => {}
                    Some((place, news)) => self.hear(place, news),
                    None => return Ok(Exit::Done),
                },
            }
        }
    }
}

/// What is typed, from a thread of its own: reading waits.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}
