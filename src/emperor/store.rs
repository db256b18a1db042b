//! What the service manager keeps for the emperor: the sockets of its vassals, over its death and over a restart of the
//! service. Which of them, under which names, and what is written down about them; the doing is in `storing`.

use std::collections::{BTreeMap, BTreeSet};

use super::deposit::Deposit;
use super::fleet::FileIdentity;
use crate::config::address::Listen;
use crate::config::tenant::Tenant;

/// The most sockets of one vassal: nobody takes the room of all others. Who has more has none kept.
pub const OF_ONE: usize = 16;
/// The most in all. They come back with all their names in one variable of the environment, which the kernel limits to
/// 128 KiB: a longer one, and the emperor could never be started again.
pub const MOST: usize = 4096;
/// The longest name, in bytes: [`MOST`] of these, and some room for those of socket units.
const NAME: usize = 27;

/// A socket: the number that the kernel knows it by, the same in every process.
pub type SocketId = u64;

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
            deposits
                .insert(vassal.clone(), Deposit { vassal: vassal.clone(), tenant, asleep, sockets });
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

/// Whether a socket that the service manager passes is one of the store. A socket unit names its own after a vassal,
/// and no vassal has such a name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.contains('/')
}

/// A name that the service manager takes and people can read.
fn name(vassal: &str, number: u64) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let number = number.to_string();
    let shown: String = vassal.chars().take(NAME.saturating_sub(number.len() + 1)).map(plain).collect();
    format!("{shown}/{number}")
}

fn number(name: &str) -> u64 {
    name.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
