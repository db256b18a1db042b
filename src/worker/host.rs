//! What every part of the extension knows of the process it runs in.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use super::locks::Shared;
use crate::config::address::Listen;
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::{Scoreboard, Slot};
use crate::sys::mailbox::Mailbox;
use crate::wire::cache::Cache;
use crate::wire::channel;
use crate::wire::message::FromWorker;

/// What every part of the extension knows of the process it runs in.
#[derive(Debug)]
pub(super) struct Host {
    /// The configuration.
    pub(super) spec: InstanceSpec,
    /// The scoreboard.
    pub(super) board: Scoreboard,
    /// The locks of the instance.
    pub(super) locks: Shared,
    /// The sockets that workers listen on.
    pub(super) listeners: Vec<(Listen, OwnedFd)>,
    /// The generation that the zygote makes.
    pub(super) generation: u64,
    /// The master's pid.
    pub(super) master: u32,
    /// Which worker this is; unset in the zygote.
    pub(super) worker: OnceLock<Worker>,
    /// The caches, in the order of the configuration.
    pub(super) caches: Vec<Cache>,
    /// What messages to mules wait in: first that of all mules, then that of each.
    pub(super) mules: Vec<Mailbox>,
    /// Which mule this is; unset in every other process.
    pub(super) mule: OnceLock<Mule>,
}

/// Which mule this is.
#[derive(Debug)]
pub(super) struct Mule {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Its end of the channel to the master.
    pub(super) channel: OwnedFd,
}

/// Which worker this is.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Its slot on the scoreboard, from 0.
    pub(super) slot: usize,
    /// A duplicate of its end of the channel to the master, for messages from any thread.
    pub(super) channel: OwnedFd,
}

static HOST: OnceLock<Host> = OnceLock::new();

impl Host {
    /// Makes this the process's host; the first one stays.
    pub(super) fn install(self) -> &'static Self {
        HOST.get_or_init(|| self)
    }

    /// The process's host, once the zygote was told what to load.
    pub(super) fn get() -> Option<&'static Self> {
        HOST.get()
    }

    /// The worker's number, 0 in the zygote.
    pub(super) fn worker_number(&self) -> u32 {
        self.worker.get().map_or(0, |worker| worker.number)
    }

    /// The worker's slot.
    pub(super) fn slot(&self) -> Option<Slot<'_>> {
        self.board.slot(self.worker.get()?.slot)
    }

    /// Tells the master something, from any thread. A master that is gone is noticed on the channel itself.
    pub(super) fn tell(&self, message: &FromWorker) {
        let worker = self.worker.get().map(|worker| &worker.channel);
        if let Some(own) = worker.or_else(|| self.mule.get().map(|mule| &mule.channel)) {
            let _ = channel::send(own, message, &[]);
        }
    }

    /// The process title of a role: `worker 1` as `liege worker 1 NAME`, or with uWSGI's names when those were
    /// asked for.
    pub(super) fn title(&self, role: &str) -> String {
        self.spec.title(role).unwrap_or_else(|| format!("liege {role} {}", self.spec.name))
    }
}
