//! The passage through which workers that finish give their idle kept-alive connections to those that serve on.

use std::os::fd::{AsFd, OwnedFd};

use super::master::Master;
use crate::config::address::Protocol;
use crate::wire::channel;
use crate::wire::message::ToWorker;

impl Master {
    /// Gives a worker both ends of the passage. There is none as long as no generation had clients of its own.
    pub(super) fn open_passage(&mut self, slot: usize) {
        let may_keep = |slot| {
            let worker = self.children.workers.get(slot)?;
            let spec = &self.configs.get(&worker.generation)?.said.spec;
            Some(
                spec.listen
                    .iter()
                    .any(|listen| matches!(listen.protocol, Protocol::Http | Protocol::Fastcgi)),
            )
        };
        if self.children.passage.is_none() && may_keep(&slot) == Some(true) {
            match channel::pair() {
                Ok(ends) => self.children.passage = Some(ends),
                Err(error) => tracing::warn!("kept-alive connections will end with their workers: {error}"),
            }
        }
        if let (Some((entrance, exit)), Some(worker)) =
            (&self.children.passage, self.children.workers.get(&slot))
        {
            worker.process.link.send(&ToWorker::Passage, &[entrance.as_fd(), exit.as_fd()]);
        }
    }

    /// The same for every worker that an earlier image of the master left.
    pub(super) fn open_passages(&mut self) {
        let ready: Vec<usize> =
            self.children.workers.iter().filter(|(_, worker)| worker.ready).map(|(slot, _)| *slot).collect();
        for slot in ready {
            self.open_passage(slot);
        }
    }
}

/// The end into which connections are given, and the one from which they are taken.
pub(super) type Passage = (OwnedFd, OwnedFd);
