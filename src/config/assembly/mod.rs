//! Collects the entries of a configuration: environment, arguments and files, with includes and logic, in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Severity, has_room};
use super::expand;
use super::ini;
use super::logic::{self, CONTEXTS_MAX, Condition, Context, Logic, Loop, Word};
use super::magic::{FileNames, Magic};
use super::raw::{Entry, Origin, Raw, Role};
use super::surroundings::{Facts, Kind, Surroundings};
use super::text::{decode, reveal, tame};

/// The longest file.
pub(super) const FILE_MAX: usize = 4 * 1024 * 1024;
/// How many bytes of files are read for one configuration.
const READ_MAX: usize = 32 * 1024 * 1024;
/// How deep files include each other.
pub(super) const DEPTH_MAX: usize = 16;
/// How many entries a configuration has.
pub(super) const ENTRIES_MAX: usize = 50_000;
/// How many bytes its values have before expansion.
const VALUES_MAX: usize = 16 * 1024 * 1024;
/// How many oddities of one file are worth telling.
const ODDITIES_MAX: usize = 200;

/// How a file comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// `ini`: a section may be named; sets the upper-case magic variables.
    Ini,
    /// `include`, or a bare argument: by extension, always the default section.
    Include,
    /// `inherit`: not expanded.
    Inherit,
}

/// Collects entries.
pub(super) struct Assembly<'a> {
    around: &'a dyn Surroundings,
    facts: Facts,
    directory: PathBuf,
    /// The vassal's own file, read once by whoever opened it.
    held: Option<(String, &'a [u8])>,
    entries: Vec<Entry>,
    diagnostics: Vec<Diagnostic>,
    logic: Logic,
    files: Vec<String>,
    inherits: Vec<(String, Origin)>,
    last_ini: Option<String>,
    first: Option<FileNames>,
    file: Option<String>,
    bytes_read: usize,
    bytes_held: usize,
    role: Role,
    /// A limit was passed: nothing more is taken.
    full: bool,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(around: &'a dyn Surroundings) -> Self {
        Self {
            around,
            facts: around.facts(),
            directory: around.directory(),
            held: None,
            entries: Vec::new(),
            diagnostics: Vec::new(),
            logic: Logic::default(),
            files: Vec::new(),
            inherits: Vec::new(),
            last_ini: None,
            first: None,
            file: None,
            bytes_read: 0,
            bytes_held: 0,
            role: Role::Ordinary,
            full: false,
        }
    }

    /// Loads a file whose bytes are at hand; whenever it is named again, they are used again.
    pub(super) fn vassal(&mut self, path: &str, bytes: &'a [u8]) {
        // The emperor of uWSGI stands in the directory and names the bare file.
        let within = Path::new(path).parent() == Some(&self.directory);
        let given = match path.rsplit_once('/') {
            Some((_, base)) if within => base.to_owned(),
            _ => path.to_owned(),
        };
        let origin = Origin::of(super::raw::COMMAND_LINE);
        self.held = Some((given.clone(), bytes));
        self.push("ini", Some(tame(&given)), &origin, Role::Acted);
        if !self.read_file(&given, "uwsgi", "", Manner::Ini, &origin) && !self.has_errors() {
            self.report(Severity::Error, &Origin::of(path), None, "has no section [uwsgi]", None);
        }
    }

    /// Takes one `key = value` from wherever it was said.
    pub(super) fn say(&mut self, key: &str, value: Option<&str>, origin: &Origin) {
        if self.full {
            return;
        }
        let text = value.unwrap_or_default();
        match Word::of(key) {
            Some(Word::End) => {
                self.logic.close();
                self.note_word(key, text, origin);
            }
            Some(Word::Else) => match self.logic.turn() {
                Ok(()) => self.note_word(key, text, origin),
                Err(why) => self.report(Severity::Error, origin, Some(key), why, None),
            },
            Some(Word::If(condition, negated)) => {
                self.note_word(key, text, origin);
                self.branch(key, text, condition, negated);
            }
            Some(Word::Loop(kind)) => {
                self.note_word(key, text, origin);
                self.repeat(key, text, kind, origin);
            }
            None => {
                for context in self.logic.contexts().to_vec() {
                    let value = value.map(|value| logic::fill(value, &context));
                    self.take(key, value, origin);
                }
            }
        }
    }

    /// Loads `FILE` or `FILE:SECTION`.
    pub(super) fn load(&mut self, name: &str, manner: Manner, origin: &Origin) {
        let name = reveal(&expand::environment(name, self.around));
        let option = match manner {
            Manner::Ini => "ini",
            Manner::Include => "include",
            Manner::Inherit => "inherit",
        };
        if self.files.len() >= DEPTH_MAX {
            let chain = self.files.join(" → ");
            let message = format!("files include each other more than {DEPTH_MAX} deep: {chain} → {name}");
            self.report(Severity::Error, origin, Some(option), &message, None);
            return;
        }
        let (file, asked) = match (manner, name.rsplit_once(':')) {
            (Manner::Ini, Some((file, section))) if !section.starts_with("//") => (file, section),
            _ => (name.as_str(), ""),
        };
        if manner != Manner::Ini && !is_ini(file, origin, option, self) {
            return;
        }
        let file = if file.is_empty() {
            let Some(last) = self.last_ini.clone() else {
                self.report(Severity::Error, origin, Some(option), "no ini file was read before this", None);
                return;
            };
            last
        } else {
            file.to_owned()
        };
        let section = if asked.is_empty() { "uwsgi" } else { asked };
        let before = self.diagnostics.len();
        if !self.read_file(&file, section, asked, manner, origin) && self.diagnostics.len() == before {
            let message = format!("can't find section \"{section}\" in configuration file {file}");
            self.report(Severity::Warning, origin, Some(option), &message, None);
        }
    }

    /// Ends the collection: expands, then appends what is inherited.
    pub(super) fn finish(mut self) -> Raw {
        let unclosed: Vec<_> = self.logic.unclosed().map(str::to_owned).collect();
        for word in unclosed {
            let message = "this block is never closed: it holds everything to the end of the configuration";
            self.report(Severity::Warning, &Origin::of("configuration"), Some(&word), message, None);
        }
        let used = expand::expand(&mut self.entries, self.around, &mut self.diagnostics);
        let inherits: Vec<_> = self.inherits.drain(..).collect();
        for (file, origin) in inherits {
            self.role = Role::Inherited;
            self.logic = Logic::default();
            self.load(&file, Manner::Inherit, &origin);
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.role == Role::Inherited) {
            entry.key = reveal(&entry.key);
            entry.value = entry.value.as_deref().map(reveal);
        }
        Raw {
            entries: self.entries,
            diagnostics: self.diagnostics,
            directory: self.directory,
            file: self.file,
            used,
        }
    }

    pub(super) fn report(
        &mut self,
        severity: Severity,
        origin: &Origin,
        option: Option<&str>,
        message: &str,
        suggestion: Option<String>,
    ) {
        if has_room(&self.diagnostics, severity) {
            self.diagnostics.push(origin.diagnose(severity, option, message, suggestion));
        }
    }

    /// Stops the collection: a limit was passed.
    fn overflow(&mut self, origin: &Origin, message: &str) {
        self.full = true;
        self.diagnostics.push(origin.diagnose(Severity::Error, None, message, None));
    }

    fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// A word of logic is an entry too, where the block around it counts.
    fn note_word(&mut self, key: &str, value: &str, origin: &Origin) {
        for context in self.logic.contexts().to_vec() {
            self.push(key, Some(logic::fill(value, &context)), origin, Role::Acted);
        }
    }

    /// Takes an entry that counts, and lets it act if it acts at once.
    fn take(&mut self, key: &str, value: Option<String>, origin: &Origin) {
        let text = value.clone().unwrap_or_default();
        match key {
            "ini" | "include" => {
                let manner = if key == "ini" { Manner::Ini } else { Manner::Include };
                self.push(key, value, origin, Role::Acted);
                // What is inside a file is no part of the block around its inclusion.
                if self.logic.is_open() {
                    let outside = std::mem::take(&mut self.logic);
                    self.load(&text, manner, origin);
                    self.logic = outside;
                } else {
                    self.load(&text, manner, origin);
                }
            }
            "inherit" if self.role == Role::Inherited => {
                let message = "an inherited file cannot inherit another";
                self.report(
                    Severity::Error,
                    origin,
                    Some(key),
                    message,
                    Some("use ini or include".to_owned()),
                );
            }
            "inherit" => {
                self.push(key, value, origin, Role::Acted);
                self.inherits.push((text, origin.clone()));
            }
            "set" | "set-ph" | "set-placeholder" => {
                self.push(key, value, origin, Role::Acted);
                self.define(key, &text, origin);
            }
            _ => self.push(key, value, origin, self.role),
        }
    }

    fn define(&mut self, word: &str, text: &str, origin: &Origin) {
        let Some((key, value)) = text.split_once('=') else {
            let message = format!("invalid placeholder/--set value `{text}`");
            self.report(Severity::Error, origin, Some(word), &message, Some("write name=value".to_owned()));
            return;
        };
        let key = key.trim();
        if ["set", "set-ph", "set-placeholder"].contains(&key) {
            let message = format!("{word} cannot hold another {key}");
            self.report(Severity::Error, origin, Some(word), &message, None);
        } else if word == "set" {
            self.take(key, Some(value.trim().to_owned()), origin);
        } else if super::table::find(key).is_some() {
            let message =
                format!("you cannot use {key} as a placeholder, it is already available as an option");
            self.report(Severity::Error, origin, Some(word), &message, Some(format!("write {key} = …")));
        } else {
            self.push(key, Some(value.trim().to_owned()), origin, Role::Placeholder);
        }
    }

    fn push(&mut self, key: &str, value: Option<String>, origin: &Origin, role: Role) {
        if self.full {
            return;
        }
        let size = key.len().saturating_add(value.as_ref().map_or(0, String::len));
        self.bytes_held = self.bytes_held.saturating_add(size);
        if self.entries.len() >= ENTRIES_MAX {
            self.overflow(origin, &format!("the configuration has more than {ENTRIES_MAX} entries"));
            return;
        }
        if self.bytes_held > VALUES_MAX {
            self.overflow(origin, &format!("the configuration has more than {VALUES_MAX} bytes"));
            return;
        }
        self.entries.push(Entry { key: key.to_owned(), value, origin: origin.clone(), role });
    }

    /// Opens a block for the contexts in which the condition holds.
    fn branch(&mut self, key: &str, text: &str, condition: Condition, negated: bool) {
        let mut holds = Vec::new();
        let mut otherwise = Vec::new();
        for context in self.logic.contexts().to_vec() {
            let argument = reveal(&expand::environment(&logic::fill(text, &context), self.around));
            let (is_so, subject) = self.check(condition, &argument);
            let context = subject.map_or(context, |subject| Some(tame(&subject)));
            if is_so == negated { otherwise.push(context) } else { holds.push(context) }
        }
        self.logic.open(key, holds, otherwise);
    }

    /// Whether a condition holds, and what `%(_)` is in its block.
    fn check(&self, condition: Condition, argument: &str) -> (bool, Option<String>) {
        let (name, wanted) =
            argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
        let path = || Some(argument.to_owned());
        let kind = || self.around.kind(Path::new(argument));
        match condition {
            Condition::Env => {
                let value = self.around.variable(name);
                (value.as_deref().is_some_and(|value| wanted.is_none_or(|wanted| wanted == value)), value)
            }
            Condition::Opt => {
                let value = self.entries.iter().find(|entry| entry.key == name);
                let value = value.map(|entry| reveal(entry.value.as_deref().unwrap_or_default()));
                (value.as_deref().is_some_and(|value| wanted.is_none_or(|wanted| wanted == value)), value)
            }
            Condition::Exists => (kind().is_some(), path()),
            Condition::File => (kind() == Some(Kind::File), path()),
            Condition::Directory => (kind() == Some(Kind::Directory), path()),
            Condition::Reload => (self.facts.reloaded, None),
            Condition::Hostname => (self.facts.hostname == argument, path()),
            Condition::Plugin => (super::table::is_built_in(argument), path()),
        }
    }

    /// Opens a block for each item of a loop.
    fn repeat(&mut self, key: &str, text: &str, kind: Loop, origin: &Origin) {
        let mut items: Vec<Context> = Vec::new();
        for context in self.logic.contexts().to_vec() {
            let argument = reveal(&expand::environment(&logic::fill(text, &context), self.around));
            let room = CONTEXTS_MAX.saturating_sub(items.len()).saturating_add(1);
            match kind {
                Loop::Items => items.extend(words(&argument).take(room).map(|word| Some(tame(word)))),
                Loop::Times => {
                    let times = super::value::integer(&argument).0;
                    items.extend((1..=times).take(room).map(|number| Some(number.to_string())));
                }
                Loop::Glob => {
                    let matches = self.around.matches(&argument);
                    if matches.is_empty() {
                        items.push(Some(argument));
                    } else {
                        items.extend(matches.into_iter().take(room).map(|path| Some(tame(&path))));
                    }
                }
                Loop::Lines => match self.read_bytes(&argument) {
                    Ok(bytes) => {
                        items.extend(decode(&bytes).lines().take(room).map(|line| Some(tame(line))));
                    }
                    Err(error) => self.report(Severity::Error, origin, Some(key), &error, None),
                },
            }
        }
        if items.len() > CONTEXTS_MAX {
            self.overflow(origin, &format!("{key} repeats more than {CONTEXTS_MAX} times"));
        }
        self.logic.open(key, items, Vec::new());
    }

    /// Whether the section was there; what goes wrong is reported.
    fn read_file(&mut self, file: &str, section: &str, asked: &str, manner: Manner, origin: &Origin) -> bool {
        let bytes = match self.read_bytes(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report(Severity::Error, origin, None, &error, None);
                return true;
            }
        };
        let names = self.names(file, asked);
        if manner == Manner::Ini && self.first.is_none() {
            self.first = Some(names.clone());
        }
        self.file.get_or_insert_with(|| names.path.clone());
        self.last_ini = Some(file.to_owned());
        let display: Arc<str> = Arc::from(if file.starts_with('/') { &names.path } else { file });
        let mut oddities: Vec<(u32, Option<char>)> = Vec::new();
        let magic =
            Magic { own: &names, first: self.first.as_ref(), facts: &self.facts, directory: &self.directory };
        let replace = |line: &str, number: u32| {
            magic.replace(line, |swallowed| {
                if oddities.len() < ODDITIES_MAX {
                    oddities.push((number, swallowed));
                }
            })
        };
        let items = ini::read(&decode(&bytes), section, replace);
        for (line, letter) in oddities {
            let origin = Origin { file: display.clone(), line: Some(line) };
            let message = match letter {
                Some(letter) => format!("`%{letter}` is not a magic variable and stands for nothing"),
                None => "`%` at the end of a line stands for nothing".to_owned(),
            };
            self.report(
                Severity::Warning,
                &origin,
                None,
                &message,
                Some("write %% for a percent sign".to_owned()),
            );
        }
        match items {
            Ok(items) => {
                self.files.push(file.to_owned());
                for item in &items {
                    let origin = Origin { file: display.clone(), line: Some(item.line) };
                    self.say(&item.key, Some(&item.value), &origin);
                }
                self.files.pop();
                !items.is_empty()
            }
            Err(error) => {
                let line = match error {
                    ini::IniError::LongLine(line) | ini::IniError::Nameless(line) => Some(line),
                    ini::IniError::TooManyLines | ini::IniError::Unreadable(_) => None,
                };
                self.report(Severity::Error, &Origin { file: display, line }, None, &error.to_string(), None);
                true
            }
        }
    }

    fn read_bytes(&mut self, file: &str) -> Result<Vec<u8>, String> {
        let bytes = match &self.held {
            Some((held, bytes)) if held == file => bytes.to_vec(),
            _ => match file.split_once("://") {
                None if file == "-" => self.around.read_inherited(0, FILE_MAX),
                Some(("fd", number)) => match number.parse() {
                    Ok(descriptor) => self.around.read_inherited(descriptor, FILE_MAX),
                    Err(_) => return Err(format!("`{file}` is not a descriptor")),
                },
                Some((scheme, _)) => {
                    return Err(format!("{scheme}:// is not supported, only files, - and fd://N"));
                }
                None => self.around.read(Path::new(file), FILE_MAX),
            }
            .map_err(|error| format!("realpath() of {file} failed: {}", plain(&error)))?,
        };
        if bytes.len() > FILE_MAX {
            return Err(format!("{file} is longer than {FILE_MAX} bytes"));
        }
        self.bytes_read = self.bytes_read.saturating_add(bytes.len());
        if self.bytes_read > READ_MAX {
            return Err(format!("the files of this configuration have more than {READ_MAX} bytes"));
        }
        Ok(bytes)
    }

    fn names(&self, file: &str, asked: &str) -> FileNames {
        if file == "-" || file.contains("://") {
            return FileNames { given: file.to_owned(), section: asked.to_owned(), ..FileNames::default() };
        }
        let path = Path::new(file);
        // The file may be gone by now: then its name still tells what it was.
        let located = self.around.locate(path).unwrap_or_else(|_| self.directory.join(path));
        FileNames {
            given: file.to_owned(),
            path: located.to_string_lossy().into_owned(),
            section: asked.to_owned(),
            inode: self.around.inode(path),
        }
    }
}

/// Whether a file's extension says ini; anything else is reported.
fn is_ini(file: &str, origin: &Origin, option: &str, assembly: &mut Assembly<'_>) -> bool {
    if file.ends_with(".ini") {
        return true;
    }
    let format = match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("yml" | "yaml") => Some("YAML"),
        Some("xml") => Some("XML"),
        Some("js" | "json") => Some("JSON"),
        _ => None,
    };
    let suggestion = format.map_or_else(
        || "its name must end in .ini".to_owned(),
        |format| format!("{format} files are not read, write it as .ini"),
    );
    let message = format!("unable to load configuration from {file}");
    assembly.report(Severity::Error, origin, Some(option), &message, Some(suggestion));
    false
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// The system's words without Rust's `(os error 2)`.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
