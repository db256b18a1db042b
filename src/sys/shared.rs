//! Memory shared between processes, seen only as an array of atomic words.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::memfd;

/// A shared mapping of a memory file whose size is sealed.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
    file: File,
}

// SAFETY: the mapping lives as long as the value, belongs to no thread, and is only reached through atomics.
#[expect(unsafe_code, reason = "a raw pointer takes Send away; the memory itself is thread-safe")]
unsafe impl Send for SharedWords {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a raw pointer takes Sync away; the memory itself is thread-safe")]
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Creates zeroed shared memory of that many words.
    ///
    /// # Errors
    /// Creating or mapping the file.
    pub fn create(name: &str, words: usize) -> io::Result<Self> {
        let bytes = u64::try_from(words.saturating_mul(8)).unwrap_or(u64::MAX);
        Self::map(memfd::fixed(name, bytes)?, true, words)
    }

    /// Maps memory received from another process, of at most so many words: writable for a worker, read-only for an
    /// observer. A read-only view must only be loaded from; a store to it faults.
    ///
    /// # Errors
    /// The size is not sealed (the sender could make us fault), is zero, not whole words, or more than that (an empty
    /// file of any size costs its sender nothing, and us all our addresses), or `mmap` fails.
    pub fn map(file: OwnedFd, writable: bool, most_words: usize) -> io::Result<Self> {
        let all = |words| {
            if words > most_words { Err("shared memory is larger than it can be") } else { Ok(words) }
        };
        Self::map_words(file, writable, all)
    }

    /// The first so many words, for an observer.
    ///
    /// # Errors
    /// As [`SharedWords::map`], or there are fewer words.
    pub fn map_start(file: OwnedFd, words: usize) -> io::Result<Self> {
        let first = |all| if all < words { Err("shared memory is too short") } else { Ok(words) };
        Self::map_words(file, false, first)
    }

    fn map_words(
        file: OwnedFd,
        writable: bool,
        choose: impl FnOnce(usize) -> Result<usize, &'static str>,
    ) -> io::Result<Self> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let file = File::from(file);
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        if !memfd::size_is_sealed(&file) || bytes % 8 != 0 {
            return Err(invalid("shared memory is not sealed or not whole words"));
        }
        let words = choose(bytes / 8).map_err(invalid)?;
        let length = NonZeroUsize::new(words * 8).ok_or_else(|| invalid("shared memory is empty"))?;
        let protection =
            if writable { ProtFlags::PROT_READ | ProtFlags::PROT_WRITE } else { ProtFlags::PROT_READ };
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing of ours; the file cannot
        // shrink (sealed), so no access inside `length` faults.
        #[expect(unsafe_code, reason = "mmap")]
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Self { start: start.cast(), words, file })
    }

    /// The words. Other processes may change them at any time; treat what is read as untrusted.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned, the mapping holds `words` words and lives as long as `self`, and
        // AtomicU64 allows changes by others. Page contents are valid for every bit pattern.
        #[expect(unsafe_code, reason = "the mapping as a slice")]
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.words)
        }
    }

    /// The file, to be passed to another process.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping made in `map`, and no borrow of it outlives `self`.
        #[expect(unsafe_code, reason = "munmap")]
        let _ = unsafe { munmap(self.start.cast(), self.words * 8) };
    }
}
