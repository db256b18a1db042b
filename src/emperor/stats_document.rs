//! The fleet as uWSGI's emperor tells it (`emperor-stats`): the same fields, for those who watch them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fleet::{Directory, Fleet, State, Vassal};
use crate::stats::uwsgi;
use crate::sys::user;
use crate::tick::Tick;

/// The document; `epoch_offset_ms` are the milliseconds from the monotonic clock's zero to the epoch's.
#[must_use]
pub fn document(fleet: &Fleet, minified: bool, epoch_offset_ms: u64) -> Vec<u8> {
    // Writing text and numbers into memory does not fail.
    uwsgi::write(&Document::of(fleet, epoch_offset_ms), minified).unwrap_or_default()
}

#[derive(Serialize)]
struct Document {
    version: &'static str,
    pid: u32,
    uid: u32,
    gid: u32,
    cwd: String,
    emperor: Vec<String>,
    emperor_tyrant: u8,
    throttle_level: u8,
    vassals: Vec<Entry>,
    blacklist: Vec<Blacklisted>,
}

impl Document {
    fn of(fleet: &Fleet, epoch_offset_ms: u64) -> Self {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let rests = |vassal: &&Vassal| matches!(vassal.state, State::Resting { .. } | State::Broken);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uid: user::current_uid(),
            gid: user::current_gid(),
            cwd: std::env::current_dir().map_or_else(|_| String::new(), |path| text(&path)),
            emperor: fleet.directories.iter().map(|directory| text(&directory.path)).collect(),
            emperor_tyrant: fleet.rules.tyrant.into(),
            throttle_level: 0,
            vassals: fleet
                .vassals
                .values()
                .filter(|vassal| !rests(vassal))
                .map(|vassal| Entry::of(vassal, &fleet.directories, epoch_offset_ms))
                .collect(),
            blacklist: fleet.vassals.values().filter(rests).map(Blacklisted::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Entry {
    id: String,
    pid: i64,
    born: i64,
    last_mod: i64,
    last_heartbeat: u64,
    loyal: u8,
    ready: u8,
    accepting: u8,
    last_loyal: u64,
    last_ready: u64,
    last_accepting: u64,
    first_run: u64,
    last_run: u64,
    cursed: u64,
    zerg: u8,
    on_demand: String,
    uid: u32,
    gid: u32,
    monitor: String,
    respawns: u64,
    attrs: BTreeMap<String, String>,
}

impl Entry {
    fn of(vassal: &Vassal, directories: &[Directory], epoch_offset_ms: u64) -> Self {
        let seconds = |tick: Tick| tick.as_ms().saturating_add(epoch_offset_ms) / 1000;
        // One that is on its way out counts until it is gone.
        let life = vassal.current.as_ref().or_else(|| vassal.leaving.last());
        let started = life.map_or(0, |life| life.started_epoch_ms / 1000);
        let ready = life.and_then(|life| life.ready);
        let is_loyal = life.is_some_and(|life| life.loyal);
        let loyal = life.and_then(|life| life.loyal_epoch_ms).map(|at| at / 1000);
        let heartbeat = life.and_then(|life| life.heartbeat_epoch_ms);
        // Of another program it is told what it has said itself; ours says less, and all of it at once.
        let ready = ready.map(seconds);
        let said = life.and_then(|life| life.foreign.as_ref()).map(|foreign| {
            [foreign.spawned_epoch_ms, foreign.accepting_epoch_ms, foreign.loyal_epoch_ms]
                .map(|at| at.map(|at| at / 1000))
        });
        let [ready, accepting, last_loyal] =
            said.unwrap_or([ready, ready.filter(|_| vassal.serves()), loyal]);
        let reloaded = vassal.last_reload.as_ref().map_or(0, |operation| operation.asked_epoch_ms / 1000);
        let owner = vassal.tenant.or(vassal.owner);
        let modified = vassal.identity.mtime_ns / 1_000_000_000;
        let monitor = directories.iter().find(|directory| directory.path == vassal.directory);
        Self {
            id: vassal.id.clone(),
            pid: life.and_then(|life| life.pid).map_or(-1, i64::from),
            born: vassal.born_ns / 1_000_000_000,
            last_mod: modified,
            last_heartbeat: heartbeat.map_or(0, |at| at / 1000),
            loyal: is_loyal.into(),
            ready: ready.is_some().into(),
            accepting: accepting.is_some().into(),
            last_loyal: last_loyal.unwrap_or(0),
            last_ready: ready.unwrap_or(0),
            last_accepting: accepting.unwrap_or(0),
            first_run: started,
            last_run: started.max(reloaded),
            cursed: life.and_then(|life| life.leaving_epoch_ms).map_or(0, |at| at / 1000),
            zerg: 0,
            on_demand: vassal.on_demand.as_ref().map_or_else(String::new, ToString::to_string),
            uid: owner.map_or(0, |owner| owner.uid),
            gid: owner.map_or(0, |owner| owner.gid),
            monitor: monitor
                .or_else(|| directories.first())
                .map_or_else(String::new, |directory| directory.path.to_string_lossy().into_owned()),
            respawns: vassal.reloads,
            attrs: vassal.attributes.collected.clone(),
        }
    }
}

#[derive(Serialize)]
struct Blacklisted {
    id: String,
    throttle_level: u64,
    attempt: u32,
    first_attempt: u64,
    last_attempt: u64,
}

impl Blacklisted {
    fn of(vassal: &Vassal) -> Self {
        let last = vassal.last_exit.as_ref().map_or(0, |exit| exit.at_epoch_ms / 1000);
        Self {
            id: vassal.id.clone(),
            throttle_level: vassal.rested_for_ms,
            attempt: vassal.attempts,
            first_attempt: vassal.failing_since_epoch_ms.map_or(last, |since| since / 1000),
            last_attempt: last,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::fleet::{Exit, ExitKind, FileIdentity};
    use super::super::life::Life;
    use super::*;

    #[test]
    fn a_fleet_is_told_with_the_fields_and_the_order_of_uwsgi() {
        let mut fleet = Fleet::default();
        let identity = FileIdentity { mtime_ns: 1_795_184_304_999_999_999, ..FileIdentity::default() };
        let mut up = Vassal::new("a\"b.ini".into(), "/v".into(), identity);
        up.state = State::Up { app: true, loyal: true };
        let mut life = Life::new(1, Tick::from_ms(1000), 501_000);
        (life.pid, life.ready, life.loyal) = (Some(77), Some(Tick::from_ms(3999)), true);
        life.loyal_epoch_ms = Some(505_900);
        up.current = Some(life);
        (up.reloads, up.identity.mtime_ns) = (3, 1_795_184_399_000_000_000);
        let mut resting = Vassal::new("b.ini".into(), "/v".into(), identity);
        resting.state = State::Resting { until: Tick::from_ms(9), attempts: 2 };
        (resting.attempts, resting.rested_for_ms, resting.failing_since_epoch_ms) = (2, 1500, Some(4_000));
        resting.last_exit = Some(Exit { pid: 9, at_epoch_ms: 7_000, how: ExitKind::Status(1) });
        for vassal in [up, resting] {
            fleet.vassals.insert(vassal.id.clone(), vassal);
        }
        let told: Value = serde_json::from_slice(&document(&fleet, false, 500_000)).unwrap();
        let vassal = &told["vassals"][0];
        assert_eq!(told["vassals"].as_array().unwrap().len(), 1);
        for (field, expected) in [
            ("pid", 77),
            ("born", 1_795_184_304),
            ("last_mod", 1_795_184_399),
            ("last_loyal", 505),
            ("ready", 1),
            ("accepting", 1),
            ("last_ready", 503),
            ("first_run", 501),
            ("cursed", 0),
            ("respawns", 3),
        ] {
            assert_eq!(vassal[field], expected, "{field}");
        }
        assert_eq!(vassal["id"], "a\"b.ini");
        let rested = serde_json::json!(
            [{"id": "b.ini", "throttle_level": 1500, "attempt": 2, "first_attempt": 4, "last_attempt": 7}]
        );
        assert_eq!(told["blacklist"], rested);
        let text = String::from_utf8(document(&fleet, false, 0)).unwrap();
        let names =
            ["version", "pid", "uid", "gid", "cwd", "emperor", "emperor_tyrant", "throttle_level", "vassals"];
        let places: Vec<_> = names.iter().map(|name| text.find(&format!("\n\t\"{name}\":"))).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?}");
        assert!(text.contains("\n\t\t\t\"pid\":77,\n"), "{text}");
        assert!(document(&fleet, true, 0).starts_with(b"{\"version\":\""));
    }
}
