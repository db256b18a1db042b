//! Mules: processes of the application that serve no request.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The most mules of an instance: the ends of all their queues travel in one message.
pub const MOST_MULES: usize = 64;
/// What a mule gets to end where nothing says it, in seconds.
const MULE_MERCY_S: u32 = 60;

/// A mule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MuleSpec {
    /// Its number, from 1.
    pub number: u32,
    /// What it runs; `None`: it only takes messages.
    pub code: Option<MuleCode>,
    /// What it gets to end before it is killed, in seconds.
    pub mercy_s: u32,
    /// How long it may work on one message, in seconds; 0: for ever.
    pub harakiri_s: u32,
    /// It is started anew when one of these changes.
    pub touch: Vec<PathBuf>,
}

/// What a mule runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MuleCode {
    /// A file, as `__main__`.
    File(PathBuf),
    /// `module:function`.
    Function(String),
}

impl MuleSpec {
    /// The next of `before` mules, as `mule = CODE` says it. Code that is neither a file nor a function is none, as in uWSGI: the
    /// second is what to say of it.
    pub fn new(before: usize, code: &str, directory: &Path) -> (Self, Option<String>) {
        let (code, doubt) = match code.trim() {
            "" => (None, None),
            file if file.ends_with(".py") => (Some(MuleCode::File(directory.join(file))), None),
            function if function.contains(':') => (Some(MuleCode::Function(function.to_owned())), None),
            other => {
                let what = "neither a file that ends in .py nor module:function";
                (None, Some(format!("{other} is {what}: the mule only takes messages")))
            }
        };
        let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        (Self { number, code, mercy_s: MULE_MERCY_S, harakiri_s: 0, touch: Vec::new() }, doubt)
    }

    /// Its code as it was said; empty without one.
    #[must_use]
    pub fn code(&self) -> &str {
        match &self.code {
            None => "",
            Some(MuleCode::File(path)) => path.to_str().unwrap_or_default(),
            Some(MuleCode::Function(function)) => function,
        }
    }
}
