//! Where vassals come from, and what may happen to it: whatever it is, the emperor converges to what is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use liege::config::emperor::{EmperorSpec, Source};

use crate::far::Far;
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

/// The limit is the host's, and other programs may free what they have.
#[test]
fn when_there_can_be_watches_again_changes_are_noticed_at_once() {
    let limit = "/proc/sys/user/max_inotify_instances";
    let raise =
        format!("while [ -e $STAGE/spec ] && ! [ -e $STAGE/more ]; do sleep 0.1; done; echo 9 > {limit}");
    let script = format!("echo 0 > {limit} && {{ {{ {raise}; }} & exec \"$@\"; }}");
    let before = ["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"];
    let stage = Stage::under(&before, &[("a.ini", "")], |_, base| {
        fs::create_dir(base.join("far")).unwrap();
        fs::write(base.join("far/target"), "").unwrap();
        symlink("../far/target", base.join("one/link.ini")).unwrap();
    });
    stage.until("a.ini", "Up");
    stage.until("link.ini", "Up");
    assert!(stage.log().contains("max_user_instances"), "{}", stage.log());
    fs::write(stage.path("more"), "").unwrap();
    stage.wait("watches", || stage.log().contains("are noticed at once again"));
    // The rescan would find it after a minute, which nobody waits here.
    fs::write(stage.path("far/target"), "print").unwrap();
    stage.until("link.ini", "Swapped");
    stage.write("b.ini", "");
    stage.until("b.ini", "Up");
}

#[test]
fn what_changes_on_a_file_system_of_others_is_found() {
    let mut far = None;
    let stage = Stage::under(&[], &[], |spec, base| {
        fs::create_dir_all(base.join("real/v")).unwrap();
        fs::write(base.join("real/v/a.ini"), "").unwrap();
        fs::write(base.join("real/target"), "").unwrap();
        symlink("../far/target", base.join("one/link.ini")).unwrap();
        far = Far::mount(&base.join("real"), &base.join("far"));
        spec.sources = ["one", "far/v"].map(|name| Source::Directory(base.join(name))).to_vec();
    });
    let Some(mut far) = far else { return };
    stage.until("a.ini", "Up");
    stage.until("link.ini", "Up");
    for why in
        ["far/v are noticed by the rescan only: others", "by the rescan only: link.ini leads on: others"]
    {
        stage.wait(why, || stage.log().contains(why));
    }
    let pid = stage.pid("a.ini");
    for (name, id) in [("v/a.ini", "a.ini"), ("target", "link.ini")] {
        fs::write(stage.path("real").join(name), "print").unwrap();
        stage.until(id, "Swapped");
    }
    fs::write(stage.path("real/v/c.ini"), "").unwrap();
    stage.until("c.ini", "Up");
    fs::remove_file(stage.path("real/v/c.ini")).unwrap();
    stage.wait("c.ini is gone", || stage.line("c.ini").is_empty());
    // A directory that is away for a while, and a server.
    fs::rename(stage.path("real/v"), stage.path("real/away")).unwrap();
    stage.wait("it is noticed", || stage.log().contains("cannot list"));
    fs::rename(stage.path("real/away"), stage.path("real/v")).unwrap();
    fs::write(stage.path("real/v/d.ini"), "").unwrap();
    stage.until("d.ini", "Up");
    far.crash();
    stage.wait("it is noticed", || stage.log().contains("not connected"));
    assert_eq!(stage.pid("a.ini"), pid, "what runs goes on");
    drop(far);
    let far = Far::mount(&stage.path("real"), &stage.path("far"));
    fs::remove_file(stage.path("real/v/d.ini")).unwrap();
    stage.wait("d.ini is gone", || stage.line("d.ini").is_empty());
    assert_eq!(stage.pid("a.ini"), pid, "what runs goes on");
    drop(far);
}

#[test]
fn only_what_lies_on_a_silent_server_waits() {
    let mut far = None;
    let mut stage = Stage::under(&[], &[("near.ini", "")], |spec, base| {
        fs::create_dir_all(base.join("real/v")).unwrap();
        fs::write(base.join("real/v/a.ini"), "").unwrap();
        fs::write(base.join("real/v/served.ini"), "").unwrap();
        fs::write(base.join("real/target"), "").unwrap();
        symlink("../far/target", base.join("one/link.ini")).unwrap();
        far = Far::mount(&base.join("real"), &base.join("far"));
        spec.sources = ["one", "far/v"].map(|name| Source::Directory(base.join(name))).to_vec();
    });
    let Some(far) = far else { return };
    for id in ["near.ini", "a.ini", "served.ini", "link.ini"] {
        stage.until(id, "Up");
    }
    let served = ["served.ini", "link.ini"].map(|id| stage.pid(id));
    far.stop(true);
    stage.wait("it is told", || stage.log().contains("does not answer: what lies there waits"));
    fs::write(stage.path("real/v/b.ini"), "").unwrap();
    fs::write(stage.path("real/target"), "print").unwrap();
    // Everything else goes on.
    stage.write("near.ini", "print");
    stage.until("near.ini", "Swapped");
    stage.write("late.ini", "");
    stage.until("late.ini", "Up");
    // What dies there is tried again and again.
    stage.signal(stage.pid("a.ini"), "KILL");
    stage.wait("it cannot be started", || stage.log().contains("v/a.ini: the server of "));
    symlink("../far/v/a.ini", stage.path("one/new.ini")).unwrap();
    stage.until("! new.ini", "does not answer");
    assert_eq!(stage.log().matches("what lies there waits").count(), 1, "{}", stage.log());
    // Not even another image waits for it.
    fs::write(stage.path("upgrade"), "").unwrap();
    stage.until("Running", "1");
    stage.write("near.ini", "");
    stage.wait("the next image works", || stage.line("near.ini").contains("Swapped"));
    stage.write("later.ini", "");
    stage.until("later.ini", "Up");
    far.stop(false);
    for id in ["a.ini", "b.ini", "new.ini"] {
        stage.until(id, "Up");
    }
    stage.until("link.ini", "Swapped");
    assert_eq!(["served.ini", "link.ini"].map(|id| stage.pid(id)), served, "what runs goes on");
    stage.wait("it is told", || stage.log().contains("answers again"));
    far.stop(true);
    let silences = || stage.log().matches("what lies there waits").count();
    stage.wait("it is told", || silences() == 3);
    assert!(stage.end().success());
    drop(far);
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

/// Changes that are not told are found after an hour only.
fn told(spec: &mut EmperorSpec, base: &Path, sources: &[&str]) {
    spec.rescan_ms = 3_600_000;
    spec.sources = sources.iter().map(|name| Source::Directory(base.join(name))).collect();
}

#[test]
fn what_a_link_leads_to_is_noticed_when_it_comes_to_be() {
    let stage = Stage::under(&[], &[], |spec, base| {
        symlink("../site/conf/app.ini", base.join("one/first.ini")).unwrap();
        told(spec, base, &["one"]);
    });
    stage.until("! first.ini", "leads nowhere");
    symlink("../site/conf/other.ini", stage.path("one/second.ini")).unwrap();
    stage.until("! second.ini", "leads nowhere");
    for _ in 0..2 {
        fs::create_dir(stage.path("site")).unwrap();
        fs::create_dir(stage.path("site/conf")).unwrap();
        fs::write(stage.path("site/conf/app.ini"), "").unwrap();
        stage.until("first.ini", "Up");
        fs::write(stage.path("site/conf/other.ini"), "").unwrap();
        stage.until("second.ini", "Up");
        fs::remove_dir_all(stage.path("site")).unwrap();
        for id in ["first.ini", "second.ini"] {
            stage.wait("it is gone", || stage.line(id).is_empty());
        }
    }
}

#[test]
fn a_directory_above_that_is_moved_is_noticed() {
    let stage = Stage::under(&[], &[], |spec, base| {
        for (release, file) in [("now", "a.ini"), ("next", "b.ini")] {
            let vassals = base.join(release).join("deep/vassals");
            fs::create_dir_all(&vassals).unwrap();
            fs::write(vassals.join(file), "").unwrap();
            fs::write(base.join(release).join("deep/target"), "").unwrap();
        }
        symlink("../now/deep/target", base.join("one/link.ini")).unwrap();
        told(spec, base, &["now/deep/vassals", "one"]);
    });
    stage.until("a.ini", "Up");
    stage.until("link.ini", "Up");
    for (from, to) in [("now", "before"), ("next", "now")] {
        fs::rename(stage.path(from), stage.path(to)).unwrap();
    }
    stage.until("b.ini", "Up");
    stage.wait("a.ini is gone", || stage.line("a.ini").is_empty());
    stage.until("link.ini", "Swapped");
    // What is there now is what is watched.
    fs::write(stage.path("now/deep/vassals/c.ini"), "").unwrap();
    stage.until("c.ini", "Up");
    fs::write(stage.path("before/deep/vassals/old.ini"), "").unwrap();
    fs::write(stage.path("now/deep/vassals/d.ini"), "").unwrap();
    stage.until("d.ini", "Up");
    assert!(stage.line("old.ini").is_empty());
}

#[test]
fn a_removed_directory_is_noticed_while_somebody_stands_in_it() {
    let stage = Stage::under(&[], &[], |spec, base| told(spec, base, &["one"]));
    stage.write("a.ini", "");
    stage.until("a.ini", "Up");
    let mut stands =
        Command::new("cat").current_dir(stage.path("one")).stdin(Stdio::piped()).spawn().unwrap();
    fs::remove_file(stage.path("one/a.ini")).unwrap();
    stage.wait("a.ini is gone", || stage.line("a.ini").is_empty());
    fs::remove_dir(stage.path("one")).unwrap();
    fs::create_dir(stage.path("one")).unwrap();
    stage.write("b.ini", "");
    stage.until("b.ini", "Up");
    drop(stands.stdin.take());
    stands.wait().unwrap();
}
