//! The places of a cache's items: lists of them, blocks for their values, and who goes where there is no room.

use super::Cache;
use super::memory::Part;
use crate::stats::cache::Head;

/// How often what has expired is looked for in a cache that is full, in seconds.
const SWEEP_S: u64 = 1;

impl Cache {
    /// A place and the first of so many blocks; others may have to go for it.
    pub(super) fn make_room(&self, need: u64, now_s: u64) -> Option<(u64, u64)> {
        if let Some(room) = self.room(need) {
            return Some(room);
        }
        self.memory.set_head(Head::Full, self.memory.head(Head::Full).saturating_add(1));
        if self.memory.head(Head::Sweep) <= now_s {
            self.memory.set_head(Head::Sweep, now_s.saturating_add(SWEEP_S));
            self.sweep(now_s);
        }
        let mut room = self.room(need);
        if self.spec.purge_lru {
            for _ in 0..self.spec.items {
                let first = self.memory.head(Head::First);
                if room.is_some() || first == 0 {
                    break;
                }
                self.remove(first);
                room = self.room(need);
            }
        }
        if room.is_none() && self.spec.clear_on_full {
            self.memory.clear();
            room = self.room(need);
        }
        room
    }

    /// The same, if it is there.
    fn room(&self, need: u64) -> Option<(u64, u64)> {
        let (free, fresh) = (self.memory.head(Head::Free), self.memory.head(Head::Fresh));
        let item = match free {
            0 if fresh < self.spec.items => fresh + 1,
            0 => return None,
            free => free,
        };
        let block = if self.spec.bitmap { self.free_blocks(need)? } else { item - 1 };
        if free == 0 {
            self.memory.set_head(Head::Fresh, item);
        } else {
            self.memory.set_head(Head::Free, self.memory.part(item, Part::Next));
        }
        if self.spec.bitmap {
            (block..block + need).for_each(|block| self.memory.mark(block, true));
            self.memory.set_head(Head::Block, block + need);
        }
        Some((item, block))
    }

    /// The first of so many free blocks in a row.
    fn free_blocks(&self, need: u64) -> Option<u64> {
        let from = self.memory.head(Head::Block).min(self.spec.blocks);
        let search = |from: u64, to: u64| {
            let mut free = 0;
            (from..to).find_map(|block| {
                free = if self.memory.is_used(block) { 0 } else { free + 1 };
                (free == need).then(|| block + 1 - need)
            })
        };
        search(from, self.spec.blocks).or_else(|| search(0, (from + need).min(self.spec.blocks)))
    }

    pub(super) fn blocks_of(&self, value: &[u8]) -> u64 {
        let bytes = u64::try_from(value.len()).unwrap_or(u64::MAX);
        if self.spec.bitmap { bytes.div_ceil(self.spec.block_bytes) } else { 1 }
    }

    pub(super) fn blocks_in(&self, item: u64) -> u64 {
        let bytes = self.memory.part(item, Part::ValueBytes);
        if self.spec.bitmap { bytes.div_ceil(self.spec.block_bytes) } else { 1 }
    }

    pub(super) fn release(&self, first: u64, count: u64) {
        if self.spec.bitmap {
            let end = first.saturating_add(count).min(self.spec.blocks);
            (first..end).for_each(|block| self.memory.mark(block, false));
        }
    }

    pub(super) fn remove(&self, item: u64) {
        self.release(self.memory.part(item, Part::Block), self.blocks_in(item));
        self.unlink(item);
        let hash = self.memory.part(item, Part::Hash);
        let after = self.memory.part(item, Part::Next);
        let mut at = self.memory.bucket(hash);
        if at == item {
            self.memory.set_bucket(hash, after);
        } else {
            for _ in 0..self.spec.items {
                let next = self.memory.part(at, Part::Next);
                if next == item {
                    self.memory.set_part(at, Part::Next, after);
                    break;
                }
                at = next;
            }
        }
        self.memory.set_part(item, Part::Next, self.memory.head(Head::Free));
        self.memory.set_head(Head::Free, item);
        self.memory.set_head(Head::Items, self.memory.head(Head::Items).saturating_sub(1));
    }

    /// Makes it the last item.
    pub(super) fn link(&self, item: u64) {
        let last = self.memory.head(Head::Last);
        self.memory.set_part(item, Part::Before, last);
        self.memory.set_part(item, Part::After, 0);
        match last {
            0 => self.memory.set_head(Head::First, item),
            last => self.memory.set_part(last, Part::After, item),
        }
        self.memory.set_head(Head::Last, item);
    }

    pub(super) fn unlink(&self, item: u64) {
        let (before, after) = (self.memory.part(item, Part::Before), self.memory.part(item, Part::After));
        match before {
            0 => self.memory.set_head(Head::First, after),
            before => self.memory.set_part(before, Part::After, after),
        }
        match after {
            0 => self.memory.set_head(Head::Last, before),
            after => self.memory.set_part(after, Part::Before, before),
        }
    }

    /// Every item, in order.
    pub(super) fn all(&self) -> Vec<u64> {
        let mut all = Vec::new();
        let mut item = self.memory.head(Head::First);
        for _ in 0..self.spec.items {
            if item == 0 {
                break;
            }
            all.push(item);
            item = self.memory.part(item, Part::After);
        }
        all
    }

    /// Takes out what has expired.
    pub(super) fn sweep(&self, now_s: u64) {
        self.all()
            .into_iter()
            .filter(|item| self.has_expired(*item, now_s))
            .for_each(|item| self.remove(item));
    }

    pub(super) fn has_expired(&self, item: u64, now_s: u64) -> bool {
        let expires = self.memory.part(item, Part::Expires);
        !self.spec.no_expire && expires != 0 && expires <= now_s
    }
}
