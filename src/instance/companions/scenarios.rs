//! What is decided about companions, told as stories: each line is what happens and what must follow.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::cron::tests::berlin;
use super::decide::decide;
use super::*;
use crate::wire::companion::State;

const NOON: u64 = 1_767_265_200;

struct Story {
    companions: Companions,
    now_ms: u64,
    epoch_s: u64,
    did: Vec<Effect>,
}

impl Story {
    fn new(tasks: Vec<Task>) -> Self {
        let mut story =
            Self { companions: Companions::default(), now_ms: 1_000_000, epoch_s: NOON, did: Vec::new() };
        story.renew(tasks);
        story
    }

    fn happens(&mut self, event: Event) {
        let moment = Moment { now: Tick::from_ms(self.now_ms), epoch_s: self.epoch_s, local: &berlin };
        decide(&mut self.companions, event, &moment, &mut self.did);
        let (before, mut again) = (self.companions.clone(), Vec::new());
        decide(&mut self.companions, Event::Timer, &moment, &mut again);
        assert_eq!((again, &before), (Vec::new(), &self.companions), "settling twice does more than once");
        let overdue = self.companions.next_deadline().is_some_and(|at| at <= moment.now);
        assert!(!overdue, "the loop would spin\n{:#?}", self.companions);
        assert!(self.companions.next_alarm().is_none_or(|at| at > self.epoch_s), "the loop would spin");
        for companion in &self.companions.all {
            let most = if companion.task.stays() { 1 } else { 8 };
            assert!(companion.runs.len() <= most, "{companion:#?}");
        }
    }

    fn renew(&mut self, tasks: Vec<Task>) {
        self.happens(Event::Renew { tasks, mercy: Duration::from_secs(3) });
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            (self.now_ms, self.epoch_s) = (self.now_ms + 1000, self.epoch_s + 1);
            self.happens(Event::Timer);
        }
    }

    fn ends(&mut self, life: u64, how: &str, success: bool) {
        self.happens(Event::Ended { life, end: End { how: how.into(), success } });
        self.happens(Event::Gone { life, how: "exit status 0".into() });
    }

    /// What was done since this was asked last, without the words.
    fn did(&mut self) -> Vec<Effect> {
        let did = std::mem::take(&mut self.did);
        did.into_iter().filter(|effect| !matches!(effect, Effect::Log(_) | Effect::Tell(_))).collect()
    }

    fn states(&self) -> Vec<State> {
        self.companions.told().iter().map(|companion| companion.state).collect()
    }
}

fn daemon(command: &str) -> Task {
    Task::Daemon(DaemonSpec::attached(command))
}

fn smart(text: &str, held: bool) -> Task {
    Task::Daemon(DaemonSpec::smart(text, held, Path::new("/")).unwrap())
}

fn keyval(text: &str) -> Task {
    Task::Daemon(DaemonSpec::keyval(text, Path::new("/")).unwrap().0)
}

fn mule(number: usize, code: &str) -> Task {
    let (mut mule, _) = MuleSpec::new(number - 1, code, Path::new("/"));
    (mule.mercy_s, mule.touch) = (60, vec!["/touched".into()]);
    Task::Mule(mule)
}

fn cron(text: &str, unique: bool) -> Task {
    Task::Cron(CronSpec::parse(text, unique).unwrap())
}

const fn start(number: u64, life: u64) -> Effect {
    Effect::Start { number, life }
}

const fn signal(life: u64, signal: i32) -> Effect {
    Effect::Signal { life, signal }
}

#[test]
fn a_mule_is_followed_by_the_next_of_its_number_and_never_beside_it() {
    let mut story = Story::new(vec![mule(1, ""), mule(2, "x.py")]);
    assert_eq!(story.did(), [start(1, 1), start(2, 2)]);
    // At a reload each is asked, and the next one waits for its end, however long its own mercy lets that take.
    story.renew(vec![mule(1, ""), mule(2, "x.py")]);
    assert_eq!(story.did(), [signal(1, 15), signal(2, 15)]);
    story.ends(1, "exit status 0", true);
    assert_eq!(story.did(), [start(1, 3)]);
    story.pass(59);
    assert_eq!((story.did(), story.states()[1]), (vec![], State::Stopping));
    story.pass(1);
    assert_eq!(story.did(), [Effect::Kill { life: 2 }]);
    story.ends(2, "signal 9", false);
    assert_eq!(story.did(), [start(2, 4)]);
    // A touched file, an end that nobody asked for, a file that says less.
    story.happens(Event::Touched("/touched".into()));
    assert_eq!(story.did(), [signal(3, 15), signal(4, 15)]);
    story.ends(3, "exit status 0", true);
    story.ends(4, "exit status 0", true);
    assert_eq!(story.did(), [start(1, 5), start(2, 6)]);
    story.ends(5, "signal 11", false);
    assert_eq!((story.did(), story.states()[0]), (vec![], State::Resting));
    story.pass(1);
    assert_eq!(story.did(), [start(1, 7)]);
    story.renew(vec![mule(1, "")]);
    assert_eq!(story.did(), [signal(7, 15), signal(6, 15)]);
    story.ends(6, "exit status 0", true);
    story.ends(7, "exit status 0", true);
    assert_eq!(story.did(), [start(1, 8)]);
    // The end of the instance; an emperor's limit is shorter than the mercy of a mule.
    let by = Tick::from_ms(story.now_ms + 2000);
    story.happens(Event::Part(Some(by)));
    assert_eq!(story.did(), [signal(8, 15)]);
    story.pass(2);
    assert_eq!(story.did(), [Effect::Kill { life: 8 }]);
    story.ends(8, "signal 9", false);
    assert_eq!(story.did(), [Effect::Alone]);
}

#[test]
fn a_daemon_that_does_not_stay_rests_longer_and_longer_up_to_its_limit() {
    let mut story = Story::new(vec![keyval("cmd=a,max_throttle=2")]);
    assert_eq!(story.did(), [start(1, 1)]);
    for (life, rests_s) in [(1, 1), (2, 2), (3, 2)] {
        story.happens(Event::Started { life, pid: 7 });
        story.ends(life, "exit status 1", false);
        assert_eq!(story.states(), [State::Resting]);
        story.pass(rests_s - 1);
        assert_eq!(story.did(), []);
        story.pass(1);
        assert_eq!(story.did(), [start(1, life + 1)]);
    }
    // One that lived for a while is back at once; one that has proved itself begins anew.
    story.pass(10);
    story.ends(4, "signal 9", false);
    assert_eq!(story.did(), [start(1, 5)]);
    story.pass(100);
    story.ends(5, "signal 9", false);
    story.ends(6, "exit status 1", false);
    story.pass(1);
    assert_eq!(story.did(), [start(1, 6), start(1, 7)]);
    let told = &story.companions.told()[0];
    assert_eq!((told.starts, told.failures), (7, 6));
    assert_eq!(told.last_exit.as_ref().unwrap().how, "exit status 1");
}

#[test]
fn a_reload_renews_what_is_attached_and_leaves_what_is_smart() {
    let tasks = || {
        vec![
            daemon("a"),
            smart("/b.pid b", true),
            keyval("cmd=c,reloadsignal=1"),
            keyval("cmd=d,pidfile=/d.pid,daemonize=1,notifypid=1"),
            daemon("e"),
        ]
    };
    let mut story = Story::new(tasks());
    assert_eq!(
        story.did(),
        [Effect::Look { number: 2 }, Effect::Look { number: 4 }, start(1, 1), start(3, 2), start(5, 3)]
    );
    story.happens(Event::Looked { number: 2, pid: None });
    story.happens(Event::Looked { number: 4, pid: None });
    assert_eq!(story.did(), [start(2, 4), start(4, 5)]);
    let mut fewer = tasks();
    fewer.truncate(4);
    fewer.push(daemon("new"));
    story.renew(fewer);
    // a ends and comes again, b goes on, c gets its signal, d is told, e ends for good, new is there.
    assert_eq!(story.did(), [signal(1, 15), signal(2, 1), signal(5, 1), signal(3, 15), start(6, 6)]);
    story.ends(1, "signal 15", false);
    story.ends(3, "signal 15", false);
    assert_eq!(story.did(), [start(1, 7)]);
    let names: Vec<_> = story.companions.told().into_iter().map(|told| told.name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "new"]);
    assert_eq!(story.companions.told()[0].failures, 0, "it was asked to end");
}

#[test]
fn what_does_not_end_is_killed_and_then_all_is_over_once() {
    let mut story =
        Story::new(vec![daemon("a"), keyval("cmd=b,stopsignal=2"), cron("0 3 -1 -1 -1 c", false)]);
    story.did();
    story.happens(Event::Part(None));
    assert_eq!(story.did(), [signal(1, 15), signal(2, 2)]);
    story.ends(2, "signal 2", false);
    story.pass(2);
    assert_eq!(story.did(), []);
    story.pass(1);
    assert_eq!(story.did(), [Effect::Kill { life: 1 }]);
    story.happens(Event::Gone { life: 1, how: "signal 9".into() });
    assert_eq!(story.did(), [Effect::Alone]);
    story.happens(Event::Part(None));
    story.renew(vec![daemon("a")]);
    assert_eq!(story.did(), []);

    // Whoever waits not so long gets it sooner; nobody there is over at once.
    let mut story = Story::new(vec![daemon("a")]);
    story.did();
    let by = Tick::from_ms(story.now_ms + 1000);
    story.happens(Event::Part(Some(by)));
    story.pass(1);
    assert_eq!(story.did(), [signal(1, 15), Effect::Kill { life: 1 }]);
    let mut story = Story::new(vec![]);
    story.happens(Event::Part(None));
    assert_eq!(story.did(), [Effect::Alone]);
}

#[test]
fn a_control_daemon_takes_the_instance_with_it() {
    let mut story = Story::new(vec![keyval("cmd=a,control=1"), daemon("b")]);
    story.did();
    story.ends(1, "exit status 0", true);
    assert_eq!(story.did(), [Effect::Stop]);
    story.happens(Event::Part(None));
    story.ends(2, "signal 15", false);
    assert_eq!(story.did(), [signal(2, 15), Effect::Alone]);
}

#[test]
fn a_smart_daemon_is_found_by_its_pid_file() {
    let mut story = Story::new(vec![smart("/a.pid,3 a", false)]);
    story.happens(Event::Looked { number: 1, pid: Some(40) });
    assert_eq!(story.did(), [Effect::Look { number: 1 }, Effect::Watch { number: 1, pid: 40 }]);
    assert_eq!(story.companions.told()[0].pid, Some(40));
    story.happens(Event::StrangerGone { number: 1, pid: 39 });
    assert_eq!(story.did(), [], "that is another one");
    story.happens(Event::StrangerGone { number: 1, pid: 40 });
    story.happens(Event::Looked { number: 1, pid: None });
    assert_eq!(story.did(), [Effect::Look { number: 1 }, start(1, 1)]);
    // It goes to the background; its pid file is written later.
    story.happens(Event::Started { life: 1, pid: 50 });
    story.happens(Event::Ended { life: 1, end: End { how: "exit status 0".into(), success: true } });
    story.happens(Event::Looked { number: 1, pid: None });
    assert_eq!(story.did(), [Effect::Look { number: 1 }]);
    story.pass(1);
    assert_eq!(story.did(), [Effect::Look { number: 1 }]);
    story.happens(Event::Looked { number: 1, pid: Some(51) });
    story.pass(20);
    assert_eq!((story.did(), story.companions.told()[0].pid), (vec![], Some(51)));
    // All of it is gone; perhaps it has started itself anew elsewhere.
    story.happens(Event::Gone { life: 1, how: "exit status 0".into() });
    story.happens(Event::Looked { number: 1, pid: None });
    assert_eq!(story.did(), [Effect::Look { number: 1 }, start(1, 2)]);
    // One that never writes it is told of once.
    story.pass(3);
    story.happens(Event::Looked { number: 1, pid: None });
    story.pass(20);
    assert_eq!(story.did(), [Effect::Look { number: 1 }]);
}

#[test]
fn touched_files_restart_daemons_and_run_commands() {
    let touch = Task::Touch(TouchExec { file: "/t".into(), command: "x".into() });
    let mut story = Story::new(vec![keyval("cmd=a,touch=/t;/u"), touch]);
    assert_eq!(story.did(), [start(1, 1)]);
    story.happens(Event::Touched("/t".into()));
    assert_eq!(story.did(), [signal(1, 15), start(2, 2)]);
    story.happens(Event::Touched("/other".into()));
    story.ends(1, "signal 15", false);
    assert_eq!(story.did(), [start(1, 3)]);
    for _ in 0..20 {
        story.happens(Event::Touched("/t".into()));
    }
    let starts = story.did().iter().filter(|effect| matches!(effect, Effect::Start { .. })).count();
    assert_eq!(starts, 7, "only so many run at the same time");
}

#[test]
fn commands_run_in_their_minute_once() {
    // It is noon in Berlin and 12:00:00.
    let mut story = Story::new(vec![cron("-1 -1 -1 -1 -1 a", true), cron("0 12 -1 -1 -1 b", false)]);
    assert_eq!(story.did(), [start(1, 1), start(2, 2)]);
    story.ends(2, "exit status 1", false);
    assert_eq!(story.companions.told()[1].failures, 1);
    story.pass(59);
    assert_eq!(story.did(), []);
    story.pass(1);
    assert_eq!(story.did(), [], "the first still runs, and is unique");
    story.ends(1, "exit status 0", true);
    // A reload changes nothing: neither does it run what ran in this minute.
    story.renew(vec![cron("-1 -1 -1 -1 -1 a", true), cron("0 12 -1 -1 -1 b", false)]);
    story.pass(60);
    assert_eq!(story.did(), [start(1, 3)]);
    // The machine slept for an hour: what it missed is not made up for.
    story.epoch_s += 3600;
    story.happens(Event::Timer);
    assert_eq!(story.did(), []);
    let told = story.companions.told();
    assert_eq!(told[1].next_epoch_s, Some(NOON + 86_400));
    // A clock that is set back by little runs nothing again; by much, it counts anew.
    story.epoch_s -= 1800;
    story.happens(Event::Timer);
    assert_eq!(story.companions.told()[1].next_epoch_s, Some(NOON + 86_400));
    story.epoch_s = NOON - 86_400 * 7 + 1;
    story.happens(Event::Timer);
    assert_eq!(story.companions.told()[1].starts, 2);
    assert_eq!(story.companions.told()[1].next_epoch_s, Some(NOON - 86_400 * 6));
}

#[test]
fn a_command_that_overruns_is_killed() {
    let mut slow = CronSpec::parse("0 12 -1 -1 -1 b", false).unwrap();
    slow.harakiri_s = Some(5);
    let mut story = Story::new(vec![Task::Cron(slow)]);
    story.pass(4);
    assert_eq!(story.did(), [start(1, 1)]);
    story.pass(1);
    assert_eq!(story.did(), [Effect::Kill { life: 1 }]);
}

fn any_event() -> impl Strategy<Value = Event> {
    let life = 1..12_u64;
    let number = 1..8_u64;
    let tasks = proptest::collection::vec(0..6_usize, 0..5).prop_map(|picked| {
        let all = [
            daemon("a"),
            keyval("cmd=b,control=1,touch=/t"),
            smart("/c.pid c", false),
            smart("/d.pid d", true),
            cron("-1 -1 -1 -1 -1 e", true),
            Task::Touch(TouchExec { file: "/t".into(), command: "f".into() }),
        ];
        picked.into_iter().filter_map(|at| all.get(at).cloned()).collect()
    });
    prop_oneof![
        tasks.prop_map(|tasks| Event::Renew { tasks, mercy: Duration::from_secs(3) }),
        (number.clone(), proptest::option::of(1..5_u32))
            .prop_map(|(number, pid)| Event::Looked { number, pid }),
        (number, 1..5_u32).prop_map(|(number, pid)| Event::StrangerGone { number, pid }),
        (life.clone(), 1..99_u32).prop_map(|(life, pid)| Event::Started { life, pid }),
        life.clone().prop_map(|life| Event::Failed { life, failure: Failure::new("no") }),
        (life.clone(), any::<bool>())
            .prop_map(|(life, success)| Event::Ended { life, end: End { how: "so".into(), success } }),
        life.prop_map(|life| Event::Gone { life, how: "gone".into() }),
        Just(Event::Touched("/t".into())),
        Just(Event::Part(None)),
        Just(Event::Timer),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: no more runs than there may be, no deadline that stays, and every stop ends.
    #[test]
    fn no_history_confuses_them(history in proptest::collection::vec((any_event(), 0..5_u64), 0..60)) {
        let mut story = Story::new(vec![]);
        for (event, seconds) in history {
            story.happens(event);
            story.pass(seconds);
        }
        story.happens(Event::Part(None));
        story.pass(4);
        let lives: Vec<u64> = story.companions.all.iter().flat_map(|c| &c.runs).map(|run| run.life).collect();
        for life in lives {
            story.happens(Event::Gone { life, how: "signal 9".into() });
        }
        prop_assert_eq!(story.companions.stage, Stage::Gone);
        let alone = story.did.iter().filter(|effect| **effect == Effect::Alone).count();
        prop_assert_eq!(alone, 1);
    }
}
