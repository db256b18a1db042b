//! Becoming another program, in this process.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Becomes `program` with exactly these arguments and this environment. Returns only when that fails; close-on-exec
/// descriptors are still there then.
///
/// # Errors
/// A NUL in the text, or `execve`.
pub fn execute(
    program: &Path,
    arguments: &[OsString],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> io::Result<Infallible> {
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    let program = text(program.as_os_str())?;
    let arguments = arguments.iter().map(|a| text(a)).collect::<io::Result<Vec<CString>>>()?;
    let environment = environment
        .into_iter()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(&name)
        })
        .collect::<io::Result<Vec<CString>>>()?;
    Ok(nix::unistd::execve(&program, &arguments, &environment)?)
}
