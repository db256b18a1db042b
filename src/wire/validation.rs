//! The question what a vassal's file would mean, and the answer, between an emperor and a process that is made for it.

use serde::{Deserialize, Serialize};

use super::policy::Privileges;
use crate::config::address::Address;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::diff::Need;
use crate::config::tenant::Tenant;
use crate::config::vassals::VassalOptions;

/// The longest file that is looked at.
pub const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// What is asked. Descriptors: the new text, and the text to compare it with, if there is one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Question {
    /// The path by which the emperor found the file.
    pub path: String,
    /// What the emperor says to all vassals.
    pub options: Box<VassalOptions>,
    /// The socket on which the emperor waits for the vassal.
    pub on_demand: Option<Address>,
    /// Whom the emperor has it run as.
    pub tenant: Option<Tenant>,
    /// What it may beyond that user's rights.
    pub privileges: Box<Privileges>,
    /// `root-apps = deny` of the emperor.
    pub deny_root_apps: bool,
    /// Whoever has written the new text may have it started, too: what it includes is read with the emperor's rights.
    pub trusted: bool,
    /// Where the vassal listens already.
    pub own: Vec<Address>,
    /// Where systemd has passed it a socket, which it serves whatever the text says.
    pub passed: Vec<Address>,
    /// Where others listen, each with its name.
    pub taken: Vec<(Address, String)>,
    /// The programs of others of which the first that can be executed would run it; none: ours does.
    pub programs: Vec<String>,
    /// Where they begin, if not beside the file.
    pub begin_in: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Everything that is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// What differs from the other text; `None`: one of both is refused, there is no other, or the options are not ours.
    pub change: Option<Change>,
    /// What was looked at.
    pub looked_at: Vec<Part>,
    /// What was not, and why.
    pub not_looked_at: Vec<Omission>,
}

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What the emperor itself reads of the file: its section `[emperor]`.
    Emperor,
    /// The options.
    Options,
    /// Users and groups, directories and files, the interpreter, certificates and addresses.
    Host,
    /// The application.
    Application,
}

/// Something that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// What.
    pub part: Part,
    /// Why, in a sentence.
    pub reason: String,
}

impl Verdict {
    /// Whether nothing that was looked at refuses it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(|told| told.severity == Severity::Error)
    }

    /// Something was not looked at.
    pub fn omit(&mut self, part: Part, reason: impl Into<String>) {
        self.not_looked_at.push(Omission { part, reason: reason.into() });
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
