//! The death of the emperor as its host sees it: apps serve on, and the next emperor takes them over.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "emperor/host.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod host;
#[path = "support/port.rs"]
mod port;

use std::fs;
use std::time::Duration;

use host::{Clients, Host, get, kill};

/// How the host's only vassals stand, as `status` says.
fn states(host: &Host) -> Vec<(String, String)> {
    let (done, said) = host.ask(&["status", "--json"]);
    if !done {
        return Vec::new();
    }
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    let vassals = list["vassals"].as_array().unwrap().iter();
    vassals
        .map(|v| (v["name"].as_str().unwrap().to_owned(), v["state"].as_str().unwrap().to_owned()))
        .collect()
}

fn all_up(host: &Host, count: usize) -> bool {
    let states = states(host);
    states.len() == count && states.iter().all(|(_, state)| state == "up")
}

/// The pid of the master whose record names this vassal.
fn recorded(host: &Host, vassal: &str) -> Vec<u32> {
    let records = fs::read_dir(host.path("api.d/instances")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path| serde_json::from_slice(&fs::read(path).unwrap_or_default()).ok();
    let records = records.filter_map(read).filter(|record: &serde_json::Value| record["vassal"] == vassal);
    records.map(|record| u32::try_from(record["pid"].as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn a_killed_emperor_costs_no_request_and_the_next_one_takes_everything_over() {
    let mut host = Host::new();
    host.app("app", "", "one");
    let names = ["a.ini", "b.ini", "c.ini", "d.ini"];
    let ports: Vec<u16> = names.iter().map(|name| host.vassal(name, "app")).collect();
    for port in &ports {
        host.until(*port, "one");
    }
    host.wait("all are up", || all_up(&host, 4));
    let masters: Vec<Vec<u32>> = names.iter().map(|name| recorded(&host, name)).collect();
    assert!(!host.second_emperor().success(), "two emperors on one fleet");
    assert!(host.log().contains("an emperor runs already"));
    let clients: Vec<Clients> = [ports[0], ports[1]].into_iter().map(Clients::start).collect();

    for round in 1..=2 {
        host.kill_emperor();
        std::thread::sleep(Duration::from_millis(300));
        host.start_another();
        host.wait("all are up again", || all_up(&host, 4));
        let now: Vec<Vec<u32>> = names.iter().map(|name| recorded(&host, name)).collect();
        assert_eq!(now, masters, "no twin, and nobody was replaced");
        assert_eq!(host.log().matches("] adopted: pid").count(), round * 4, "{}", host.log());
    }
    // They are steered like any other.
    host.app("app", "", "two");
    host.touch("a.ini");
    host.until(ports[0], "two");
    let (done, said) = host.ask(&["reload", "b.ini", "--wait"]);
    assert!(done && get(ports[1], "/").unwrap() == "two", "{said}");
    host.signal_emperor("HUP");
    host.wait("the re-executed emperor reloads them", || {
        host.log().matches("the new generation serves").count() >= 6
    });
    let (done, said) = host.ask(&["upgrade", "--wait"]);
    assert!(done, "{said}");
    for clients in clients {
        let failures = clients.end();
        assert!(failures.is_empty(), "{failures:?}\n{}", host.log());
    }

    let (done, said) = host.ask(&["stop", "b.ini", "--wait"]);
    assert!(done, "{said}");
    assert!(get(ports[1], "/").is_err());
    fs::remove_file(host.path("v").join("c.ini")).unwrap();
    host.wait("the one without a file is gone", || states(&host).iter().all(|(name, _)| name != "c.ini"));
    kill(masters[3][0], "KILL");
    host.wait("a dead one returns", || recorded(&host, "d.ini").iter().any(|pid| *pid != masters[3][0]));
    host.until(ports[3], "two");
    assert!(host.log().contains("its master ended: unknown exit status"));
    host.end();
}

#[test]
fn what_changed_while_there_was_no_emperor_is_made_up_for() {
    let mut host = Host::new();
    host.app("app", "", "one");
    let [touched, removed, died, renamed] =
        ["touched.ini", "removed.ini", "died.ini", "renamed.ini"].map(|name| host.vassal(name, "app"));
    for port in [touched, removed, died, renamed] {
        host.until(port, "one");
    }
    host.wait("all are up", || all_up(&host, 4));
    let dead = recorded(&host, "died.ini")[0];
    host.kill_emperor();
    host.app("app", "", "two");
    host.touch("touched.ini");
    fs::remove_file(host.path("v").join("removed.ini")).unwrap();
    kill(dead, "KILL");
    let late = host.vassal("late.ini", "app");
    fs::rename(host.path("v").join("renamed.ini"), host.path("v").join("other.ini")).unwrap();
    assert_eq!(get(removed, "/").unwrap(), "one");
    host.start_another();
    let mut serves = false;
    host.wait("the new name serves, and the old one until then", || {
        serves |= get(renamed, "/").unwrap() == "two";
        serves && states(&host).iter().all(|(name, _)| name != "renamed.ini")
    });
    host.until(touched, "two");
    host.until(died, "two");
    host.until(late, "two");
    host.wait("it is stopped", || get(removed, "/").is_err());
    assert!(host.log().contains(&format!("pid {dead} ended while there was no emperor")));
    host.end();
}

#[test]
fn without_an_emperor_instances_finish_when_their_grace_is_over() {
    for (options, serves) in
        [(&["--orphan-grace", "2"][..], true), (&["--orphan-grace", "0"], false), (&["--adopt=no"], false)]
    {
        let mut host = Host::with(options);
        host.app("app", "", "one");
        let port = host.vassal("a.ini", "app");
        host.until(port, "one");
        host.kill_emperor();
        if serves {
            assert_eq!(get(port, "/").unwrap(), "one");
        }
        host.wait("all have ended", || host.processes().is_empty());
        assert!(get(port, "/").is_err());
        host.start_another();
        host.until(port, "one");
        host.end();
    }
}

#[test]
fn an_emperor_that_adopts_nothing_ends_what_it_finds_first() {
    let mut host = Host::new();
    host.app("app", "", "one");
    let port = host.vassal("a.ini", "app");
    host.until(port, "one");
    host.wait("it is up", || all_up(&host, 1));
    let before = recorded(&host, "a.ini");
    host.kill_emperor();
    host.app("app", "", "two");
    host.say(&["--adopt=no"]);
    host.start_another();
    host.until(port, "two");
    assert_ne!(recorded(&host, "a.ini"), before);
    host.end();
}

#[test]
fn one_that_does_not_call_is_not_doubled_and_can_be_stopped() {
    let mut host = Host::new();
    host.app("app", "", "one");
    let port = host.vassal("a.ini", "app");
    host.until(port, "one");
    host.wait("it is up", || all_up(&host, 1));
    let master = recorded(&host, "a.ini")[0];
    host.kill_emperor();
    kill(master, "STOP");
    host.start_another();
    host.wait("it is missed", || host.log().contains("does not call"));
    assert_eq!(states(&host)[0].1, "adopting");
    assert_eq!(recorded(&host, "a.ini"), [master]);
    assert_eq!(get(port, "/").unwrap(), "one", "its worker serves on");
    let (done, said) = host.ask(&["stop", "a.ini", "--wait"]);
    assert!(done, "{said}\n{}", host.log());
    assert!(recorded(&host, "a.ini").is_empty());
    host.end();
}

#[test]
fn an_instance_of_another_user_is_adopted_too() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut host = Host::new();
    // The clone may be where nobody else can go.
    let extension = host.path("libliege.so");
    let beside = std::path::Path::new(env!("CARGO_BIN_EXE_liege")).parent().unwrap();
    let built = [beside.join("libliege.so"), beside.join("deps/libliege.so")];
    fs::copy(built.iter().find(|path| path.exists()).unwrap(), &extension).unwrap();
    host.app("app", "", "one");
    let lines = format!(
        "uid = nobody\ngid = nogroup\npython = /usr/bin/python3\nextension = {}",
        extension.display()
    );
    let port = host.vassal_with("a.ini", "app", &lines);
    host.until(port, "one");
    host.wait("it is up", || all_up(&host, 1));
    let master = recorded(&host, "a.ini");
    host.kill_emperor();
    host.start_another();
    host.wait("it is up again", || all_up(&host, 1));
    assert_eq!(recorded(&host, "a.ini"), master);
    let (_, said) = host.ask(&["reload", "a.ini", "--wait"]);
    assert_eq!(get(port, "/").unwrap(), "one", "{said}");
    host.end();
}

#[test]
fn options_that_are_refused_end_a_start_for_good_but_leave_no_vassal_alone() {
    let mut host = Host::new();
    host.app("app", "", "one");
    let port = host.vassal("a.ini", "app");
    host.until(port, "one");
    let clients = Clients::start(port);
    let master = recorded(&host, "a.ini");
    host.kill_emperor();
    host.say(&["--emperor-broodlord", "3"]);
    host.start_another();
    host.wait("a taking over", || host.log().contains("[a.ini] adopted"));
    let log = host.log();
    assert!(
        log.contains("emperor-broodlord: liege does not do this") && log.contains("are taken over"),
        "{log}"
    );
    assert_eq!(recorded(&host, "a.ini"), master);
    assert!(all_up(&host, 1));
    // Who only looks at it learns of it, too.
    for look in [&["status"][..], &["why", "a.ini"]] {
        let (_, said) = host.ask(look);
        assert!(said.contains("its options are refused") && said.contains("emperor-broodlord"), "{said}");
    }
    // It is an emperor like any other: options that are refused still are no reason to become another image.
    host.signal_emperor("HUP");
    host.wait("a refusal", || host.log().contains("failed its rehearsal: exit status 78: "));
    assert_eq!(clients.end(), Vec::<String>::new());
    host.signal_emperor("TERM");
    host.wait("its end", || recorded(&host, "a.ini").is_empty());
    assert_eq!(host.second_emperor().code(), Some(78));
}
