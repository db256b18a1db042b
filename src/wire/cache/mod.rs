//! A cache in memory that the processes of an instance share. Whoever works on it holds its lock; should it die there, the
//! next one finds the cache changed by half, and empties it.

mod memory;
mod places;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::thread;

use self::memory::{Memory, Part};
use crate::config::cache::CacheSpec;
use crate::stats::cache::{Counts, Head};
use crate::sys::clock;
use crate::sys::record_lock::RecordLock;

/// How long who waits for the lock may take to wake up.
const WAY_US: u64 = 1000;

/// A cache.
#[derive(Debug)]
pub struct Cache {
    spec: CacheSpec,
    memory: Memory,
    /// Between the threads of this process.
    threads: Mutex<()>,
}

/// What is done with a key that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It stays.
    Keep,
    /// It gets the new value.
    Replace,
}

/// Why a value was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is there already, or key or value are empty or too long.
    Unfit,
    /// There is no room.
    Full,
}

impl Cache {
    /// An empty cache.
    ///
    /// # Errors
    /// There is no such memory.
    pub fn create(spec: CacheSpec) -> io::Result<Self> {
        Ok(Self { memory: Memory::create(&spec)?, spec, threads: Mutex::new(()) })
    }

    /// The cache of another process.
    ///
    /// # Errors
    /// It is not this cache's memory.
    pub fn open(spec: CacheSpec, memory: OwnedFd) -> io::Result<Self> {
        Ok(Self { memory: Memory::open(&spec, memory)?, spec, threads: Mutex::new(()) })
    }

    /// What it is.
    #[must_use]
    pub const fn spec(&self) -> &CacheSpec {
        &self.spec
    }

    /// Its memory, to be passed to another process.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// What it counts, as it is at some moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.memory.counts()
    }

    /// The value of a key at this time, in seconds since the epoch.
    ///
    /// # Errors
    /// The lock.
    pub fn get(&self, key: &[u8], now_s: u64) -> io::Result<Option<Vec<u8>>> {
        self.hold(|| {
            let item = self.find(key, now_s);
            let count = if item.is_some() { Head::Hits } else { Head::Misses };
            self.memory.set_head(count, self.memory.head(count).saturating_add(1));
            let item = item?;
            if self.spec.purge_lru {
                self.unlink(item);
                self.link(item);
            }
            Some(self.memory.value(item))
        })
    }

    /// Whether there is such a key.
    ///
    /// # Errors
    /// The lock.
    pub fn has(&self, key: &[u8], now_s: u64) -> io::Result<bool> {
        self.hold(|| self.find(key, now_s).is_some())
    }

    /// All keys.
    ///
    /// # Errors
    /// The lock.
    pub fn keys(&self, now_s: u64) -> io::Result<Vec<Vec<u8>>> {
        self.hold(|| {
            self.sweep(now_s);
            self.all().into_iter().map(|item| self.memory.key(item)).collect()
        })
    }

    /// Stores a value, for so many seconds; 0: for ever.
    ///
    /// # Errors
    /// The lock; inside of it, why it was not stored.
    pub fn set(
        &self,
        key: &[u8],
        value: &[u8],
        expires_s: u64,
        present: Present,
        now_s: u64,
    ) -> io::Result<Result<(), Refusal>> {
        self.hold(|| {
            let expires = if expires_s == 0 { 0 } else { now_s.saturating_add(expires_s) };
            self.store(key, value, Some(expires), present, now_s)
        })
    }

    /// Replaces the number of a key, of which a new one begins with that of the configuration, and lives for so many
    /// seconds.
    ///
    /// # Errors
    /// The lock; inside of it, why it was not stored.
    pub fn count(
        &self,
        key: &[u8],
        change: &dyn Fn(i64) -> i64,
        expires_s: u64,
        now_s: u64,
    ) -> io::Result<Result<(), Refusal>> {
        self.hold(|| {
            let found = self.find(key, now_s);
            let before = found.map_or(self.spec.math_initial, |item| number(&self.memory.value(item)));
            let expires = match (found, expires_s) {
                (Some(_), _) => None,
                (None, 0) => Some(0),
                (None, seconds) => Some(now_s.saturating_add(seconds)),
            };
            self.store(key, &change(before).to_ne_bytes(), expires, Present::Replace, now_s)
        })
    }

    /// Takes a key out; whether it was there.
    ///
    /// # Errors
    /// The lock.
    pub fn delete(&self, key: &[u8], now_s: u64) -> io::Result<bool> {
        self.hold(|| {
            let found = self.find(key, now_s);
            if let Some(item) = found {
                self.remove(item);
                self.memory.set_head(Head::Modified, now_s);
            }
            found.is_some()
        })
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// The lock.
    pub fn clear(&self, now_s: u64) -> io::Result<()> {
        self.hold(|| {
            self.memory.clear();
            self.memory.set_head(Head::Modified, now_s);
        })
    }

    /// Works on it with the lock.
    fn hold<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let _threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let processes = self.lock()?;
        fence(Ordering::SeqCst);
        if self.memory.head(Head::Dirty) != 0 {
            tracing::warn!("the cache \"{}\" is emptied: a process died while it changed it", self.spec.name);
            self.memory.clear();
        }
        self.memory.set_head(Head::Dirty, 1);
        fence(Ordering::SeqCst);
        let done = work();
        fence(Ordering::SeqCst);
        self.memory.set_head(Head::Dirty, 0);
        fence(Ordering::SeqCst);
        drop(processes);
        self.let_next_in();
        Ok(done)
    }

    fn lock(&self) -> io::Result<RecordLock<BorrowedFd<'_>>> {
        if let Some(lock) = RecordLock::try_take(self.memory.fd())? {
            return Ok(lock);
        }
        self.memory.change_head(Head::Waiting, |count| count.saturating_add(1));
        let lock = RecordLock::take(self.memory.fd());
        self.memory.change_head(Head::Waiting, |count| count.saturating_sub(1));
        lock
    }

    /// Gives way to who waits for the lock: whoever takes it again and again would have it before the other one wakes up.
    fn let_next_in(&self) {
        let waiting = self.memory.head(Head::Waiting);
        let since_us = clock::monotonic_us();
        while waiting > 0 && self.memory.head(Head::Waiting) >= waiting {
            if clock::monotonic_us().saturating_sub(since_us) >= WAY_US {
                // Who is counted has died.
                return self.memory.set_head(Head::Waiting, 0);
            }
            thread::yield_now();
        }
    }

    /// The item of a key; what has expired is taken out.
    fn find(&self, key: &[u8], now_s: u64) -> Option<u64> {
        let hash = hash(key);
        let mut item = self.memory.bucket(hash);
        for _ in 0..self.spec.items {
            if item == 0 {
                return None;
            }
            if self.memory.part(item, Part::Hash) == hash && self.memory.key(item) == key {
                if self.has_expired(item, now_s) {
                    self.remove(item);
                    return None;
                }
                return Some(item);
            }
            item = self.memory.part(item, Part::Next);
        }
        None
    }

    fn store(
        &self,
        key: &[u8],
        value: &[u8],
        expires: Option<u64>,
        present: Present,
        now_s: u64,
    ) -> Result<(), Refusal> {
        let fits = |bytes: &[u8], most: u64| {
            !bytes.is_empty() && u64::try_from(bytes.len()).is_ok_and(|length| length <= most)
        };
        if !fits(key, self.spec.key_bytes) || !fits(value, self.spec.longest_value()) {
            return Err(Refusal::Unfit);
        }
        let found = self.find(key, now_s);
        if found.is_some() && present == Present::Keep {
            return Err(Refusal::Unfit);
        }
        let kept = found.map(|item| self.memory.part(item, Part::Expires));
        let need = self.blocks_of(value);
        let place = found.filter(|item| need <= self.blocks_in(*item));
        let item = match place {
            Some(item) => {
                // The blocks beyond the new value are free again.
                let first = self.memory.part(item, Part::Block);
                self.release(first.saturating_add(need), self.blocks_in(item).saturating_sub(need));
                self.unlink(item);
                item
            }
            // Where there is no room for the new value, the old one is gone too: it would be wrong.
            None => {
                found.into_iter().for_each(|item| self.remove(item));
                let (item, block) = self.make_room(need, now_s).ok_or(Refusal::Full)?;
                let hash = hash(key);
                self.memory.set_part(item, Part::Block, block);
                self.memory.set_part(item, Part::Hash, hash);
                self.memory.set_part(item, Part::Next, self.memory.bucket(hash));
                self.memory.set_key(item, key);
                self.memory.set_bucket(hash, item);
                self.memory.set_head(Head::Items, self.memory.head(Head::Items).saturating_add(1));
                item
            }
        };
        self.memory.set_value(item, value);
        self.memory.set_part(item, Part::Expires, expires.or(kept).unwrap_or_default());
        self.link(item);
        self.memory.set_head(Head::Modified, now_s);
        Ok(())
    }
}

/// What a value is as a number.
#[must_use]
pub fn number(value: &[u8]) -> i64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(value) {
        *to = *from;
    }
    i64::from_ne_bytes(bytes)
}

/// uWSGI's `djb33x`.
fn hash(key: &[u8]) -> u64 {
    let hash = key.iter().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(*byte));
    hash.into()
}
