//! Where all lines of an instance come together: those of its children, from their pipes, and the master's own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::memchr_iter;
use tokio::sync::{Notify, mpsc};

use super::log_file::LogFile;
use super::log_rules::Stream;
use super::loggers::{Inherited, Loggers};
use super::logs::Board;
use super::master::Report;
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::Total;
use crate::sys::clock;
use crate::sys::stderr::{LINE_LIMIT_BYTES, Stderr};
use crate::tick::Tick;
use crate::trace::{self, Diversion};

/// How many of the master's own lines wait for its loop.
const WAITING: usize = 1024;

/// How long lines that are lost are counted before that is told.
const TELL_LOST: Duration = Duration::from_secs(1);

/// Where all lines come together.
#[derive(Debug)]
pub(super) struct Hub {
    stderr: Stderr,
    /// How many lines standard error did not take since that was told, and when it may be told next.
    untold: (u64, Tick),
    /// The file behind standard error.
    file: Option<LogFile>,
    loggers: Option<Loggers>,
    pub(super) inherited: Inherited,
    own: Arc<Own>,
    board: Board,
    /// An emperor keeps what the master says, wherever loggers take it besides.
    supervised: bool,
    reports: mpsc::Sender<Report>,
}

/// What the log of an instance needs of its master.
pub(super) struct Surroundings {
    /// Where its own lines wait.
    pub(super) own: Arc<Own>,
    /// Where lost lines are counted.
    pub(super) board: Board,
    /// An emperor started it.
    pub(super) supervised: bool,
    /// What hears of loggers that fail.
    pub(super) reports: mpsc::Sender<Report>,
}

/// The master's own lines on their way to the loggers: they are told from anywhere, also from within a logger, and
/// before there is one.
#[derive(Debug, Default)]
pub(super) struct Own {
    lines: Mutex<VecDeque<String>>,
    news: Notify,
}

impl Own {
    /// Lines of this process wait here from now on, if the configuration names loggers for them.
    pub(super) fn divert(self: &Arc<Self>, spec: &InstanceSpec, supervised: bool) {
        trace::date_lines(spec.log.date.as_deref());
        if spec.log.routing.is_plain() {
            return trace::divert(None);
        }
        let own = Arc::clone(self);
        let sink = Box::new(move |line: &str| own.push(line));
        trace::divert(Some(Diversion { sink, copied: supervised }));
    }

    /// There will be no loggers: lines go to standard error, also those that wait, unless they did already.
    pub(super) fn give_up(&self, supervised: bool) {
        trace::divert(None);
        let mut stderr = Stderr::default();
        for line in self.take().iter().filter(|_| !supervised) {
            let _ = stderr.write(line.as_bytes());
        }
    }

    fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, line: &str) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = lines.len() < WAITING;
        if has_room {
            lines.push_back(line.to_owned());
            self.news.notify_one();
        }
        has_room
    }
}

impl Hub {
    pub(super) fn new(to: Surroundings, inherited: Inherited) -> Rc<RefCell<Self>> {
        let Surroundings { own, board, supervised, reports } = to;
        Rc::new(RefCell::new(Self {
            stderr: Stderr::default(),
            untold: (0, Tick::default()),
            file: None,
            loggers: None,
            inherited,
            own,
            board,
            supervised,
            reports,
        }))
    }

    /// See [`super::logs::Output::let_go_of_stderr`].
    pub(super) fn let_go_of_stderr(&mut self) {
        self.stderr = Stderr::default();
    }

    /// Does what a configuration says about the log from now on.
    pub(super) fn obey(&mut self, spec: &InstanceSpec) {
        self.file = LogFile::of(spec);
        self.own.divert(spec, self.supervised);
        if spec.log.routing.is_plain() {
            self.finish();
            self.loggers = None;
            return;
        }
        let (before, max_bytes) = (self.loggers.take(), spec.log.file.max_bytes);
        self.loggers = Some(Loggers::new(&spec.log.routing, max_bytes, &mut self.inherited, before));
    }

    /// Does something with each file that is logged to.
    pub(super) fn with_files(&mut self, mut act: impl FnMut(&mut LogFile)) {
        self.file.iter_mut().for_each(&mut act);
        if let Some(loggers) = &mut self.loggers {
            loggers.with_files(act);
        }
    }

    /// A longer line comes in pieces. What goes to standard error as it is comes as many lines at a time as a pipe
    /// takes at once.
    pub(super) fn piece(&self) -> (usize, bool) {
        self.loggers.as_ref().map_or((LINE_LIMIT_BYTES, true), |loggers| (loggers.line_bytes(), false))
    }

    /// Passes on what children wrote: a piece as [`Hub::piece`] says.
    pub(super) fn write(&mut self, stream: Stream, piece: &[u8]) {
        if self.loggers.is_some() {
            self.log(stream, piece, false);
        } else if self.stderr.write(piece) {
            self.tell_lost();
        } else {
            let count = memchr_iter(b'\n', piece).count().max(1);
            let count = u64::try_from(count).unwrap_or(1);
            self.count_lost(count);
            let (lost, next) = self.untold;
            let next = if lost == 0 { clock::now() + TELL_LOST } else { next };
            self.untold = (lost.saturating_add(count), next);
        }
        if let Some(file) = &mut self.file {
            file.keep_short();
        }
    }

    /// How many lines were lost since that was told.
    pub(super) const fn lost(&self) -> u64 {
        self.untold.0
    }

    /// For how long it is not told yet that lines were lost; `None`: there is nothing to tell.
    pub(super) fn until_told(&self) -> Option<Duration> {
        let (lost, next) = self.untold;
        (lost > 0).then(|| next.since(clock::now()))
    }

    /// Says at their place how many lines were lost, once in a while.
    pub(super) fn tell_lost(&mut self) {
        let (lost, next) = self.untold;
        let now = clock::now();
        if lost == 0 || now < next {
            return;
        }
        let line = format!("WARN dropped {lost} lines of output: more came than the log takes\n");
        let is_told = self.stderr.write(line.as_bytes());
        self.untold = if is_told { (0, next) } else { (lost, now + TELL_LOST) };
    }

    /// Passes the master's own lines on.
    fn write_own(&mut self) {
        for line in self.own.take() {
            self.log(Stream::General, line.as_bytes(), self.supervised);
        }
    }

    /// Gives away everything that waits, as far as it is taken at once.
    pub(super) fn finish(&mut self) {
        self.write_own();
        let lost = self.loggers.as_ref().map_or(0, Loggers::finish);
        self.count_lost(lost);
    }

    fn log(&mut self, stream: Stream, line: &[u8], shown: bool) {
        let Some(loggers) = &mut self.loggers else { return };
        let outcome = loggers.write(stream, line, shown, &mut self.stderr);
        self.count_lost(outcome.lost);
        for message in outcome.tell {
            if !self.supervised {
                // Perhaps no logger works.
                let _ = self.stderr.write(format!("WARN {message}\n").as_bytes());
            }
            // A master that has no room for it is busier with worse.
            let _ = self.reports.try_send(Report::Logger(message));
        }
    }

    fn count_lost(&self, lines: u64) {
        if lines > 0 {
            self.board.borrow().add_total(Total::LogLinesDropped, lines);
        }
    }
}

/// Passes the master's own lines on as they come.
pub(super) async fn relay_own(hub: Rc<RefCell<Hub>>) {
    let own = Arc::clone(&hub.borrow().own);
    loop {
        own.news.notified().await;
        hub.borrow_mut().write_own();
        // A flood must not keep the master from anything else.
        tokio::task::yield_now().await;
    }
}
