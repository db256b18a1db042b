//! Where everything of a cache lies in its memory. Zeroed memory is an empty cache.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::config::cache::CacheSpec;
use crate::stats::cache::{Counts, HEAD_WORDS as HEAD, Head};
use crate::sys::shared::SharedWords;

/// A word of an item. Links are numbers of items, from 1; 0 is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The next in its bucket, or among the free ones.
    Next,
    Before,
    After,
    Hash,
    /// When it expires, in seconds since the epoch; 0: never.
    Expires,
    KeyBytes,
    ValueBytes,
    Block,
}
const ITEM_WORDS: u64 = 8;
const HEAD_WORDS: u64 = HEAD as u64;

const WORD_BYTES: u64 = 8;

/// The memory.
#[derive(Debug)]
pub(super) struct Memory {
    words: SharedWords,
    buckets: u64,
    item_words: u64,
    items_at: u64,
    bits_at: u64,
    bits_words: u64,
    data_at: u64,
    block_words: u64,
}

impl Memory {
    pub(super) fn create(spec: &CacheSpec) -> io::Result<Self> {
        let (layout, length) = Self::layout(spec);
        let words = usize::try_from(length).map_err(io::Error::other)?;
        Ok(layout(SharedWords::create("liege-cache", words)?))
    }

    pub(super) fn open(spec: &CacheSpec, file: OwnedFd) -> io::Result<Self> {
        let (layout, length) = Self::layout(spec);
        let most = usize::try_from(length).map_err(io::Error::other)?;
        let words = SharedWords::map(file, true, most)?;
        if words.words().len() != most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the cache has another size"));
        }
        Ok(layout(words))
    }

    fn layout(spec: &CacheSpec) -> (impl FnOnce(SharedWords) -> Self, u64) {
        let buckets = spec.buckets;
        let item_words = ITEM_WORDS + spec.key_bytes.div_ceil(WORD_BYTES);
        let items_at = HEAD_WORDS + buckets;
        let bits_at = items_at + item_words * spec.items;
        let bits_words = if spec.bitmap { spec.blocks.div_ceil(64) } else { 0 };
        let data_at = bits_at + bits_words;
        let block_words = spec.block_bytes.div_ceil(WORD_BYTES);
        let make = move |words| Self {
            words,
            buckets,
            item_words,
            items_at,
            bits_at,
            bits_words,
            data_at,
            block_words,
        };
        (make, data_at + block_words * spec.blocks)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.words.fd()
    }

    /// Empties it, whatever is in it.
    pub(super) fn clear(&self) {
        let kept = [Head::Dirty, Head::Hits, Head::Misses, Head::Full, Head::Waiting]
            .map(|word| (word, self.head(word)));
        for at in (0..self.items_at).chain(self.bits_at..self.bits_at + self.bits_words) {
            self.store(at, 0);
        }
        kept.into_iter().for_each(|(word, value)| self.set_head(word, value));
    }

    pub(super) fn counts(&self) -> Counts {
        Counts::of(&self.words)
    }

    pub(super) fn head(&self, word: Head) -> u64 {
        self.load(word as u64)
    }

    pub(super) fn set_head(&self, word: Head, value: u64) {
        self.store(word as u64, value);
    }

    /// Changes a word of the whole cache that others change at the same time.
    pub(super) fn change_head(&self, word: Head, change: impl Fn(u64) -> u64) {
        let place = usize::try_from(word as u64).ok().and_then(|at| self.words.words().get(at));
        let _ = place.map(|place| place.fetch_update(SeqCst, SeqCst, |value| Some(change(value))));
    }

    /// The place of a bucket: the number of its first item.
    pub(super) fn bucket(&self, hash: u64) -> u64 {
        self.load(HEAD_WORDS + hash % self.buckets)
    }

    pub(super) fn set_bucket(&self, hash: u64, item: u64) {
        self.store(HEAD_WORDS + hash % self.buckets, item);
    }

    pub(super) fn part(&self, item: u64, part: Part) -> u64 {
        self.load(self.item_at(item).saturating_add(part as u64))
    }

    pub(super) fn set_part(&self, item: u64, part: Part, value: u64) {
        self.store(self.item_at(item).saturating_add(part as u64), value);
    }

    pub(super) fn key(&self, item: u64) -> Vec<u8> {
        let length = self.part(item, Part::KeyBytes).min((self.item_words - ITEM_WORDS) * WORD_BYTES);
        self.read(self.item_at(item).saturating_add(ITEM_WORDS), length)
    }

    pub(super) fn set_key(&self, item: u64, key: &[u8]) {
        self.set_part(item, Part::KeyBytes, length_of(key));
        self.write(self.item_at(item).saturating_add(ITEM_WORDS), key);
    }

    pub(super) fn value(&self, item: u64) -> Vec<u8> {
        self.read(self.value_at(item), self.part(item, Part::ValueBytes))
    }

    pub(super) fn set_value(&self, item: u64, value: &[u8]) {
        self.set_part(item, Part::ValueBytes, length_of(value));
        self.write(self.value_at(item), value);
    }

    pub(super) fn is_used(&self, block: u64) -> bool {
        self.load(self.bits_at + block / 64) >> (block % 64) & 1 == 1
    }

    pub(super) fn mark(&self, block: u64, used: bool) {
        let (at, bit) = (self.bits_at + block / 64, 1 << (block % 64));
        let word = self.load(at);
        self.store(at, if used { word | bit } else { word & !bit });
    }

    const fn item_at(&self, item: u64) -> u64 {
        self.items_at.saturating_add(item.saturating_sub(1).saturating_mul(self.item_words))
    }

    fn value_at(&self, item: u64) -> u64 {
        self.data_at.saturating_add(self.part(item, Part::Block).saturating_mul(self.block_words))
    }

    fn load(&self, at: u64) -> u64 {
        let word = usize::try_from(at).ok().and_then(|at| self.words.words().get(at));
        word.map_or(0, |word| word.load(Relaxed))
    }

    fn store(&self, at: u64, value: u64) {
        if let Some(word) = usize::try_from(at).ok().and_then(|at| self.words.words().get(at)) {
            word.store(value, Relaxed);
        }
    }

    fn read(&self, at: u64, length: u64) -> Vec<u8> {
        let (Ok(at), Ok(length)) = (usize::try_from(at), usize::try_from(length)) else { return Vec::new() };
        let words = self.words.words().iter().skip(at).take(length.div_ceil(8));
        let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let Ok(at) = usize::try_from(at) else { return };
        for (word, piece) in self.words.words().iter().skip(at).zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            for (to, from) in whole.iter_mut().zip(piece) {
                *to = *from;
            }
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
