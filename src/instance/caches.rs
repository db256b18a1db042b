//! The caches that the processes of an instance share. The master keeps their memory, from one generation to the next.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use serde::{Deserialize, Serialize};

use super::reexec::Luggage;
use crate::config::cache::CacheSpec;
use crate::sys::fd;
use crate::wire::cache::Cache;

/// All caches of the instance.
#[derive(Debug, Default)]
pub(super) struct Caches(Vec<Cache>);

/// A cache that goes over an `execve`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CacheRecord {
    spec: CacheSpec,
    memory: RawFd,
}

impl Caches {
    /// Sees to it that those of a configuration are there. One that is described otherwise than before is another one.
    ///
    /// # Errors
    /// There is no such memory.
    pub(super) fn keep(&mut self, wanted: &[CacheSpec]) -> io::Result<()> {
        for spec in wanted {
            if self.find(spec).is_none() {
                self.0.push(Cache::create(spec.clone())?);
            }
        }
        Ok(())
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops all but those of a configuration.
    pub(super) fn retain(&mut self, wanted: &[CacheSpec]) {
        self.0.retain(|cache| wanted.contains(cache.spec()));
    }

    /// The memory of those of a configuration, in its order.
    pub(super) fn memory(&self, wanted: &[CacheSpec]) -> impl Iterator<Item = BorrowedFd<'_>> {
        wanted.iter().filter_map(|spec| self.find(spec)).map(Cache::fd)
    }

    /// Those of a configuration.
    pub(super) fn of<'a>(&'a self, wanted: &'a [CacheSpec]) -> impl Iterator<Item = &'a Cache> {
        wanted.iter().filter_map(|spec| self.find(spec))
    }

    fn find(&self, spec: &CacheSpec) -> Option<&Cache> {
        self.0.iter().find(|cache| cache.spec() == spec)
    }

    /// Takes them along over an `execve`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack(&self, luggage: &mut Luggage) -> io::Result<Vec<CacheRecord>> {
        let record = |cache: &Cache| {
            let memory = luggage.take_owned(fd::duplicate_high(cache.fd())?)?;
            Ok(CacheRecord { spec: cache.spec().clone(), memory })
        };
        self.0.iter().map(record).collect()
    }

    /// Goes on with them in the next image.
    ///
    /// # Errors
    /// A descriptor that is not there, or not the memory of its cache.
    pub(super) fn unpack(records: Vec<CacheRecord>) -> io::Result<Self> {
        let open = |record: CacheRecord| Cache::open(record.spec, fd::adopt(record.memory)?);
        Ok(Self(records.into_iter().map(open).collect::<io::Result<_>>()?))
    }
}
