//! An instance below an emperor of uWSGI: what that one hands over, and the single bytes that go to and fro.

use std::env;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::master::{Master, Report};
use super::reexec::Luggage;
use super::roster::Phase;
use crate::config::address::Address;
use crate::config::hook::Point;
use crate::sys::socket;
use crate::sys::{clock, fd, memfd, reactor, stream, wait};
use crate::tick::Tick;
use crate::wire::bytes::{FromVassal, Packets, ToVassal};

/// How long its configuration is waited for, as in uWSGI.
const CONFIG_TIME: Duration = Duration::from_secs(5);
/// It kills who has not ended 30 s after it was told to (`emperor-curse-tolerance`).
const LONGEST_MERCY: Duration = Duration::from_secs(25);
const BUFFER_BYTES: usize = 4096;

/// What an emperor of uWSGI hands over.
#[derive(Debug)]
pub struct Inheritance {
    control: OwnedFd,
    config: Option<OwnedFd>,
    /// The configuration, where it comes without a file (`emperor://`).
    pub text: Option<Vec<u8>>,
    /// The socket on which the emperor has waited for somebody.
    pub listener: Option<(Address, OwnedFd)>,
}

impl Inheritance {
    /// Takes it, if such an emperor started this process. To be done once, before anything else is opened.
    ///
    /// # Errors
    /// The configuration does not come.
    pub fn take() -> io::Result<Option<Self>> {
        let Some(control) = connection("UWSGI_EMPEROR_FD")? else { return Ok(None) };
        let config = connection("UWSGI_EMPEROR_FD_CONFIG")?;
        let text = config.as_ref().map(read_config).transpose()?;
        Ok(Some(Self { control, config, text, listener: take_listener()? }))
    }

    /// Duplicates of its descriptors, for another program that takes this process over.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn hand_on(&self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        Ok((self.control.try_clone()?, self.config.as_ref().map(OwnedFd::try_clone).transpose()?))
    }
}

/// The descriptor that a variable names, moved to where no subprocess meets it; none if it is no connection: then the
/// variable was merely inherited.
fn connection(variable: &str) -> io::Result<Option<OwnedFd>> {
    let Some(number) = env::var(variable).ok().and_then(|text| text.parse::<RawFd>().ok()) else {
        return Ok(None);
    };
    let Ok(given) = fd::adopt(number) else { return Ok(None) };
    if number > 2 && stream::is_unix_connection(&given) {
        return fd::duplicate_high(&given).map(Some);
    }
    // Whose it is nobody knows.
    let _ = given.into_raw_fd();
    Ok(None)
}

fn read_config(config: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut packets = Packets::default();
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        if let Some(text) = packets.next_text()? {
            return Ok(text);
        }
        if !wait::readable(config, Some(CONFIG_TIME))? {
            let reason = "the emperor has not sent the configuration within 5 s";
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        match stream::receive(config, &mut buffer)? {
            0 => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the emperor sent no configuration",
                ));
            }
            length => packets.extend(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// The listening socket that is standard input, with its address; standard input is `/dev/null` then.
fn take_listener() -> io::Result<Option<(Address, OwnedFd)>> {
    let stdin = io::stdin();
    if !socket::is_listening(&stdin) {
        return Ok(None);
    }
    let Some(name) = socket::local_name(stdin.as_fd()) else { return Ok(None) };
    let listener = fd::duplicate_high(&stdin)?;
    fd::replace(File::open("/dev/null")?, 0)?;
    Ok(Some((name.into(), listener)))
}

/// An emperor of uWSGI, as the master speaks to it.
#[derive(Debug)]
pub(super) struct UwsgiEmperor {
    control: Rc<AsyncFd<OwnedFd>>,
    config: Option<Rc<AsyncFd<OwnedFd>>>,
    /// Whether it waits on the instance's socket while that sleeps.
    on_demand: bool,
    /// A reload waits until then for the configuration.
    reload_until: Option<Tick>,
}

/// The same in the record of a master that executes its binary again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UwsgiRecord {
    control: RawFd,
    config: Option<RawFd>,
    on_demand: bool,
}

impl UwsgiEmperor {
    /// Begins to listen.
    ///
    /// # Errors
    /// Registering the descriptors.
    pub(super) fn start(
        control: OwnedFd,
        config: Option<OwnedFd>,
        on_demand: bool,
        reports: &mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let control = Rc::new(reactor::register_readable(control)?);
        let config = config.map(reactor::register_readable).transpose()?.map(Rc::new);
        spawn_local(hear_bytes(Rc::clone(&control), reports.clone()));
        if let Some(config) = &config {
            spawn_local(hear_packets(Rc::clone(config), reports.clone()));
        }
        Ok(Self { control, config, on_demand, reload_until: None })
    }

    /// The same from what it handed over.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(super) fn inherit(from: Inheritance, reports: &mpsc::Sender<Report>) -> io::Result<Self> {
        Self::start(from.control, from.config, from.listener.is_some(), reports)
    }

    /// The same from a record.
    ///
    /// # Errors
    /// As [`Self::start`], or a descriptor is not open.
    pub(super) fn resume(record: &UwsgiRecord, reports: &mpsc::Sender<Report>) -> io::Result<Self> {
        let config = record.config.map(fd::adopt).transpose()?;
        Self::start(fd::adopt(record.control)?, config, record.on_demand, reports)
    }

    /// Takes its descriptors along.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack(&self, luggage: &mut Luggage) -> io::Result<UwsgiRecord> {
        let config = self.config.as_ref().map(|config| luggage.take(config.get_ref())).transpose()?;
        let control = luggage.take(self.control.get_ref())?;
        Ok(UwsgiRecord { control, config, on_demand: self.on_demand })
    }

    /// Says something. Where there is no room for it, it does without: the next word tells as much.
    pub(super) fn say(&self, word: FromVassal) {
        if let Err(error) = stream::send(self.control.get_ref(), &[IoSlice::new(&[word.byte()])]) {
            tracing::debug!("the emperor does not hear {word:?}: {error}");
        }
    }

    /// Whether it wakes the instance again.
    pub(super) const fn wakes(&self) -> bool {
        self.on_demand
    }

    /// Until when a reload waits for its configuration.
    pub(super) const fn reload_until(&self) -> Option<Tick> {
        self.reload_until
    }
}

impl AsFd for UwsgiEmperor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.get_ref().as_fd()
    }
}

impl Master {
    pub(super) fn say_to_uwsgi(&self, word: FromVassal) {
        if let Some(emperor) = &self.uwsgi_emperor {
            emperor.say(word);
        }
    }

    /// A word of an emperor of uWSGI, or its end.
    pub(super) fn hear_uwsgi(&mut self, word: Option<ToVassal>) {
        match word {
            None => {
                self.uwsgi_emperor = None;
                tracing::warn!("the emperor is gone: finishing");
                self.act_and_stop(&Point::EmperorLost, None);
            }
            Some(ToVassal::Stop | ToVassal::GracefulStop) => {
                tracing::info!("the emperor says to stop");
                let mercy = self.current.settings().mercy.min(LONGEST_MERCY);
                self.act_and_stop(&Point::EmperorStop, Some(mercy));
            }
            Some(ToVassal::Reload) => match &mut self.uwsgi_emperor {
                Some(emperor) if emperor.config.is_some() => {
                    emperor.reload_until = Some(clock::now() + CONFIG_TIME);
                    emperor.say(FromVassal::WantsConfig);
                }
                _ => self.reload_for_uwsgi(),
            },
        }
    }

    /// An emperor of uWSGI sent a configuration; of several the last one counts.
    pub(super) fn hear_uwsgi_config(&mut self, text: &[u8]) {
        match memfd::sealed("liege-config", text) {
            Ok(file) => self.file = Some(file),
            Err(error) => return self.tell(format!("the emperor's configuration cannot be kept: {error}")),
        }
        if self.uwsgi_emperor.as_mut().is_some_and(|emperor| emperor.reload_until.take().is_some()) {
            self.reload_for_uwsgi();
        }
    }

    /// Looks whether the configuration of a reload is late.
    pub(super) fn look_for_uwsgi_config(&mut self, now: Tick) {
        let Some(emperor) = &mut self.uwsgi_emperor else { return };
        if emperor.reload_until.take_if(|until| *until <= now).is_some() {
            emperor.say(FromVassal::Accepting);
            self.tell(
                "the emperor asked for a reload and sent no configuration: the one before serves on".into(),
            );
        }
    }

    /// Tells an emperor of uWSGI that requests are accepted: again after each reload, also one that was rolled back.
    pub(super) fn accepts_for_uwsgi(&self) {
        if self.roster.phase == Phase::Running && self.roster.serving().is_some() {
            self.say_to_uwsgi(FromVassal::Accepting);
            // Who never served is punished at each of its ends, and a healthy one may wait long for its first request.
            self.say_to_uwsgi(FromVassal::Loyal);
        }
    }

    fn reload_for_uwsgi(&mut self) {
        self.act(&Point::EmperorReload);
        self.reload_by_itself("the emperor says so".to_owned(), None);
    }
}

async fn hear_bytes(control: Rc<AsyncFd<OwnedFd>>, reports: mpsc::Sender<Report>) {
    let mut buffer = [0; BUFFER_BYTES];
    while let Some(bytes) = read(&control, &mut buffer).await {
        // Bytes that mean nothing are for later versions.
        for word in bytes.iter().filter_map(|byte| ToVassal::of(*byte)) {
            if reports.send(Report::UwsgiEmperor(Some(word))).await.is_err() {
                return;
            }
        }
    }
    let _ = reports.send(Report::UwsgiEmperor(None)).await;
}

async fn hear_packets(config: Rc<AsyncFd<OwnedFd>>, reports: mpsc::Sender<Report>) {
    let mut buffer = [0; BUFFER_BYTES];
    let mut packets = Packets::default();
    while let Some(bytes) = read(&config, &mut buffer).await {
        packets.extend(bytes);
        loop {
            match packets.next_text() {
                Ok(Some(text)) => {
                    if reports.send(Report::UwsgiConfig(text)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
}

/// What comes next; `None`: nothing any more.
async fn read<'a>(socket: &AsyncFd<OwnedFd>, buffer: &'a mut [u8; BUFFER_BYTES]) -> Option<&'a [u8]> {
    loop {
        let mut ready = socket.readable().await.ok()?;
        match stream::receive(socket.get_ref(), buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Ok(0) | Err(_) => return None,
            Ok(length) => return buffer.get(..length),
        }
    }
}
