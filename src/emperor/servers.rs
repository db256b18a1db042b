//! What is known of the servers of mounted file systems: before the emperor touches anything that lies on one, the server
//! must have answered a question that was asked after the need arose. Asking is others' work.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::mounts::{Mount, Table};
use crate::tick::Tick;

/// A server that has not answered after this time does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A need, by its number: the later, the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need(u64);

/// Whether something can be touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It lies on no server, or on one that answers.
    Now,
    /// Its server is asked, and will answer or not within [`PATIENCE`].
    Soon,
    /// Its server does not answer, which this says.
    Not(String),
}

/// A question for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The mount, by its number.
    pub mount: u64,
    /// Where it is asked.
    pub door: PathBuf,
}

/// What changed with an answer, or without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This one does not answer any more.
    Silent(String),
    /// This one answers again.
    Back(String),
}

/// The servers that something is needed of.
#[derive(Debug, Default)]
pub struct Servers {
    table: RefCell<Table>,
    known: RefCell<BTreeMap<u64, Server>>,
    last: Cell<u64>,
    /// What is being done now is done for this need …
    need: Cell<Need>,
    /// … and has met a server that must be asked first.
    lacks: Cell<bool>,
}

#[derive(Debug)]
struct Server {
    mount: Mount,
    door: PathBuf,
    /// The need that the last question that was answered came after.
    answered: Need,
    /// The same of the question that is not answered yet, and since when that is out.
    asked: Option<(Need, Tick)>,
    /// Whether it is to be asked, as soon as it is not being asked.
    wanted: bool,
    /// Whether something was needed of it since the sources were listed last.
    used: bool,
    /// Why nothing of it can be touched.
    silence: Option<String>,
}

impl Servers {
    /// Those of what is mounted now. Where that cannot be known nobody is asked.
    #[must_use]
    pub fn of_host() -> Self {
        let servers = Self::default();
        servers.look_again();
        servers
    }

    /// Something was mounted or unmounted.
    pub fn look_again(&self) {
        let Ok(table) = Table::read() else { return };
        self.known.borrow_mut().retain(|_, server| table.has(&server.mount));
        self.table.replace(table);
    }

    /// A new need.
    pub fn need(&self) -> Need {
        self.last.set(self.last.get() + 1);
        Need(self.last.get())
    }

    /// From now on things are touched for this need.
    pub fn begin(&self, need: Need) {
        self.need.set(need);
        self.lacks.set(false);
    }

    /// Whether a server must be asked before what was begun can be done.
    pub fn is_lacking(&self) -> bool {
        self.lacks.get()
    }

    /// Whether something that is about to be touched for what was [begun](Self::begin) can be.
    ///
    /// # Errors
    /// Its server does not answer, or must be asked first.
    pub fn pass(&self, path: &Path) -> io::Result<()> {
        match self.reach(path, self.need.get()) {
            Reach::Now => Ok(()),
            Reach::Soon => {
                self.lacks.set(true);
                Err(io::Error::new(io::ErrorKind::WouldBlock, "its server is being asked"))
            }
            Reach::Not(reason) => Err(io::Error::new(io::ErrorKind::TimedOut, reason)),
        }
    }

    /// Whether what this path leads to can be touched for a need, and all on the way there.
    pub fn reach(&self, path: &Path, need: Need) -> Reach {
        let mut known = self.known.borrow_mut();
        let passed = self.table.borrow().pass(path, |mount, path| {
            let server = known.entry(mount.id).or_insert_with(|| Server::new(mount, path));
            server.used = true;
            match &server.silence {
                Some(reason) => Err(Reach::Not(reason.clone())),
                None if server.answered >= need => Ok(()),
                None => {
                    (server.wanted, server.door) = (true, mount.door(path));
                    Err(Reach::Soon)
                }
            }
        });
        passed.err().unwrap_or(Reach::Now)
    }

    /// Whether no server is on the way of this path.
    pub fn is_near(&self, path: &Path) -> bool {
        self.table.borrow().pass(path, |_, _| Err(())).is_ok()
    }

    /// The sources are to be listed: those of whom something was needed the last time have to answer before.
    pub fn ask_as_last_time(&self) {
        let need = self.need.get();
        for server in self.known.borrow_mut().values_mut() {
            let was_used = std::mem::take(&mut server.used);
            if was_used && server.silence.is_none() && server.answered < need {
                (server.wanted, server.used) = (true, true);
                self.lacks.set(true);
            }
        }
    }

    /// What is to be asked now.
    pub fn questions(&self, now: Tick) -> Vec<Question> {
        let need = Need(self.last.get());
        let mut known = self.known.borrow_mut();
        let to_ask = known.iter_mut().filter(|(_, server)| server.wanted && server.asked.is_none());
        to_ask
            .map(|(mount, server)| {
                (server.wanted, server.asked) = (false, Some((need, now)));
                Question { mount: *mount, door: server.door.clone() }
            })
            .collect()
    }

    /// The question to this server was answered, or why nobody could ask it. One that was silent has to answer the next
    /// question in time before it counts as there again.
    pub fn answered(&self, mount: u64, answer: Result<(), String>, now: Tick) -> Option<Turn> {
        let mut known = self.known.borrow_mut();
        let server = known.get_mut(&mount)?;
        let (need, since) = server.asked.take()?;
        if let Err(error) = answer {
            server.wanted = true;
            return server.fall_silent(format!("the server of {} cannot be asked: {error}", server.name()));
        }
        if server.silence.is_some() && since + PATIENCE <= now {
            server.wanted = true;
            return None;
        }
        server.answered = need;
        server.silence.take().map(|_| Turn::Back(format!("the server of {} answers again", server.name())))
    }

    /// Nobody waits any longer for those that are asked, or are to be.
    pub fn give_up(&self) {
        for server in self.known.borrow_mut().values_mut() {
            if server.asked.is_some() || server.wanted {
                server.fall_silent(server.no_answer());
            }
        }
    }

    /// Whether this mount is there still, and something was needed of it.
    pub fn has(&self, mount: u64) -> bool {
        self.known.borrow().contains_key(&mount)
    }

    /// When the patience with one of them ends.
    pub fn next_deadline(&self) -> Option<Tick> {
        let known = self.known.borrow();
        let heard = known.values().filter(|server| server.silence.is_none());
        heard.filter_map(|server| server.asked.map(|(_, since)| since + PATIENCE)).min()
    }

    /// The patience with these is at its end.
    pub fn catch_up(&self, now: Tick) -> Vec<Turn> {
        let mut known = self.known.borrow_mut();
        let is_late = |server: &&mut Server| server.asked.is_some_and(|(_, since)| since + PATIENCE <= now);
        let late = known.values_mut().filter(is_late);
        late.filter_map(|server| server.fall_silent(server.no_answer())).collect()
    }
}

impl Server {
    fn new(mount: &Mount, path: &Path) -> Self {
        Self {
            mount: mount.clone(),
            door: mount.door(path),
            answered: Need::default(),
            asked: None,
            wanted: false,
            used: false,
            silence: None,
        }
    }

    fn name(&self) -> String {
        format!("{} ({})", self.mount.place.display(), self.mount.kind)
    }

    fn no_answer(&self) -> String {
        format!("the server of {} does not answer", self.name())
    }

    /// The first reason counts.
    fn fall_silent(&mut self, reason: String) -> Option<Turn> {
        self.silence.is_none().then(|| Turn::Silent(self.silence.insert(reason).clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers of which one is at `/far`, another at `/other`.
    fn servers() -> Servers {
        let table =
            "1 0 8:1 / / rw - ext4 d rw\n2 1 0:9 / /far rw - nfs h:/ rw\n3 1 0:8 / /other rw - 9p o rw\n";
        Servers { table: Table::parse(table.as_bytes()).into(), ..Servers::default() }
    }

    const FAR: &str = "/far/v/a.ini";

    fn ms(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn asked(servers: &Servers, at_ms: u64) -> Vec<u64> {
        servers.questions(ms(at_ms)).into_iter().map(|question| question.mount).collect()
    }

    #[test]
    fn only_an_answer_to_a_question_after_the_need_counts() {
        let servers = servers();
        let reach = |need| servers.reach(Path::new(FAR), need);
        let first = servers.need();
        assert_eq!(servers.reach(Path::new("/near/a.ini"), first), Reach::Now);
        assert!(asked(&servers, 0).is_empty());
        assert_eq!(reach(first), Reach::Soon);
        assert_eq!(asked(&servers, 0), [2]);
        assert!(asked(&servers, 0).is_empty(), "one question at a time");
        let second = servers.need();
        assert_eq!(reach(second), Reach::Soon);
        assert_eq!(servers.answered(2, Ok(()), ms(5)), None);
        assert_eq!((reach(first), reach(second)), (Reach::Now, Reach::Soon));
        assert_eq!(asked(&servers, 5), [2]);
        assert_eq!(servers.answered(2, Ok(()), ms(6)), None);
        assert_eq!(reach(second), Reach::Now);
        assert_eq!(servers.answered(2, Ok(()), ms(7)), None, "nobody has asked");
        assert_eq!(servers.next_deadline(), None);
    }

    #[test]
    fn a_silent_server_is_told_once_and_must_be_quick_to_be_back() {
        let servers = servers();
        let need = servers.need();
        servers.begin(need);
        assert!(servers.pass(Path::new(FAR)).is_err() && servers.is_lacking());
        assert_eq!(asked(&servers, 0), [2]);
        assert_eq!((servers.next_deadline(), servers.catch_up(ms(999))), (Some(ms(1000)), Vec::new()));
        let silence = "the server of /far (nfs) does not answer".to_owned();
        assert_eq!(servers.catch_up(ms(1000)), [Turn::Silent(silence.clone())]);
        assert_eq!((servers.next_deadline(), servers.catch_up(ms(9000))), (None, Vec::new()));
        servers.begin(servers.need());
        assert_eq!(servers.pass(Path::new(FAR)).unwrap_err().to_string(), silence);
        servers.ask_as_last_time();
        assert!(!servers.is_lacking(), "nobody waits for it");
        assert_eq!(servers.answered(2, Ok(()), ms(9500)), None, "too late");
        assert_eq!(asked(&servers, 9500), [2]);
        assert_eq!(servers.answered(2, Err("gone".to_owned()), ms(9600)), None);
        assert_eq!(asked(&servers, 9600), [2]);
        let back = Turn::Back("the server of /far (nfs) answers again".to_owned());
        assert_eq!(servers.answered(2, Ok(()), ms(9700)), Some(back));
        assert_eq!(servers.reach(Path::new(FAR), servers.need()), Reach::Soon, "it is asked anew");
    }

    #[test]
    fn whom_nobody_can_ask_is_told_and_who_is_given_up_is_not() {
        let servers = servers();
        let reach = || servers.reach(Path::new(FAR), servers.need());
        assert_eq!((reach(), asked(&servers, 0)), (Reach::Soon, vec![2]));
        let why = "the server of /far (nfs) cannot be asked: no process".to_owned();
        let told = servers.answered(2, Err("no process".to_owned()), ms(1));
        assert_eq!(told, Some(Turn::Silent(why.clone())));
        assert_eq!(reach(), Reach::Not(why));
        assert_eq!(asked(&servers, 2), [2], "until somebody can");
        assert_eq!(servers.reach(Path::new("/other/a"), servers.need()), Reach::Soon);
        servers.give_up();
        assert!(matches!(servers.reach(Path::new("/other/a"), servers.need()), Reach::Not(_)));
    }

    #[test]
    fn only_who_was_needed_last_time_is_asked_before_a_listing() {
        let servers = servers();
        let (far, other) = (Path::new(FAR), Path::new("/other/a"));
        servers.begin(servers.need());
        assert!(servers.pass(far).is_err() && servers.pass(other).is_err());
        asked(&servers, 0);
        for mount in [2, 3] {
            servers.answered(mount, Ok(()), ms(1));
        }
        servers.begin(servers.need());
        servers.ask_as_last_time();
        assert_eq!((servers.is_lacking(), asked(&servers, 2)), (true, vec![2, 3]));
        for mount in [2, 3] {
            servers.answered(mount, Ok(()), ms(3));
        }
        servers.ask_as_last_time();
        assert!(servers.pass(far).is_ok());
        servers.begin(servers.need());
        servers.ask_as_last_time();
        assert_eq!(asked(&servers, 4), [2]);
        assert!(!servers.is_near(far) && servers.is_near(Path::new("/near")));
        servers.table.replace(Table::default());
        assert!(servers.pass(far).is_ok() && servers.is_near(far), "it is mounted no more");
    }
}
