//! What is in the watched directories: files to start, and files that are not started, each with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::fleet::{FileIdentity, NotStarted};
use crate::config::format::Format;
use crate::sys::file::{self, Trouble};

/// The largest vassal file.
pub const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// A file that is to be a vassal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub id: String,
    /// The watched directory that it is in.
    pub directory: PathBuf,
    /// What tells this state of it from another.
    pub identity: FileIdentity,
}

/// What a look at one name found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A file to start.
    Found(Found),
    /// Something that is not started.
    Refused(NotStarted),
    /// Nothing, or a symbolic link that leads nowhere.
    Missing,
    /// It could not be told now; what runs goes on.
    Unknown(String),
}

/// The content of all watched directories.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each name with what was found.
    pub looks: BTreeMap<String, Look>,
    /// What is not started.
    pub not_started: Vec<NotStarted>,
    /// For each directory, why it could not be listed.
    pub problems: Vec<Option<String>>,
}

impl Listing {
    /// Whether every directory could be listed, so that what is not here is not there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.problems.iter().all(Option::is_none)
    }
}

/// Lists the directories. Of two files with one name the first directory's counts.
#[must_use]
pub fn scan(directories: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    let mut ids = BTreeSet::new();
    for directory in directories {
        let problem = names(directory, &mut ids, &mut listing.not_started).err();
        listing.problems.push(problem.map(|error| error.to_string()));
    }
    for id in ids {
        let (look, not_started) = look(directories, &id);
        listing.not_started.extend(not_started);
        listing.looks.insert(id, look);
    }
    listing
}

/// Looks at one name in the directories, in order; answers what counts, and everything of that name that is not
/// started.
#[must_use]
pub fn look(directories: &[PathBuf], id: &str) -> (Look, Vec<NotStarted>) {
    let mut first: Option<(&PathBuf, Look)> = None;
    let mut not_started = Vec::new();
    for directory in directories {
        let look = look_in(directory, id);
        match (&look, &first) {
            (Look::Missing, _) => continue,
            (Look::Refused(refused), None) => not_started.push(refused.clone()),
            (_, None) => {}
            (_, Some((earlier, _))) => not_started.push(NotStarted {
                directory: directory.clone(),
                name: id.to_owned(),
                reason: format!("shadowed by the one of this name in {}", earlier.display()),
            }),
        }
        if first.is_none() {
            first = Some((directory, look));
        }
    }
    (first.map_or(Look::Missing, |(_, look)| look), not_started)
}

/// A file opened to be read once: all that is said of it is said of this descriptor.
#[derive(Debug)]
pub struct Opened {
    /// At its start.
    pub file: File,
    /// As it was when it was opened.
    pub identity: FileIdentity,
}

/// Why a vassal file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not there.
    #[error("no such file")]
    Missing,
    /// It is nothing that can be started.
    #[error("{0}")]
    Refused(String),
    /// It may be fine later.
    #[error("{0}")]
    Unknown(io::Error),
}

/// Opens a vassal file.
///
/// # Errors
/// It is missing, is no regular file of at most [`FILE_LIMIT_BYTES`], or may not be read.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let opened = file::open_untrusted(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| match Trouble::of(&error) {
        Trouble::Missing => OpenError::Missing,
        Trouble::Loop => OpenError::Refused("symbolic links lead in a circle".to_owned()),
        Trouble::Denied => OpenError::Refused("the emperor may not read it".to_owned()),
        Trouble::Shortage => OpenError::Unknown(error),
        Trouble::Other => OpenError::Refused(format!("cannot be opened: {error}")),
    })?;
    match kind_problem(&metadata) {
        Some(reason) => Err(OpenError::Refused(reason)),
        None => Ok(Opened { file, identity: identity(&metadata) }),
    }
}

/// What a name in a watched directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A vassal's.
    Vassal(String),
    /// One that looks like a vassal's and cannot be: why.
    Refused(&'static str),
    /// Anything else: other files, dot files, leftovers of editors and package managers.
    Other,
}

/// Judges a name.
#[must_use]
pub fn judge(name: &OsStr) -> Name {
    let bytes = name.as_bytes();
    if bytes.starts_with(b".") || bytes.starts_with(b"#") {
        return Name::Other;
    }
    if Format::of(&name.to_string_lossy()).is_none() {
        return Name::Other;
    }
    match name.to_str() {
        None => Name::Refused("the name is not UTF-8"),
        Some(name) if name.chars().any(char::is_control) => {
            Name::Refused("the name contains control characters")
        }
        Some(name) => Name::Vassal(name.to_owned()),
    }
}

fn names(directory: &Path, ids: &mut BTreeSet<String>, not_started: &mut Vec<NotStarted>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        match judge(&name) {
            Name::Other => {}
            Name::Vassal(id) => {
                ids.insert(id);
            }
            Name::Refused(reason) => not_started.push(NotStarted {
                directory: directory.to_owned(),
                name: printable(&name),
                reason: reason.to_owned(),
            }),
        }
    }
    Ok(())
}

fn look_in(directory: &Path, id: &str) -> Look {
    let path = directory.join(id);
    let refused = |reason: String| {
        Look::Refused(NotStarted { directory: directory.to_owned(), name: id.to_owned(), reason })
    };
    match open(&path) {
        Ok(Opened { identity, .. }) => {
            Look::Found(Found { id: id.to_owned(), directory: directory.to_owned(), identity })
        }
        Err(OpenError::Missing) => Look::Missing,
        Err(OpenError::Refused(reason)) => refused(reason),
        Err(OpenError::Unknown(error)) => Look::Unknown(error.to_string()),
    }
}

fn kind_problem(metadata: &Metadata) -> Option<String> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Some("it is a directory".to_owned())
    } else if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        Some("it is not a regular file".to_owned())
    } else if metadata.len() > FILE_LIMIT_BYTES {
        Some(format!("it has {} bytes, more than {FILE_LIMIT_BYTES}", metadata.len()))
    } else {
        None
    }
}

fn identity(metadata: &Metadata) -> FileIdentity {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    FileIdentity {
        dev: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// A name for people: bytes that are not UTF-8 and control characters as `\xNN`.
fn printable(name: &OsStr) -> String {
    let mut out = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(character) {
                Ok(byte) if character.is_control() => {
                    let _ = write!(out, "\\x{byte:02x}");
                }
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_are_judged_as_data() {
        let vassal = |name: &str| Name::Vassal(name.to_owned());
        for (name, expected) in [
            (&b"a.ini"[..], vassal("a.ini")),
            (b"sp ace 'quote\".ini", vassal("sp ace 'quote\".ini")),
            (b"-dash.ini", vassal("-dash.ini")),
            (b"$(reboot)%n.ini", vassal("$(reboot)%n.ini")),
            ("bücher.ini".as_bytes(), vassal("bücher.ini")),
            (b"co:lon.ini", vassal("co:lon.ini")),
            (b"new\nline.ini", Name::Refused("the name contains control characters")),
            (b"\xff.ini", Name::Refused("the name is not UTF-8")),
            (b"app.yaml", vassal("app.yaml")),
            (b"app.yml", vassal("app.yml")),
            (b"app.json", vassal("app.json")),
            (b"app.js", vassal("app.js")),
            (b"app.xml", vassal("app.xml")),
            (b"app.toml", Name::Other),
            (b"app.json~", Name::Other),
            (b".hidden.ini", Name::Other),
            (b".ini", Name::Other),
            (b"#a.ini#", Name::Other),
            (b"#a.ini", Name::Other),
            (b"a.ini~", Name::Other),
            (b"a.ini.bak", Name::Other),
            (b".a.ini.swp", Name::Other),
            (b"a.ini.dpkg-new", Name::Other),
            (b"a.INI", Name::Other),
            (b"README", Name::Other),
        ] {
            assert_eq!(judge(OsStr::from_bytes(name)), expected, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn each_kind_of_entry_is_started_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("good.ini"), "[uwsgi]\n").unwrap();
        fs::write(at("empty.ini"), "").unwrap();
        symlink("good.ini", at("link.ini")).unwrap();
        symlink("nowhere", at("dangling.ini")).unwrap();
        symlink("loop2.ini", at("loop1.ini")).unwrap();
        symlink("loop1.ini", at("loop2.ini")).unwrap();
        symlink("/dev/zero", at("device.ini")).unwrap();
        fs::create_dir(at("dir.ini")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.ini")).unwrap();
        File::create(at("big.ini")).unwrap().set_len(FILE_LIMIT_BYTES + 1).unwrap();
        let listing = scan(&[dir.path().to_owned()]);
        assert!(listing.is_complete());
        let said = |name: &str| match &listing.looks[name] {
            Look::Found(_) => "found".to_owned(),
            Look::Missing => "missing".to_owned(),
            Look::Refused(refused) => refused.reason.clone(),
            Look::Unknown(reason) => panic!("{reason}"),
        };
        for (name, expected) in [
            ("good.ini", "found"),
            ("empty.ini", "found"),
            ("link.ini", "found"),
            ("dangling.ini", "missing"),
            ("loop1.ini", "symbolic links lead in a circle"),
            ("device.ini", "it is not a regular file"),
            ("dir.ini", "it is a directory"),
            ("socket.ini", "cannot be opened: No such device or address (os error 6)"),
            ("big.ini", "it has 4194305 bytes, more than 4194304"),
        ] {
            assert_eq!(said(name), expected, "{name}");
        }
        let (Look::Found(file), Look::Found(link)) = (&listing.looks["good.ini"], &listing.looks["link.ini"])
        else {
            panic!("both exist");
        };
        assert_eq!(file.identity, link.identity);
    }

    #[test]
    fn the_first_directory_wins_and_a_missing_one_is_a_problem() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("a.ini"), "1").unwrap();
        fs::write(two.path().join("a.ini"), "2").unwrap();
        fs::write(two.path().join("b.ini"), "2").unwrap();
        fs::write(two.path().join(OsStr::from_bytes(b"\xff\n.ini")), "2").unwrap();
        let directories = [one.path().to_owned(), PathBuf::from("/nonexistent/liege"), two.path().to_owned()];
        let listing = scan(&directories);
        assert!(!listing.is_complete());
        assert_eq!(listing.looks.keys().collect::<Vec<_>>(), ["a.ini", "b.ini"]);
        let names: Vec<&str> = listing.not_started.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["\\xff\\x0a.ini", "a.ini"]);
        assert!(listing.not_started[1].reason.starts_with("shadowed"));
        fs::remove_file(one.path().join("a.ini")).unwrap();
        let Look::Found(found) = look(&directories, "a.ini").0 else { panic!("the second one") };
        assert_eq!(found.directory, two.path());
        assert_eq!(look(&directories, "c.ini"), (Look::Missing, Vec::new()));
    }

    #[test]
    fn every_change_changes_the_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ini");
        fs::write(&path, "1").unwrap();
        let first = open(&path).unwrap().identity;
        assert_eq!(open(&path).unwrap().identity, first);
        // The same size, and an older time stamp, as `cp -p` from a backup leaves it.
        fs::write(dir.path().join("b.ini"), "2").unwrap();
        let older = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::options().write(true).open(dir.path().join("b.ini")).unwrap().set_modified(older).unwrap();
        fs::rename(dir.path().join("b.ini"), &path).unwrap();
        assert_ne!(open(&path).unwrap().identity, first);
    }
}
