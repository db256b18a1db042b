//! A failure as data, so that it can travel from the process that met it to the operator who mends it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::diagnostic::{Cause, Diagnostic, Severity};

/// The most bytes of a traceback that are kept: its end, where the error stands.
pub const TRACEBACK_LIMIT_BYTES: usize = 16 * 1024;

/// Why something did not work: one sentence, what is known about the place, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Operation and object, and the reason: `cannot bind 127.0.0.1:80: permission denied`.
    pub message: String,
    /// The mistakes in configuration files, when that is the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// The end of a Python traceback, when that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The address that somebody else has, when that is the reason: who that is the emperor may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Box<Address>>,
}

impl Failure {
    /// A failure with a sentence only.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// Whether it is what a file says, and so will be every time: a file that could not be read may be there later.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        let of_host = |told: &Diagnostic| told.severity == Severity::Error && told.cause == Cause::Host;
        !self.diagnostics.is_empty() && !self.diagnostics.iter().any(of_host)
    }

    /// The first error with its line, else the sentence.
    #[must_use]
    pub fn first_mistake(&self) -> String {
        let Some(first) = self.diagnostics.iter().find(|told| told.severity == Severity::Error) else {
            return self.message.clone();
        };
        let line = first.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let option = first.option.as_ref().map(|option| format!("{option}: ")).unwrap_or_default();
        format!("{line}{option}{}", first.message)
    }

    /// The same with a traceback, of which the end is kept.
    #[must_use]
    pub fn with_traceback(mut self, traceback: &str) -> Self {
        let mut start = traceback.len().saturating_sub(TRACEBACK_LIMIT_BYTES);
        while !traceback.is_char_boundary(start) {
            start += 1;
        }
        self.traceback = traceback.get(start..).map(str::to_owned);
        self
    }

    /// The same with the place of the option that led to it, where that is known.
    #[must_use]
    pub fn at(mut self, place: Option<String>) -> Self {
        if let Some(place) = place {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for diagnostic in &self.diagnostics {
            write!(f, "\n{diagnostic}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
