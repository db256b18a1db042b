//! What masters send along with their messages: scoreboards, caches, listeners, where their output goes. All of it comes
//! from a vassal: untrusted.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::life::LifeId;
use super::logs::LogPipe;
use super::masters::Masters;
use super::spawn::Listeners;
use crate::config::address::Listen;
use crate::config::cache::CacheSpec;
use crate::stats::boards::Boards;
use crate::stats::cache::{CACHES, ShownCache};
use crate::stats::shown::Shown;
use crate::sys::pipe;
use crate::trace::escaped;
use crate::wire::channel::Received;
use crate::wire::message::FromInstance;

/// The longest address of a listener, in bytes: what a host's name and a socket's path may be, and more.
const ADDRESS: usize = 512;
/// The longest name of a cache that is shown, in characters.
const NAME: usize = 64;

impl Masters {
    /// Takes what came with a message; answers the message for `decide`.
    #[must_use]
    pub fn receive(&mut self, life: LifeId, (message, fds): Received<FromInstance>) -> Option<FromInstance> {
        let master = self.by_life.get_mut(&life)?;
        match &message {
            FromInstance::Hello { .. } | FromInstance::Scoreboard => match Boards::open(fds) {
                Ok(boards) => {
                    // A master that begins tells its caches after this; otherwise they are told when they change.
                    let known =
                        master.shown.as_deref().filter(|_| matches!(message, FromInstance::Scoreboard));
                    let caches = known.map(|shown| shown.caches.clone()).unwrap_or_default();
                    master.shown = Some(Arc::new(Shown { boards, caches }));
                }
                Err(error) => tracing::warn!(vassal = master.vassal, "its scoreboard: {error}"),
            },
            FromInstance::Output => {
                let output = fds.into_iter().next().map(|fd| {
                    LogPipe::start(pipe::read_end(&fd)?, Vec::new(), &master.vassal, self.handle.clone())
                });
                match output {
                    Some(Ok(log)) => master.log = Some(log),
                    Some(Err(error)) => {
                        tracing::warn!(vassal = master.vassal, "its output cannot be read: {error}");
                    }
                    None => {}
                }
            }
            FromInstance::Becomes { .. } => return self.become_foreign(life, fds).then_some(message),
            FromInstance::Listeners { listeners } if listeners.len() != fds.len() => {
                let (said, came) = (listeners.len(), fds.len());
                tracing::warn!(vassal = master.vassal, "it announced {said} listeners and sent {came}");
                return None;
            }
            FromInstance::Listeners { listeners } => {
                master.listeners = listening(listeners.iter().cloned().zip(fds));
            }
            FromInstance::Caches { caches } if caches.len() != fds.len() => {
                let (said, came) = (caches.len(), fds.len());
                tracing::warn!(vassal = master.vassal, "it announced {said} caches and sent {came}");
                return None;
            }
            FromInstance::Caches { caches } => {
                let shown = master.shown.as_deref()?;
                let caches = opened(caches.iter().zip(fds));
                master.shown = Some(Arc::new(Shown { caches, ..shown.clone() }));
            }
            _ => {}
        }
        Some(message)
    }

    /// From now on the listeners of this life, and what it shows, are those of the vassal.
    pub fn adopt(&mut self, id: &str, life: LifeId) {
        let Some(master) = self.by_life.get_mut(&life) else { return };
        if !master.listeners.is_empty() {
            self.kept.insert(id, Arc::new(std::mem::take(&mut master.listeners)));
        }
        if let Some(vassal) = self.handle.fleet().vassals.get_mut(id) {
            vassal.shown.clone_from(&master.shown);
            vassal.listeners = self.kept.get(id).cloned().unwrap_or_default();
        }
        self.handle.changed();
    }
}

/// The listeners with addresses that can be.
fn listening(announced: impl Iterator<Item = (Listen, OwnedFd)>) -> Listeners {
    announced.filter(|(listen, _)| listen.address.to_string().len() <= ADDRESS).collect()
}

/// The caches that can be looked at: each name once, and not more than some.
fn opened<'a>(described: impl Iterator<Item = (&'a CacheSpec, OwnedFd)>) -> Vec<Arc<ShownCache>> {
    let mut opened: Vec<Arc<ShownCache>> = Vec::new();
    for (spec, memory) in described.take(CACHES) {
        let name = escaped(&spec.name.chars().take(NAME).collect::<String>());
        if opened.iter().all(|known| known.name() != name) {
            opened.extend(ShownCache::open(name, spec.items, memory).ok().map(Arc::new));
        }
    }
    opened
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::sync::mpsc;

    use super::super::fleet::Fleet;
    use super::super::handle::Handle;
    use super::*;
    use crate::config::address::{Address, Protocol};
    use crate::stats::scoreboard::Scoreboard;
    use crate::sys::memfd;
    use crate::sys::process::Launch;
    use crate::sys::shared::SharedWords;
    use crate::wire::PROTOCOL;
    use crate::wire::cache::Cache;

    #[test]
    fn a_listener_has_an_address_that_can_be() {
        let listen = |path: &str| Listen { address: Address::Unix(path.into()), protocol: Protocol::Http };
        let (long, null) = (format!("/{}", "x".repeat(600)), std::fs::File::open("/dev/null").unwrap());
        let all = ["/a", "/b", &long].map(|path| (listen(path), null.try_clone().unwrap().into()));
        let seen: Vec<_> =
            listening(all.into_iter()).into_iter().map(|(listen, _)| listen.address.to_string()).collect();
        assert_eq!(seen, ["/a", "/b"]);
    }

    #[tokio::test]
    async fn a_larger_scoreboard_takes_no_cache_away() {
        let (handle, _commands) = Handle::detached(Fleet::default());
        let mut masters = Masters::new(mpsc::channel(1).0, mpsc::channel(1).0, handle);
        let child = Launch::new("/bin/true").spawn().unwrap();
        masters.take_over("a.ini", 1, (child, true), None, None).unwrap();
        let board = || Scoreboard::create(1, 1).unwrap().share().try_clone_to_owned().unwrap();
        let memory = || Cache::create(spec("x", 1)).unwrap().fd().try_clone_to_owned().unwrap();
        let hello = FromInstance::Hello { protocol: PROTOCOL, version: String::new(), pid: 1 };
        for (message, came, caches) in [
            (FromInstance::Scoreboard, board(), 0),
            (FromInstance::Caches { caches: vec![spec("x", 1)] }, memory(), 1),
            (FromInstance::Scoreboard, board(), 1),
            (hello, board(), 0),
        ] {
            let said = format!("{message:?}");
            assert!(masters.receive(1, (message, vec![came])).is_some(), "{said}");
            let shown = masters.by_life.get(&1).and_then(|master| master.shown.as_deref());
            assert_eq!(shown.map(|shown| shown.caches.len()), Some(caches), "{said}");
        }
    }

    fn spec(name: &str, items: u64) -> CacheSpec {
        CacheSpec { name: name.to_owned(), items, ..CacheSpec::plain(1).unwrap() }
    }

    #[test]
    fn what_a_hostile_instance_describes_is_bounded() {
        let cache = |name: &str| {
            let cache = Cache::create(spec(name, 1)).unwrap();
            (spec(name, u64::MAX), cache.fd().try_clone_to_owned().unwrap())
        };
        let (long, control) = ("x".repeat(5000), "\x1b[2J\"\n");
        let mut described = vec![
            cache("same"),
            cache("same"),
            cache(&long),
            cache(control),
            // A file whose size may change, a memory that is too short, no memory at all.
            (spec("file", 1), tempfile::tempfile().unwrap().into()),
            (spec("short", 1), memfd::fixed("short", 64).unwrap()),
            (spec("pipe", 1), std::io::pipe().unwrap().0.into()),
        ];
        let memory = SharedWords::map(described[0].1.try_clone().unwrap(), true, usize::MAX).unwrap();
        memory.words().iter().take(16).for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        let seen = opened(described.iter().map(|(spec, fd)| (spec, fd.try_clone().unwrap())));
        let names: Vec<_> = seen.iter().map(|cache| cache.name()).collect();
        assert_eq!(names, ["same", &"x".repeat(NAME), "\\x1b[2J\"\\n"]);
        let (most, counts) = (i64::MAX.unsigned_abs(), seen[0].counts());
        assert_eq!((seen[0].max_items(), counts.hits, counts.full, counts.items), (most, most, most, most));
        described.extend((0..100).map(|n| cache(&format!("n{n}"))));
        let seen = opened(described.iter().map(|(spec, fd)| (spec, fd.try_clone().unwrap())));
        assert!(seen.len() <= CACHES, "{}", seen.len());
    }
}
