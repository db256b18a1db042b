//! Processes that ended: reaped, heard to the end, and told of.

use super::black_box;
use super::children::Owner;
use super::event::Event;
use super::master::Master;
use super::roster::{Phase, SlotState};
use crate::sys::process::{self, Exit};
use crate::wire::message::FromInstance;

impl Master {
    pub(super) fn reap(&mut self) {
        loop {
            match process::reap_any() {
                Ok(Some((pid, exit))) => self.reaped(pid, exit),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!("cannot reap: {error}");
                    return;
                }
            }
        }
    }

    fn reaped(&mut self, pid: u32, exit: Exit) {
        let Some(owner) = self.children.reaped(pid, exit) else { return };
        match owner {
            Owner::Zygote(id) => {
                if let Some(zygote) = self.children.zygotes.get_mut(&id) {
                    zygote.exit = Some(exit);
                    zygote.link.end();
                }
            }
            Owner::Worker(slot) => self.worker_reaped(slot, exit),
            Owner::Router => {
                if let Some(router) = &mut self.children.router {
                    router.exit = Some(exit);
                    router.link.end();
                }
            }
            Owner::Chore(id) => self.chores.reaped(id, exit),
            Owner::Rehearsal(operation) => {
                if let Some(rehearsal) = self.rehearsal.as_mut().filter(|r| r.operation == operation) {
                    rehearsal.process.exit = Some(exit);
                    rehearsal.process.link.end();
                }
            }
            Owner::Mule(life) => self.attendance.mules.reaped(life, exit),
            Owner::Keeper(life) => {
                if let Some(keeper) = self.attendance.keepers.get_mut(&life) {
                    keeper.exit = Some(exit);
                    keeper.link.end();
                }
            }
        }
        self.bury();
    }

    /// A worker was reaped.
    pub(super) fn worker_reaped(&mut self, slot: usize, exit: Exit) {
        if let Some(worker) = self.children.workers.get_mut(&slot) {
            worker.process.exit = Some(exit);
            worker.process.link.end();
        }
    }

    /// Tells of those who are over: reaped, and heard to the end.
    pub(super) fn bury(&mut self) {
        let zygotes: Vec<(u64, String)> =
            self.children.zygotes.iter().filter_map(|(id, z)| Some((*id, z.how(z.over()?)))).collect();
        for (zygote, how) in zygotes {
            self.children.zygotes.remove(&zygote);
            self.children.boards.remove(&zygote);
            self.children.end_commands_of(Owner::Zygote(zygote));
            self.mules_of_zygote_gone(zygote);
            self.handle(Event::ZygoteGone { zygote, how });
        }
        let over = self.children.workers.iter().filter(|(_, w)| !w.buried);
        let workers: Vec<(usize, Exit)> =
            over.filter_map(|(slot, w)| Some((*slot, w.process.over()?))).collect();
        for (slot, exit) in workers {
            self.worker_over(slot, exit);
        }
        if let Some(exit) = self.children.router.as_ref().and_then(super::children::Process::over) {
            (self.children.router, self.children.queue) = (None, None);
            self.scoreboard().set_forwarding(0);
            self.scoreboard().set_engaged(0);
            if self.roster.phase == Phase::Running {
                self.tell(format!("the router ended: {exit}"));
            }
            self.handle(Event::RouterGone);
        }
        self.bury_chores();
        if let Some(exit) = self.rehearsal.as_ref().and_then(|r| r.process.over()) {
            self.rehearsal_over(exit);
        }
        self.bury_keepers();
        self.bury_mules();
    }

    fn worker_over(&mut self, slot: usize, exit: Exit) {
        let Some(worker) = self.children.workers.get_mut(&slot) else { return };
        worker.buried = true;
        self.children.end_commands_of(Owner::Worker(slot));
        let Some(worker) = self.children.workers.get_mut(&slot) else { return };
        let pid = worker.process.pid().unwrap_or(0);
        let state = self.roster.slots.get(slot).map_or(SlotState::Empty, |s| s.state);
        let number = worker.number;
        if state != SlotState::Draining || worker.killed.is_some() {
            let death = black_box::death(slot, worker, exit);
            self.tell_emperor(&FromInstance::Died(death), &[]);
        }
        if state == SlotState::Draining {
            tracing::info!("worker {number} buried (pid: {pid})");
        } else {
            let how = match exit {
                Exit::Signal(signal) => format!("died, killed by signal {signal}"),
                Exit::Status(_) => "died".to_owned(),
            };
            tracing::warn!("DAMN ! worker {number} (pid: {pid}) {how} :( trying respawn ... ({exit})");
        }
        self.handle(Event::WorkerGone { slot, how: exit.to_string() });
    }
}
