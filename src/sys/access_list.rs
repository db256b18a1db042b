//! Access control lists: whom a file lets write besides its owner, its group and all others, which its mode says.

use std::ffi::CString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// A list in the form in which the kernel tells it: its version, then entries of a tag, permissions and a user or group.
const VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;
const NAMED_USER: u16 = 0x02;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const WRITE: u16 = 2;
/// Five hundred entries; who has more is not told from everybody.
const LIST_BYTES: usize = 4096;
/// The mode's bits for the group are the list's mask, where there is one.
const GROUP_WRITES: u32 = 0o020;

/// Whether the list of an open file or directory, also of one that is open for nothing, lets users write to it who are
/// neither its owner nor root, or groups that are not the file's.
#[must_use]
pub fn lets_others_write(file: &File, metadata: &Metadata) -> bool {
    if metadata.mode() & GROUP_WRITES == 0 {
        return false;
    }
    let mut list = [0; LIST_BYTES];
    match read(file, &mut list) {
        Ok(list) => lets_write(list, metadata.uid()),
        Err(error) => !matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)),
    }
}

#[expect(unsafe_code, reason = "there is no wrapper for getxattr")]
fn read<'a>(file: &File, list: &'a mut [u8; LIST_BYTES]) -> io::Result<&'a [u8]> {
    // The descriptor of a file that is open for nothing is not asked itself.
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    // SAFETY: both names end with a NUL, and the list is valid for writes of its whole length.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"system.posix_acl_access".as_ptr(),
            list.as_mut_ptr().cast(),
            list.len(),
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(list.get(..length).unwrap_or_default())
}

/// The same of a list, for a file of this owner. One that is not understood lets everybody.
fn lets_write(list: &[u8], owner: u32) -> bool {
    let Some((version, entries)) = list.split_first_chunk() else { return true };
    if u32::from_le_bytes(*version) != VERSION {
        return true;
    }
    let entries: Vec<(u16, u16, u32)> = entries
        .chunks_exact(ENTRY_BYTES)
        .filter_map(|entry| {
            let (tag, rest) = entry.split_first_chunk()?;
            let (permissions, id) = rest.split_first_chunk()?;
            let id = u32::from_le_bytes(*id.first_chunk()?);
            Some((u16::from_le_bytes(*tag), u16::from_le_bytes(*permissions), id))
        })
        .collect();
    let mask =
        entries.iter().find(|(tag, ..)| *tag == MASK).map_or(WRITE, |(_, permissions, _)| *permissions);
    entries.iter().any(|(tag, permissions, id)| {
        let is_other = match *tag {
            NAMED_USER => *id != owner && *id != 0,
            NAMED_GROUP => true,
            _ => false,
        };
        is_other && permissions & mask & WRITE != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: u32 = 1001;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn whom_a_list_lets_write_counts_within_its_mask() {
        for (what, entries, expected) in [
            ("nobody more", vec![(MASK, 6, 0)], false),
            ("a user", vec![(NAMED_USER, 6, 1002), (MASK, 6, 0)], true),
            ("a user who only reads", vec![(NAMED_USER, 4, 1002), (MASK, 6, 0)], false),
            ("a user whom the mask does not let", vec![(NAMED_USER, 6, 1002), (MASK, 4, 0)], false),
            ("the owner", vec![(NAMED_USER, 6, OWNER), (MASK, 6, 0)], false),
            ("root", vec![(NAMED_USER, 7, 0), (MASK, 7, 0)], false),
            ("a group", vec![(NAMED_GROUP, 2, 33), (MASK, 7, 0)], true),
        ] {
            assert_eq!(lets_write(&list(&entries), OWNER), expected, "{what}");
        }
        for garbage in [&b""[..], b"abc", &[9; 20]] {
            assert!(lets_write(garbage, OWNER), "{garbage:?}");
        }
    }

    #[test]
    fn a_file_without_a_list_is_as_its_mode_says() {
        let file = tempfile::tempfile().unwrap();
        assert!(!lets_others_write(&file, &file.metadata().unwrap()));
    }
}
