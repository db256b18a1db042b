//! Where vassals come from, and what may happen to it: whatever it is, the emperor converges to what is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use liege::config::emperor::{EmperorSpec, Source};

use crate::stage::{Stage, is_alive};

fn over(patterns: &'static [&'static str]) -> impl FnOnce(&mut EmperorSpec, &Path) {
    |spec, base| spec.sources = patterns.iter().map(|name| Source::Pattern(base.join(name))).collect()
}

#[test]
fn sites_that_match_a_pattern_come_and_go() {
    let stage = Stage::under(&[], &[], over(&["sites/*/conf/app.*", "single.yaml"]));
    stage.until("! single.yaml", "no such file");
    stage.wait("where the sites are is missing", || stage.log().contains("cannot list"));
    let add = |site: &str, file: &str| {
        fs::create_dir_all(stage.path(&format!("sites/{site}/conf"))).unwrap();
        fs::write(stage.path(&format!("sites/{site}/conf/{file}")), "").unwrap();
    };
    let id = |site: &str| stage.path(&format!("sites/{site}/conf/app.ini")).display().to_string();
    add("a", "app.ini");
    stage.until(&id("a"), "Up");
    add("b", "app.ini");
    add("b", "other.ini");
    stage.until(&id("b"), "Up");
    assert!(stage.fakes().iter().any(|line| line.ends_with("in ") || line.ends_with("sites/b/conf")));
    fs::write(stage.path("single.yaml"), "").unwrap();
    stage.until("single.yaml", "Up");
    // A site is made first, and gets its configuration later.
    fs::create_dir(stage.path("sites/c")).unwrap();
    add("c", "app.ini");
    stage.until(&id("c"), "Up");
    let pid = stage.pid(&id("a"));
    fs::remove_dir_all(stage.path("sites/a")).unwrap();
    stage.wait("the site is gone", || stage.line(&id("a")).is_empty());
    assert!(!is_alive(pid));
    assert!(stage.line("other.ini").is_empty());
}

#[test]
fn a_watched_link_follows_to_where_it_leads_now() {
    let stage = Stage::under(&[], &[("a.ini", ""), ("b.ini", "")], |spec, base| {
        symlink("one", base.join("current")).unwrap();
        spec.sources = vec![Source::Directory(base.join("current"))];
    });
    stage.until("a.ini", "Up");
    stage.until("b.ini", "Up");
    let pid = stage.pid("a.ini");
    fs::write(stage.path("two/a.ini"), "print").unwrap();
    symlink("two", stage.path("next")).unwrap();
    fs::rename(stage.path("next"), stage.path("current")).unwrap();
    stage.wait("what is not there is stopped", || stage.line("b.ini").is_empty());
    stage.until("a.ini", "Swapped");
    assert_eq!(stage.pid("a.ini"), pid, "what is in both is reloaded");
    stage.write("late.ini", "");
    fs::write(stage.path("two/new.ini"), "").unwrap();
    stage.until("new.ini", "Up");
    assert!(stage.line("late.ini").is_empty());
}

#[test]
fn a_directory_that_is_deleted_and_made_again_ends_as_it_is_then() {
    let stage = Stage::new(&[("a.ini", ""), ("b.ini", "")]);
    stage.until("a.ini", "Up");
    stage.until("b.ini", "Up");
    let pid = stage.pid("a.ini");
    fs::remove_dir_all(stage.path("one")).unwrap();
    stage.wait("it is noticed", || stage.log().contains("cannot list"));
    assert!(is_alive(pid), "what runs goes on");
    fs::create_dir(stage.path("one")).unwrap();
    stage.write("a.ini", "");
    stage.wait("what is not there is stopped", || stage.line("b.ini").is_empty());
    stage.until("a.ini", "Up");
    stage.write("c.ini", "");
    stage.until("c.ini", "Up");
}

#[test]
fn changes_whose_events_were_lost_are_found() {
    let stage = Stage::new(&[("a.ini", ""), ("b.ini", "")]);
    stage.until("a.ini", "Up");
    stage.until("b.ini", "Up");
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    stage.signal_emperor("STOP");
    // Each is at least two events, and more than all fit into nobody's queue.
    for n in 0..limit.trim().parse::<usize>().unwrap() {
        fs::write(stage.path(&format!("one/junk{}", n % 2)), "").unwrap();
    }
    fs::remove_file(stage.path("one/a.ini")).unwrap();
    stage.write("c.ini", "");
    stage.signal_emperor("CONT");
    stage.until("c.ini", "Up");
    stage.wait("a.ini is gone", || stage.line("a.ini").is_empty());
}

#[test]
fn without_any_watch_the_rescan_finds_everything() {
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
        let before = ["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"];
        let stage = Stage::under(&before, &[("a.ini", ""), ("b.ini", "")], |spec, _| spec.rescan_ms = 1000);
        stage.until("a.ini", "Up");
        stage.until("b.ini", "Up");
        assert!(stage.log().contains("are noticed by the rescan only"), "{limit}: {}", stage.log());
        stage.write("a.ini", "changed");
        stage.until("a.ini", "Swapped");
        stage.write("c.ini", "");
        stage.until("c.ini", "Up");
        fs::remove_file(stage.path("one/b.ini")).unwrap();
        stage.wait("b.ini is gone", || stage.line("b.ini").is_empty());
    }
}

#[test]
fn a_link_that_counts_itself_is_not_reloaded_for_its_target() {
    let stage = Stage::under(&[], &[("plain.ini", "")], |spec, base| {
        spec.nofollow = true;
        fs::write(base.join("target"), "").unwrap();
        symlink("../target", base.join("one/a.ini")).unwrap();
    });
    stage.until("a.ini", "Up");
    fs::write(stage.path("target"), "print").unwrap();
    // What happens to this one shows that enough time has passed for the other.
    stage.write("plain.ini", "print");
    stage.until("plain.ini", "Swapped");
    assert!(stage.line("a.ini").contains("reload=None"), "{}", stage.line("a.ini"));
    symlink("../target", stage.path("one/.new")).unwrap();
    fs::rename(stage.path("one/.new"), stage.path("one/a.ini")).unwrap();
    stage.until("a.ini", "Swapped");
}
