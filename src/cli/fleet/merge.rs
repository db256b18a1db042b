//! The snapshots of several hosts as one: names get the host's in front, figures are added up.

use super::sight::{Answer, Seen};
use crate::api::views::{
    Directory, Emperor, Host, NotStarted, Operation, Snapshot, SnapshotBody, SnapshotVassal, StoredSockets,
    Totals,
};
use crate::api::{counters, show};

/// A vassal's name among those of all hosts.
pub(super) fn qualified(host: &str, name: &str) -> String {
    if host.is_empty() { name.to_owned() } else { format!("{host}/{name}") }
}

/// The host of a qualified name, by its place, and the name there. Names of hosts may have slashes, too.
pub(super) fn resolve<'a>(hosts: impl Iterator<Item = &'a str>, name: &'a str) -> Option<(usize, &'a str)> {
    let of = |host: &str| match host {
        "" => Some(name),
        host => name.strip_prefix(host)?.strip_prefix('/'),
    };
    let found = hosts.enumerate().filter_map(|(place, host)| Some((host.len(), place, of(host)?)));
    found.max_by_key(|(length, ..)| *length).map(|(_, place, name)| (place, name))
}

/// All that is known.
pub(super) fn all(seen: &[Seen]) -> SnapshotBody {
    let here = || seen.iter().filter_map(|host| Some((host.name.as_str(), host.snapshot()?)));
    SnapshotBody {
        host: host(seen),
        emperor: emperor(seen),
        totals: here()
            .fold(Totals::default(), |sum, (_, snapshot)| counters::sum(&sum, &snapshot.body.totals)),
        vassals: here()
            .flat_map(|(name, snapshot)| snapshot.body.vassals.iter().map(move |one| vassal(name, one)))
            .collect(),
        not_started: here()
            .flat_map(|(name, snapshot)| {
                let named = move |one: &NotStarted| NotStarted {
                    path: told(name, &one.path),
                    reason: one.reason.clone(),
                };
                snapshot.body.not_started.iter().map(named)
            })
            .collect(),
        operations: here()
            .flat_map(|(name, snapshot)| snapshot.body.operations.iter().map(move |one| operation(name, one)))
            .collect(),
    }
}

/// All emperors as one. A host that is silent stands among the directories, with its reason.
pub(super) fn emperor(seen: &[Seen]) -> Emperor {
    let here = || seen.iter().filter_map(|host| Some((host.name.as_str(), &host.snapshot()?.body.emperor)));
    let of_all = |of: fn(&Emperor) -> &str, else_: &str| {
        let mut words = here().map(|(_, emperor)| of(emperor));
        let first = words.next().unwrap_or(else_);
        if words.all(|word| word == first) { first.to_owned() } else { else_.to_owned() }
    };
    let directories = seen.iter().flat_map(|host| match &host.answer {
        Answer::Here(snapshot) => {
            let named = |one: &Directory| Directory {
                path: told(&host.name, &one.path),
                problem: one.problem.clone(),
                warning: one.warning.as_ref().map(|warning| told(&host.name, warning)),
            };
            snapshot.body.emperor.directories.iter().map(named).collect()
        }
        Answer::Silent(why) => {
            vec![Directory { path: host.title().to_owned(), problem: Some(why.clone()), warning: None }]
        }
        Answer::Awaited => Vec::new(),
    });
    Emperor {
        version: of_all(|emperor| &emperor.version, "of several versions"),
        pid: std::process::id(),
        phase: of_all(|emperor| &emperor.phase, "running"),
        since: here().map(|(_, emperor)| emperor.since.clone()).min().unwrap_or_default(),
        reexecutions: here().map(|(_, emperor)| emperor.reexecutions).sum(),
        options_problem: here()
            .find_map(|(name, emperor)| emperor.options_problem.as_ref().map(|problem| told(name, problem))),
        stored_sockets: StoredSockets {
            kept: here().map(|(_, emperor)| emperor.stored_sockets.kept).sum(),
            most: here().map(|(_, emperor)| emperor.stored_sockets.most).sum(),
            problem: here().find_map(|(name, emperor)| {
                emperor.stored_sockets.problem.as_ref().map(|problem| told(name, problem))
            }),
        },
        directories: directories.collect(),
    }
}

fn host(seen: &[Seen]) -> Host {
    let hosts = || seen.iter().filter_map(|host| Some(&host.snapshot()?.body.host));
    let load = |at: usize| hosts().filter_map(|host| host.load.get(at)).sum();
    Host {
        name: match (seen, hosts().next()) {
            ([_], Some(only)) => only.name.clone(),
            (all, _) => format!("{} of {} hosts", hosts().count(), all.len()),
        },
        cpus: hosts().map(|host| host.cpus).sum(),
        memory_bytes: hosts().map(|host| host.memory_bytes).sum(),
        memory_available_bytes: hosts().map(|host| host.memory_available_bytes).sum(),
        load: [load(0), load(1), load(2)],
        uptime_s: hosts().map(|host| host.uptime_s).min().unwrap_or(0),
    }
}

fn vassal(host: &str, vassal: &SnapshotVassal) -> SnapshotVassal {
    let mut vassal = vassal.clone();
    vassal.vassal.name = qualified(host, &vassal.vassal.name);
    vassal.vassal.link = show::link(&vassal.vassal.name);
    vassal
}

fn operation(host: &str, operation: &Operation) -> Operation {
    let mut operation = operation.clone();
    operation.vassal = operation.vassal.map(|vassal| qualified(host, &vassal));
    operation.why = told(host, &operation.why);
    // They are told apart by it; the page of one host alone follows it.
    operation.link = told(host, &operation.link);
    operation
}

/// A sentence with the host that it is about.
pub(super) fn told(host: &str, text: &str) -> String {
    if host.is_empty() { text.to_owned() } else { format!("{host}: {text}") }
}

impl Seen {
    fn snapshot(&self) -> Option<&Snapshot> {
        match &self.answer {
            Answer::Here(snapshot) => Some(snapshot),
            Answer::Awaited | Answer::Silent(_) => None,
        }
    }

    fn title(&self) -> &str {
        if self.name.is_empty() { "the emperor" } else { &self.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_host() {
        for (hosts, name, expected) in [
            (&["web1", "web2"][..], "web2/a.ini", Some((1, "a.ini"))),
            (&["web1", "web1/b"], "web1/b/a.ini", Some((1, "a.ini"))),
            (&["web1", "/run/a.sock"], "/run/a.sock/a.ini", Some((1, "a.ini"))),
            (&["web1"], "web10/a.ini", None),
            (&["web1"], "a.ini", None),
            (&[""], "a.ini", Some((0, "a.ini"))),
        ] {
            assert_eq!(resolve(hosts.iter().copied(), name), expected, "{hosts:?} {name}");
            if let Some((place, found)) = expected {
                assert_eq!(qualified(hosts[place], found), name);
            }
        }
    }
}
