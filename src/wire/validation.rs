//! The question what a vassal's file would mean, and the answer, between an emperor and a process that is made for it.

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::diff::Need;
use crate::config::vassals::VassalOptions;

/// The longest file that is looked at.
pub const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// What is asked. Descriptors: the new text, and the text to compare it with, if there is one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// The path by which the emperor found the file.
    pub path: String,
    /// What the emperor says to all vassals.
    pub options: Box<VassalOptions>,
    /// The socket on which the emperor waits for the vassal.
    #[serde(default)]
    pub on_demand: Option<Address>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Everything that is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// What differs from the other text; `None`: one of both is refused, or there is no other.
    pub change: Option<Change>,
}

impl Verdict {
    /// Whether an instance would understand it. What only the host can tell is seen when it starts.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(|told| told.severity == Severity::Error)
    }
}

/// What differs between two texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What a reload does.
    pub needs: Need,
    /// The options whose effect differs.
    pub options: Vec<String>,
    /// `-key = value` and `+key = value`, after includes and placeholders; secrets are left out.
    pub lines: Vec<String>,
}
