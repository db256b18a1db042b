//! The record that an image of the master leaves to the next one, over an `execve`: what it knew, and which descriptors
//! and pids belong to what.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::caches::CacheRecord;
use super::companions::Companions;
use super::fifo::FifoRecord;
use super::logs::OutputRecord;
use super::mules::MulesRecord;
use super::roster::Roster;
use super::source::{Said, Source};
use super::uwsgi_emperor::UwsgiRecord;
use crate::config::address::{Address, Listen};
use crate::config::fingerprint::checksum;
use crate::stats::tally::Tally;
use crate::sys::{fd, memfd};
use crate::wire::death::Cause;
use crate::wire::message::{FromInstance, Policy};

/// The version of the record. Later ones read earlier ones: fields are only added, with defaults.
const VERSION: u32 = 1;
const MAGIC: &str = "liege instance record";
const LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// Everything that the next image needs. Descriptors are numbers, open across the `execve`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) source: Source,
    pub(super) policy: Policy,
    pub(super) binary: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) supervised: bool,
    pub(super) roster: Roster,
    pub(super) tallies: BTreeMap<u32, Tally>,
    pub(super) own_operations: u64,
    pub(super) lives: u64,
    pub(super) replaced: bool,
    /// The newest scoreboard.
    pub(super) board: RawFd,
    #[serde(default)]
    pub(super) earlier_boards: Vec<BoardRecord>,
    #[serde(default)]
    pub(super) locks: Option<RawFd>,
    pub(super) file: Option<RawFd>,
    pub(super) emperor: Option<RawFd>,
    #[serde(default)]
    pub(super) uwsgi_emperor: Option<UwsgiRecord>,
    #[serde(default)]
    pub(super) emperor_uid: u32,
    #[serde(default)]
    pub(super) fifo: Option<FifoRecord>,
    #[serde(default)]
    pub(super) paused: bool,
    #[serde(default)]
    pub(super) flocks: Vec<RawFd>,
    #[serde(default)]
    pub(super) foreground: Option<RawFd>,
    #[serde(default)]
    pub(super) unsent: VecDeque<FromInstance>,
    /// The router's queue.
    #[serde(default)]
    pub(super) queue: Option<RawFd>,
    pub(super) output: [RawFd; 2],
    #[serde(default)]
    pub(super) logs: OutputRecord,
    pub(super) listeners: Vec<(Listen, RawFd)>,
    pub(super) stats: Vec<(Listen, RawFd)>,
    /// The configuration of each generation; listeners are indices into `listeners` and `stats`.
    pub(super) configs: Vec<ConfigRecord>,
    /// The generation whose configuration is in force.
    pub(super) current: u64,
    /// What the rehearsal before the `execve` found, for the next generation.
    pub(super) prepared: ConfigRecord,
    pub(super) zygotes: Vec<ProcessRecord>,
    pub(super) workers: Vec<WorkerRecord>,
    pub(super) router: Option<ProcessRecord>,
    #[serde(default)]
    pub(super) companions: Companions,
    /// By run.
    #[serde(default)]
    pub(super) keepers: Vec<ProcessRecord>,
    #[serde(default)]
    pub(super) mules: MulesRecord,
    #[serde(default)]
    pub(super) caches: Vec<CacheRecord>,
}

/// A configuration.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConfigRecord {
    pub(super) generation: u64,
    pub(super) said: Said,
    pub(super) python: PathBuf,
    pub(super) extension: PathBuf,
    pub(super) listeners: Vec<usize>,
    pub(super) stats: Vec<usize>,
    #[serde(default)]
    pub(super) certificates: Vec<(Address, RawFd)>,
}

/// An earlier scoreboard, and who is on it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BoardRecord {
    pub(super) memory: RawFd,
    /// Zygotes that give it to their workers.
    pub(super) zygotes: Vec<u64>,
    /// The slots of workers.
    pub(super) slots: Vec<usize>,
}

/// A zygote or the router.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    /// The zygote's number.
    pub(super) id: u64,
    pub(super) pid: u32,
    pub(super) channel: RawFd,
}

/// A worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerRecord {
    pub(super) slot: usize,
    pub(super) number: u32,
    pub(super) generation: u64,
    pub(super) pid: Option<u32>,
    pub(super) channel: RawFd,
    pub(super) router_ends: Vec<RawFd>,
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) leaves: bool,
    #[serde(default)]
    pub(super) killed: Option<Cause>,
}

/// The descriptors that shall stay open across the `execve`, as duplicates: dropping them undoes it.
#[derive(Debug, Default)]
pub(super) struct Luggage(Vec<OwnedFd>);

impl Luggage {
    /// Takes a descriptor along; answers its number there.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn take(&mut self, fd: &OwnedFd) -> io::Result<RawFd> {
        self.take_owned(fd::duplicate_high(fd)?)
    }

    /// Takes a descriptor along that is a duplicate already.
    ///
    /// # Errors
    /// `fcntl`.
    pub(super) fn take_owned(&mut self, fd: OwnedFd) -> io::Result<RawFd> {
        fd::set_close_on_exec(&fd, false)?;
        let number = fd.as_raw_fd();
        self.0.push(fd);
        Ok(number)
    }
}

/// Writes the record to a sealed memory file.
///
/// # Errors
/// Encoding, or making the file.
pub(super) fn write(record: &Record) -> io::Result<OwnedFd> {
    let body = serde_json::to_vec(record)?;
    let mut bytes = format!("{MAGIC} {VERSION} {:016x}\n", checksum(&body)).into_bytes();
    bytes.extend(body);
    memfd::sealed("liege-instance", &bytes)
}

/// Reads the record of the image before.
///
/// # Errors
/// It is damaged, or of a version that is not known.
pub(super) fn read(file: OwnedFd) -> io::Result<Record> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let bytes = memfd::read_all(file, LIMIT_BYTES)?;
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| invalid("no record"))?;
    let (head, body) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default());
    let head = std::str::from_utf8(head).map_err(|_| invalid("no record"))?;
    let rest = head.strip_prefix(MAGIC).ok_or_else(|| invalid("no record of an instance"))?;
    let mut words = rest.split_ascii_whitespace();
    let version: u32 = words.next().and_then(|w| w.parse().ok()).ok_or_else(|| invalid("no version"))?;
    if version > VERSION {
        return Err(invalid(&format!("the record has version {version}, this binary reads up to {VERSION}")));
    }
    if words.next() != Some(&format!("{:016x}", checksum(body))) {
        return Err(invalid("the record is damaged"));
    }
    Ok(serde_json::from_slice(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_whole_record_of_a_known_version_is_refused() {
        let good = format!("{MAGIC} {VERSION} {:016x}\n{{}}", checksum(b"{}"));
        let cases = [
            ("", "no record"),
            ("something else\n{}", "no record of an instance"),
            (&good.replace("{}", "{ }"), "damaged"),
            (&good.replace(" 1 ", " 9 "), "version 9"),
            (&good, "missing field"),
        ];
        for (text, message) in cases {
            let file = memfd::sealed("test", text.as_bytes()).unwrap();
            let error = read(file).unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
