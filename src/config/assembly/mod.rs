//! Collects the entries of a configuration: environment, arguments and files, with includes and logic, in order.

mod blocks;
mod files;
mod vassal;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;

use crate::config::diagnostic::{Diagnostic, Severity, has_room};
use crate::config::envdir::{self, Changes};
use crate::config::expand;
use crate::config::format::Format;
use crate::config::logic::{self, Logic, Word};
use crate::config::magic::FileNames;
use crate::config::raw::{Entry, Origin, Raw, Role};
use crate::config::surroundings::{Facts, Surroundings};
use crate::config::table;
use crate::config::text::reveal;
use crate::config::value;

/// How many entries a configuration has.
const ENTRIES_MAX: usize = 50_000;
/// How many bytes its values have before expansion.
const VALUES_MAX: usize = 16 * 1024 * 1024;

/// How deep files inherit each other.
const INHERIT_MAX: usize = 16;

/// A file that is inherited, once all else is read.
struct Inherit {
    file: String,
    origin: Origin,
    /// How many files inherit each other up to this one.
    depth: usize,
}

/// How a file comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Manner {
    /// `ini`, `json`, `yaml`, `xml`, and by its extension `config`: a section may be named; sets the upper-case magic
    /// variables.
    Named(Option<Format>),
    /// `include`, or a bare argument: by extension, always the default section.
    Include,
    /// `inherit`: not expanded.
    Inherit,
}

/// Collects entries.
pub(in crate::config) struct Assembly<'a> {
    around: &'a dyn Surroundings,
    facts: Facts,
    directory: PathBuf,
    /// The vassal's own file, read once by whoever opened it.
    held: Option<(PathBuf, &'a [u8])>,
    entries: Vec<Entry>,
    diagnostics: Vec<Diagnostic>,
    logic: Logic,
    files: Vec<String>,
    inherits: VecDeque<Inherit>,
    /// How many files inherit each other around the one that is read.
    inherited: usize,
    /// What `early-envdir` has set so far.
    early: Changes,
    /// The last file of each format that was read.
    last: BTreeMap<Format, String>,
    first: Option<FileNames>,
    file: Option<String>,
    bytes_read: usize,
    bytes_held: usize,
    role: Role,
    /// What `blacklist` forbids here.
    forbidden: Vec<String>,
    /// The options that have a default of the emperor's so far.
    defaults: HashSet<String>,
    /// The names that `if-opt` asked for.
    asked: HashSet<String>,
    /// What `whitelist` allows here; `None`: all.
    allowed: Option<Vec<String>>,
    /// A limit was passed: nothing more is taken.
    full: bool,
}

impl<'a> Assembly<'a> {
    pub(in crate::config) fn new(around: &'a dyn Surroundings) -> Self {
        Self {
            around,
            facts: around.facts(),
            directory: around.directory(),
            held: None,
            entries: Vec::new(),
            diagnostics: Vec::new(),
            logic: Logic::default(),
            files: Vec::new(),
            inherits: VecDeque::new(),
            inherited: 0,
            early: Changes::new(),
            last: BTreeMap::new(),
            first: None,
            file: None,
            bytes_read: 0,
            bytes_held: 0,
            role: Role::Ordinary,
            forbidden: Vec::new(),
            defaults: HashSet::new(),
            asked: HashSet::new(),
            allowed: None,
            full: false,
        }
    }

    /// Takes one `key = value` from wherever it was said.
    pub(in crate::config) fn say(&mut self, key: &str, value: Option<&str>, origin: &Origin) {
        if self.full {
            return;
        }
        let text = value.unwrap_or_default();
        match Word::of(key) {
            Some(Word::End) => {
                self.logic.close();
                self.note_word(key, value, origin);
            }
            Some(Word::Else) => match self.logic.turn() {
                Ok(()) => self.note_word(key, value, origin),
                Err(why) => self.report(Severity::Error, origin, Some(key), why, None),
            },
            Some(Word::If(condition, negated)) => {
                self.note_word(key, value, origin);
                self.branch(key, text, (condition, negated), origin);
            }
            Some(Word::Loop(kind)) => {
                self.note_word(key, value, origin);
                self.repeat(key, text, kind, origin);
            }
            None => {
                if let Some(word) = self.logic.take_cut() {
                    let message =
                        format!("does not count, as in uWSGI: `{word}` ended when its option was said");
                    self.report(Severity::Warning, origin, Some(key), &message, None);
                }
                for context in self.logic.contexts().to_vec() {
                    let value = value.map(|value| logic::fill(value, &context));
                    self.take(key, value, origin);
                }
            }
        }
    }

    /// Ends the collection: expands, then appends what is inherited.
    pub(in crate::config) fn finish(mut self) -> Raw {
        for (word, origin) in self.logic.unclosed() {
            let message = "this block is never closed: it holds everything to the end of the configuration";
            self.report(Severity::Warning, &origin, Some(&word), message, None);
        }
        let mut used = expand::expand(&mut self.entries, self.around, &self.early, &mut self.diagnostics);
        used.extend(self.asked.drain());
        while let Some(Inherit { file, origin, depth }) = self.inherits.pop_front() {
            self.role = Role::Inherited;
            self.logic = Logic::default();
            self.inherited = depth;
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
            early: self.early,
        }
    }

    pub(in crate::config) fn report(
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
    fn note_word(&mut self, key: &str, value: Option<&str>, origin: &Origin) {
        for context in self.logic.contexts().to_vec() {
            let value = value.map(|value| logic::fill(value, &context));
            self.push(key, value, origin, Role::Acted);
        }
    }

    /// Takes an entry that counts, and lets it act if it acts at once.
    fn take(&mut self, key: &str, value: Option<String>, origin: &Origin) {
        let text = value.clone().unwrap_or_default();
        if !self.is_allowed(key, origin) {
            return;
        }
        match key {
            "blacklist" | "whitelist" | "end-blacklist" | "end-whitelist" => {
                let names = text.split(' ').map(str::to_owned).collect();
                match key {
                    "blacklist" => self.forbidden = names,
                    "whitelist" => self.allowed = Some(names),
                    "end-blacklist" => self.forbidden = Vec::new(),
                    _ => self.allowed = None,
                }
                self.push(key, value, origin, Role::Acted);
            }
            "ini" | "include" | "json" | "js" | "yaml" | "yml" | "xml" | "xmlconfig" | "config" => {
                let manner = match key {
                    "include" => Manner::Include,
                    _ => Manner::Named(Format::of_option(key)),
                };
                self.push(key, value, origin, Role::Acted);
                self.read_beside(&text, manner, origin);
            }
            // A file of PasteDeploy's with options in it.
            "ini-paste" | "ini-paste-logged" => {
                self.push(key, value, origin, self.role);
                self.read_beside(&text, Manner::Named(Format::of_option("ini")), origin);
            }
            "inherit" if self.inherited >= INHERIT_MAX => {
                let message = format!("files inherit each other more than {INHERIT_MAX} deep");
                self.report(Severity::Error, origin, Some(key), &message, None);
            }
            "inherit" => {
                self.push(key, value, origin, Role::Acted);
                let depth = self.inherited.saturating_add(1);
                self.inherits.push_back(Inherit { file: text, origin: origin.clone(), depth });
            }
            "early-envdir" => {
                self.push(key, value, origin, Role::Acted);
                let (changes, wrong) = envdir::read(&self.directory.join(reveal(&text)), self.around);
                self.early.extend(changes);
                for message in wrong {
                    self.report(Severity::Error, origin, Some(key), &message, None);
                }
            }
            "set" | "set-ph" | "set-placeholder" => {
                self.push(key, value, origin, Role::Acted);
                self.define(key, &text, origin);
            }
            _ => self.push(key, value, origin, self.role),
        }
    }

    /// Reads a file that an entry names: what is inside it is no part of the block around its inclusion.
    fn read_beside(&mut self, name: &str, manner: Manner, origin: &Origin) {
        if self.logic.is_open() {
            let outside = std::mem::take(&mut self.logic);
            self.load(name, manner, origin);
            self.logic = outside;
        } else {
            self.load(name, manner, origin);
        }
    }

    /// Whether neither list is against an entry; what is forbidden is reported.
    fn is_allowed(&mut self, key: &str, origin: &Origin) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case(key));
        let by = match &self.allowed {
            _ if names(&self.forbidden) => "blacklist",
            // In uWSGI the list must name its own end, or nothing can follow.
            Some(allowed) if !names(allowed) && key != "end-whitelist" => "whitelist",
            _ => return true,
        };
        let message = format!("forbidden option \"{key}\" (by {by})");
        self.report(Severity::Error, origin, Some(key), &message, None);
        false
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
        } else if table::find(key).is_some() {
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
        if role != Role::Acted {
            self.end_default(key, origin);
        }
        // Names of files are in disguise here: nothing in them is taken for a quote or a comment.
        let dressed = value.as_deref().is_some_and(|value| value::bare(value) != value);
        if self.logic.is_open() {
            self.logic.said(key, &reveal(value.as_deref().unwrap_or_default()));
        }
        self.entries.push(Entry { key: key.to_owned(), value, origin: origin.clone(), role, dressed });
    }
}
