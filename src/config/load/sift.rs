//! Goes through the entries: what is unknown, has no effect or is refused is dealt with here, alike for instances
//! and emperors; what is left is to be obeyed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::config::diagnostic::{Cause, Diagnostic, Severity, has_room};
use crate::config::instance::{IdentitySpec, Ownership};
use crate::config::raw::{COMMAND_LINE, ENVIRONMENT, Entry, Raw, Role};
use crate::config::suggest;
use crate::config::surroundings::Surroundings;
use crate::config::table::{self, By, Kind, Row, Standing};
use crate::config::value;
use crate::sys::capabilities::Capabilities;

/// One option to be obeyed.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) row: &'static Row,
    pub(super) entry: &'a Entry,
}

impl<'a> Said<'a> {
    /// The canonical name.
    pub(super) fn name(&self) -> &'static str {
        self.row.name()
    }

    /// The value; a flag of the command line has `true`. Where nobody can mean them, quotes around it and a comment
    /// behind it are left out.
    pub(super) fn text(&self) -> &'a str {
        self.text_or("true")
    }

    /// The value, or what it is on a command line that says none.
    pub(super) fn text_or(&self, nothing: &'static str) -> &'a str {
        let text = self.entry.value.as_deref().unwrap_or(nothing);
        if self.entry.dressed && self.row.kind.is_typed() { value::bare(text) } else { text }
    }

    pub(super) fn flag(&self) -> bool {
        value::flag(self.text())
    }

    pub(super) fn by(&self) -> By {
        match self.row.standing {
            Standing::Obeyed(by) => by,
            _ => By::Config,
        }
    }
}

/// The entries of a configuration, and what is wrong with them.
pub(super) struct Sift<'a> {
    pub(super) raw: &'a Raw,
    pub(super) around: &'a dyn Surroundings,
    diagnostics: Vec<Diagnostic>,
    warned: HashSet<&'a str>,
}

impl<'a> Sift<'a> {
    pub(super) fn new(raw: &'a Raw, around: &'a dyn Surroundings) -> Self {
        Self { raw, around, diagnostics: raw.diagnostics.clone(), warned: HashSet::new() }
    }

    /// All diagnostics, file by file in the order of their lines; but names that are nearly those of options lead.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        let mut files: Vec<String> = Vec::new();
        for diagnostic in &self.diagnostics {
            if !files.contains(&diagnostic.file) {
                files.push(diagnostic.file.clone());
            }
        }
        self.diagnostics.sort_by_key(|diagnostic| {
            let file = files.iter().position(|file| *file == diagnostic.file);
            (!diagnostic.is_near_miss(), file, diagnostic.line.unwrap_or(u32::MAX))
        });
        self.diagnostics
    }

    /// The options to be obeyed, in order; everything else is reported.
    pub(super) fn obeyed(&mut self) -> Vec<Said<'a>> {
        let strict = self.raw.is_strict();
        let mut obeyed = Vec::new();
        for entry in &self.raw.entries {
            if entry.role == Role::Acted {
                continue;
            }
            let Some(row) = table::find(&entry.key) else {
                self.unknown(entry, strict);
                continue;
            };
            let said = Said { row, entry };
            self.doubt(said);
            match row.standing {
                Standing::Obeyed(_) if row.kind == Kind::Language => {}
                Standing::Obeyed(_) if said.text().contains('\u{fffd}') => {
                    self.error(said, "the value is not UTF-8", None);
                }
                Standing::Obeyed(_) => obeyed.push(said),
                Standing::Always => {
                    if !said.flag() {
                        self.warn_once(entry, &format!("cannot be switched off: {}", uncapitalised(row.doc)));
                    }
                }
                Standing::NoEffect => self.no_effect(said, "has no effect"),
                Standing::Refused => self.refuse(said, Cause::Refused, "liege does not do this"),
                Standing::CommandLine => self.refuse(said, Cause::Refused, "only for the command line"),
            }
        }
        obeyed
    }

    /// A mistake that only the whole shows, at the last entry that says this option.
    pub(super) fn error_at(&mut self, name: &str, message: String, suggestion: String) {
        let is_it = |entry: &&Entry| table::find(&entry.key).is_some_and(|row| row.name() == name);
        if let Some(entry) = self.raw.entries.iter().rfind(is_it) {
            self.report(entry, Severity::Error, Cause::Value, message, Some(suggestion));
        }
    }

    pub(super) fn error(&mut self, said: Said<'_>, message: impl Into<String>, suggestion: Option<String>) {
        self.report(said.entry, Severity::Error, Cause::Value, message.into(), suggestion);
    }

    /// Refuses a use of an option that may come one day.
    pub(super) fn not_yet(&mut self, said: Said<'_>, message: &str, suggestion: &str) {
        let suggestion = Some(suggestion.to_owned());
        self.report(said.entry, Severity::Error, Cause::NotYet, message.to_owned(), suggestion);
    }

    pub(super) fn warn(&mut self, said: Said<'_>, message: impl Into<String>, suggestion: Option<String>) {
        self.report(said.entry, Severity::Warning, Cause::Value, message.into(), suggestion);
    }

    /// Reports what belongs to no single entry.
    pub(super) fn report_whole(&mut self, severity: Severity, message: &str, suggestion: Option<&str>) {
        let file = self.raw.file.clone().unwrap_or_else(|| COMMAND_LINE.to_owned());
        self.diagnostics.push(Diagnostic {
            severity,
            file,
            line: None,
            option: None,
            message: message.to_owned(),
            suggestion: suggestion.map(str::to_owned),
            cause: Cause::default(),
        });
    }

    /// Refuses `vhost` where no application is named: in uWSGI each request then names one to load.
    pub(super) fn refuses_virtual_hosts(&mut self) -> bool {
        let switches = self.raw.entries.iter().filter(|entry| entry.role != Role::Acted);
        let vhost = switches
            .filter_map(|entry| table::find(&entry.key).map(|row| Said { row, entry }))
            .find(|said| said.name() == "vhost" && said.flag());
        if let Some(said) = vhost {
            let message = "no application is named, and none is loaded because a request names it";
            let hint = "say module = pkg.mod:app, or wsgi-file = app.py";
            self.report(
                said.entry,
                Severity::Error,
                Cause::Refused,
                message.to_owned(),
                Some(hint.to_owned()),
            );
        }
        vhost.is_some()
    }

    /// A number as C reads it, with a warning when that is not all of the text.
    pub(super) fn number(&mut self, said: Said<'_>) -> i64 {
        let text = said.text_or("1");
        let (number, whole) = value::integer(text);
        if !whole {
            self.warn(said, format!("`{text}` is read as the number {number}"), None);
        }
        number
    }

    /// A number of at least 0.
    pub(super) fn count(&mut self, said: Said<'_>) -> u32 {
        let number = self.number(said);
        match u32::try_from(number) {
            Ok(count) if count <= i32::MAX as u32 => count,
            Ok(_) => i32::MAX as u32,
            Err(_) if number < 0 => {
                self.error(
                    said,
                    format!("invalid value for option \"{}\": must be > 0", said.entry.key),
                    None,
                );
                0
            }
            Err(_) => i32::MAX as u32,
        }
    }

    /// A path, relative ones from `directory`.
    pub(super) fn path(&mut self, said: Said<'_>, directory: &Path) -> Option<PathBuf> {
        if said.text().is_empty() {
            self.error(said, "the path is empty", None);
            return None;
        }
        Some(directory.join(said.text()))
    }

    /// Where a log goes: a path.
    pub(super) fn log(&mut self, said: Said<'_>) -> Option<PathBuf> {
        let is_network = said.text().rsplit_once(':').is_some_and(|(host, port)| {
            !host.contains('/') && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        if is_network {
            let suggestion = Some("log to standard error, and let the journal forward it".to_owned());
            self.error(said, "liege cannot log to a network address yet", suggestion);
            return None;
        }
        self.path(said, &self.raw.directory)
    }

    /// Obeys the options about who a process runs as; whether it was one.
    pub(super) fn identity(&mut self, said: Said<'_>, identity: &mut IdentitySpec) -> bool {
        match said.name() {
            "uid" => identity.uid = self.user(said, "user", "root"),
            "gid" => identity.gid = self.user(said, "group", "root"),
            "immediate-uid" => {
                identity.uid = self.user(said, "user", "root");
                identity.immediate = true;
            }
            "immediate-gid" => {
                identity.gid = self.user(said, "group", "root");
                identity.immediate = true;
            }
            "drop-after-init" => identity.after_init = said.flag(),
            "add-gid" => identity.add_gid.extend(self.user(said, "group", "root")),
            "no-new-privileges" => identity.new_privileges = !said.flag(),
            "cap" => identity.capabilities.extend(self.capabilities(said)),
            "no-initgroups" => identity.no_initgroups = said.flag(),
            "umask" => match value::octal(said.text()) {
                Some(umask) => identity.umask = Some(umask),
                None => self.error(said, format!("`{}` is not an octal number", said.text()), None),
            },
            "root-apps" => match said.text() {
                "deny" => identity.deny_root_apps = true,
                "allow" => identity.deny_root_apps = false,
                other => self.error(said, format!("`{other}` is neither allow nor deny"), None),
            },
            _ => return false,
        }
        true
    }

    /// Names of capabilities, kept as written.
    pub(super) fn capabilities(&mut self, said: Said<'_>) -> Option<String> {
        match Capabilities::parse(said.text()) {
            Ok(_) => Some(said.text().to_owned()),
            Err(name) => {
                let suggestion =
                    Some("names are those of capabilities(7), such as net_bind_service".to_owned());
                self.error(said, format!("there is no capability `{name}`"), suggestion);
                None
            }
        }
    }

    /// `user[:group]`.
    pub(super) fn ownership(&mut self, said: Said<'_>) -> Option<Ownership> {
        let (user, group) = match said.text().split_once([':', '.']) {
            Some((user, group)) => (user, (!group.is_empty()).then(|| group.to_owned())),
            None => (said.text(), None),
        };
        if user.is_empty() {
            self.error(said, "unable to find user ", Some("write user:group".to_owned()));
            return None;
        }
        Some(Ownership { user: user.to_owned(), group })
    }

    fn user(&mut self, said: Said<'_>, kind: &str, zero: &str) -> Option<String> {
        let text = said.text();
        if text.is_empty() || text.bytes().all(|byte| byte == b'0') {
            let name = if text.is_empty() { "(empty)" } else { text };
            self.error(said, format!("{kind} {name} not found."), Some(format!("for number 0 write {zero}")));
            return None;
        }
        Some(text.to_owned())
    }

    fn unknown(&mut self, entry: &'a Entry, strict: bool) {
        if entry.role == Role::Placeholder {
            return;
        }
        // Variables such as UWSGI_VERSION are common, and names are there to be referred to.
        let is_used = self.raw.used.contains(&entry.key) || &*entry.origin.file == ENVIRONMENT;
        if !strict && is_used || !self.warned.insert(&entry.key) {
            return;
        }
        let severity = if strict { Severity::Error } else { Severity::Warning };
        // The search for what is meant is worth some time, but not for tens of thousands of names.
        let near = match self.warned.len() {
            ..=1000 => suggest::nearest(&entry.key, table::names()),
            _ => None,
        };
        let suggestion = near.map(|near| format!("did you mean {near}?"));
        let message = match strict {
            true => format!("[strict-mode] unknown config directive: {}", entry.key),
            false => "unknown option".to_owned(),
        };
        let room = if near.is_some() { Severity::Error } else { severity };
        if has_room(&self.diagnostics, room) {
            let told = entry.origin.diagnose(severity, Some(&entry.key), message, suggestion);
            self.diagnostics.push(Diagnostic { cause: Cause::Unknown, ..told });
        }
    }

    fn no_effect(&mut self, said: Said<'a>, verdict: &str) {
        let off = said.entry.value.as_deref().is_some_and(value::is_off);
        // A bare flag in a file is on.
        if !off || (said.row.kind == Kind::Flag && said.flag()) {
            self.warn_once(said.entry, &format!("{verdict}: {}", said.row.doc));
        }
    }

    fn refuse(&mut self, said: Said<'_>, cause: Cause, verdict: &str) {
        let off = said.entry.value.as_deref().is_some_and(value::is_off);
        if !off || (said.row.kind == Kind::Flag && said.flag()) {
            let advice = Some(said.row.doc.to_owned());
            self.report(said.entry, Severity::Error, cause, verdict.to_owned(), advice);
        }
    }

    fn doubt(&mut self, said: Said<'_>) {
        if !said.entry.dressed || matches!(said.row.kind, Kind::FreeText | Kind::Language) {
            return;
        }
        let text = said.entry.value.as_deref().unwrap_or_default();
        let typed = said.row.kind.is_typed();
        if value::is_quoted(value::without_comment(text)) {
            let what = if typed { "are left out" } else { "are part of the value" };
            self.warn(said, format!("the quotes {what}"), Some("leave them out".to_owned()));
        }
        if value::has_trailing_comment(text) {
            let what = if typed { "is left out" } else { "is part of the value" };
            let message = format!("`{text}`: what looks like a comment {what}");
            self.warn(said, message, Some("put comments on lines of their own".to_owned()));
        }
    }

    fn warn_once(&mut self, entry: &'a Entry, message: &str) {
        if self.warned.insert(&entry.key) {
            self.report(entry, Severity::Warning, Cause::NoEffect, message.to_owned(), None);
        }
    }

    fn report(
        &mut self,
        entry: &Entry,
        severity: Severity,
        cause: Cause,
        message: String,
        suggestion: Option<String>,
    ) {
        if has_room(&self.diagnostics, severity) {
            let told = entry.origin.diagnose(severity, Some(&entry.key), message, suggestion);
            self.diagnostics.push(Diagnostic { cause, ..told });
        }
    }
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
