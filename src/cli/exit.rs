//! The exit statuses of commands, for scripts.

use std::process::ExitCode;

/// How a command ended. Each is a number that never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: done, or asked for.
    Done = 0,
    /// 1: an error, or the emperor refused.
    Failed = 1,
    /// 2: the command line means nothing.
    Usage = 2,
    /// 3: no emperor answers, or not all that were asked.
    Unreachable = 3,
    /// 4: the operation was rolled back, failed, or timed out.
    NotDone = 4,
    /// 5: what was asked about is not as it should be.
    Trouble = 5,
    /// 78, `EX_CONFIG`: the options of an emperor are refused. To start it again changes nothing until they are mended.
    Refused = 78,
    /// 255: the process in a pid file is not there, or not ours to signal; uWSGI's number.
    NoProcess = 255,
}

impl Exit {
    /// The worse of both.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
