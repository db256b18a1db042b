//! Shell patterns for vassal files: which paths match, and which directories must be watched to notice new ones.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern as Glob};

use super::servers::Servers;
use crate::config::vassals;

/// How many directories a pattern may lead through; those beyond are not looked into.
const DIRECTORIES: usize = 4096;
/// As `glob(3)`: case counts, and `*` matches no slash and no leading dot.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A shell pattern with an absolute path, or the path of one file.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The directory before the first part with a wild card, or that of the file.
    base: PathBuf,
    /// The parts after it, at least one.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(OsString),
    Wild(Glob),
}

/// What a pattern leads to at the moment.
#[derive(Debug, Default)]
pub struct Walk {
    /// Directories and the names in them that match the last part, in order.
    pub matches: Vec<(PathBuf, OsString)>,
    /// Directories in which a match may appear.
    pub ends: Vec<PathBuf>,
    /// Directories in which something may appear that leads to a match.
    pub ways: Vec<PathBuf>,
    /// Directories that cannot be listed, and why.
    pub problems: Vec<(PathBuf, io::Error)>,
}

impl Pattern {
    /// A pattern of an absolute path; `None` when it is none.
    #[must_use]
    pub fn new(path: &Path) -> Option<Self> {
        let mut base = PathBuf::new();
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    let wild = name.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte));
                    if wild {
                        parts.push(Part::Wild(Glob::new(&vassals::shell(name.to_str()?)).ok()?));
                    } else if parts.is_empty() {
                        base.push(name);
                    } else {
                        parts.push(Part::Literal(name.to_owned()));
                    }
                }
                other => base.push::<&OsStr>(other.as_os_str()),
            }
        }
        if parts.is_empty() {
            let name = base.file_name()?.to_owned();
            base.pop();
            parts.push(Part::Literal(name));
        }
        Some(Self { base, parts })
    }

    /// The directory that everything that matches is below of.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether all matches are in [`Pattern::base`] itself, so that their bare names tell them apart.
    #[must_use]
    pub const fn is_flat(&self) -> bool {
        self.parts.len() == 1
    }

    /// The one path that it can match, if it has no wild card.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match self.parts.as_slice() {
            [Part::Literal(name)] => Some(self.base.join(name)),
            _ => None,
        }
    }

    /// Whether a path matches.
    #[must_use]
    pub fn is_match(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.base) else { return false };
        let mut names = rest.components();
        self.parts.iter().all(|part| names.next().is_some_and(|name| part.is_match(name.as_os_str())))
            && names.next().is_none()
    }

    /// Whether something at this path may lead on to a match.
    #[must_use]
    pub fn leads_through(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.base) else { return false };
        let mut parts = self.parts.iter();
        rest.components().all(|name| parts.next().is_some_and(|part| part.is_match(name.as_os_str())))
    }

    /// Whether it means the files in the directories that match: only where its last part is no name of a vassal's file.
    /// `vassals/*` is files, what is in a directory `vassals/disabled` is not meant. `extra`: further ends of names.
    #[must_use]
    pub fn means_directories(&self, extra: &[String]) -> bool {
        match self.parts.last() {
            Some(Part::Wild(glob)) => {
                let end = glob.as_str().rsplit(['*', '?', ']']).next().unwrap_or_default();
                !vassals::may_end_in(end, extra)
            }
            Some(Part::Literal(name)) => !vassals::is_name(&name.to_string_lossy(), extra),
            None => false,
        }
    }

    /// Looks where it leads to, as far as it leads through no server that is silent.
    #[must_use]
    pub fn walk(&self, servers: &Servers) -> Walk {
        let mut walk = Walk::default();
        let Some((last, through)) = self.parts.split_last() else { return walk };
        // Where one file is named, nobody lists what is beside it.
        let there = servers.pass(&self.base).and_then(|()| match self.file() {
            Some(_) => fs::metadata(self.base.join(".")).map(drop),
            None => fs::read_dir(&self.base).map(drop),
        });
        if let Err(error) = there {
            walk.problems.push((self.base.clone(), error));
            return walk;
        }
        let mut directories = vec![self.base.clone()];
        for part in through {
            directories = walk.step(part, directories, servers);
        }
        for directory in directories {
            for name in walk.names(last, &directory, servers) {
                walk.matches.push((directory.clone(), name));
            }
            walk.ends.push(directory);
        }
        walk
    }
}

impl Walk {
    /// The directories that this part leads to from these.
    fn step(&mut self, part: &Part, from: Vec<PathBuf>, servers: &Servers) -> Vec<PathBuf> {
        let mut to = Vec::new();
        for directory in from {
            let mut below: Vec<PathBuf> =
                self.names(part, &directory, servers).into_iter().map(|name| directory.join(name)).collect();
            below.retain(|path| match servers.pass(path) {
                Ok(()) => path.is_dir(),
                Err(error) => {
                    self.problems.push((path.clone(), error));
                    false
                }
            });
            // What is there already leads on by itself: no need to hear of all else that happens beside it.
            if matches!(part, Part::Wild(_)) || below.is_empty() {
                self.ways.push(directory.clone());
            }
            to.extend(below);
            if to.len() > DIRECTORIES {
                to.truncate(DIRECTORIES);
                let error = io::Error::other(format!("more than {DIRECTORIES} directories match"));
                self.problems.push((directory, error));
                break;
            }
        }
        to
    }

    /// The names in a directory that match, sorted.
    fn names(&mut self, part: &Part, directory: &Path, servers: &Servers) -> Vec<OsString> {
        if let Part::Literal(name) = part {
            let path = directory.join(name);
            // What leads to a server is there.
            let there = servers.pass(&path).is_err() || fs::symlink_metadata(path).is_ok();
            return if there { vec![name.clone()] } else { Vec::new() };
        }
        let listed = fs::read_dir(directory).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        match listed {
            Ok(mut names) => {
                names.retain(|name| part.is_match(name));
                names.sort();
                names
            }
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.problems.push((directory.to_owned(), error));
                Vec::new()
            }
        }
    }
}

impl Part {
    fn is_match(&self, name: &OsStr) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Wild(glob) => glob.matches_path_with(Path::new(name), OPTIONS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_leads_through_directories_and_says_where_more_could_appear() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for made in ["a/conf", "b/conf", "c", ".hidden/conf"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for file in ["a/conf/x.ini", "b/conf/.y.ini", ".hidden/conf/z.ini", "file"] {
            fs::write(at(file), "").unwrap();
        }
        let pattern = Pattern::new(&at("*/conf/*.ini")).unwrap();
        let walk = pattern.walk(&Servers::default());
        assert_eq!(walk.matches, [(at("a/conf"), OsString::from("x.ini"))]);
        assert_eq!(walk.ends, [at("a/conf"), at("b/conf")]);
        assert_eq!(walk.ways, [dir.path().to_owned(), at("c")], "a conf may appear in c");
        assert!(walk.problems.is_empty());
        assert!(!pattern.is_flat());
        for (path, expected) in [
            ("a/conf/x.ini", true),
            ("new/conf/new.ini", true),
            (".hidden/conf/z.ini", false),
            ("a/conf/.y.ini", false),
            ("a/other/x.ini", false),
            ("a/conf/deep/x.ini", false),
            ("a/conf", false),
        ] {
            assert_eq!(pattern.is_match(&at(path)), expected, "{path}");
        }
        assert!(!pattern.is_match(Path::new("/elsewhere/a/conf/x.ini")));
    }

    #[test]
    fn a_file_is_a_pattern_without_wild_cards() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.ini");
        let pattern = Pattern::new(&file).unwrap();
        assert_eq!((pattern.base(), pattern.is_flat()), (dir.path(), true));
        assert_eq!(pattern.file(), Some(file.clone()));
        assert!(pattern.walk(&Servers::default()).matches.is_empty());
        assert_eq!(pattern.walk(&Servers::default()).ends, [dir.path()]);
        fs::write(&file, "").unwrap();
        assert_eq!(
            pattern.walk(&Servers::default()).matches,
            [(dir.path().to_owned(), OsString::from("app.ini"))]
        );
        let gone = Pattern::new(Path::new("/nonexistent/liege/*.ini")).unwrap().walk(&Servers::default());
        assert_eq!(gone.problems[0].0, Path::new("/nonexistent/liege"));
        assert!(Pattern::new(Path::new("/")).is_none());
    }

    #[test]
    fn a_pattern_of_names_that_vassals_may_have_means_no_directories() {
        for (pattern, expected) in [
            ("/v/*", false),
            ("/v/*.*", false),
            ("/v/*.ini", false),
            ("/v/*.in?", false),
            ("/v/*ni", false),
            ("/v/a.in[i]", false),
            ("/v/x.ini", false),
            ("/v/*.skel", false),
            ("/v/[a-c]", false),
            ("/srv/*/vassals", true),
            ("/v/*.d", true),
            ("/v/[ab]-apps", true),
            ("/v", true),
        ] {
            let means = Pattern::new(Path::new(pattern)).unwrap().means_directories(&[".skel".to_owned()]);
            assert_eq!(means, expected, "{pattern}");
        }
    }

    #[test]
    fn shell_patterns_match_as_the_shell_does() {
        for (pattern, path, expected) in [
            ("/v/**.ini", "/v/a.ini", true),
            ("/v/**/x.ini", "/v/a/x.ini", true),
            ("/v/**/x.ini", "/v/a/b/x.ini", false),
            ("/v/[^a]*.ini", "/v/a.ini", false),
            ("/v/[!a]*.ini", "/v/b.ini", true),
            ("/v/?.ini", "/v/A.ini", true),
            ("/v/?.ini", "/v/.ini", false),
            ("/v/a*.ini", "/v/A.ini", false),
        ] {
            let matches = Pattern::new(Path::new(pattern)).unwrap().is_match(Path::new(path));
            assert_eq!(matches, expected, "{pattern} {path}");
        }
    }
}
