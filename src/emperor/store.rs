//! What the service manager keeps for the emperor: the sockets of its vassals, over its death and over a restart of the
//! service. Which of them, under which names, and what is written down about them; the doing is in `storing`.

use std::collections::{BTreeMap, BTreeSet};

use super::deposit::Deposit;
use super::fleet::FileIdentity;
use super::kept::SocketId;
use crate::config::address::Listen;
use crate::config::tenant::Tenant;

/// The most sockets of one vassal: nobody takes the room of all others. Who has more has none kept.
pub const OF_ONE: usize = 16;
/// The most in all. They come back with all their names in one variable of the environment, which the kernel limits to
/// 128 KiB: a longer one, and the emperor could never be started again.
pub const MOST: usize = 4096;
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
    /// Its sockets.
    pub sockets: Vec<(SocketId, Listen)>,
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
    most: usize,
    /// The name of each socket that has one.
    names: BTreeMap<SocketId, String>,
    /// Those that the service manager has.
    told: BTreeSet<SocketId>,
    /// Names of what is of no use.
    useless: BTreeSet<String>,
    /// What is written down.
    deposits: BTreeMap<String, Deposit>,
    /// Vassals for which there was no room.
    left_out: BTreeSet<String>,
    last: u64,
}

impl Store {
    /// An empty one of so much room.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.min(MOST), ..Self::default() }
    }

    /// How many it keeps at most.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
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

    /// What is to be done so that what is wanted is kept, and nothing else; and the vassals for which there is no room
    /// since now. Who is kept already goes first.
    pub fn settle(&mut self, wanted: &BTreeMap<String, Wanted>) -> (Vec<Step>, Vec<String>) {
        let mut used = BTreeSet::new();
        let mut deposits = BTreeMap::new();
        let mut left_out = BTreeSet::new();
        let (known, new): (Vec<_>, Vec<_>) = wanted
            .iter()
            .filter(|(_, wanted)| !wanted.sockets.is_empty())
            .partition(|(vassal, _)| self.deposits.contains_key(*vassal));
        for (vassal, wanted) in known.into_iter().chain(new) {
            let sockets: BTreeSet<SocketId> = wanted.sockets.iter().map(|(socket, _)| *socket).collect();
            let more = sockets.difference(&used).count();
            if wanted.sockets.len() > OF_ONE || used.len() + more > self.most {
                left_out.insert(vassal.clone());
                continue;
            }
            used.extend(sockets);
            let named = wanted.sockets.iter().map(|(socket, listen)| {
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
        let steps = self.steps(&used, &deposits);
        let newly = left_out.difference(&self.left_out).cloned().collect();
        self.left_out = left_out;
        (steps, newly)
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
            }
            Step::Add(socket, _) => drop(self.told.insert(socket)),
        }
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
        Wanted { sockets: sockets.collect(), ..Wanted::default() }
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

    /// Settles, and does all of it; answers what, and who was left out.
    fn settle(store: &mut Store, wanted: &[(&str, Wanted)]) -> (Vec<String>, Vec<String>) {
        let wanted = wanted.iter().map(|(vassal, wanted)| ((*vassal).to_owned(), wanted.clone())).collect();
        let (steps, left_out) = store.settle(&wanted);
        let said = steps.iter().map(told).collect();
        steps.into_iter().for_each(|step| store.done(step));
        (said, left_out)
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
                &[("b", wants(&[1, 3])), ("c", Wanted::default())],
                &["write b: a/1 b/3", "add 3 b/3"],
            ),
            ("the same twice", &[("b", wants(&[3, 3]))], &["write b: b/3 b/3", "remove a/1"]),
            ("none", &[], &["erase b", "remove b/3"]),
        ];
        let mut store = Store::new(10);
        for (what, wanted, expected) in rows {
            assert_eq!(
                settle(&mut store, wanted),
                (expected.iter().map(ToString::to_string).collect(), vec![]),
                "{what}"
            );
            let kept: BTreeSet<&str> =
                wanted.iter().filter(|(_, w)| !w.sockets.is_empty()).map(|(v, _)| *v).collect();
            assert_eq!(store.kept(), kept, "{what}");
        }
    }

    #[test]
    fn nobody_takes_the_room_of_others_and_all_of_a_vassal_is_kept_or_nothing() {
        let many: Vec<SocketId> = (100..).take(OF_ONE + 1).collect();
        let left_out = |vassals: &[&str]| vassals.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut store = Store::new(3);
        let (_, out) = settle(&mut store, &[("m", wants(&[1, 2])), ("n", wants(&many))]);
        assert_eq!((out, store.kept()), (left_out(&["n"]), ["m"].into()));
        // Who comes later has to do with what is left, and is told so once.
        for out in [left_out(&["a"]), left_out(&[])] {
            let wanted =
                [("a", wants(&[5, 6])), ("m", wants(&[1, 2])), ("n", wants(&many)), ("z", wants(&[7]))];
            assert_eq!((settle(&mut store, &wanted).1, store.kept()), (out, ["m", "z"].into()));
        }
        let wanted = [("a", wants(&[5, 6])), ("z", wants(&[7]))];
        assert_eq!((settle(&mut store, &wanted).1, store.kept()), (vec![], ["a", "z"].into()));
        assert_eq!(Store::new(1_000_000).most(), MOST);
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
            sockets: vec![(name.to_owned(), wants(&[number]).sockets[0].1.clone())],
        };
        store.knows(of("a", "a/9", 1));
        store.knows(of("d", "d/11", 8));
        let (steps, _) = settle(&mut store, &[("a", wants(&[1])), ("e", wants(&[3]))]);
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
        let (steps, _) = settle(&mut store, &[("a", wants(&[1])), ("b", wants(&[1]))]);
        assert_eq!(steps, ["write a: a/1", "remove a/2", "add 1 a/1"]);
    }
}
