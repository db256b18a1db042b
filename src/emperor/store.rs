//! What the service manager keeps for the emperor: the sockets of its vassals, over its death and over a restart of the
//! service. Which of them, under which names, and what is written down about them; the doing is in `storing`.

use std::collections::{BTreeMap, BTreeSet};

use super::deposit::Deposit;
use super::fleet::FileIdentity;
use super::kept::SocketId;
use super::room::Room;
use crate::config::address::Listen;
use crate::config::tenant::Tenant;

/// The most sockets of one vassal: nobody takes the room of all others. Who has more has none kept.
pub const OF_ONE: usize = 16;
/// The most in all. They come back with all their names in one variable of the environment, which the kernel limits to
/// 128 KiB: a longer one, and the emperor could never be started again.
pub const MOST: usize = 4096;
/// The name of what the service manager is asked with; a socket's has a number above 0.
pub const QUESTION: &str = "room/0";
/// The longest name, in bytes: [`MOST`] of these, and some room for those of socket units.
const NAME: usize = 27;
const _: () = assert!(MOST * (NAME + 1) + 8 * 1024 < 128 * 1024);

/// What a vassal has now that is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whom it runs as.
    pub tenant: Option<Tenant>,
    /// It sleeps, and this was its file.
    pub asleep: Option<FileIdentity>,
    /// Its sockets; `None`: not all of them can be reached from here.
    pub sockets: Option<Vec<(SocketId, Listen)>>,
}

/// Why a vassal's sockets are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkept {
    /// It has so many.
    TooMany(usize),
    /// It has so many, for which there is no room beside those of others.
    NoRoom(usize),
    /// They are in a network of its own.
    Elsewhere,
}

/// Sockets that the service manager keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many.
    pub kept: usize,
    /// How many there is room for.
    pub most: usize,
    /// Why it keeps none, or less than it should.
    pub problem: Option<String>,
}

/// Something to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write down what is kept of a vassal.
    Write(Deposit),
    /// Nothing is kept of this vassal any more.
    Erase(String),
    /// The service manager is to close what has this name.
    Remove(String),
    /// It is to keep this socket under this name.
    Add(SocketId, String),
}

/// What is stored.
#[derive(Debug, Default)]
pub struct Store {
    room: Room,
    /// The name of each socket that has one.
    names: BTreeMap<SocketId, String>,
    /// Those that the service manager has.
    told: BTreeSet<SocketId>,
    /// Those of them that it was given since it had room for sure.
    doubtful: BTreeSet<SocketId>,
    /// Names of what is of no use.
    useless: BTreeSet<String>,
    /// What is written down.
    deposits: BTreeMap<String, Deposit>,
    /// Vassals whose sockets are not kept.
    left_out: BTreeMap<String, Unkept>,
    /// Those of which this was said.
    left_out_said: BTreeSet<String>,
    last: u64,
}

impl Store {
    /// An empty one of so much room.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { room: Room::new(most.min(MOST)), ..Self::default() }
    }

    /// How many there is room for.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// How many it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.told.len()
    }

    /// For how many more the service manager is to be asked; 0: for none, since nothing is in doubt.
    #[must_use]
    pub fn question(&self) -> usize {
        let has_no_room = |why: &Unkept| matches!(why, Unkept::NoRoom(_));
        let is_in_doubt = !self.doubtful.is_empty() || self.left_out.values().any(has_no_room);
        if is_in_doubt { self.room.question(self.count()) } else { 0 }
    }

    /// The service manager was asked for so many more while it had others, and has taken these. Where it takes none, what
    /// it was given before is in doubt, too.
    pub fn answer(&mut self, stored: usize, asked: usize, taken: usize) {
        self.room.answer(stored, asked, taken);
        let doubtful = std::mem::take(&mut self.doubtful);
        if taken == 0 {
            self.told.retain(|socket| !doubtful.contains(socket));
        }
    }

    /// Whose sockets are not kept, and why.
    #[must_use]
    pub const fn left_out(&self) -> &BTreeMap<String, Unkept> {
        &self.left_out
    }

    /// Those of which that was not said yet; it is while more may be known soon.
    pub fn newly_left_out(&mut self) -> Vec<String> {
        if self.question() > 0 {
            return Vec::new();
        }
        let now: BTreeSet<String> = self.left_out.keys().cloned().collect();
        let newly = now.difference(&self.left_out_said).cloned().collect();
        self.left_out_said = now;
        newly
    }

    /// The service manager has something under this name; `None`: it is no listener.
    pub fn has(&mut self, name: &str, socket: Option<SocketId>) {
        self.remembers(name, socket);
        self.told.extend(socket);
    }

    /// This is written down already. A name without its socket means nothing any more.
    pub fn knows(&mut self, deposit: Deposit) {
        let last = deposit.sockets.iter().map(|(name, _)| number(name)).max();
        self.last = self.last.max(last.unwrap_or_default());
        self.deposits.insert(deposit.vassal.clone(), deposit);
    }

    /// An image before has given this name to a socket, which the service manager is told of again.
    pub fn remembers(&mut self, name: &str, socket: Option<SocketId>) {
        self.last = self.last.max(number(name));
        let known = socket.map(|socket| self.names.entry(socket).or_insert_with(|| name.to_owned()));
        if known.is_none_or(|known| known != name) {
            self.useless.insert(name.to_owned());
        }
    }

    /// The vassals whose sockets are kept, all of them.
    #[must_use]
    pub fn kept(&self) -> BTreeSet<&str> {
        let told: BTreeSet<&String> = self.told.iter().filter_map(|socket| self.names.get(socket)).collect();
        let is_kept = |deposit: &&Deposit| deposit.sockets.iter().all(|(name, _)| told.contains(name));
        self.deposits.values().filter(is_kept).map(|deposit| deposit.vassal.as_str()).collect()
    }

    /// What is to be done so that what is wanted is kept, and nothing else. Who is kept already goes first.
    pub fn settle(&mut self, wanted: &BTreeMap<String, Wanted>) -> Vec<Step> {
        let mut used = BTreeSet::new();
        let mut deposits = BTreeMap::new();
        self.left_out.clear();
        let (known, new): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|(vassal, _)| self.deposits.contains_key(*vassal));
        for (vassal, wanted) in known.into_iter().chain(new) {
            let all = match wanted.sockets.as_deref() {
                Some([]) => continue,
                all => all.ok_or(Unkept::Elsewhere),
            };
            let fits = all.and_then(|all| {
                let sockets: BTreeSet<SocketId> = all.iter().map(|(socket, _)| *socket).collect();
                let more = sockets.difference(&used).count();
                match all.len() {
                    count if count > OF_ONE => Err(Unkept::TooMany(count)),
                    count if used.len() + more > self.room.usable() => Err(Unkept::NoRoom(count)),
                    _ => Ok((all, sockets)),
                }
            });
            let (all, sockets) = match fits {
                Ok(fits) => fits,
                Err(why) => {
                    self.left_out.insert(vassal.clone(), why);
                    continue;
                }
            };
            used.extend(sockets);
            let named = all.iter().map(|(socket, listen)| {
                let name = self.names.entry(*socket).or_insert_with(|| {
                    self.last += 1;
                    name(vassal, self.last)
                });
                (name.clone(), listen.clone())
            });
            let sockets = named.collect();
            let (tenant, asleep) = (wanted.tenant, wanted.asleep);
            deposits.insert(vassal.clone(), Deposit { vassal: vassal.clone(), tenant, asleep, sockets });
        }
        self.steps(&used, &deposits)
    }

    fn steps(&self, used: &BTreeSet<SocketId>, deposits: &BTreeMap<String, Deposit>) -> Vec<Step> {
        let fresh = deposits.iter().filter(|(vassal, new)| self.deposits.get(*vassal) != Some(new));
        let fresh = fresh.map(|(_, new)| Step::Write(new.clone()));
        let gone = self.deposits.keys().filter(|vassal| !deposits.contains_key(*vassal));
        let gone = gone.cloned().map(Step::Erase);
        let unused = self.names.iter().filter(|(socket, _)| !used.contains(socket));
        let unused = unused.map(|(_, name)| name).chain(&self.useless).cloned().map(Step::Remove);
        let untold = used.difference(&self.told);
        let untold = untold.filter_map(|socket| Some(Step::Add(*socket, self.names.get(socket)?.clone())));
        fresh.chain(gone).chain(unused).chain(untold).collect()
    }

    /// A step is done.
    pub fn done(&mut self, step: Step) {
        match step {
            Step::Write(deposit) => drop(self.deposits.insert(deposit.vassal.clone(), deposit)),
            Step::Erase(vassal) => drop(self.deposits.remove(&vassal)),
            Step::Remove(name) => {
                self.useless.remove(&name);
                self.names.retain(|_, known| *known != name);
                self.told.retain(|socket| self.names.contains_key(socket));
                self.doubtful.retain(|socket| self.names.contains_key(socket));
            }
            Step::Add(socket, _) => {
                self.told.insert(socket);
                self.doubtful.insert(socket);
            }
        }
    }

    /// What has this name is of no use.
    pub fn is_useless(&mut self, name: &str) {
        self.useless.insert(name.to_owned());
    }
}

/// Whether a socket that the service manager passes is one of the store. Those of socket units are never named so: no
/// vassal is meant by a name with `/`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let (shown, number) = name.rsplit_once('/').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && shown.chars().all(is_plain)
}

/// A name that the service manager takes and people can read.
fn name(vassal: &str, number: u64) -> String {
    let plain = |c: char| if is_plain(c) { c } else { '_' };
    let number = number.to_string();
    let shown: String = vassal.chars().take(NAME.saturating_sub(number.len() + 1)).map(plain).collect();
    format!("{shown}/{number}")
}

const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn number(name: &str) -> u64 {
    name.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::{Address, Protocol};

    /// Sockets with these numbers.
    fn wants(numbers: &[SocketId]) -> Wanted {
        let listen = |number: &SocketId| Listen {
            address: Address::Abstract(number.to_string()),
            protocol: Protocol::Http,
        };
        let sockets = numbers.iter().map(|number| (*number, listen(number)));
        Wanted { sockets: Some(sockets.collect()), ..Wanted::default() }
    }

    fn told(step: &Step) -> String {
        match step {
            Step::Write(deposit) => {
                let names: Vec<&str> = deposit.sockets.iter().map(|(name, _)| name.as_str()).collect();
                let asleep = if deposit.asleep.is_some() { " asleep" } else { "" };
                format!("write {}{asleep}: {}", deposit.vassal, names.join(" "))
            }
            Step::Erase(vassal) => format!("erase {vassal}"),
            Step::Remove(name) => format!("remove {name}"),
            Step::Add(number, name) => format!("add {number} {name}"),
        }
    }

    /// Settles, and does all of it; answers what.
    fn settle(store: &mut Store, wanted: &[(&str, Wanted)]) -> Vec<String> {
        let wanted = wanted.iter().map(|(vassal, wanted)| ((*vassal).to_owned(), wanted.clone())).collect();
        let steps = store.settle(&wanted);
        let said = steps.iter().map(told).collect();
        steps.into_iter().for_each(|step| store.done(step));
        said
    }

    /// The same with a service manager that has so much room; answers who is newly left out.
    fn settle_with(real: usize, store: &mut Store, wanted: &[(&str, Wanted)]) -> Vec<String> {
        loop {
            settle(store, wanted);
            match (store.question(), store.count()) {
                (0, _) => return store.newly_left_out(),
                (asked, stored) => {
                    assert_eq!(store.newly_left_out(), [""; 0], "more may be known soon");
                    store.answer(stored, asked, asked.min(real.saturating_sub(stored)));
                }
            }
        }
    }

    #[test]
    fn names_are_such_that_they_come_back() {
        for (vassal, count, expected) in [
            ("blog.ini", 7, "blog.ini/7"),
            ("a:b c/\u{e4}\n.ini", 12, "a_b_c___.ini/12"),
            ("", 1, "/1"),
            ("an-app-of-a-very-long-name.ini", 123, "an-app-of-a-very-long-n/123"),
            ("an-app-of-a-very-long-name.ini", u64::MAX, "an-app/18446744073709551615"),
        ] {
            let name = name(vassal, count);
            assert_eq!(name, expected);
            assert!(is_name(&name) && name.len() <= NAME && number(&name) == count);
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'), "{name}");
        }
        for other in ["blog.ini", "liege.socket", "a/b", "a b/1", "a/", "", "/srv/x/1"] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn what_is_kept_is_stored_and_nothing_else() {
        let asleep = Wanted { asleep: Some(FileIdentity::default()), ..wants(&[1, 2]) };
        type Row<'a> = (&'a str, &'a [(&'a str, Wanted)], &'a [&'a str]);
        let rows: [Row<'_>; 8] = [
            ("two sockets", &[("a", wants(&[1, 2]))], &["write a: a/1 a/2", "add 1 a/1", "add 2 a/2"]),
            ("nothing new", &[("a", wants(&[1, 2]))], &[]),
            ("it sleeps", &[("a", asleep)], &["write a asleep: a/1 a/2"]),
            (
                "another takes over",
                &[("a", wants(&[1, 2])), ("b", wants(&[1]))],
                &["write a: a/1 a/2", "write b: a/1"],
            ),
            ("it has its name", &[("b", wants(&[1]))], &["erase a", "remove a/2"]),
            (
                "another socket",
                &[("b", wants(&[1, 3])), ("c", wants(&[]))],
                &["write b: a/1 b/3", "add 3 b/3"],
            ),
            ("the same twice", &[("b", wants(&[3, 3]))], &["write b: b/3 b/3", "remove a/1"]),
            ("none", &[], &["erase b", "remove b/3"]),
        ];
        let mut store = Store::new(10);
        for (what, wanted, expected) in rows {
            assert_eq!(settle(&mut store, wanted), expected, "{what}");
            assert!(store.left_out().is_empty(), "{what}");
            let has_some = |wanted: &Wanted| wanted.sockets.as_ref().is_some_and(|all| !all.is_empty());
            let kept: BTreeSet<&str> = wanted.iter().filter(|(_, w)| has_some(w)).map(|(v, _)| *v).collect();
            assert_eq!(store.kept(), kept, "{what}");
        }
    }

    #[test]
    fn nobody_takes_the_room_of_others_and_all_of_a_vassal_is_kept_or_nothing() {
        let many: Vec<SocketId> = (100..).take(OF_ONE + 1).collect();
        let no_sockets = Wanted { sockets: None, ..Wanted::default() };
        let mut store = Store::new(3);
        let out =
            settle_with(3, &mut store, &[("m", wants(&[1, 2])), ("n", wants(&many)), ("o", no_sockets)]);
        assert_eq!((out, store.kept()), (vec!["n".to_owned(), "o".to_owned()], ["m"].into()));
        let why = [("n".to_owned(), Unkept::TooMany(OF_ONE + 1)), ("o".to_owned(), Unkept::Elsewhere)];
        assert_eq!(store.left_out(), &why.into());
        // Who comes later has to do with what is left, and is told so once.
        for newly in [vec!["a"], vec![]] {
            let wanted =
                [("a", wants(&[5, 6])), ("m", wants(&[1, 2])), ("n", wants(&many)), ("z", wants(&[7]))];
            assert_eq!(settle_with(3, &mut store, &wanted), newly);
            assert_eq!((store.kept(), store.left_out()["a"]), (["m", "z"].into(), Unkept::NoRoom(2)));
        }
        let wanted = [("a", wants(&[5, 6])), ("z", wants(&[7]))];
        assert_eq!(settle_with(3, &mut store, &wanted), [""; 0]);
        assert_eq!((store.kept(), store.left_out().len()), (["a", "z"].into(), 0));
        assert_eq!(Store::new(1_000_000).room().told(), MOST);
    }

    #[test]
    fn what_the_service_manager_has_no_room_for_is_not_kept() {
        let names: Vec<String> = (10..40).map(|number| format!("{number}.ini")).collect();
        let wanted: Vec<(&str, Wanted)> =
            names.iter().zip(1..).map(|(name, number)| (name.as_str(), wants(&[number]))).collect();
        for real in [0, 1, 7, 29, 30, 4096] {
            let mut store = Store::new(100);
            let newly = settle_with(real, &mut store, &wanted);
            let kept = real.min(30);
            assert_eq!((store.count(), store.kept().len(), newly.len()), (kept, kept, 30 - kept), "{real}");
            assert_eq!(store.room().is_as_told(), real == 4096, "{real}");
        }
    }

    #[test]
    fn what_came_out_for_nobody_goes_and_names_are_not_used_again() {
        let mut store = Store::new(10);
        store.has("a/9", Some(1));
        store.has("b/4", Some(2));
        store.has("c/5", None);
        let of = |vassal: &str, name: &str, number| Deposit {
            vassal: vassal.to_owned(),
            tenant: None,
            asleep: None,
            sockets: vec![(name.to_owned(), wants(&[number]).sockets.unwrap()[0].1.clone())],
        };
        store.knows(of("a", "a/9", 1));
        store.knows(of("d", "d/11", 8));
        let steps = settle(&mut store, &[("a", wants(&[1])), ("e", wants(&[3]))]);
        assert_eq!(steps, ["write e: e/12", "erase d", "remove b/4", "remove c/5", "add 3 e/12"]);
    }

    #[test]
    fn a_later_image_says_all_of_it_again() {
        let mut store = Store::new(10);
        let mut before = Store::new(10);
        settle(&mut before, &[("a", wants(&[1, 2])), ("b", wants(&[1]))]);
        for deposit in before.deposits.into_values() {
            for (name, listen) in &deposit.sockets {
                // The second socket is none of the vassal's any more.
                store.remembers(name, Some(1).filter(|_| listen.address.to_string() == "@1"));
            }
            store.knows(deposit);
        }
        let steps = settle(&mut store, &[("a", wants(&[1])), ("b", wants(&[1]))]);
        assert_eq!(steps, ["write a: a/1", "remove a/2", "add 1 a/1"]);
    }
}
