//! The files of vassals, and what is thought of them.

use serde::{Deserialize, Serialize};

use crate::config::diagnostic::Diagnostic;
use crate::wire::validation::{Change, Verdict};

/// `GET /v1/vassals/{name}/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// The file.
    pub path: String,
    /// Its content, secrets included.
    pub text: String,
}

/// `POST /v1/validate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigVerdict {
    /// Whether an instance would start with it.
    pub valid: bool,
    /// Everything that is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// What differs from the file as it is; `None`: one of both is refused.
    pub change: Option<Change>,
}

impl From<Verdict> for ConfigVerdict {
    fn from(verdict: Verdict) -> Self {
        let valid = verdict.is_good();
        Self { valid, diagnostics: verdict.diagnostics, change: verdict.change }
    }
}
