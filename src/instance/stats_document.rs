//! uWSGI's stats document: its keys in its order, so that its tools work unchanged. Variables of
//! requests are in it where `stats-request-vars` says so.

mod beside;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use serde::Serialize;

use super::bind::Listener;
use super::companions::Companion;
use crate::config::stats_push::StatsForm;
use crate::stats::scoreboard::{Core, CoreField, Field, Slot};
use crate::stats::tally::{Tally, ThreadTally};
use crate::stats::uwsgi;
use crate::sys::own;
use crate::sys::{socket, user};
use crate::trace::escaped;
use crate::wire::cache::Cache;
use beside::{CacheFacts, Cron, Daemon, Router};

/// The locks of its own that uWSGI lists; there are none here, and their keys stay for the tools.
const LOCKS: [&str; 7] = ["signal", "filemon", "timer", "rbtimer", "cron", "rpc", "snmp"];

/// So many threads of a worker that has no process are shown.
const MOST_IDLE_CORES: usize = 64;

/// What the document is made from.
pub(super) struct Facts<'a> {
    /// The place of each worker's number on the scoreboard; `None`: it has no process now.
    pub(super) workers: Vec<(u32, Option<Slot<'a>>)>,
    /// What each number has counted over all its lives, those that go on included.
    pub(super) counted: BTreeMap<u32, Tally>,
    /// The sockets.
    pub(super) listeners: &'a [Rc<Listener>],
    /// Requests that each worker runs at the same time.
    pub(super) threads: u32,
    /// Of each of the application's locks who has it; 0: nobody.
    pub(super) locks: Vec<u32>,
    /// What lives beside the workers.
    pub(super) companions: &'a [Companion],
    pub(super) caches: Vec<&'a Cache>,
    /// The router and what it counts, where it gives requests to other servers.
    pub(super) router: Option<(u32, Option<Slot<'a>>)>,
}

/// The document, as uWSGI writes it.
///
/// # Errors
/// None in practice: everything can be written as JSON.
pub(super) fn document(facts: &Facts<'_>, form: StatsForm) -> io::Result<Vec<u8>> {
    let mut document = Document::of(facts);
    if form.no_cores {
        document.workers.iter_mut().for_each(|worker| worker.cores = None);
    }
    uwsgi::write(&document, form.minified)
}

#[derive(Serialize)]
struct Document {
    version: &'static str,
    listen_queue: u32,
    listen_queue_errors: u32,
    signal_queue: u32,
    load: u32,
    pid: u32,
    uid: u32,
    gid: u32,
    cwd: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    daemons: Vec<Daemon>,
    locks: Vec<BTreeMap<String, u32>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    caches: Vec<CacheFacts>,
    sockets: Vec<Socket>,
    workers: Vec<Worker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    router: Option<Router>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    crons: Vec<Cron>,
}

fn locks(holders: &[u32]) -> Vec<BTreeMap<String, u32>> {
    let users = holders.iter().enumerate().map(|(number, holder)| (format!("user {number}"), *holder));
    let others = LOCKS.iter().map(|name| ((*name).to_owned(), 0));
    users.chain(others).map(|lock| BTreeMap::from([lock])).collect()
}

impl Document {
    fn of(facts: &Facts<'_>) -> Self {
        let sockets: Vec<Socket> = facts.listeners.iter().map(|l| Socket::of(l)).collect();
        let queue = sockets.iter().map(|s| s.queue).max().unwrap_or(0);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            listen_queue: queue,
            listen_queue_errors: 0,
            signal_queue: 0,
            load: queue,
            pid: std::process::id(),
            uid: user::current_uid(),
            gid: user::current_gid(),
            cwd: std::env::current_dir().map_or_else(|_| String::new(), |d| d.to_string_lossy().into_owned()),
            daemons: facts.companions.iter().filter_map(Daemon::of).collect(),
            locks: locks(&facts.locks),
            caches: facts.caches.iter().map(|cache| CacheFacts::of(cache)).collect(),
            sockets,
            workers: facts.workers.iter().map(|(id, slot)| Worker::of(facts, *id, *slot)).collect(),
            router: facts.router.map(|(pid, counted)| Router::of(pid, counted)),
            crons: facts.companions.iter().filter_map(Cron::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Socket {
    name: String,
    proto: &'static str,
    queue: u32,
    max_queue: u32,
    shared: u8,
    can_offload: u8,
}

impl Socket {
    fn of(listener: &Listener) -> Self {
        let (queue, max_queue) = socket::queue(listener.as_fd()).unwrap_or((0, 0));
        let proto = listener.listen.protocol.spoken();
        Self { name: listener.name(), proto, queue, max_queue, shared: 0, can_offload: 0 }
    }
}

/// A number that readers with signed integers take: workers write what they like into shared memory.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Count(i64);

impl From<u64> for Count {
    fn from(value: u64) -> Self {
        Self(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

#[derive(Serialize)]
struct Worker {
    id: u32,
    pid: Count,
    accepting: Count,
    requests: Count,
    delta_requests: Count,
    exceptions: Count,
    harakiri_count: Count,
    signals: Count,
    signal_queue: Count,
    status: &'static str,
    rss: Count,
    vsz: Count,
    running_time: Count,
    last_spawn: Count,
    respawn_count: Count,
    tx: Count,
    avg_rt: Count,
    apps: Vec<App>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Vec<CoreEntry>>,
}

impl Worker {
    fn of(facts: &Facts<'_>, id: u32, slot: Option<Slot<'_>>) -> Self {
        let raw = |field| slot.map_or(0, |s| s.get(field));
        let get = |field| Count::from(raw(field));
        let tally = facts.counted.get(&id).cloned().unwrap_or_default();
        let pid = raw(Field::Pid);
        let (vsz, rss) = u32::try_from(pid).ok().and_then(own::size_of).unwrap_or_default();
        let threads = usize::try_from(facts.threads).unwrap_or(1);
        let most = if slot.is_some() { threads } else { threads.min(MOST_IDLE_CORES) };
        let core = |(id, thread)| {
            let counted = tally.threads.get(thread).copied().unwrap_or_default();
            CoreEntry::of(id, slot.and_then(|slot| slot.core(thread)), counted)
        };
        let cores = (0..).zip(0..most).map(core).collect();
        Self {
            // As in uWSGI: tools leave out what has never been.
            id: if slot.is_none() && tally.spawns == 0 { 0 } else { id },
            pid: pid.into(),
            accepting: get(Field::Accepting),
            requests: tally.requests.into(),
            delta_requests: get(Field::Requests),
            exceptions: tally.exceptions.into(),
            harakiri_count: tally.harakiri.into(),
            signals: Count::default(),
            signal_queue: Count::default(),
            status: match slot {
                None => "cheap",
                Some(slot) if slot.is_busy() => "busy",
                Some(_) => "idle",
            },
            rss: rss.into(),
            vsz: vsz.into(),
            running_time: tally.running_us.into(),
            last_spawn: get(Field::LastSpawnEpochS),
            respawn_count: tally.spawns.into(),
            tx: tally.tx.into(),
            avg_rt: get(Field::AverageUs),
            apps: vec![App {
                id: 0,
                modifier1: 0,
                mountpoint: "",
                startup_time: (raw(Field::StartupMs) / 1000).into(),
                requests: tally.requests.into(),
                exceptions: tally.exceptions.into(),
                chdir: "",
            }],
            cores: Some(cores),
        }
    }
}

#[derive(Serialize)]
struct App {
    id: u32,
    modifier1: u32,
    mountpoint: &'static str,
    startup_time: Count,
    requests: Count,
    exceptions: Count,
    chdir: &'static str,
}

#[derive(Default, Serialize)]
struct CoreEntry {
    id: u32,
    requests: Count,
    static_requests: Count,
    routed_requests: Count,
    offloaded_requests: Count,
    write_errors: Count,
    read_errors: Count,
    in_request: Count,
    vars: Vec<String>,
    req_info: RequestInfo,
}

#[derive(Default, Serialize)]
struct RequestInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_start: Option<Count>,
}

impl CoreEntry {
    /// `None`: the worker has no process.
    fn of(id: u32, core: Option<Core<'_>>, counted: ThreadTally) -> Self {
        let core = core.filter(|core| core.get(CoreField::InRequest) == 1);
        Self {
            id,
            requests: counted.requests.into(),
            static_requests: counted.static_requests.into(),
            routed_requests: counted.routed_requests.into(),
            offloaded_requests: Count::default(),
            write_errors: counted.write_errors.into(),
            read_errors: counted.read_errors.into(),
            in_request: u64::from(core.is_some()).into(),
            vars: core.into_iter().flat_map(|core| core.variables()).map(|one| shown(&one)).collect(),
            req_info: RequestInfo {
                request_start: core.map(|core| core.get(CoreField::StartedEpochS).into()),
            },
        }
    }
}

/// A variable that a worker shows, for people.
fn shown(variable: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(variable))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::config::cache::CacheSpec;
    use crate::stats::scoreboard::Scoreboard;
    use crate::stats::variables::Variables;
    use crate::sys::shared::SharedWords;

    /// Every number of a document.
    fn numbers(value: &serde_json::Value) -> Vec<&serde_json::Number> {
        match value {
            serde_json::Value::Number(number) => vec![number],
            serde_json::Value::Array(all) => all.iter().flat_map(numbers).collect(),
            serde_json::Value::Object(all) => all.values().flat_map(numbers).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn no_number_is_larger_than_readers_with_signed_integers_take() {
        let board = Scoreboard::create_with(1, 1, false).unwrap();
        let slot = board.slot(0).unwrap();
        for field in [
            Field::WorkerId,
            Field::Pid,
            Field::Accepting,
            Field::Requests,
            Field::Exceptions,
            Field::TxBytes,
            Field::RunningUs,
            Field::LastSpawnEpochS,
            Field::AverageUs,
            Field::StartupMs,
        ] {
            slot.set(field, u64::MAX);
        }
        let core = slot.core(0).unwrap();
        core.set(CoreField::InRequest, 1);
        for field in
            [CoreField::Requests, CoreField::WriteErrors, CoreField::ReadErrors, CoreField::StartedEpochS]
        {
            core.set(field, u64::MAX);
        }
        let mut tally = Tally {
            spawns: u64::MAX,
            harakiri: u64::MAX,
            requests: u64::MAX,
            exceptions: u64::MAX,
            tx: u64::MAX,
            running_us: u64::MAX,
            threads: Vec::new(),
        };
        tally.add(slot);
        let cache = Cache::create(CacheSpec::plain(1).unwrap()).unwrap();
        let memory = SharedWords::map(cache.fd().try_clone_to_owned().unwrap(), true, usize::MAX).unwrap();
        memory.words().iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        let counted = BTreeMap::from([(1, tally)]);
        let workers = vec![(1, Some(slot))];
        let facts = Facts {
            workers,
            counted,
            listeners: &[],
            threads: 1,
            locks: Vec::new(),
            companions: &[],
            caches: vec![&cache],
            router: Some((7, board.attic())),
        };
        let text = document(&facts, StatsForm::default()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["workers"][0]["tx"], i64::MAX);
        assert_eq!(value["caches"][0]["hits"], i64::MAX);
        let numbers = numbers(&value);
        assert!(numbers.len() > 40 && numbers.iter().all(|number| number.is_i64()), "{numbers:?}");
    }

    #[test]
    fn the_document_has_uwsgis_keys_in_its_form() {
        let board = Scoreboard::create_with(4, 2, true).unwrap();
        let slot = board.slot(1).unwrap();
        slot.set(Field::WorkerId, 1);
        slot.set(Field::Pid, u64::from(std::process::id()));
        slot.set(Field::Requests, 3);
        slot.core(1).unwrap().set(CoreField::InRequest, 1);
        for core in slot.iter_cores() {
            let mut variables = Variables::default();
            variables.push("HTTP_X", b"a\x1b");
            core.show(&variables);
        }
        slot.core(1).unwrap().set(CoreField::StartedEpochS, 1_795_184_390);
        let tally = Tally { requests: 4, spawns: 2, ..Tally::default() };
        let mut counted = BTreeMap::from([(1, tally.clone()), (2, tally)]);
        counted.get_mut(&1).unwrap().add(slot);
        let workers = vec![(1, Some(slot)), (2, None), (3, None)];
        let facts = Facts {
            workers,
            counted,
            listeners: &[],
            threads: 2,
            locks: vec![0, 7],
            companions: &[],
            caches: Vec::new(),
            router: None,
        };
        let text = String::from_utf8(document(&facts, StatsForm::default()).unwrap()).unwrap();
        assert!(text.starts_with("{\n\t\"version\":\""), "{text}");
        assert!(
            text.contains(
                "\n\t\"locks\":[\n\t\t{\n\t\t\t\"user 0\":0\n\t\t},\n\t\t{\n\t\t\t\"user 1\":7\n\t\t},"
            ),
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let worker = &value["workers"][0];
        assert_eq!(worker["requests"], 7);
        assert_eq!(worker["delta_requests"], 3);
        assert_eq!(worker["status"], "busy");
        assert_eq!(worker["respawn_count"], 2);
        assert!(worker["rss"].as_u64().unwrap() > 0);
        assert_eq!(worker["cores"][1]["req_info"]["request_start"], 1_795_184_390);
        assert_eq!(worker["cores"].as_array().unwrap().len(), 2);
        assert_eq!(worker["cores"][1]["vars"], serde_json::json!(["HTTP_X=a\\x1b"]));
        assert_eq!(worker["cores"][0]["vars"], serde_json::json!([]), "it rests");
        let rows = value["workers"].as_array().unwrap().iter().skip(1);
        let brief: Vec<_> = rows
            .map(|one| {
                (one["id"].as_u64(), one["pid"].as_u64(), one["status"].as_str(), one["cores"].as_array())
            })
            .map(|(id, pid, status, cores)| {
                (id.unwrap(), pid.unwrap(), status.unwrap(), cores.unwrap().len())
            })
            .collect();
        assert_eq!(
            brief,
            [(2, 0, "cheap", 2), (0, 0, "cheap", 2)],
            "one that was, and one that has never been"
        );
        let short = document(&facts, StatsForm { minified: true, no_cores: true }).unwrap();
        assert!(!short.contains(&b'\n') && !short.contains(&b'\t'));
        let short: serde_json::Value = serde_json::from_slice(&short).unwrap();
        assert!(short["workers"][0]["cores"].is_null() && short["workers"][0]["apps"].is_array());
    }
}
