//! Anonymous files: sealed ones to hand data over, sizeable ones to share memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statfs::{HUGETLBFS_MAGIC, fstatfs};

/// A sealed, read-only memory file with these bytes, positioned at its start.
///
/// # Errors
/// `memfd_create`, writing, or sealing.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = create(name)?;
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// A memory file of exactly `size_bytes`, sealed against a change of size, to be mapped by several processes.
///
/// # Errors
/// `memfd_create`, `ftruncate` or sealing.
pub fn fixed(name: &str, size_bytes: u64) -> io::Result<OwnedFd> {
    let file = create(name)?;
    file.set_len(size_bytes)?;
    fcntl(
        &file,
        FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
    )?;
    Ok(file.into())
}

/// Whether the size of `file` can never change, so that a mapping of it cannot fault. Of huge pages the kernel may have
/// none when one is touched.
#[must_use]
pub fn size_is_sealed(file: &File) -> bool {
    let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(wanted))
        && fstatfs(file).is_ok_and(|found| found.filesystem_type() != HUGETLBFS_MAGIC)
}

/// Reads a whole descriptor from its start, refusing more than `limit_bytes`.
///
/// # Errors
/// Reading, or `InvalidData` above the limit.
pub fn read_all(fd: OwnedFd, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit_bytes} bytes")));
    }
    Ok(bytes)
}

fn create(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_fault_is_taken() {
        assert!(size_is_sealed(&fixed("plain", 4096).unwrap().into()));
        assert!(!size_is_sealed(&create("open").unwrap()));
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB;
        // A kernel may know no huge pages.
        let Ok(huge) = memfd_create("huge", flags).map(File::from) else { return };
        huge.set_len(1 << 30).unwrap();
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&huge, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        assert!(!size_is_sealed(&huge));
    }
}
