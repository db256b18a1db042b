//! `stats-push`: the statistics go to a statsd server or a file from time to time, beside the master's work.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::master::Master;
use super::stats_socket::Ask;
use crate::config::stats_push::{Push, StatsPushSpec};
use crate::sys::output;

/// How much goes into one packet to a statsd server.
const PACKET_BYTES: usize = 1400;

/// What pushes; it ends when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Pushers {
    spec: StatsPushSpec,
    tasks: Vec<JoinHandle<()>>,
}

impl Pushers {
    fn start(spec: &StatsPushSpec, asks: &mpsc::Sender<Ask>) -> Self {
        let tasks = spec.to.iter().map(|push| {
            let every_s = match push {
                Push::File { every_s: Some(seconds), .. } => *seconds,
                _ => spec.every_s,
            };
            let pusher = push_to(push.clone(), Duration::from_secs(every_s.max(1).into()), asks.clone());
            tokio::task::spawn_local(pusher)
        });
        Self { spec: spec.clone(), tasks: tasks.collect() }
    }
}

impl Drop for Pushers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Master {
    /// Pushes what the configuration in force wants.
    pub(super) fn push_statistics(&mut self) {
        let spec = &self.current.said.spec.stats_push;
        if self.pushers.spec != *spec {
            self.pushers = Pushers::start(spec, &self.asks);
        }
    }
}

async fn push_to(push: Push, every: Duration, asks: mpsc::Sender<Ask>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = BTreeMap::new();
    let mut failing = false;
    // The first time is at once: only what counters grow by from now on is told.
    let mut is_first = true;
    loop {
        ticks.tick().await;
        let (to, document) = oneshot::channel();
        if asks.send(Ask { to, plain: true }).await.is_err() {
            return;
        }
        let Ok(document) = document.await else { return };
        let done = match &push {
            Push::File { path, separator, .. } => append(path.clone(), document, separator.clone()).await,
            Push::Statsd { host, port, prefix } => {
                let lines = lines(&document, prefix, &mut known);
                if is_first { Ok(()) } else { send(host, *port, &lines).await }
            }
        };
        is_first = false;
        if let Err(error) = &done
            && !failing
        {
            tracing::warn!("stats-push: {push:?}: {error}");
        }
        failing = done.is_err();
    }
}

async fn append(path: PathBuf, document: Vec<u8>, separator: String) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        output::append(&path)?.write_all(&[document.as_slice(), separator.as_bytes()].concat())
    });
    written.await.map_err(io::Error::other)?
}

async fn send(host: &str, port: u16, lines: &[String]) -> io::Result<()> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    let address = addresses.first().ok_or_else(|| io::Error::other("the host has no address"))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    let mut packet = String::new();
    for line in lines {
        if !packet.is_empty() && packet.len() + line.len() >= PACKET_BYTES {
            socket.send_to(packet.as_bytes(), address).await?;
            packet.clear();
        }
        if !packet.is_empty() {
            packet.push('\n');
        }
        packet.push_str(line);
    }
    socket.send_to(packet.as_bytes(), address).await.map(drop)
}

/// The lines for a statsd server, by the names of uWSGI's metrics. A counter is told as what it grew by: that is what
/// statsd adds up.
fn lines(document: &[u8], prefix: &str, known: &mut BTreeMap<String, u64>) -> Vec<String> {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let mut out = Vec::new();
    let mut gauge = |name: String, value: u64| out.push(format!("{prefix}.{name}:{value}|g"));
    let mut counters = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let get = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    let workers = list(document.get("workers").unwrap_or(&Value::Null));
    let sum = |key| workers.iter().fold(0_u64, |sum, worker| sum.saturating_add(get(worker, key)));
    let with = |status| workers.iter().filter(|worker| worker["status"] == status).count();
    gauge("core.busy_workers".into(), with("busy").try_into().unwrap_or_default());
    gauge("core.idle_workers".into(), with("idle").try_into().unwrap_or_default());
    gauge("core.total_rss".into(), sum("rss"));
    gauge("core.total_vsz".into(), sum("vsz"));
    counters.push(("core.total_tx".to_owned(), sum("tx")));
    for (number, socket) in list(document.get("sockets").unwrap_or(&Value::Null)).iter().enumerate() {
        gauge(format!("socket.{number}.listen_queue"), get(socket, "queue"));
    }
    // Those that have never been have no number.
    for worker in workers.iter().filter(|worker| get(worker, "id") != 0) {
        let id = get(worker, "id");
        for (name, key) in [("avg_response_time", "avg_rt"), ("rss_size", "rss"), ("vsz_size", "vsz")] {
            gauge(format!("worker.{id}.{name}"), get(worker, key));
        }
        for (name, key) in [
            ("requests", "requests"),
            ("exceptions", "exceptions"),
            ("respawns", "respawn_count"),
            ("total_tx", "tx"),
        ] {
            counters.push((format!("worker.{id}.{name}"), get(worker, key)));
        }
        for core in list(worker.get("cores").unwrap_or(&Value::Null)) {
            for key in ["requests", "static_requests", "routed_requests", "write_errors", "read_errors"] {
                counters.push((format!("worker.{id}.core.{}.{key}", get(&core, "id")), get(&core, key)));
            }
        }
    }
    for (name, value) in counters {
        let before = known.insert(name.clone(), value).unwrap_or_default();
        // A worker that was replaced counts from 0.
        let grown = value.checked_sub(before).unwrap_or(value);
        out.push(format!("{prefix}.{name}:{grown}|c"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_as_what_they_grew_by() {
        let mut known = BTreeMap::new();
        let mut told = |requests: u64, rss: u64| {
            let core = serde_json::json!({"id": 0, "requests": requests});
            let worker = serde_json::json!({"id": 1, "requests": requests, "rss": rss, "status": "idle", "cores": [core]});
            let document = serde_json::json!({"workers": [worker], "sockets": [{"queue": 3}]}).to_string();
            lines(document.as_bytes(), "app", &mut known)
        };
        let has =
            |lines: &[String], line: &str| assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
        let first = told(5, 100);
        for line in [
            "app.worker.1.requests:5|c",
            "app.worker.1.core.0.requests:5|c",
            "app.worker.1.rss_size:100|g",
            "app.socket.0.listen_queue:3|g",
            "app.core.idle_workers:1|g",
        ] {
            has(&first, line);
        }
        has(&told(12, 90), "app.worker.1.requests:7|c");
        has(&told(2, 90), "app.worker.1.requests:2|c");
        assert!(!lines(b"nonsense", "app", &mut BTreeMap::new()).is_empty());
    }
}
