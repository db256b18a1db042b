//! Finding a program, and becoming it in this process.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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

/// Whether a program of this name can be executed: as it is when it has a slash, else along the `PATH` given.
#[must_use]
pub fn find_program(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let executable =
        |at: &Path| at.is_file() && nix::unistd::access(at, nix::unistd::AccessFlags::X_OK).is_ok();
    if name.as_encoded_bytes().contains(&b'/') {
        let at = PathBuf::from(name);
        return executable(&at).then_some(at);
    }
    std::env::split_paths(path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin")))
        .map(|directory| directory.join(name))
        .find(|at| executable(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_along_the_path() {
        assert!(find_program(OsStr::new("sh"), None).is_some());
        assert!(find_program(OsStr::new("sh"), Some(OsStr::new("/nonexistent"))).is_none());
    }
}
