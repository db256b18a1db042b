//! What is found out about an option after it was read, told at the place where it was said.

use std::path::Path;

use super::address::Address;
use super::diagnostic::{Cause, Diagnostic, Severity};
use super::raw::{Entry, Raw};
use super::router::address_in;
use super::table::{self, Kind};

impl Raw {
    /// What this host has told of an option, at the place where it was said last.
    #[must_use]
    pub fn told(&self, severity: Severity, option: &str, message: String, suggestion: &str) -> Diagnostic {
        let said = |entry: &&Entry| table::find(&entry.key).is_some_and(|row| row.name() == option);
        self.told_of(self.entries.iter().rfind(said), severity, message, suggestion)
    }

    /// What this host has told of an address, at the place where it was said; relative names may start from `chdir`, too.
    #[must_use]
    pub fn told_of_address(
        &self,
        (address, chdir): (&Address, Option<&Path>),
        severity: Severity,
        message: String,
        suggestion: &str,
    ) -> Diagnostic {
        let directories = [Some(self.directory.as_path()), chdir];
        let said = |entry: &&Entry| {
            let Some(row) = table::find(&entry.key) else { return false };
            let value = address_in(row.name(), entry.value.as_deref().unwrap_or_default());
            let is_meant = |directory: &Path| {
                Address::parse(value, directory).is_ok_and(|(meant, _)| meant == *address)
                    || matches!(address, Address::Abstract(name) if name == value)
            };
            (row.kind == Kind::Address || matches!(row.name(), "https" | "https2" | "http-to-https"))
                && directories.into_iter().flatten().any(is_meant)
        };
        self.told_of(self.entries.iter().find(said), severity, message, suggestion)
    }

    fn told_of(
        &self,
        entry: Option<&Entry>,
        severity: Severity,
        message: String,
        suggestion: &str,
    ) -> Diagnostic {
        let (file, line) = match entry {
            Some(entry) => (entry.origin.file.to_string(), entry.origin.line),
            None => (self.file.clone().unwrap_or_default(), None),
        };
        Diagnostic {
            severity,
            file,
            line,
            option: entry.map(|entry| entry.key.clone()),
            message,
            suggestion: (!suggestion.is_empty()).then(|| suggestion.to_owned()),
            cause: Cause::Host,
        }
    }
}
