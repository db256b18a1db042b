//! Files that we write at paths which others chose.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file to write at its end, making it if need be. Never waits for a pipe's reader, never becomes our terminal.
///
/// # Errors
/// `open`.
pub fn append(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}

/// Makes or replaces a small file's content, never through a symbolic link at the path's end.
///
/// # Errors
/// `open` or `write`.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .custom_flags(flags)
        .open(path)?;
    file.write_all(content)
}
