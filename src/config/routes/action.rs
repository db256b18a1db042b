//! What a rule does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::template::Template;

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// `continue`, `last`: no further rule of its kind is asked.
    Continue,
    /// `break`: the answer is this status without a body; without a status, the connection ends.
    Break(Option<String>),
    /// `return`, `break-with-status`: the answer is this status, with its words as the body.
    Return(u16),
    /// `goto`: on with the rule of this number among those of its kind.
    Goto(usize),
    /// `log`: a line in the log.
    Log(Template),
    /// `logvar`: a name for `log-format`, and what it stands for.
    LogVariable(String, Template),
    /// `donotlog`: the request leaves no line.
    DoNotLog,
    /// `donotoffload`: nothing is offloaded anyway.
    Nothing,
    /// `addheader`: the answer gets a field of this name.
    AddHeader(String, Template),
    /// `remheader`, `delheader`: it loses them.
    RemoveHeader(Template),
    /// `addvar`, `setpathinfo` and their like: a variable of the request.
    SetVariable(String, Template),
    /// `setuser`: `REMOTE_USER`, to the first colon.
    SetUser(Template),
    /// `fixpathinfo`: `PATH_INFO` without as many bytes as `SCRIPT_NAME` has.
    FixPathInfo,
    /// `rewrite`: path and query; `last`: and no further rule is asked.
    Rewrite {
        /// The new ones.
        to: Template,
        /// `rewrite-last`.
        last: bool,
    },
    /// `redirect`, `redirect-permanent`.
    Redirect {
        /// 301 or 302.
        status: u16,
        /// Where to.
        to: Template,
    },
    /// `basicauth`, `basicauth-next`.
    BasicAuth(BasicAuth),
    /// `static`, `file` and their like.
    File(FileAnswer),
    /// `expires`.
    Expires(Expires),
    /// `harakiri`: so many seconds for the request.
    Harakiri(u32),
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    /// Shown to who is asked for a password.
    pub realm: String,
    /// Whose password is asked for.
    pub who: Who,
    /// Anybody else is asked for by a later rule.
    pub next: bool,
}

/// Whose password is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// Nobody's.
    Nobody,
    /// This `user:password`.
    Pair(String),
    /// Whoever is in the file, as htpasswd makes it.
    File(PathBuf),
}

/// The longest file of passwords.
pub const PASSWORDS_BYTES: usize = 1024 * 1024;

/// Whether a hash of htpasswd is of a kind that can be compared with.
#[must_use]
pub fn is_known_hash(hash: &str) -> bool {
    hash.starts_with("{SHA}") || hash.starts_with("$2")
}

/// A file as the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAnswer {
    /// Its name.
    pub path: Template,
    /// It must lie in here, or be this.
    pub root: PathBuf,
    /// As other static files, with what their options say; otherwise as it is.
    pub as_static: bool,
    /// Where there is none, the rules go on.
    pub next: bool,
    /// The status line.
    pub status: String,
    /// `Content-Type`; `None`: what the name says.
    pub media_type: Option<String>,
}

/// `Expires` of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expires {
    /// Seconds since the epoch that it counts from.
    pub from: Template,
    /// And so many more.
    pub seconds: Template,
}

impl Action {
    /// Whether it is about an answer that is still to come.
    pub(super) const fn needs_answer(&self) -> bool {
        matches!(
            self,
            Self::Break(Some(_))
                | Self::Return(_)
                | Self::AddHeader(..)
                | Self::RemoveHeader(_)
                | Self::Redirect { .. }
                | Self::Expires(_)
        ) || self.needs_request()
    }

    /// Whether it is about a request that nobody has answered.
    pub(super) const fn needs_request(&self) -> bool {
        matches!(self, Self::BasicAuth(_) | Self::File(_) | Self::Harakiri(_))
    }

    /// The texts it fills in.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (first, second) = match self {
            Self::Log(text)
            | Self::LogVariable(_, text)
            | Self::AddHeader(_, text)
            | Self::RemoveHeader(text)
            | Self::SetVariable(_, text)
            | Self::SetUser(text)
            | Self::Rewrite { to: text, .. }
            | Self::Redirect { to: text, .. } => (Some(text), None),
            Self::File(file) => (Some(&file.path), None),
            Self::Expires(expires) => (Some(&expires.from), Some(&expires.seconds)),
            Self::Continue
            | Self::Break(_)
            | Self::Return(_)
            | Self::Goto(_)
            | Self::DoNotLog
            | Self::Nothing
            | Self::FixPathInfo
            | Self::BasicAuth(_)
            | Self::Harakiri(_) => (None, None),
        };
        first.into_iter().chain(second)
    }
}
