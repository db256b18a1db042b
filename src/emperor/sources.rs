//! Where vassals come from: directories, files and shell patterns; which files they have, and under which ids.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::fleet::NotStarted;
use super::pattern::Pattern;
use super::scan::{self, Links, Look, Manner, Name};
use super::servers::Servers;
use crate::config::emperor::Source;

const DIRECTORY: &str =
    "it is a directory: say DIRECTORY/*/*.ini, or the directory itself, where its files are meant";
const NO_VASSAL: &str = "its name has none of the endings of vassals (.ini, .json, .yaml, .yml, .xml, and what emperor-extra-extension says)";

/// The sources of vassals, in order: of two files with one id the first source's counts.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Origin>,
    extra_extensions: Vec<String>,
    manner: Manner,
    servers: Rc<Servers>,
}

#[derive(Clone, Debug)]
enum Origin {
    Directory(PathBuf),
    /// As it was given, parsed, and whether it means the files in the directories that match.
    Pattern(PathBuf, Pattern, bool),
}

/// A directory to be watched for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source's number.
    pub source: usize,
    /// The directory, as the source leads there.
    pub directory: PathBuf,
    /// Whether vassal files are in it, or only directories that lead to some.
    pub has_files: bool,
}

/// What all sources lead to at one time.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each id with what was found.
    pub looks: BTreeMap<String, Look>,
    /// What is not started.
    pub not_started: Vec<NotStarted>,
    /// For each source, why it could not be listed.
    pub problems: Vec<Option<String>>,
}

impl Listing {
    /// Whether every source could be listed, and every file looked at: where descriptors are short, none can be opened.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.problems.iter().all(Option::is_none)
            && !self.looks.values().any(|look| matches!(look, Look::Unknown(_)))
    }
}

impl Sources {
    /// These sources; relative paths start from the directory of the process.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn new(sources: &[Source], extra_extensions: &[String], manner: Manner) -> io::Result<Self> {
        let list = sources.iter().map(|source| match source {
            Source::Directory(path) => Ok(Origin::Directory(std::path::absolute(path)?)),
            Source::Pattern(path) => {
                let path = std::path::absolute(path)?;
                let pattern = Pattern::new(&path)
                    .ok_or_else(|| io::Error::other(format!("{} is no pattern", path.display())))?;
                let means_directories = pattern.means_directories(extra_extensions);
                Ok(Origin::Pattern(path, pattern, means_directories))
            }
        });
        let list = list.collect::<io::Result<_>>()?;
        Ok(Self { list, extra_extensions: extra_extensions.to_vec(), manner, servers: Rc::default() })
    }

    /// The same, but nothing is touched that lies on one of these servers before that answers.
    #[must_use]
    pub fn on(self, servers: Rc<Servers>) -> Self {
        Self { servers, ..self }
    }

    /// The servers that things may lie on.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// What counts as a change of a symbolic link.
    #[must_use]
    pub const fn links(&self) -> Links {
        self.manner.links
    }

    /// Each source as it was given, made absolute, and the directory that it starts from.
    pub fn bases(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.list.iter().map(|origin| match origin {
            Origin::Directory(path) => (path.as_path(), path.as_path()),
            Origin::Pattern(path, pattern, _) => (path.as_path(), pattern.base()),
        })
    }

    /// Lists everything.
    #[must_use]
    pub fn scan(&self) -> Listing {
        let mut listing = Listing::default();
        let mut ids = BTreeSet::new();
        for source in 0..self.list.len() {
            let (paths, problem) = self.paths(source);
            listing.problems.push(problem);
            let misses = self.misses(source, &paths);
            for path in paths {
                match self.name_of(source, &path) {
                    Name::Other if misses => {
                        let reason = if self.is_directory(&path) { DIRECTORY } else { NO_VASSAL };
                        listing.not_started.push(nameless(&path, reason));
                    }
                    Name::Other => {}
                    Name::Refused(reason) => listing.not_started.push(nameless(&path, reason)),
                    Name::Vassal(id) => {
                        ids.insert(id);
                    }
                }
            }
            ids.extend(self.named_file(source));
        }
        for id in ids {
            let (look, not_started) = self.look(&id, None);
            listing.not_started.extend(not_started);
            listing.looks.insert(id, look);
        }
        listing
    }

    /// Looks for the file of one id in all sources, in order; answers what counts, and everything of that id that is
    /// not started. `known` is the file that the vassal has, if it runs.
    #[must_use]
    pub fn look(&self, id: &str, known: Option<&Path>) -> (Look, Vec<NotStarted>) {
        let mut first: Option<(PathBuf, Look)> = None;
        let mut not_started = Vec::new();
        let mut unlisted = false;
        let mut unanswered = None;
        for source in 0..self.list.len() {
            let Some(path) = self.path_of(source, id) else { continue };
            if first.as_ref().is_some_and(|(earlier, _)| *earlier == path) {
                continue;
            }
            let look = match self.servers.pass(&path) {
                Ok(()) => scan::look(id, &path, self.manner),
                Err(error) => Look::Unanswered(error.to_string()),
            };
            match (&look, &first) {
                (Look::Unanswered(_), None) if known == Some(&path) => return (look, not_started),
                // Nobody waits for what might be there.
                (Look::Unanswered(reason), _) => {
                    unanswered = unanswered.or_else(|| Some(scan::not_started(id, &path, reason.clone())));
                    continue;
                }
                (Look::Missing, _) => {
                    if fs::symlink_metadata(&path).is_ok() {
                        let reason = "the symbolic link leads nowhere".to_owned();
                        not_started.push(scan::not_started(id, &path, reason));
                    } else if self.named_file(source).is_some() {
                        not_started.push(scan::not_started(id, &path, "there is no such file".to_owned()));
                    }
                    unlisted |= known == Some(&path) && !self.base(source).is_some_and(Path::is_dir);
                    continue;
                }
                // Nobody's file elsewhere is less of a vassal for what might be in there.
                (Look::Unlisted, _) => {
                    unlisted |= known == Some(&path);
                    continue;
                }
                (Look::Refused(refused) | Look::Disowned(refused, _), None) => {
                    not_started.push(refused.clone());
                }
                (_, None) => {}
                (_, Some((earlier, _))) => {
                    let reason = format!("shadowed by {}", earlier.display());
                    not_started.push(scan::not_started(id, &path, reason));
                }
            }
            if first.is_none() {
                first = Some((path, look));
            }
        }
        match first {
            Some((_, look)) => (look, not_started),
            None if known.is_none()
                && let Some(refused) = unanswered =>
            {
                let reason = refused.reason.clone();
                not_started.push(refused);
                (Look::Unanswered(reason), not_started)
            }
            None if unlisted => (Look::Unlisted, not_started),
            None => (Look::Missing, not_started),
        }
    }

    /// What a path below a source is: a vassal's if no earlier source has it.
    #[must_use]
    pub fn name_of(&self, source: usize, path: &Path) -> Name {
        let Some(id) = self.list.get(source).and_then(|origin| origin.id_of(path)) else {
            return Name::Other;
        };
        let Some(name) = path.file_name() else { return Name::Other };
        match scan::judge(name, &self.extra_extensions) {
            Name::Vassal(_) => {}
            other => return other,
        }
        let earlier = self.list.iter().take(source).find_map(|origin| origin.id_of(path));
        if earlier.is_some_and(|earlier| earlier != id) {
            return Name::Other;
        }
        match id.to_str() {
            Some(id) if !id.chars().any(char::is_control) => Name::Vassal(id.to_owned()),
            _ => Name::Refused("the path is not UTF-8, or contains control characters"),
        }
    }

    /// Whether a change of this path may lead a source to other files.
    #[must_use]
    pub fn leads_on(&self, source: usize, path: &Path) -> bool {
        match self.list.get(source) {
            Some(Origin::Pattern(_, pattern, _)) => pattern.leads_through(path),
            _ => false,
        }
    }

    /// The directories to be watched.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (source, origin) in self.list.iter().enumerate() {
            let place = |directory, has_files| Place { source, directory, has_files };
            match origin {
                Origin::Directory(path) => places.push(place(path.clone(), true)),
                Origin::Pattern(_, pattern, means_directories) => {
                    let walk = pattern.walk(&self.servers);
                    let missing = walk.problems.into_iter().map(|(directory, _)| directory);
                    let below = walk.matches.into_iter().map(|(directory, name)| directory.join(name));
                    let ends = walk
                        .ends
                        .into_iter()
                        .chain(below.filter(|path| *means_directories && self.is_directory(path)));
                    places.extend(ends.chain(missing).map(|directory| place(directory, true)));
                    places.extend(walk.ways.into_iter().map(|directory| place(directory, false)));
                }
            }
        }
        places
    }

    /// Whether it is a pattern that leads to nothing but files whose names are no vassals': a mistake worth telling.
    /// Beside vassals, and in directories, they are what lies about.
    fn misses(&self, source: usize, paths: &[PathBuf]) -> bool {
        let Some(Origin::Pattern(_, pattern, _)) = self.list.get(source) else { return false };
        let is_other = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            pattern.is_match(path) && scan::judge(name, &self.extra_extensions) == Name::Other
        };
        paths.iter().all(is_other)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.servers.pass(directory)?;
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.servers.pass(path).is_ok() && path.is_dir()
    }

    fn base(&self, source: usize) -> Option<&Path> {
        self.bases().nth(source).map(|(_, base)| base)
    }

    /// The id of the one file that a source without wild cards names, there or not.
    fn named_file(&self, source: usize) -> Option<String> {
        let Some(Origin::Pattern(_, pattern, _)) = self.list.get(source) else { return None };
        match self.name_of(source, &pattern.file()?) {
            Name::Vassal(id) => Some(id),
            _ => None,
        }
    }

    /// The paths that a source leads to, and why there may be more.
    fn paths(&self, source: usize) -> (Vec<PathBuf>, Option<String>) {
        match self.list.get(source) {
            None => (Vec::new(), None),
            Some(Origin::Directory(directory)) => match self.names(directory) {
                Ok(paths) => (paths, None),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    (Vec::new(), Some(format!("it is a file, and {NO_VASSAL}")))
                }
                Err(error) => (Vec::new(), Some(error.to_string())),
            },
            Some(Origin::Pattern(_, pattern, means_directories)) => {
                let walk = pattern.walk(&self.servers);
                let mut problem = walk.problems.first().map(|(directory, error)| {
                    if directory == pattern.base() {
                        error.to_string()
                    } else {
                        format!("{}: {error}", directory.display())
                    }
                });
                let mut paths = Vec::new();
                for (directory, name) in walk.matches {
                    let path = directory.join(name);
                    if !means_directories || !self.is_directory(&path) {
                        paths.push(path);
                        continue;
                    }
                    match self.names(&path) {
                        Ok(below) => paths.extend(below),
                        Err(error) => {
                            problem = problem.or_else(|| Some(format!("{}: {error}", path.display())));
                        }
                    }
                }
                (paths, problem)
            }
        }
    }

    /// The file that a vassal of this id has in a source, there or not.
    fn path_of(&self, source: usize, id: &str) -> Option<PathBuf> {
        let origin = self.list.get(source)?;
        let path = self.base(source)?.join(id);
        (self.name_of(source, &path) == Name::Vassal(id.to_owned())
            && origin.id_of(&path).is_some_and(|own| own == Path::new(id)))
        .then_some(path)
    }
}

impl Origin {
    /// The id of the vassal that this file is: its bare name where that is enough to tell it from others, else the
    /// whole path.
    fn id_of(&self, path: &Path) -> Option<PathBuf> {
        let name = || path.file_name().map(PathBuf::from);
        match self {
            Self::Directory(directory) => {
                if path.parent() == Some(directory) {
                    name()
                } else {
                    None
                }
            }
            Self::Pattern(_, pattern, _) if pattern.is_match(path) => {
                if pattern.is_flat() {
                    name()
                } else {
                    Some(path.to_owned())
                }
            }
            Self::Pattern(_, pattern, true) => {
                path.parent().filter(|parent| pattern.is_match(parent)).map(|_| path.to_owned())
            }
            Self::Pattern(..) => None,
        }
    }
}

/// A file that is not started, and would not have an id.
fn nameless(path: &Path, reason: &str) -> NotStarted {
    let name = path.file_name().map(scan::printable).unwrap_or_default();
    let directory = path.parent().unwrap_or(path).to_owned();
    NotStarted { directory, name, id: None, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(sources: &[Source]) -> Sources {
        Sources::new(sources, &[], Links::Followed.into()).unwrap()
    }

    fn directory(path: &Path) -> Source {
        Source::Directory(path.to_owned())
    }

    fn said(look: &Look) -> String {
        match look {
            Look::Found(_) => "found".to_owned(),
            Look::Missing => "missing".to_owned(),
            Look::Unlisted => "unlisted".to_owned(),
            Look::Refused(refused) | Look::Disowned(refused, _) => refused.reason.clone(),
            Look::Unknown(reason) | Look::Unanswered(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn each_kind_of_entry_is_started_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("good.ini"), "[uwsgi]\n").unwrap();
        fs::write(at("empty.yaml"), "").unwrap();
        symlink("good.ini", at("link.ini")).unwrap();
        symlink("nowhere", at("dangling.ini")).unwrap();
        symlink("loop2.ini", at("loop1.ini")).unwrap();
        symlink("loop1.ini", at("loop2.ini")).unwrap();
        symlink("/dev/zero", at("device.ini")).unwrap();
        fs::create_dir(at("dir.ini")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.ini")).unwrap();
        fs::File::create(at("big.ini")).unwrap().set_len(scan::FILE_LIMIT_BYTES + 1).unwrap();
        fs::write(at(&"x".repeat(251)).with_extension("ini"), "").unwrap();
        let listing = of(&[directory(dir.path())]).scan();
        assert!(listing.is_complete());
        for (name, expected) in [
            ("good.ini", "found"),
            ("empty.yaml", "found"),
            ("link.ini", "found"),
            (&format!("{}.ini", "x".repeat(251)), "found"),
            ("dangling.ini", "missing"),
            ("loop1.ini", "symbolic links lead in a circle"),
            ("device.ini", "it is not a regular file"),
            ("dir.ini", "it is a directory"),
            ("socket.ini", "it is not a regular file"),
            ("big.ini", "it has 4194305 bytes, more than 4194304"),
        ] {
            assert_eq!(said(&listing.looks[name]), expected, "{name}");
            let told = listing.not_started.iter().any(|refused| refused.id.as_deref() == Some(name));
            assert_eq!(told, expected != "found", "{name}: what is not started is told");
        }
        let (Look::Found(file), Look::Found(link)) = (&listing.looks["good.ini"], &listing.looks["link.ini"])
        else {
            panic!("both exist");
        };
        assert_eq!(file.identity, link.identity);
    }

    #[test]
    fn the_first_source_wins_and_a_missing_one_is_a_problem() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("a.ini"), "1").unwrap();
        fs::write(two.path().join("a.ini"), "2").unwrap();
        fs::write(two.path().join("b.ini"), "2").unwrap();
        fs::write(two.path().join(OsStr::from_bytes(b"\xff\n.ini")), "2").unwrap();
        let gone = Path::new("/nonexistent/liege");
        let sources = of(&[directory(one.path()), directory(gone), directory(two.path())]);
        let listing = sources.scan();
        assert!(!listing.is_complete());
        assert_eq!(listing.looks.keys().collect::<Vec<_>>(), ["a.ini", "b.ini"]);
        let names: Vec<&str> = listing.not_started.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["\\xff\\x0a.ini", "a.ini"]);
        assert!(listing.not_started[1].reason.starts_with("shadowed"));
        fs::remove_file(one.path().join("a.ini")).unwrap();
        let Look::Found(found) = sources.look("a.ini", None).0 else { panic!("the second one") };
        assert_eq!(found.directory, two.path());
        let look = |id, known: Option<&Path>| sources.look(id, known);
        assert_eq!(look("c.ini", Some(&gone.join("c.ini"))), (Look::Unlisted, Vec::new()));
        assert_eq!(look("c.ini", Some(&two.path().join("c.ini"))), (Look::Missing, Vec::new()));
        assert_eq!(look("c.ini", None).0, Look::Missing);
        assert_eq!(look("../c.ini", None).0, Look::Missing);
    }

    #[test]
    fn a_pattern_of_files_leads_into_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for made in ["v/disabled", "v/retired.ini", "only/directory"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for file in ["v/live.ini", "v/disabled/old.ini", "v/retired.ini/old.ini", "only/directory/old.ini"] {
            fs::write(at(file), "").unwrap();
        }
        let sources = of(&["v/*", "only/*"].map(|name| Source::Pattern(at(name))));
        let listing = sources.scan();
        let seen: Vec<(&str, String)> =
            listing.looks.iter().map(|(id, look)| (id.as_str(), said(look))).collect();
        let expected = [("live.ini", "found"), ("retired.ini", "it is a directory")];
        assert_eq!(seen, expected.map(|(id, said)| (id, said.to_owned())));
        let told: Vec<(&str, &str)> = listing
            .not_started
            .iter()
            .map(|refused| (refused.name.as_str(), refused.reason.as_str()))
            .collect();
        assert_eq!(told, [("directory", DIRECTORY), ("retired.ini", "it is a directory")]);
        let watched: Vec<PathBuf> = sources.places().into_iter().map(|place| place.directory).collect();
        assert_eq!(watched, [at("v"), at("only")]);
    }

    #[test]
    fn patterns_and_files_have_ids_that_tell_them_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let id = |name: &str| at(name).to_str().unwrap().to_owned();
        for made in ["v", "sites/a", "sites/b", "more/x.d"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for file in
            ["v/a.ini", "v/b.yaml", "sites/a/app.ini", "sites/b/app.ini", "sites/b/app.txt", "more/x.d/n.ini"]
        {
            fs::write(at(file), "").unwrap();
        }
        let pattern = |name: &str| Source::Pattern(at(name));
        let sources = of(&[
            directory(&at("v")),
            pattern("sites/*/app.*"),
            pattern("one.ini"),
            pattern("v/*.ini"),
            pattern("*/a.ini"),
            pattern("more/*.d"),
        ]);
        let listing = sources.scan();
        let seen: Vec<(&str, String)> =
            listing.looks.iter().map(|(id, look)| (id.as_str(), said(look))).collect();
        let (one, two, three) = (id("sites/a/app.ini"), id("sites/b/app.ini"), id("more/x.d/n.ini"));
        let mut expected = vec![
            ("a.ini", "found".to_owned()),
            ("b.yaml", "found".to_owned()),
            ("one.ini", "missing".to_owned()),
            (one.as_str(), "found".to_owned()),
            (two.as_str(), "found".to_owned()),
            (three.as_str(), "found".to_owned()),
        ];
        expected.sort();
        assert_eq!(seen, expected, "one file is one vassal, however often it is named");
        let told: Vec<&str> = listing.not_started.iter().map(|refused| refused.reason.as_str()).collect();
        assert_eq!(told, ["there is no such file"]);
        assert!(listing.is_complete());
        let Look::Found(found) = sources.look(&one, None).0 else { panic!("it is there") };
        assert_eq!(found.directory.join(&found.id), at("sites/a/app.ini"));
        fs::remove_dir_all(at("sites/a")).unwrap();
        assert_eq!(
            sources.look(&one, Some(Path::new(&one))).0,
            Look::Missing,
            "a site that is removed is gone"
        );
        fs::remove_dir_all(at("sites")).unwrap();
        assert_eq!(
            sources.look(&two, Some(Path::new(&two))).0,
            Look::Unlisted,
            "where all sites were is gone"
        );
    }
}
