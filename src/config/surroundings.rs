//! What a configuration depends on besides its text: files, the environment, the machine.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::address::Address;
use super::socket::PassedSocket;
use crate::sys::{capture, host, own};

/// Everything outside of the text that its meaning depends on. Tests imagine one.
pub trait Surroundings {
    /// The environment.
    fn variables(&self) -> Vec<(String, String)>;
    /// One variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// The directory that relative names start from.
    fn directory(&self) -> PathBuf;
    /// The content of a regular file, at most `limit` + 1 bytes of it.
    ///
    /// # Errors
    /// When it cannot be read or is no regular file.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// What an inherited descriptor yields, at most `limit` + 1 bytes of it.
    ///
    /// # Errors
    /// When it is not open or cannot be read.
    fn read_inherited(&self, descriptor: u32, limit: usize) -> io::Result<Vec<u8>>;
    /// What a shell command prints (`exec://`), at most `limit` + 1 bytes of it.
    ///
    /// # Errors
    /// When it fails; `Unsupported` where a configuration is only looked at.
    fn run(&self, _command: &str, _limit: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The configuration that an emperor of uWSGI sent (`emperor://`).
    ///
    /// # Errors
    /// None did.
    fn handed(&self) -> io::Result<Vec<u8>> {
        Err(io::Error::other("no emperor of uWSGI has sent a configuration"))
    }
    /// What lies at a path, links followed; `None`: nothing.
    fn kind(&self, path: &Path) -> Option<Kind>;
    /// The absolute path of a file: with links resolved, but the name itself kept if it is a link.
    ///
    /// # Errors
    /// When there is no such file.
    fn locate(&self, path: &Path) -> io::Result<PathBuf>;
    /// The inode number of a file.
    fn inode(&self, path: &Path) -> Option<u64>;
    /// The paths that match a shell pattern, sorted.
    fn matches(&self, pattern: &str) -> Vec<String>;
    /// The machine, the user and the time.
    fn facts(&self) -> Facts;
    /// A socket that is served also where the text does not name it: the emperor waits on it for the first connection.
    fn on_demand(&self) -> Option<Address> {
        None
    }
    /// The sockets that whoever starts the instance passes to it.
    fn passed(&self) -> Vec<PassedSocket> {
        Vec::new()
    }
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket, a device, a FIFO.
    Other,
}

/// The machine, the user and the time: what the magic variables tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// CPUs online (`%k`).
    pub cpus: u32,
    /// The host's name (`%h`).
    pub hostname: String,
    /// The path of our binary, without links (`%b`).
    pub binary: String,
    /// The real uid (`%u`).
    pub uid: u32,
    /// The real gid (`%g`).
    pub gid: u32,
    /// The user's name (`%U`).
    pub user: String,
    /// The group's name (`%G`).
    pub group: String,
    /// Microseconds since 1970 (`%T`).
    pub unix_us: u64,
    /// `UWSGI_RELOADS` is set: the instance runs after a reload (`if-reload`).
    pub reloaded: bool,
}

/// The real world, as it was when this was made.
#[derive(Clone, Debug)]
pub struct World {
    variables: HashMap<String, String>,
    /// Their names, in the order of the environment: of two that name one option the later counts.
    names: Vec<String>,
    directory: PathBuf,
    on_demand: Option<Address>,
    passed: Vec<PassedSocket>,
    handed: Option<Vec<u8>>,
    purpose: Purpose,
    seen: Rc<Seen>,
    /// Variables that nobody has asked for before are kept back.
    keeps_back: bool,
}

/// What a configuration is read for, and so what it may do besides reading files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To look at it: it runs nothing.
    #[default]
    Look,
    /// To look at what would be a vassal's: it runs nothing, and inherits no descriptors.
    LookAtVassal,
    /// To start what an operator asked for on a command line: it may run commands, as whoever started it.
    Start,
    /// To start a vassal: it may run commands as its own user, but never as root, and inherits no descriptors.
    Vassal,
}

impl World {
    /// The environment and the current directory of this process.
    #[must_use]
    pub fn here() -> Self {
        Self::at(std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")))
    }

    /// The environment of this process, but another directory for relative names.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::of(variables, directory)
    }

    fn of(variables: impl Iterator<Item = (String, String)>, directory: PathBuf) -> Self {
        let mut names = Vec::new();
        let mut values = HashMap::new();
        for (name, value) in variables {
            // Of two of one name the first is what getenv(3) finds.
            if let Entry::Vacant(place) = values.entry(name) {
                names.push(place.key().clone());
                place.insert(value);
            }
        }
        Self {
            variables: values,
            names,
            directory,
            on_demand: None,
            passed: Vec::new(),
            handed: None,
            purpose: Purpose::Look,
            seen: Rc::default(),
            keeps_back: false,
        }
    }

    /// The same for another purpose.
    #[must_use]
    pub const fn with_purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// The same with one more variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        if self.variables.insert(name.to_owned(), value.to_owned()).is_none() {
            self.names.push(name.to_owned());
        }
        self
    }

    /// The same with a socket that the emperor waited on.
    #[must_use]
    pub fn called_on(self, on_demand: Option<Address>) -> Self {
        Self { on_demand, ..self }
    }

    /// The same with sockets that are passed to the instance.
    #[must_use]
    pub fn passed(self, passed: Vec<PassedSocket>) -> Self {
        Self { passed, ..self }
    }

    /// The same with a configuration that an emperor of uWSGI sent.
    #[must_use]
    pub fn handed(self, text: Option<Vec<u8>>) -> Self {
        Self { handed: text, ..self }
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        // Relative patterns are matched from our directory, but yield relative paths, as glob(3) does.
        let prefix = if pattern.starts_with('/') {
            String::new()
        } else {
            format!("{}/", glob::Pattern::escape(&self.directory.to_string_lossy()))
        };
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
        let Ok(found) = glob::glob_with(&format!("{prefix}{pattern}"), options) else { return Vec::new() };
        let base = if prefix.is_empty() { Path::new("") } else { self.directory.as_path() };
        found
            .flatten()
            .take(MATCHES_MAX)
            .map(|path| path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned())
            .collect()
    }

    /// The same, which finds again what it has found, whatever this process may see by then.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { seen: Rc::new(Seen { remembers: true, ..Seen::default() }), ..self }
    }

    /// The same for a text of somebody who is not to learn what the environment holds: of that it finds only what was asked
    /// for by now.
    #[must_use]
    pub fn keeping_back(&self) -> Self {
        Self { keeps_back: true, ..self.clone() }
    }

    /// Whether a variable was kept back.
    #[must_use]
    pub fn has_kept_back(&self) -> bool {
        self.seen.kept_back.get()
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Seen {
    remembers: bool,
    files: RefCell<HashMap<(PathBuf, usize), Vec<u8>>>,
    kinds: RefCell<HashMap<PathBuf, Kind>>,
    matches: RefCell<HashMap<String, Vec<String>>>,
    variables: RefCell<HashSet<String>>,
    kept_back: Cell<bool>,
}

impl Seen {
    fn recall<K: Eq + Hash, V: Clone>(
        &self,
        place: &RefCell<HashMap<K, V>>,
        key: K,
        look: impl FnOnce(&K) -> io::Result<V>,
    ) -> io::Result<V> {
        if let Some(known) = place.borrow().get(&key) {
            return Ok(known.clone());
        }
        let found = look(&key)?;
        if self.remembers {
            place.borrow_mut().insert(key, found.clone());
        }
        Ok(found)
    }
}

/// More matches than this no pattern of a configuration needs.
const MATCHES_MAX: usize = 10_000;

impl Surroundings for World {
    fn on_demand(&self) -> Option<Address> {
        self.on_demand.clone()
    }

    fn passed(&self) -> Vec<PassedSocket> {
        self.passed.clone()
    }

    fn handed(&self) -> io::Result<Vec<u8>> {
        let none = || io::Error::other("no emperor of uWSGI has sent a configuration");
        self.handed.clone().ok_or_else(none)
    }

    fn variables(&self) -> Vec<(String, String)> {
        let value = |name: &String| Some((name.clone(), self.variables.get(name)?.clone()));
        self.names.iter().filter_map(value).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.get(name)?;
        let mut known = self.seen.variables.borrow_mut();
        if self.keeps_back && !known.contains(name) {
            self.seen.kept_back.set(true);
            return None;
        }
        if self.seen.remembers {
            known.insert(name.to_owned());
        }
        Some(found.clone())
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let key = (self.resolve(path), limit);
        self.seen.recall(&self.seen.files, key, |(path, limit)| host::read_regular(path, *limit))
    }

    fn read_inherited(&self, descriptor: u32, limit: usize) -> io::Result<Vec<u8>> {
        if matches!(self.purpose, Purpose::Vassal | Purpose::LookAtVassal) {
            // It could wait for ever for a descriptor of ours.
            return Err(io::Error::other("a vassal inherits no descriptor to read from"));
        }
        host::read_inherited(descriptor, limit)
    }

    fn run(&self, command: &str, limit: usize) -> io::Result<Vec<u8>> {
        match self.purpose {
            Purpose::Look | Purpose::LookAtVassal => Err(io::ErrorKind::Unsupported.into()),
            Purpose::Vassal if host::is_root() => {
                Err(io::Error::other("no command of a vassal's file is run as root"))
            }
            Purpose::Vassal | Purpose::Start => capture::output(command, &self.directory, limit),
        }
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        let look = |path: &PathBuf| {
            Ok(match std::fs::metadata(path)?.file_type() {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Directory,
                _ => Kind::Other,
            })
        };
        self.seen.recall(&self.seen.kinds, self.resolve(path), look).ok()
    }

    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.resolve(path);
        if std::fs::symlink_metadata(&path)?.is_symlink() {
            return Ok(path);
        }
        path.canonicalize()
    }

    fn inode(&self, path: &Path) -> Option<u64> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.resolve(path)).ok().map(|metadata| metadata.ino())
    }

    fn matches(&self, pattern: &str) -> Vec<String> {
        let found = |pattern: &String| match self.glob(pattern) {
            found if found.is_empty() => Err(io::ErrorKind::NotFound.into()),
            found => Ok(found),
        };
        self.seen.recall(&self.seen.matches, pattern.to_owned(), found).unwrap_or_default()
    }

    fn facts(&self) -> Facts {
        let (uid, gid) = host::ids();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Facts {
            cpus: host::cpus(),
            hostname: host::name(),
            binary: own::binary_path().to_string_lossy().into_owned(),
            uid,
            gid,
            user: host::user_name(uid),
            group: host::group_name(gid),
            unix_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            reloaded: self.variables.contains_key("UWSGI_RELOADS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_keeps_its_order() {
        let said = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let given = said(&[("UWSGI_Z", "1"), ("UWSGI_A", "2"), ("UWSGI_Z", "3")]);
        let world = World::of(given.into_iter(), PathBuf::from("/")).with_variable("UWSGI_A", "4");
        let expected = said(&[("UWSGI_Z", "1"), ("UWSGI_A", "4"), ("B", "5")]);
        assert_eq!(world.with_variable("B", "5").variables(), expected);
    }

    #[test]
    fn commands_run_only_where_nobody_else_pays_for_them() {
        let world = |purpose| World::at(PathBuf::from("/")).with_purpose(purpose);
        let looked = world(Purpose::Look).run("echo x", 9).unwrap_err();
        assert_eq!(looked.kind(), io::ErrorKind::Unsupported);
        assert_eq!(world(Purpose::Start).run("echo x", 9).unwrap(), b"x\n");
        match world(Purpose::Vassal).run("echo x", 9) {
            Ok(printed) => assert!(!host::is_root() && printed == b"x\n"),
            Err(error) => assert!(host::is_root() && error.to_string().contains("as root"), "{error}"),
        }
        assert!(world(Purpose::Vassal).read_inherited(0, 9).is_err());
        assert!(world(Purpose::LookAtVassal).read_inherited(0, 9).is_err());
        assert!(world(Purpose::LookAtVassal).run("echo x", 9).is_err());
    }

    #[test]
    fn variables_that_nobody_has_named_yet_are_kept_back() {
        let variables = [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let world = World::of(variables.into_iter(), "/".into()).remembering();
        assert_eq!(world.variable("A").as_deref(), Some("1"));
        let other = world.keeping_back();
        assert_eq!((other.variable("A").as_deref(), other.variable("C")), (Some("1"), None));
        assert!(!other.has_kept_back());
        assert_eq!((other.variable("B"), other.has_kept_back()), (None, true));
    }

    #[test]
    fn what_was_found_is_found_again_where_that_is_wanted() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a.ini"), "text").unwrap();
        let plain = World::at(home.path().to_owned());
        let worlds = [(plain.clone(), false), (plain.remembering(), true)];
        let look = |world: &World| {
            let read = world.read(Path::new("a.ini"), 9).ok();
            (read, world.kind(Path::new("a.ini")), world.matches("*.ini"))
        };
        for (world, _) in &worlds {
            assert_eq!(look(world).0.as_deref(), Some(&b"text"[..]));
        }
        std::fs::remove_file(home.path().join("a.ini")).unwrap();
        for (world, remembers) in worlds {
            let found = look(&world);
            assert_eq!(
                (found.0.is_some(), found.1.is_some(), found.2.len() == 1),
                (remembers, remembers, remembers)
            );
        }
    }
}
