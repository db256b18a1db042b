//! Steady clients: each sends a request every five milliseconds and tells what it saw.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{Answer, Connection, Door};
use super::wait::until;

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// How the clients ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A GET on a new connection each.
    Fresh,
    /// POSTs on a connection that is kept as long as the server keeps it. Nothing is sent twice: a POST that meets a
    /// closed connection is a failure.
    KeptPost,
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Report>>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many requests were answered with 200.
    pub(crate) answered: usize,
    /// The bodies of those.
    pub(crate) bodies: BTreeSet<String>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
    /// The longest wait for an answer.
    pub(crate) longest: Duration,
}

impl Load {
    /// Starts four clients.
    pub(crate) fn start(door: &Door, manner: Manner) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (door, stop, answered) = (door.clone(), Arc::clone(&stop), Arc::clone(&answered));
                std::thread::spawn(move || work(&door, manner, &stop, &answered))
            })
            .collect();
        let load = Self { stop, answered, clients };
        load.go_on();
        load
    }

    /// Waits until the clients have had a few more answers each, so that what just happened was met by them.
    pub(crate) fn go_on(&self) {
        let goal = self.answered.load(Ordering::Relaxed) + 10 * CLIENTS;
        until("answers to the load", || self.answered.load(Ordering::Relaxed) >= goal);
    }

    /// Stops the clients.
    pub(crate) fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Report::default();
        for client in self.clients {
            let report = client.join().unwrap();
            sum.answered += report.answered;
            sum.bodies.extend(report.bodies);
            sum.failures.extend(report.failures);
            sum.longest = sum.longest.max(report.longest);
        }
        sum
    }
}

impl Report {
    /// Panics when a request failed.
    pub(crate) fn nothing_failed(&self) -> &Self {
        let count = self.failures.len();
        let some = &self.failures[..count.min(5)];
        assert!(count == 0, "{count} of {} failed: {some:#?}", self.answered + count);
        self
    }
}

fn work(door: &Door, manner: Manner, stop: &AtomicBool, answered: &AtomicUsize) -> Report {
    let mut report = Report::default();
    let mut kept: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let result = match manner {
            Manner::Fresh => door.get("/"),
            Manner::KeptPost => post(door, &mut kept),
        };
        report.longest = report.longest.max(start.elapsed());
        match result {
            Ok(answer) if answer.status == 200 => {
                report.answered += 1;
                report.bodies.insert(answer.text());
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => report.failures.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => report.failures.push(error.to_string()),
        }
        std::thread::sleep(PAUSE);
    }
    report
}

fn post(door: &Door, kept: &mut Option<Connection>) -> std::io::Result<Answer> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => door.connect()?,
    };
    let answer = connection.ask("POST", "/", &[], b"a=1")?;
    if !answer.closes() {
        *kept = Some(connection);
    }
    Ok(answer)
}
