//! Blocks: what opens them, for which contexts.

use std::path::Path;

use super::Assembly;
use crate::config::diagnostic::Severity;
use crate::config::envdir;
use crate::config::expand;
use crate::config::logger;
use crate::config::logic::{self, CONTEXTS_MAX, Condition, Context, Loop};
use crate::config::raw::Origin;
use crate::config::surroundings::Kind;
use crate::config::text::{decode, disguise, reveal, tame};
use crate::config::{table, value};

impl Assembly<'_> {
    /// Opens a block for the contexts in which the condition holds.
    pub(super) fn branch(&mut self, key: &str, text: &str, wanted: (Condition, bool), origin: &Origin) {
        let (condition, negated) = wanted;
        let mut holds = Vec::new();
        let mut otherwise = Vec::new();
        for context in self.logic.contexts().to_vec() {
            let argument = expand::environment(&logic::fill(text, &context), self.around, &self.early);
            let (is_so, subject) = self.check(key, condition, &argument, origin);
            let context = subject.map_or(context, Some);
            if is_so == negated { otherwise.push(context) } else { holds.push(context) }
        }
        let holds_somewhere = !holds.is_empty();
        self.logic.open(key, origin, holds, otherwise);
        if condition == Condition::Opt && negated && holds_somewhere {
            let (name, value) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            if !self.entries.iter().any(|entry| entry.key == name) {
                self.logic.end_at(name, value);
            }
        }
    }

    /// Whether a condition holds, and what `%(_)` is in its block: text of the configuration, so that a placeholder in it
    /// is one, while what is disguised stays so.
    fn check(
        &mut self,
        key: &str,
        condition: Condition,
        text: &str,
        origin: &Origin,
    ) -> (bool, Option<String>) {
        let argument = reveal(text);
        let argument = argument.as_str();
        let (name, wanted) =
            argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
        let path = || Some(text.to_owned());
        let kind = || self.around.kind(Path::new(argument));
        match condition {
            Condition::Env => {
                let value = envdir::variable(name, &self.early, self.around);
                (value.as_deref().is_some_and(|value| wanted.is_none_or(|wanted| wanted == value)), value)
            }
            Condition::Opt => {
                self.asked.insert(name.to_owned());
                let value = self.entries.iter().find(|entry| entry.key == name);
                let value = value.map(|entry| entry.value.clone().unwrap_or_default());
                let is_so = |value| wanted.is_none_or(|wanted| wanted == reveal(value));
                (value.as_deref().is_some_and(is_so), value)
            }
            Condition::Exists => (kind().is_some(), path()),
            Condition::File => (kind() == Some(Kind::File), path()),
            Condition::Directory => (kind() == Some(Kind::Directory), path()),
            Condition::Reload => (self.facts.reloaded, None),
            Condition::Hostname => (self.facts.hostname == argument, path()),
            Condition::HostnameMatch => match logger::compile(argument) {
                Ok(pattern) => (pattern.is_match(&self.facts.hostname), path()),
                Err(error) => {
                    let message = format!("`{argument}` is not a regular expression: {error}");
                    self.report(Severity::Error, origin, Some(key), &message, None);
                    (false, path())
                }
            },
            Condition::Plugin => (table::is_built_in(argument), path()),
        }
    }

    /// A path as glob(3) marks it: a directory with a slash at its end.
    fn marked(&self, path: String) -> String {
        match self.around.kind(Path::new(&path)) {
            Some(Kind::Directory) if !path.ends_with('/') => path + "/",
            _ => path,
        }
    }

    /// Opens a block for each item of a loop. Words of the configuration may hold placeholders; names of files are data,
    /// and a line of a file reads no other.
    pub(super) fn repeat(&mut self, key: &str, text: &str, kind: Loop, origin: &Origin) {
        let mut items: Vec<Context> = Vec::new();
        for context in self.logic.contexts().to_vec() {
            let shown = expand::environment(&logic::fill(text, &context), self.around, &self.early);
            let argument = reveal(&shown);
            let room = CONTEXTS_MAX.saturating_sub(items.len()).saturating_add(1);
            match kind {
                Loop::Items => items.extend(words(&shown).take(room).map(|word| Some(word.to_owned()))),
                Loop::Times => {
                    let times = value::integer(&argument).0;
                    items.extend((1..=times).take(room).map(|number| Some(number.to_string())));
                }
                Loop::Glob => {
                    let matches = self.around.matches(&argument);
                    if matches.is_empty() {
                        items.push(Some(shown));
                    } else {
                        items.extend(
                            matches.into_iter().take(room).map(|path| Some(tame(&self.marked(path)))),
                        );
                    }
                }
                Loop::Lines => match self.read_bytes(&argument) {
                    Ok(bytes) => {
                        let lines = decode(&bytes);
                        items.extend(lines.lines().take(room).map(|line| Some(disguise(line, |c| c == '@'))));
                    }
                    Err(error) => self.report_unread(origin, Some(key), error),
                },
            }
        }
        if items.len() > CONTEXTS_MAX {
            self.overflow(origin, &format!("{key} repeats more than {CONTEXTS_MAX} times"));
        }
        self.logic.open(key, origin, items, Vec::new());
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}
