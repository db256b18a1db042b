//! A file that is logged to: renamed when it is long enough or when somebody asks, opened anew when somebody else
//! renamed it.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::instance::InstanceSpec;
use crate::config::logging::LogFileSpec;
use crate::sys::stderr::Descriptor;
use crate::sys::user::Identity;
use crate::sys::{clock, fd, output};
use crate::tick::Tick;
use crate::wire::failure::Failure;

/// A file that could not be opened is not tried again before.
const PAUSE: Duration = Duration::from_secs(1);

/// So many backups of one second do not displace each other.
const TRIES: u32 = 100;

/// A file that is logged to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// It is renamed when it is so long; 0: never.
    max_bytes: u64,
    backup: Option<PathBuf>,
    place: Place,
    /// It could not be renamed: not tried again at every line.
    is_stuck: bool,
}

#[derive(Debug)]
enum Place {
    /// It is behind descriptors 1 and 2 of this process.
    Standard(LogFileSpec),
    /// It is a logger's.
    Own { open: Option<Descriptor>, not_before: Tick },
}

impl LogFile {
    /// The one that `logto` names, if it does.
    pub(super) fn of(spec: &InstanceSpec) -> Option<Self> {
        let path = spec.log.file_path()?.clone();
        let file = spec.log.file.clone();
        Some(Self {
            path,
            max_bytes: file.max_bytes,
            backup: file.backup.clone(),
            place: Place::Standard(file),
            is_stuck: false,
        })
    }

    /// One of a logger; it is opened for the first line.
    pub(super) const fn own(path: PathBuf, backup: Option<PathBuf>) -> Self {
        let place = Place::Own { open: None, not_before: Tick::from_ms(0) };
        Self { path, max_bytes: 0, backup, place, is_stuck: false }
    }

    /// It is renamed when it has so many bytes; 0: never.
    pub(super) const fn limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// Writes a line to a logger's file, and renames it if it is too long then.
    ///
    /// # Errors
    /// It cannot be opened or written; of a pipe, that its reader leaves no room.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let Place::Own { open, not_before } = &mut self.place else { return Ok(()) };
        if open.is_none() {
            if clock::now() < *not_before {
                return Err(io::ErrorKind::NotConnected.into());
            }
            match output::append(&self.path) {
                Ok(file) => *open = Some(Descriptor::new(file.into())),
                Err(error) => {
                    *not_before = clock::now() + PAUSE;
                    return Err(error);
                }
            }
        }
        if let Some(open) = open {
            open.write(line)?;
        }
        self.keep_short();
        Ok(())
    }

    /// Renames it if it is too long.
    pub(super) fn keep_short(&mut self) {
        if self.max_bytes == 0 || self.is_stuck {
            return;
        }
        // Without a name of its own a backup has that of its second, and one is enough in each.
        if self.length() >= self.max_bytes && (self.backup.is_some() || !exists(&self.dated(0))) {
            self.rotate();
        }
    }

    fn length(&self) -> u64 {
        let file = match &self.place {
            Place::Standard(_) => io::stderr().as_fd().try_clone_to_owned(),
            Place::Own { open: Some(open), .. } => open.as_fd().try_clone_to_owned(),
            Place::Own { open: None, .. } => return 0,
        };
        let length = file.map(fs::File::from).and_then(|file| file.metadata());
        length.map_or(0, |stat| if stat.is_file() { stat.len() } else { 0 })
    }

    /// Renames it, and begins a new one.
    pub(super) fn rotate(&mut self) {
        let dated = || (0..TRIES).map(|number| self.dated(number)).find(|path| !exists(path));
        let backup = self.backup.clone().or_else(dated).unwrap_or_else(|| self.dated(TRIES));
        match fs::rename(&self.path, &backup) {
            Ok(()) => self.reopen(),
            Err(error) => {
                self.is_stuck = true;
                tracing::warn!(
                    "the log {} cannot be renamed to {}: {error}",
                    self.path.display(),
                    backup.display()
                );
            }
        }
    }

    /// The name of a backup that is made now, and has none of its own; with a number where there are several.
    fn dated(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", clock::epoch_seconds()));
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }

    /// Opens it anew.
    pub(super) fn reopen(&mut self) {
        self.is_stuck = false;
        match &mut self.place {
            // With the next line, and what is wrong then is told.
            Place::Own { open, not_before } => {
                *open = None;
                *not_before = Tick::default();
            }
            Place::Standard(spec) => {
                if let Err(failure) = log_to(&self.path, spec) {
                    self.is_stuck = true;
                    tracing::warn!("{failure}");
                }
            }
        }
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Logs to a file from now on; who has read the lines so far is told where they go on.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn go_on_in(path: &Path, spec: &LogFileSpec) -> Result<(), Failure> {
    tracing::info!("the log goes on in {}", path.display());
    log_to(path, spec)
}

/// Sends descriptors 1 and 2 to the end of a file.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn log_to(path: &Path, spec: &LogFileSpec) -> Result<(), Failure> {
    let open = || {
        let file = output::append(path)?;
        if let Some(mode) = spec.chmod {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        fd::replace(&file, 1)?;
        fd::replace(&file, 2)
    };
    open().map_err(|error: io::Error| cannot_log(path, &error))
}

/// Finds out whether a file can be logged to later.
///
/// # Errors
/// It cannot be opened.
pub(super) fn try_out(path: &Path) -> Result<(), Failure> {
    let opened = output::append(path);
    opened.map(drop).map_err(|error| cannot_log(path, &error))
}

fn cannot_log(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot log to {}: {error}", path.display()))
        .with_hint("let whom the instance runs as by then write there, or mend `logto` or its like")
}

/// Empties it, and gives it away, as the configuration says: at the start, before privileges drop.
///
/// # Errors
/// `ftruncate` or `fchown`.
pub(super) fn prepare(path: &Path, spec: &LogFileSpec, identity: &Identity) -> Result<(), Failure> {
    let prepare = || {
        let file = fs::File::from(io::stderr().as_fd().try_clone_to_owned()?);
        if !file.metadata()?.is_file() {
            return Ok(());
        }
        if spec.truncate {
            file.set_len(0)?;
        }
        if spec.chown {
            std::os::unix::fs::fchown(&file, Some(identity.uid()), Some(identity.gid()))?;
        }
        Ok(())
    };
    prepare().map_err(|error: io::Error| {
        Failure::new(format!("cannot prepare the log {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_backup_displaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::own(folder.path().join("log"), None);
        log.limit(1);
        let lines: Vec<String> = (0..20).map(|number| format!("{number}\n")).collect();
        for line in &lines {
            log.write(line.as_bytes()).unwrap();
        }
        // An operator asks for two more.
        for line in ["a\n", "b\n"] {
            log.write(line.as_bytes()).unwrap();
            log.rotate();
        }
        let files = fs::read_dir(folder.path()).unwrap();
        let mut found: Vec<String> = files
            .flat_map(|file| {
                fs::read_to_string(file.unwrap().path())
                    .unwrap()
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut written: Vec<&str> = lines.iter().map(|line| line.trim()).chain(["a", "b"]).collect();
        found.sort();
        written.sort_unstable();
        assert_eq!(found, written);
    }
}
