//! The three passes over all entries: `$(ENVIRONMENT)`, then `@(file)`, then `%(placeholder)`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use super::diagnostic::{Cause, Diagnostic, Severity, has_room};
use super::envdir::{self, Changes};
use super::format::VALUE_MAX;
use super::pipeline;
use super::raw::{Entry, Role};
use super::surroundings::Surroundings;
use super::text::reveal;

/// How many placeholders may stand for each other in a row.
pub(super) const DEPTH_MAX: usize = 64;
/// How deep one placeholder's name is made of others.
const NESTED_MAX: usize = 8;
/// How many bytes the name of a variable has, with its default.
const NAME_MAX: usize = 4096;
/// How many bytes all expanded values may have together.
pub(super) const TOTAL_MAX: usize = 16 * 1024 * 1024;

/// Expands the entries that are to be expanded, in an environment with the `early` changes, and reveals all. Gives the names that some `%(…)` refers to.
pub(super) fn expand(
    entries: &mut [Entry],
    around: &dyn Surroundings,
    early: &Changes,
    diagnostics: &mut Vec<Diagnostic>,
) -> HashSet<String> {
    for entry in entries.iter_mut().filter(|entry| expands(entry)) {
        let Some(value) = entry.value.take() else { continue };
        let value = environment(&value, around, early);
        let (value, failure) = match contents(&value, around) {
            Ok(value) => (value, None),
            Err(failure) => (value, Some(failure)),
        };
        if let Some((severity, cause, message)) = failure.filter(|(it, ..)| has_room(diagnostics, *it)) {
            let told = entry.origin.diagnose(severity, Some(&entry.key), message, None);
            diagnostics.push(Diagnostic { cause, ..told });
        }
        entry.value = Some(value);
    }
    let (values, used) = Placeholders::new(entries, diagnostics).resolve();
    for (entry, value) in entries.iter_mut().zip(values) {
        entry.key = reveal(&entry.key);
        entry.value = value.map(|value| reveal(&value));
    }
    used
}

fn expands(entry: &Entry) -> bool {
    matches!(entry.role, Role::Ordinary | Role::Placeholder)
}

/// `$(NAME)`: the environment's value, or what follows `:-` (unset or empty) or `-` (unset); an unset name without
/// such a default stays as it is.
pub(super) fn environment(value: &str, around: &dyn Surroundings, early: &Changes) -> String {
    let variable = |name: &str| envdir::variable(name, early, around);
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    replace(value, "$(", |name| {
        if name.len() > NAME_MAX {
            return None;
        }
        if let Some(value) = variable(name) {
            return Some(value);
        }
        // Anything else is a command for a shell: `$(id -u)`.
        if let Some((name, default)) = name.split_once(":-").filter(|(name, _)| is_name(name)) {
            return Some(
                variable(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned()),
            );
        }
        let (name, default) = name.split_once('-').filter(|(name, _)| is_name(name))?;
        Some(variable(name).unwrap_or_else(|| default.to_owned()))
    })
}

/// What is wrong with a value that is to be read from elsewhere.
type Doubt = (Severity, Cause, String);

/// `@(path)`: the content of the file, without one line end; of a command, what it prints.
fn contents(value: &str, around: &dyn Surroundings) -> Result<String, Doubt> {
    let mut failure = None;
    let replaced = replace(value, "@(", |source| {
        if source.is_empty() || failure.is_some() {
            return None;
        }
        match content(&reveal(source), around) {
            Ok(text) => Some(text),
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(replaced),
    }
}

fn content(source: &str, around: &dyn Surroundings) -> Result<String, Doubt> {
    let refuse = |message: String| (Severity::Error, Cause::Value, message);
    let unread = |message: String| (Severity::Error, Cause::Host, message);
    let read = match source.split_once("://") {
        Some(("fd", number)) => match number.parse() {
            Ok(descriptor) => around.read_inherited(descriptor, VALUE_MAX),
            Err(_) => return Err(refuse(format!("`{source}` is not a descriptor"))),
        },
        Some(("exec", command)) => match around.run(command, VALUE_MAX) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let message =
                    format!("@({source}): commands are run at the start only: this value is not known");
                return Err((Severity::Warning, Cause::Value, message));
            }
            Err(error) => return Err(unread(format!("@({source}): {error}"))),
            printed => printed,
        },
        Some((scheme, _)) => {
            let message = format!("@({scheme}://…) is not supported, only files, fd://N and exec://COMMAND");
            return Err(refuse(message));
        }
        None => around.read(Path::new(source), VALUE_MAX),
    };
    let bytes = read.map_err(|error| unread(format!("open(\"{source}\"): {error}")))?;
    if bytes.len() > VALUE_MAX {
        return Err(refuse(format!("\"{source}\" is longer than {VALUE_MAX} bytes")));
    }
    let mut text = super::text::decode(&bytes);
    if text.ends_with(['\n', '\r']) {
        text.pop();
    }
    Ok(text)
}

/// Replaces each `open … )` for whose inside `value_of` knows a value.
fn replace(value: &str, open: &str, mut value_of: impl FnMut(&str) -> Option<String>) -> String {
    let pairs = Pairs::of(value);
    let mut replaced = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once(open) {
        replaced.push_str(before);
        let found = pairs.inside(value, after);
        // One value in the text may be long, but not each of thousands.
        match found.and_then(|(name, behind)| value_of(name).map(|value| (value, behind))) {
            Some((value, behind)) if replaced.len().saturating_add(value.len()) <= VALUE_MAX => {
                replaced.push_str(&value);
                rest = behind;
            }
            _ => {
                replaced.push_str(open);
                rest = after;
            }
        }
    }
    replaced.push_str(rest);
    replaced
}

/// Where the parenthesis that closes each one of a text is: looked for once, however many there are.
struct Pairs(HashMap<usize, usize>);

impl Pairs {
    fn of(text: &str) -> Self {
        let mut open = Vec::new();
        let mut pairs = HashMap::new();
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'(' => open.push(at.saturating_add(1)),
                b')' => pairs.extend(open.pop().map(|opened| (opened, at))),
                _ => {}
            }
        }
        Self(pairs)
    }

    /// What stands between a parenthesis and the one that closes it, and what follows; `after` is the end of the text
    /// that begins behind the first.
    fn inside<'t>(&self, text: &'t str, after: &str) -> Option<(&'t str, &'t str)> {
        let opened = text.len().checked_sub(after.len())?;
        let close = *self.0.get(&opened)?;
        Some((text.get(opened..close)?, text.get(close.saturating_add(1)..)?))
    }
}

struct Placeholders<'a> {
    entries: &'a [Entry],
    first: HashMap<&'a str, usize>,
    states: Vec<State>,
    /// The keys being resolved, for naming a cycle.
    chain: Vec<usize>,
    used: HashSet<String>,
    total: usize,
    diagnostics: &'a mut Vec<Diagnostic>,
}

#[derive(Clone)]
enum State {
    Untouched,
    Busy,
    Done(Option<String>),
}

impl<'a> Placeholders<'a> {
    fn new(entries: &'a [Entry], diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        let mut first = HashMap::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            first.entry(entry.key.as_str()).or_insert(index);
        }
        let states = vec![State::Untouched; entries.len()];
        Self { entries, first, states, chain: Vec::new(), used: HashSet::new(), total: 0, diagnostics }
    }

    fn resolve(mut self) -> (Vec<Option<String>>, HashSet<String>) {
        ((0..self.entries.len()).map(|index| self.value(index)).collect(), self.used)
    }

    /// The value of an entry with its placeholders replaced.
    fn value(&mut self, index: usize) -> Option<String> {
        let entries = self.entries;
        let entry = entries.get(index)?;
        match self.states.get(index)? {
            State::Done(value) => return value.clone(),
            State::Busy => {
                self.report_cycle(index);
                return None;
            }
            State::Untouched => {}
        }
        let value = match &entry.value {
            Some(value) if expands(entry) && value.contains("%(") => {
                if self.chain.len() >= DEPTH_MAX {
                    let error = format!("more than {DEPTH_MAX} placeholders stand for each other");
                    self.report(index, error);
                    return None;
                }
                self.set(index, State::Busy);
                self.chain.push(index);
                let value = self.replace(value, index, 0);
                self.chain.pop();
                Some(value)
            }
            value => value.clone(),
        };
        self.set(index, State::Done(value.clone()));
        value
    }

    fn replace(&mut self, value: &str, index: usize, nested: usize) -> String {
        let pairs = Pairs::of(value);
        let mut replaced = String::with_capacity(value.len());
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("%(") {
            replaced.push_str(before);
            let Some((inside, behind)) = pairs.inside(value, after) else {
                replaced.push_str("%(");
                rest = after;
                continue;
            };
            rest = behind;
            let inside = match inside.contains("%(") && nested < NESTED_MAX {
                true => Cow::Owned(self.replace(inside, index, nested.saturating_add(1))),
                false => Cow::Borrowed(inside),
            };
            match self.inside(&inside) {
                Some(value) => replaced.push_str(&value),
                None => {
                    replaced.push_str("%(");
                    replaced.push_str(&inside);
                    replaced.push(')');
                }
            }
            if replaced.len() > VALUE_MAX {
                self.report(index, format!("expands to more than {VALUE_MAX} bytes"));
                return String::new();
            }
        }
        replaced.push_str(rest);
        self.total = self.total.saturating_add(replaced.len());
        if self.total > TOTAL_MAX {
            self.report(index, format!("all values together expand to more than {TOTAL_MAX} bytes"));
            return String::new();
        }
        replaced
    }

    fn inside(&mut self, inside: &str) -> Option<String> {
        if inside.contains(' ') {
            return pipeline::evaluate(inside, &mut |name| self.named(name));
        }
        self.named(inside)
    }

    /// The first entry of that name counts.
    fn named(&mut self, name: &str) -> Option<String> {
        let index = *self.first.get(name)?;
        if !self.used.contains(name) {
            self.used.insert(name.to_owned());
        }
        self.value(index)
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(slot) = self.states.get_mut(index) {
            *slot = state;
        }
    }

    fn report_cycle(&mut self, index: usize) {
        let start = self.chain.iter().position(|busy| *busy == index).unwrap_or(0);
        let keys: Vec<_> = self
            .chain
            .iter()
            .skip(start)
            .chain([&index])
            .filter_map(|index| self.entries.get(*index))
            .map(|entry| format!("%({})", entry.key))
            .collect();
        self.report(index, format!("stands for itself: {}", keys.join(" → ")));
    }

    /// One report is enough: what follows from it would only repeat it.
    fn report(&mut self, index: usize, message: String) {
        let Some(entry) = self.entries.get(index) else { return };
        let diagnostic = entry.origin.diagnose(Severity::Error, Some(&entry.key), message, None);
        let reported = self.diagnostics.iter().any(|known| {
            known.option == diagnostic.option
                && known.line == diagnostic.line
                && known.file == diagnostic.file
        });
        if !reported && has_room(self.diagnostics, Severity::Error) {
            self.diagnostics.push(diagnostic);
        }
    }
}
