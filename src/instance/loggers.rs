//! The loggers of a configuration at work: each line goes past the rules, is encoded, and given to those that take it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::log_datagrams::Datagrams;
use super::log_file::LogFile;
use super::log_rules::{Rules, Stream};
use super::log_syslog;
use super::log_trouble::Trouble;
use crate::config::log_encoder::{Clock, encode};
use crate::config::logger::{Backend, LINE_BYTES, LoggingSpec, Peer};
use crate::sys::stderr::{Descriptor, Stderr};
use crate::sys::{clock, fd, host, local_time};

/// The socket of the syslog daemon of this host.
const SYSLOG: &str = "/dev/log";

/// Descriptors that loggers write to, by their numbers when the process was started.
pub(super) type Inherited = BTreeMap<i32, OwnedFd>;

/// The loggers of a configuration.
#[derive(Debug)]
pub(super) struct Loggers {
    pub(super) spec: LoggingSpec,
    rules: Rules,
    /// For each of the rules' loggers the place of its target: several may lead to the same.
    targets_of: Vec<usize>,
    targets: Vec<Target>,
}

/// What takes lines.
#[derive(Debug)]
struct Target {
    backend: Backend,
    sink: Sink,
    trouble: Trouble,
}

#[derive(Debug)]
enum Sink {
    Stderr,
    File(LogFile),
    Descriptor(Option<Descriptor>),
    Datagrams(Rc<Datagrams>),
}

/// What became of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How many lines were lost.
    pub(super) lost: u64,
    /// What is to be told.
    pub(super) tell: Vec<String>,
}

/// The clock of this host.
struct Now;

impl Clock for Now {
    fn epoch_us(&self) -> u64 {
        clock::epoch_us()
    }
    fn local(&self, format: &str) -> String {
        local_time::formatted(format, clock::epoch_seconds())
    }
}

impl Loggers {
    /// The loggers of a configuration; what those of the one `before` had open stays open.
    pub(super) fn new(
        spec: &LoggingSpec,
        max_bytes: u64,
        inherited: &mut Inherited,
        before: Option<Self>,
    ) -> Self {
        let rules = Rules::new(spec);
        let mut old = before.map(|before| before.targets).unwrap_or_default();
        let mut targets: Vec<Target> = Vec::new();
        let mut targets_of = Vec::new();
        for logger in &rules.loggers {
            let known = targets.iter().position(|target| is_same(&target.backend, &logger.to));
            targets_of.push(known.unwrap_or(targets.len()));
            if known.is_none() {
                let kept = old.iter().position(|target| target.backend == logger.to);
                let mut target = match kept {
                    Some(place) => old.swap_remove(place),
                    None => Target::new(logger.to.clone(), inherited),
                };
                if let (Sink::File(file), Backend::File { max_bytes: own, .. }) =
                    (&mut target.sink, &target.backend)
                {
                    file.limit(own.unwrap_or(max_bytes));
                }
                targets.push(target);
            }
        }
        Self { spec: spec.clone(), rules, targets_of, targets }
    }

    /// A longer line comes in pieces.
    pub(super) fn line_bytes(&self) -> usize {
        let bytes = if self.spec.line_bytes == 0 { LINE_BYTES } else { self.spec.line_bytes };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Gives a line with its end, or a piece of one, to the loggers that take it; `shown`: standard error has it.
    pub(super) fn write(&mut self, stream: Stream, line: &[u8], shown: bool, stderr: &mut Stderr) -> Outcome {
        // Workers of the configuration before may still tell requests from the rest.
        let stream = if self.spec.has_requests() { stream } else { Stream::General };
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let takers = self.rules.takers(stream, &text);
        let mut outcome = Outcome::default();
        let encoders = match stream {
            Stream::Requests => &self.spec.request_encoders,
            Stream::General => &self.spec.encoders,
        };
        for taker in takers {
            let Some(logger) = self.rules.loggers.get(taker) else { continue };
            let target = self.targets_of.get(taker).and_then(|place| self.targets.get_mut(*place));
            let Some(target) = target else { continue };
            if shown && matches!(target.sink, Sink::Stderr) {
                continue;
            }
            let encoded = encode(encoders, logger.name.as_deref(), line, &Now);
            target.write(&encoded, stderr, &mut outcome);
        }
        outcome
    }

    /// Does something with each file.
    pub(super) fn with_files(&mut self, mut act: impl FnMut(&mut LogFile)) {
        for target in &mut self.targets {
            if let Sink::File(file) = &mut target.sink {
                act(file);
            }
        }
    }

    /// Gives away what waits, as far as it is taken at once; how many lines were lost.
    pub(super) fn finish(&self) -> u64 {
        let lost = self.targets.iter().map(|target| match &target.sink {
            Sink::Datagrams(datagrams) => datagrams.finish(),
            _ => 0,
        });
        lost.sum()
    }
}

/// Whether two loggers lead to the same place.
fn is_same(one: &Backend, other: &Backend) -> bool {
    match (one, other) {
        // Two that write the same file rename it together.
        (Backend::File { path: one, .. }, Backend::File { path: other, .. }) => one == other,
        (one, other) => is_standard(one) && is_standard(other) || one == other,
    }
}

const fn is_standard(backend: &Backend) -> bool {
    matches!(backend, Backend::Stdio | Backend::Fd(1 | 2))
}

impl Target {
    fn new(backend: Backend, inherited: &mut Inherited) -> Self {
        let sink = match &backend {
            Backend::Stdio | Backend::Fd(1 | 2) => Sink::Stderr,
            Backend::File { path, backup, .. } => Sink::File(LogFile::own(path.clone(), backup.clone())),
            Backend::Fd(number) => Sink::Descriptor(descriptor(*number, inherited)),
            Backend::Syslog { .. } => Sink::Datagrams(Datagrams::new(Peer::Unix(SYSLOG.into()))),
            Backend::Rsyslog { to, .. } | Backend::Socket { to, .. } => {
                Sink::Datagrams(Datagrams::new(to.clone()))
            }
        };
        Self { backend, sink, trouble: Trouble::default() }
    }

    fn write(&mut self, line: &[u8], stderr: &mut Stderr, outcome: &mut Outcome) {
        let mut late = 0;
        let done = match &mut self.sink {
            Sink::Stderr => {
                // Where it fails there is nowhere to tell it.
                outcome.lost += u64::from(!stderr.write(line));
                return;
            }
            Sink::File(file) => file.write(line),
            Sink::Descriptor(None) => Err(io::Error::other("it was not inherited")),
            Sink::Descriptor(Some(descriptor)) => descriptor.write(line),
            Sink::Datagrams(datagrams) => {
                late = datagrams.take_lost();
                datagrams.send(message(&self.backend, line))
            }
        };
        let lost = late + u64::from(done.is_err());
        let done = if late == 0 { done } else { Err(io::Error::other("nobody received what waited")) };
        outcome.lost += lost;
        match done {
            Ok(()) => {
                if let Some(lost) = self.trouble.worked() {
                    outcome
                        .tell
                        .push(format!("the logger {} takes lines again; {lost} were lost", self.backend));
                }
            }
            Err(error) => {
                if self.trouble.failed(lost, clock::now()) {
                    let reason = match error.kind() {
                        io::ErrorKind::WouldBlock => "it is not read".to_owned(),
                        _ => error.to_string(),
                    };
                    outcome.tell.push(format!(
                        "the logger {} takes no lines: {reason}; they are dropped and counted",
                        self.backend
                    ));
                }
            }
        }
    }
}

/// The descriptor that the process was started with, or that the image before this one had.
fn descriptor(number: i32, inherited: &mut Inherited) -> Option<Descriptor> {
    let kept = match inherited.get(&number) {
        Some(kept) => kept,
        None => inherited.entry(number).or_insert(fd::duplicate_inherited(number).ok()?),
    };
    Some(Descriptor::new(kept.try_clone().ok()?))
}

/// A line as a datagram.
fn message(backend: &Backend, line: &[u8]) -> Vec<u8> {
    match backend {
        Backend::Syslog { ident, facility } => log_syslog::local(ident, *facility, line, &Now),
        Backend::Rsyslog { tag: Some(tag), priority, .. } => log_syslog::remote(*priority, tag, line, &Now),
        Backend::Rsyslog { tag: None, priority, .. } => {
            log_syslog::remote(*priority, &format!("{} uwsgi", host::name()), line, &Now)
        }
        Backend::Socket { prefix, .. } => [prefix.as_bytes(), line].concat(),
        Backend::Stdio | Backend::File { .. } | Backend::Fd(_) => line.to_vec(),
    }
}
