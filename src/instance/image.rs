//! A master at the begin of its process, whether the instance begins with it or goes on in it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::attend::Attendance;
use super::caches::Caches;
use super::changes::Watch;
use super::children::Children;
use super::chores::Chores;
use super::logs::{Board, Output};
use super::master::{Config, Master, Report};
use super::orphan::Unsent;
use super::rest::Rest;
use super::roster::Roster;
use super::source::Source;
use super::stats_push::Pushers;
use super::stats_socket::Ask;
use super::touch::Touched;
use crate::sys::locks::Locks;
use crate::sys::own;
use crate::wire::message::Policy;
use crate::wire::succession::Succession;

/// What every master has.
pub(super) struct Image {
    pub(super) source: Source,
    pub(super) policy: Policy,
    pub(super) binary: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) supervised: bool,
    pub(super) emperor_uid: u32,
    pub(super) board: Board,
    pub(super) locks: Locks,
    pub(super) output: Output,
    /// The configuration in force.
    pub(super) current: Rc<Config>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) asks: mpsc::Sender<Ask>,
}

impl Image {
    /// A master without anything else.
    pub(super) fn into_master(self) -> Master {
        let spec = &self.current.said.spec;
        Master {
            touched: Touched::watch(spec),
            changes: Watch::renew(None, spec, &self.reports),
            source: self.source,
            policy: self.policy,
            binary: self.binary,
            arguments: own::arguments().to_vec(),
            directory: self.directory,
            supervised: self.supervised,
            roster: Roster::default(),
            board: self.board,
            locks: self.locks,
            output: self.output,
            configs: BTreeMap::new(),
            current: self.current,
            current_generation: 0,
            prepared: None,
            emperor: None,
            emperor_uid: self.emperor_uid,
            uwsgi_emperor: None,
            beat_at: None,
            unsent: Unsent::default(),
            file: None,
            children: Children::default(),
            rehearsal: None,
            tallies: BTreeMap::new(),
            stats: Vec::new(),
            pushers: Pushers::default(),
            flocks: Vec::new(),
            foreground: None,
            own_operations: 0,
            replaced: false,
            succession: Succession::default(),
            events: VecDeque::new(),
            reports: self.reports,
            asks: self.asks,
            reexec: None,
            exit: None,
            interrupted: false,
            rest: Rest::default(),
            lookout: 0,
            weigh_at: None,
            bell: None,
            chores: Chores::default(),
            terminal: None,
            attendance: Attendance::default(),
            caches: Caches::default(),
            fifo: None,
            paused: false,
        }
    }
}
