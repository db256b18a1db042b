//! A look at one file that may be a vassal's: its name, what it is, and what tells one state of it from another.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::attributes::Attributes;
use super::fleet::{FileIdentity, NotStarted};
use super::tenancy::{self, Disowned};
use crate::config::address::Address;
use crate::config::emperor::EmperorSpec;
use crate::config::tenant::{Tenant, Tyrant};
use crate::config::vassals;
use crate::sys::access_list;
use crate::sys::file::{self, Trouble};
use crate::sys::user;
use crate::sys::way::{self, Reached};
use crate::wire::failure::Failure;

/// The largest vassal file.
pub const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// A file that is to be a vassal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The vassal's id.
    pub id: String,
    /// The directory that it is in.
    pub directory: PathBuf,
    /// What tells this state of it from another.
    pub identity: FileIdentity,
    /// What it says to the emperor.
    pub attributes: Attributes,
    /// The program of others that is to run it; `None`: ours.
    pub program: Option<String>,
    /// The socket on which the emperor is to wait before it starts the vassal.
    pub on_demand: Option<Address>,
    /// Whom it is to run as, where that is the owner of the file.
    pub tenant: Option<Tenant>,
    /// The owner of the file.
    pub owner: Option<Tenant>,
    /// It slept when the last emperor ended, at sockets that were kept, and nothing has changed since.
    pub slept: bool,
    /// The vassals that had this very file under other names, which are not there any more.
    pub was: Vec<String>,
}

impl Found {
    /// A file of which nothing more is known.
    #[must_use]
    pub fn of(id: &str, identity: FileIdentity) -> Self {
        Self {
            id: id.to_owned(),
            directory: PathBuf::new(),
            identity,
            attributes: Attributes::default(),
            program: None,
            on_demand: None,
            tenant: None,
            owner: None,
            slept: false,
            was: Vec::new(),
        }
    }
}

/// What a look at one name found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A file to start.
    Found(Box<Found>),
    /// Something that is not started.
    Refused(NotStarted),
    /// A file that is not started because nobody can be told to be its owner; whom it belongs to all the same.
    Disowned(NotStarted, Tenant),
    /// Nothing, or a symbolic link that leads nowhere.
    Missing,
    /// The directory that it would be in is gone itself, or cannot be entered; what runs goes on.
    Unlisted,
    /// It could not be told now; what runs goes on.
    Unknown(String),
    /// The server that it lies on does not answer, or is to be asked first; what runs goes on.
    Unanswered(String),
}

/// A file opened to be read once: all that is said of it is said of this descriptor.
#[derive(Debug)]
pub struct Opened {
    /// At its start.
    pub file: File,
    /// As it was when it was opened.
    pub identity: FileIdentity,
    /// Its owner, where that is who the vassal runs as.
    pub tenant: Option<Tenant>,
    /// Its owner.
    pub owner: Tenant,
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
    /// Nobody can be told to be its owner.
    #[error("{}", .0.reason)]
    Disowned(Disowned),
    /// It may be fine later.
    #[error("{0}")]
    Unknown(io::Error),
}

/// What counts as a change of a file that is a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// A change of what it leads to.
    #[default]
    Followed,
    /// A change of the link itself (`emperor-nofollow`).
    Themselves,
}

/// How vassal files are opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// What counts as a change of a symbolic link.
    pub links: Links,
    /// Whether owners count.
    pub tyrant: Option<Tyrant>,
}

impl Manner {
    /// That of an emperor with these options.
    #[must_use]
    pub const fn of(spec: &EmperorSpec) -> Self {
        let links = if spec.nofollow { Links::Themselves } else { Links::Followed };
        Self { links, tyrant: spec.tyrant }
    }
}

impl From<Links> for Manner {
    fn from(links: Links) -> Self {
        Self { links, tyrant: None }
    }
}

/// Opens a vassal file.
///
/// # Errors
/// It is missing, is no regular file of at most [`FILE_LIMIT_BYTES`], or may not be read; or nobody can be told to be
/// its owner.
pub fn open(path: &Path, manner: Manner) -> Result<Opened, OpenError> {
    // Before it is opened: a change in between is noticed later.
    let own = if manner.links == Links::Themselves { link_identity(path) } else { None };
    let reached = match manner.tyrant {
        // Only who needs the way looks at each step of it.
        None => file::open_untrusted(path).map(|file| (file, None)),
        Some(tyrant) => way::open(path)
            .map(|Reached { file, steps, to_directory }| (file, Some((tyrant, steps, to_directory)))),
    };
    let opened = reached.and_then(|(file, way)| file.metadata().map(|metadata| (file, metadata, way)));
    let (file, metadata, way) = opened.map_err(|error| match Trouble::of(&error) {
        Trouble::Missing => OpenError::Missing,
        Trouble::Loop => OpenError::Refused("symbolic links lead in a circle".to_owned()),
        Trouble::Denied => OpenError::Refused("the emperor may not read it".to_owned()),
        Trouble::Socket => OpenError::Refused("it is not a regular file".to_owned()),
        Trouble::Shortage => OpenError::Unknown(error),
        Trouble::Other => OpenError::Refused(format!("cannot be opened: {error}")),
    })?;
    if let Some(reason) = kind_problem(&metadata) {
        return Err(OpenError::Refused(reason));
    }
    let owner = Tenant { uid: metadata.uid(), gid: metadata.gid() };
    let tenant = way.map(|(tyrant, steps, to_directory)| {
        let (to_directory, beyond) = steps.split_at_checked(to_directory).unwrap_or((&steps, &[]));
        let listed = access_list::lets_others_write(&file, &metadata);
        let opened = tenancy::Opened { to_directory, beyond, owner, mode: metadata.mode(), listed };
        tenancy::tenant(&opened, tyrant, user::current_uid())
    });
    let tenant = tenant.transpose().map_err(OpenError::Disowned)?;
    Ok(Opened { file, identity: own.unwrap_or_else(|| identity(&metadata)), tenant, owner })
}

/// Opens the file of a vassal that runs, or is to run, as this tenant.
///
/// # Errors
/// It cannot be opened, or is another's by now; for people.
pub fn open_for(path: &Path, manner: Manner, tenant: Option<Tenant>) -> Result<Opened, Failure> {
    let shown = path.display();
    let opened = open(path, manner).map_err(|error| Failure::new(format!("cannot open {shown}: {error}")))?;
    if opened.tenant == tenant {
        return Ok(opened);
    }
    let name = |tenant: Option<Tenant>| tenant.map_or_else(|| "nobody".to_owned(), |one| one.to_string());
    let (now, before) = (name(opened.tenant), name(tenant));
    Err(Failure::new(format!("{shown} belongs to {now} by now, and not to {before} any more")))
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

/// Judges a name; `extra` are further ends of vassals' names.
#[must_use]
pub fn judge(name: &OsStr, extra: &[String]) -> Name {
    let bytes = name.as_bytes();
    if bytes.starts_with(b".") || bytes.starts_with(b"#") {
        return Name::Other;
    }
    if !vassals::is_name(&name.to_string_lossy(), extra) {
        return if bytes.ends_with(b".toml") {
            Name::Refused("uwsgi reads no TOML: write it as an .ini file")
        } else {
            Name::Other
        };
    }
    match name.to_str() {
        None => Name::Refused("the name is not UTF-8"),
        Some(name) if name.chars().any(char::is_control) => {
            Name::Refused("the name contains control characters")
        }
        Some(name) => Name::Vassal(name.to_owned()),
    }
}

/// Looks at the file that this vassal would have.
pub(super) fn look(id: &str, path: &Path, manner: Manner) -> Look {
    let directory = path.parent().unwrap_or(path).to_owned();
    let found = |identity, tenant| {
        Look::Found(Box::new(Found { directory: directory.clone(), tenant, ..Found::of(id, identity) }))
    };
    match open(path, manner) {
        Ok(Opened { identity, tenant, .. }) => found(identity, tenant),
        // The link counts, wherever it leads; but of what it leads to there is no owner yet.
        Err(OpenError::Missing) if manner == Links::Themselves.into() => {
            link_identity(path).map_or(Look::Missing, |identity| found(identity, None))
        }
        Err(OpenError::Missing) => Look::Missing,
        Err(OpenError::Refused(_)) if is_out_of_reach(path) => Look::Unlisted,
        Err(OpenError::Refused(reason)) => Look::Refused(not_started(id, path, reason)),
        Err(OpenError::Disowned(Disowned { owner, reason })) => {
            Look::Disowned(not_started(id, path, reason), owner)
        }
        Err(OpenError::Unknown(error)) => Look::Unknown(error.to_string()),
    }
}

/// A file that is not started, though this would be the vassal's id.
pub(super) fn not_started(id: &str, path: &Path, reason: String) -> NotStarted {
    NotStarted {
        directory: path.parent().unwrap_or(path).to_owned(),
        name: path.file_name().map(printable).unwrap_or_default(),
        id: Some(id.to_owned()),
        reason,
    }
}

/// Whether it cannot even be told if there is something: the directory may not be entered.
fn is_out_of_reach(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| Trouble::of(&error) == Trouble::Denied)
}

/// What tells one state of a symbolic link from another; `None` if there is nothing, or no link.
fn link_identity(path: &Path) -> Option<FileIdentity> {
    fs::symlink_metadata(path).ok().filter(Metadata::is_symlink).map(|metadata| identity(&metadata))
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
pub(super) fn printable(name: &OsStr) -> String {
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
            (b"app.json~", Name::Other),
            (b"app.skel", vassal("app.skel")),
            (b"app.conf", Name::Other),
            (b"app.toml", Name::Refused("uwsgi reads no TOML: write it as an .ini file")),
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
            assert_eq!(
                judge(OsStr::from_bytes(name), &[".skel".to_owned()]),
                expected,
                "{}",
                String::from_utf8_lossy(name)
            );
        }
    }

    #[test]
    fn every_change_changes_the_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ini");
        fs::write(&path, "1").unwrap();
        let first = open(&path, Links::Followed.into()).unwrap().identity;
        assert_eq!(open(&path, Links::Followed.into()).unwrap().identity, first);
        // The same size, and an older time stamp, as `cp -p` from a backup leaves it.
        fs::write(dir.path().join("b.ini"), "2").unwrap();
        let older = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::options().write(true).open(dir.path().join("b.ini")).unwrap().set_modified(older).unwrap();
        fs::rename(dir.path().join("b.ini"), &path).unwrap();
        assert_ne!(open(&path, Links::Followed.into()).unwrap().identity, first);
    }

    #[test]
    fn a_link_that_counts_itself_changes_only_when_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("a.ini"));
        symlink("target", &link).unwrap();
        assert_eq!(look("a.ini", &link, Links::Followed.into()), Look::Missing);
        let Look::Found(dangling) = look("a.ini", &link, Links::Themselves.into()) else {
            panic!("the link is there")
        };
        fs::write(&target, "1").unwrap();
        let Look::Found(whole) = look("a.ini", &link, Links::Themselves.into()) else {
            panic!("the link is there")
        };
        assert_eq!(whole, dangling);
        let own = |path| open(path, Links::Themselves.into()).unwrap().identity;
        let followed = |path| open(path, Links::Followed.into()).unwrap().identity;
        assert_eq!(own(&link), whole.identity);
        assert_ne!(followed(&link), whole.identity);
        symlink("target", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), &link).unwrap();
        assert_ne!(own(&link), whole.identity);
        assert_eq!(own(&target), followed(&target));
    }
}
