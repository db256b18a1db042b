//! What a new configuration changes once it is in force, and what is dropped with an old one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::rc::Rc;

use tokio::task::spawn_local;

use super::bind::{Listener, Sockets};
use super::changes::Watch;
use super::log_file::LogFile;
use super::master::{Config, Master};
use super::stats_socket::StatsServer;
use super::touch::Touched;
use crate::config::address::Listen;
use crate::config::instance::InstanceSpec;
use crate::stats::cache::CACHES;
use crate::stats::scoreboard::Total;
use crate::wire::limits;
use crate::wire::message::FromInstance;

impl Master {
    /// The generation's configuration is in force from now on.
    pub(super) fn put_in_force(&mut self, generation: u64) {
        let Ok(config) = self.config(generation) else { return };
        let old = std::mem::replace(&mut self.current, Rc::clone(&config));
        let first = std::mem::replace(&mut self.current_generation, generation) == 0;
        let serving = generation.max(1);
        self.configs.retain(|number, _| *number >= serving || self.roster.generation(*number).is_some());
        let board = self.scoreboard();
        board.set_total(Total::Generation, generation);
        board.set_total(Total::Threads, config.settings().threads.into());
        self.show_tallies();
        let spec = &config.said.spec;
        if !first {
            self.serve_by_router(&config);
            self.tell_configured();
            self.take_over_files(&old.said.spec, spec);
            // What its next children inherit; those of this generation have it by themselves.
            if let Err(failure) = limits::set(spec) {
                self.tell(failure.to_string());
            }
            self.show_title();
        }
        spawn_local(limits::share_nice());
        self.serve_statistics();
        self.keep_fifo();
        self.touched = Touched::renew(self.touched.take(), spec);
        self.changes = Watch::renew(self.changes.take(), spec, &self.reports);
        self.output.obey(spec);
        self.renew_companions();
        self.caches.retain(&spec.caches);
        if !spec.caches.is_empty() || !old.said.spec.caches.is_empty() {
            self.tell_caches();
        }
        let kept = |listener: &Rc<Listener>, all: &[Rc<Listener>]| {
            all.iter().any(|l| l.listen.address == listener.listen.address)
        };
        for gone in old.sockets.listeners.iter().filter(|l| !kept(l, &config.sockets.listeners)) {
            gone.remove_file();
        }
        for gone in old.sockets.stats.iter().filter(|l| !kept(l, &config.sockets.stats)) {
            gone.remove_file();
        }
    }

    /// Begins to answer on the stats sockets of the configuration in force, and ends on others.
    pub(super) fn serve_statistics(&mut self) {
        let wanted = self.current.sockets.stats.clone();
        self.stats.retain(|server| wanted.iter().any(|l| server.serves(l)));
        for listener in &wanted {
            if self.stats.iter().any(|server| server.serves(listener)) {
                continue;
            }
            match StatsServer::start(listener, self.asks.clone()) {
                Ok(server) => self.stats.push(server),
                Err(error) => self.tell(format!("no statistics on {}: {error}", listener.name())),
            }
        }
        self.push_statistics();
    }

    /// Applies what a new configuration says about files that the master writes itself.
    pub(super) fn take_over_files(&self, old: &InstanceSpec, new: &InstanceSpec) {
        let mut done = Ok(());
        if let Some(path) = new.log.file_path().filter(|_| old.log != new.log) {
            done = super::log_file::go_on_in(path, &new.log.file);
        }
        if new.log.file.reopen {
            self.output.with_file(LogFile::reopen);
        }
        let (before, now) = (&old.files, &new.files);
        // First, because one option may name from now on what another one named.
        let is_kept = |path: &PathBuf| now.pid_files().any(|kept| kept == path);
        before.pid_files().filter(|path| !is_kept(path)).for_each(|path| super::jail::remove_pid(path));
        for (before, now) in [
            (&before.pidfile, &now.pidfile),
            (&before.pidfile2, &now.pidfile2),
            (&before.safe_pidfile, &now.safe_pidfile),
            (&before.safe_pidfile2, &now.safe_pidfile2),
        ] {
            if before != now {
                done = done.and(now.as_ref().map_or(Ok(()), |path| super::jail::write_pid(new, path)));
            }
        }
        if let Err(failure) = done {
            self.tell(failure.to_string());
        }
    }

    pub(super) fn discard(&mut self, generation: u64) {
        let Some(config) = self.configs.get(&generation).cloned() else { return };
        let used = |listener: &Rc<Listener>| {
            let current = &self.current.sockets;
            current
                .listeners
                .iter()
                .chain(&current.stats)
                .any(|l| l.listen.address == listener.listen.address)
        };
        for listener in config.sockets.listeners.iter().chain(&config.sockets.stats).filter(|l| !used(l)) {
            listener.remove_file();
        }
    }

    /// Tells the emperor the configuration in force, and its listeners.
    pub(super) fn tell_configured(&self) {
        let said = &self.current.said;
        let spec = Box::new(said.spec.clone());
        self.tell_emperor(&FromInstance::Configured { spec, warnings: said.warnings.clone() }, &[]);
        // Whoever takes this one's place needs those of the statistics as well: this one has them until it ends.
        let Sockets { listeners, stats } = &self.current.sockets;
        let all = || listeners.iter().chain(stats);
        let fds: Vec<BorrowedFd<'_>> = all().map(|l| l.as_fd()).collect();
        let listeners: Vec<Listen> = all().map(|l| l.listen.clone()).collect();
        self.tell_emperor(&FromInstance::Listeners { listeners }, &fds);
    }

    /// Tells the emperor the caches, so that it sees what they count.
    pub(super) fn tell_caches(&self) {
        let caches = self.caches.of(&self.current.said.spec.caches).take(CACHES);
        let (caches, fds): (_, Vec<_>) = caches.map(|cache| (cache.spec().clone(), cache.fd())).unzip();
        self.tell_emperor(&FromInstance::Caches { caches }, &fds);
    }

    /// A generation's configuration.
    pub(super) fn config(&self, generation: u64) -> io::Result<Rc<Config>> {
        let missing = || io::Error::other(format!("generation {generation} has no configuration"));
        self.configs.get(&generation).cloned().ok_or_else(missing)
    }
}
