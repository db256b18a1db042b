//! The files of vassals, and what is thought of them.

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::config::diagnostic::Diagnostic;
use crate::wire::validation::{Change, Omission, Part, Verdict};

/// `GET /v1/vassals/{name}/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// The file.
    pub path: String,
    /// Its content, secrets included.
    pub text: String,
}

/// `PUT /v1/vassals/{name}/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigWritten {
    /// How the vassal takes it over.
    #[serde(flatten)]
    pub operation: Operation,
    /// What is doubtful of the text.
    pub warnings: Vec<Diagnostic>,
}

/// `POST /v1/validate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigVerdict {
    /// Whether nothing that was looked at refuses it.
    pub valid: bool,
    /// Everything that is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// What differs from the file as it is; `None`: one of both is refused, there is no other text, or another program's
    /// options are not ours to compare.
    pub change: Option<Change>,
    /// What was looked at.
    pub looked_at: Vec<Part>,
    /// What was not, and why.
    pub not_looked_at: Vec<Omission>,
}

impl From<Verdict> for ConfigVerdict {
    fn from(verdict: Verdict) -> Self {
        let valid = verdict.is_good();
        let Verdict { diagnostics, change, looked_at, not_looked_at } = verdict;
        Self { valid, diagnostics, change, looked_at, not_looked_at }
    }
}
