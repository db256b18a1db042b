//! A mistake or a doubt in a configuration, with its place.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is used; something in it may not mean what its author thinks.
    Warning,
    /// The configuration is refused.
    Error,
}

/// A mistake or a doubt, with its place and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, `command line` or `environment`.
    pub file: String,
    /// The line, from 1; `None` where there are no lines.
    pub line: Option<u32>,
    /// The option's name as written.
    pub option: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
    /// What it is about.
    #[serde(default)]
    pub cause: Cause,
}

impl Diagnostic {
    /// Whether a name is nearly that of an option: what was meant is missing, so this is told before all else.
    #[must_use]
    pub fn is_near_miss(&self) -> bool {
        self.cause == Cause::Unknown && self.suggestion.is_some()
    }
}

/// What a mistake or a doubt is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// What was written.
    #[default]
    Value,
    /// There is no option of that name.
    Unknown,
    /// The option is accepted without an effect.
    NoEffect,
    /// The option is refused until it exists.
    NotYet,
    /// The option is refused for good.
    Refused,
    /// This host: a file, a user or an address.
    Host,
}

impl Cause {
    /// Whether it is about the option itself, whatever its value.
    #[must_use]
    pub const fn is_of_name(self) -> bool {
        matches!(self, Self::Unknown | Self::NoEffect | Self::NotYet | Self::Refused)
    }
}

/// How many warnings are worth telling at once, and how many errors on top of them.
const TOLD_MAX: usize = 200;

/// Whether one more of that severity is worth telling: thousands of mistakes are one mistake, but warnings leave
/// room for errors, so that an error is never lost.
#[must_use]
pub fn has_room(diagnostics: &[Diagnostic], severity: Severity) -> bool {
    let most = if severity == Severity::Error { 2 * TOLD_MAX } else { TOLD_MAX };
    diagnostics.len() < most
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(match self.severity {
            Severity::Warning => ": warning: ",
            Severity::Error => ": error: ",
        })?;
        if let Some(option) = &self.option {
            write!(f, "{option}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " ({suggestion})")?;
        }
        Ok(())
    }
}
