//! When each vassal answered a request last, kept in a file: after a boot those that served last are started first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fleet::Fleet;
use crate::sys::{clock, output};
use crate::tick::Tick;

/// How often the counters are looked at.
const INTERVAL: Duration = Duration::from_secs(60);
const FILE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// The file, and what is in it.
#[derive(Debug)]
pub struct Served {
    path: PathBuf,
    written: BTreeMap<String, u64>,
    look_at: Tick,
}

impl Served {
    /// Reads the file, if there is one; what cannot be understood is nothing.
    #[must_use]
    pub fn new(path: PathBuf, now: Tick) -> Self {
        let written = match read(&path) {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!("cannot read {}: {error}; vassals start by name", path.display());
                BTreeMap::new()
            }
        };
        Self { path, written, look_at: now + INTERVAL }
    }

    /// Seconds since the epoch by vassal, as the file said.
    #[must_use]
    pub fn known(&self) -> BTreeMap<String, u64> {
        self.written.clone()
    }

    /// When the counters are looked at next.
    #[must_use]
    pub const fn next_deadline(&self) -> Tick {
        self.look_at
    }

    /// Looks at the counters, and writes the file if somebody has served since.
    pub fn catch_up(&mut self, fleet: &mut Fleet, now: Tick) {
        if now >= self.look_at {
            self.look(fleet, now);
        }
    }

    /// The same at once.
    pub fn look(&mut self, fleet: &mut Fleet, now: Tick) {
        self.look_at = now + INTERVAL;
        let seconds = clock::epoch_ms() / 1000;
        for vassal in fleet.vassals.values_mut() {
            let answered = vassal.answered();
            // An instance that took over from another one counts from the start.
            if std::mem::replace(&mut vassal.answered_then, answered) != answered && answered > 0 {
                vassal.last_served = seconds;
            }
        }
        let served = |(id, vassal): (&String, &super::fleet::Vassal)| (id.clone(), vassal.last_served);
        let known: BTreeMap<String, u64> =
            fleet.vassals.iter().map(served).filter(|(_, at)| *at > 0).collect();
        if known == self.written {
            return;
        }
        let bytes = serde_json::to_vec(&known).unwrap_or_default();
        match output::replace(&self.path, &bytes) {
            Ok(()) => self.written = known,
            Err(error) => tracing::warn!("cannot write {}: {error}", self.path.display()),
        }
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fleet::{FileIdentity, Vassal};
    use super::*;
    use crate::stats::scoreboard::Scoreboard;

    #[test]
    fn who_has_served_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("served");
        let now = Tick::from_ms(0);
        let mut fleet = Fleet::default();
        for id in ["busy.ini", "idle.ini"] {
            let mut vassal = Vassal::new(id.into(), "/v".into(), FileIdentity::default());
            vassal.shown = Some(Arc::new(Scoreboard::create(1, 1).unwrap().into()));
            fleet.vassals.insert(id.into(), vassal);
        }
        let mut served = Served::new(path.clone(), now);
        served.look(&mut fleet, now);
        assert!(!path.exists(), "nobody has served yet");
        fleet.vassals["busy.ini"].boards().unwrap().newest().count_forwarded(0, 1);
        served.catch_up(&mut fleet, now);
        assert!(!path.exists(), "it is not time yet");
        served.catch_up(&mut fleet, now + INTERVAL);
        let known = Served::new(path.clone(), now).known();
        assert_eq!(known.keys().collect::<Vec<_>>(), ["busy.ini"]);
        assert_eq!(known["busy.ini"], fleet.vassals["busy.ini"].last_served);
        // An instance that ended before anybody has looked served all the same.
        let idle = fleet.vassals.get_mut("idle.ini").unwrap();
        idle.boards().unwrap().newest().count_forwarded(0, 1);
        idle.lose_sight();
        fleet.vassals.get_mut("busy.ini").unwrap().last_served = 7;
        served.look(&mut fleet, now);
        let known = Served::new(path.clone(), now).known();
        assert!(known["idle.ini"] > 7 && known["busy.ini"] == 7, "{known:?}");
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(Served::new(path, now).known(), BTreeMap::new());
    }
}
