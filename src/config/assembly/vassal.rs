//! A vassal's file, whose bytes are at hand, and what its emperor says before and after it.

use std::collections::HashSet;
use std::path::Path;

use super::{Assembly, Manner};
use crate::config::diagnostic::Severity;
use crate::config::format::Format;
use crate::config::magic::Magic;
use crate::config::raw::{COMMAND_LINE, EMPEROR_DEFAULTS, Origin, Role};
use crate::config::table;
use crate::config::text::{decode, tame};
use crate::config::vassals::{EMPEROR_BYTES, VassalOptions};

impl<'a> Assembly<'a> {
    /// Loads a file whose bytes are at hand; whenever it is named again, they are used again.
    pub(in crate::config) fn vassal(&mut self, path: &str, bytes: &'a [u8], options: &VassalOptions) {
        // The emperor of uWSGI stands in the directory and names the bare file.
        let within = Path::new(path).parent() == Some(&self.directory);
        let given = match path.rsplit_once('/') {
            Some((_, base)) if within => base.to_owned(),
            _ => path.to_owned(),
        };
        let origin = Origin::of(COMMAND_LINE);
        self.held = Some((self.directory.join(&given), bytes));
        let format = Format::of(&given).unwrap_or(Format::Ini);
        // What comes before it sees the vassal's names in the upper-case variables; uWSGI's are empty there.
        self.first = Some(self.names(&given, ""));
        self.defaults(format, options);
        self.options(&options.before);
        self.push(format.option(), Some(tame(&given)), &origin, Role::Acted);
        let manner = Manner::Named(Some(format));
        let names = self.names(&given, "");
        if !self.read_file(&given, format, names, manner, &origin) && !self.has_errors() {
            let missing = format.call("uwsgi");
            // Where a template says all, files with nothing in them are names.
            let (severity, message) = match format {
                Format::Ini | Format::Yaml if !options.is_empty() => (
                    Severity::Warning,
                    format!("has no {missing}: what counts is what the emperor says to all vassals"),
                ),
                _ => (Severity::Error, format!("has no {missing}")),
            };
            self.report(severity, &Origin::of(path), None, &message, None);
        }
        self.section_for_the_emperor(format, path, bytes);
        self.options(&options.after);
        self.file = Some(given);
    }

    /// What a file says to the emperor counts only where the emperor can find it without a parser of others, and
    /// without reading all of it.
    fn section_for_the_emperor(&mut self, format: Format, path: &str, bytes: &[u8]) {
        if format == Format::Ini && bytes.len() <= EMPEROR_BYTES {
            return;
        }
        let text = decode(bytes);
        let section =
            text.contains("emperor").then(|| format.read(&text, "emperor", |line, _| line.to_owned()));
        let Some(Ok(Some(section))) = section else { return };
        if format != Format::Ini {
            let message = "its section for the emperor has no effect: only that of an .ini file has";
            let suggestion = Some("write this file as an .ini file".to_owned());
            return self.report(Severity::Warning, &Origin::of(path), None, message, suggestion);
        }
        let lines = bytes.iter().take(EMPEROR_BYTES).filter(|byte| **byte == b'\n').count();
        let beyond = |line: u32| usize::try_from(line).is_ok_and(|line| line > lines);
        if let Some(item) = section.items.iter().find(|item| beyond(item.line)) {
            let origin = Origin { line: Some(item.line), ..Origin::of(path) };
            let message =
                format!("it has no effect: the emperor reads the first {EMPEROR_BYTES} bytes of a file");
            let suggestion = Some("write the section [emperor] at the beginning".to_owned());
            self.report(Severity::Warning, &origin, Some(&item.key), &message, suggestion);
        }
    }

    fn options(&mut self, options: &[(String, String)]) {
        for (key, value) in options {
            self.say(key, Some(value), &Origin::of(COMMAND_LINE));
        }
    }

    fn defaults(&mut self, format: Format, options: &VassalOptions) {
        let Some(own) = self.first.clone() else { return };
        let facts = self.facts.clone();
        let directory = self.directory.clone();
        let magic = Magic { own: &own, first: Some(&own), facts: &facts, directory: &directory, format };
        let said = self.entries.iter().filter(|entry| entry.role != Role::Acted);
        let said: HashSet<String> = said.map(|entry| name_of(&entry.key)).collect();
        for (key, value) in options.defaults.iter().filter(|(key, _)| !said.contains(&name_of(key))) {
            let value = magic.replace(value, |_| {});
            self.defaults.insert(name_of(key));
            self.say(key, Some(&value), &Origin::of(EMPEROR_DEFAULTS));
        }
    }

    /// What the vassal says takes the place of the emperor's default, at once: neither `%(name)` nor `if-opt` finds that
    /// one any more.
    pub(super) fn end_default(&mut self, key: &str, origin: &Origin) {
        let is_default = |origin: &Origin| &*origin.file == EMPEROR_DEFAULTS;
        if self.defaults.is_empty() || is_default(origin) || !self.defaults.remove(&name_of(key)) {
            return;
        }
        self.entries.retain(|entry| !is_default(&entry.origin) || name_of(&entry.key) != name_of(key));
    }
}

/// By which an option is known, whatever it is called.
fn name_of(key: &str) -> String {
    table::find(key).map_or_else(|| key.to_owned(), |row| row.name().to_owned())
}
