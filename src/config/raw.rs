//! A configuration as said: every entry in order, with the place where it was said.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::diagnostic::{Cause, Diagnostic, Severity};
use super::hook::Place;
use super::text::reveal;

/// A configuration as said, expanded, before its values get a meaning.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// In the order in which uWSGI would hold them.
    pub entries: Vec<Entry>,
    /// What is already known to be wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// The directory that relative names start from.
    pub directory: PathBuf,
    /// The first file that was loaded; names the instance.
    pub file: Option<String>,
    /// The names that some `%(…)` refers to.
    pub used: HashSet<String>,
    /// What `early-envdir` has set.
    pub early: Vec<(String, Option<String>)>,
}

/// One `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The option or placeholder.
    pub key: String,
    /// `None`: a flag of the command line, which has none.
    pub value: Option<String>,
    /// Where it was said.
    pub origin: Origin,
    /// How it came in.
    pub role: Role,
    /// Its value was written with quotes around it, or with what looks like a comment behind it.
    pub dressed: bool,
}

/// How an entry came in, and so what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To be expanded and applied.
    Ordinary,
    /// Acted while it was read (includes, logic, `set`): neither expanded nor applied.
    Acted,
    /// Defined by `set-placeholder`: allowed in strict mode.
    Placeholder,
    /// From an `inherit`ed file: applied, not expanded.
    Inherited,
}

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, `command line` or `environment`.
    pub file: Arc<str>,
    /// From 1; `None` where there are no lines.
    pub line: Option<u32>,
}

/// What only one of both says (`-`: the old one, `+`: the new one), in the order of each.
#[must_use]
pub fn differences<'a>(old: &'a [Entry], new: &'a [Entry]) -> Vec<(char, &'a Entry)> {
    let only = |mine: &'a [Entry], other: &'a [Entry], sign| {
        let mut other: Vec<_> = other.iter().map(|entry| (&entry.key, &entry.value)).collect();
        let is_new =
            move |entry: &&Entry| match other.iter().position(|known| *known == (&entry.key, &entry.value)) {
                Some(at) => {
                    other.swap_remove(at);
                    false
                }
                None => true,
            };
        mine.iter().filter(is_new).map(move |entry| (sign, entry)).collect::<Vec<_>>()
    };
    [only(old, new, '-'), only(new, old, '+')].concat()
}

/// What stands for a file in the origin of an argument.
pub const COMMAND_LINE: &str = "command line";
/// What stands for a file in the origin of what an emperor says to all vassals.
pub const EMPEROR_DEFAULTS: &str = "the emperor's vassals-default";
/// What stands for a file in the origin of a variable.
pub const ENVIRONMENT: &str = "environment";

impl Origin {
    /// A place without lines.
    #[must_use]
    pub fn of(file: &str) -> Self {
        Self { file: Arc::from(file), line: None }
    }

    /// A diagnostic about this place.
    #[must_use]
    pub fn diagnose(
        &self,
        severity: Severity,
        option: Option<&str>,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            file: self.file.to_string(),
            line: self.line,
            option: option.map(reveal),
            message: reveal(&message.into()),
            suggestion: suggestion.map(|text| reveal(&text)),
            cause: Cause::default(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

impl Raw {
    /// Whether an emperor is asked for (`--emperor DIR`, or `emperor = DIR` in a file).
    #[must_use]
    pub fn is_emperor(&self) -> bool {
        let directories = self.entries.iter().filter(|entry| entry.key == "emperor");
        directories
            .filter_map(|entry| entry.value.as_deref())
            .any(|value| !value.is_empty() && !self.takes_emperor_for_a_switch(value))
    }

    /// Whether `emperor = true` stands beside an application: nobody means a directory of that name, and uWSGI serves the
    /// application.
    #[must_use]
    pub fn takes_emperor_for_a_switch(&self, value: &str) -> bool {
        const APP: [&str; 6] = ["module", "wsgi", "wsgi-file", "file", "mount", "worker-mount"];
        ["true", "on", "yes", "1"].iter().any(|word| value.eq_ignore_ascii_case(word))
            && self.entries.iter().any(|entry| APP.contains(&entry.key.as_str()))
    }

    /// Name and text of every entry, in order; a flag of the command line is `true`.
    #[must_use]
    pub fn said(&self) -> Vec<(String, String)> {
        self.entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone().unwrap_or_else(|| "true".to_owned())))
            .collect()
    }

    /// Where each of them was said.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.entries.iter().map(|entry| Place(entry.origin.to_string())).collect()
    }

    /// Whether `strict` is on.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.entries
            .iter()
            .rfind(|entry| entry.key == "strict")
            .is_some_and(|entry| super::value::flag(entry.value.as_deref().unwrap_or_default()))
    }

    /// Whether something is already known to be wrong enough to refuse the configuration.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
