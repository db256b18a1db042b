//! What an instance logs, and where to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::logger::LoggingSpec;

/// The date as uWSGI writes it in front of its lines.
pub const UWSGI_DATE: &str = "%a %b %e %H:%M:%S %Y";

/// Logging.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// `logto`, or `daemonize`'s file.
    pub logto: Option<PathBuf>,
    /// `logto2`: opened after the privileges drop.
    pub logto2: Option<PathBuf>,
    /// `daemonize`: go to the background (never under an emperor).
    pub daemonize: bool,
    /// `daemonize2`: the log once the instance serves, and then it goes to the background.
    #[serde(default)]
    pub daemonize2: Option<PathBuf>,
    /// `disable-logging` is off: a line for each request.
    pub requests: bool,
    /// What the lines of requests say, and which are written in spite of `disable-logging`.
    #[serde(default)]
    pub lines: LineSpec,
    /// What becomes of the file.
    #[serde(default)]
    pub file: LogFileSpec,
    /// `show-config`: the configuration goes to the log at the start.
    #[serde(default)]
    pub show_config: bool,
    /// `log-date`: what the lines of liege itself begin with, for `strftime`.
    #[serde(default)]
    pub date: Option<String>,
    /// `logger` and its like.
    #[serde(default)]
    pub routing: LoggingSpec,
}

impl LogSpec {
    /// The file that is logged to in the end.
    #[must_use]
    pub fn file_path(&self) -> Option<&PathBuf> {
        self.daemonize2.as_ref().or(self.logto2.as_ref()).or(self.logto.as_ref())
    }
}

/// What becomes of the file that `logto` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFileSpec {
    /// `log-maxsize`, in bytes: it is renamed when it is so long; 0: never.
    pub max_bytes: u64,
    /// `log-backupname`: what it is renamed to; default: the time in seconds behind its name.
    pub backup: Option<PathBuf>,
    /// `log-reopen`: it is opened anew by a reload.
    pub reopen: bool,
    /// `log-truncate`: it is emptied at the start.
    pub truncate: bool,
    /// `logfile-chown`: it is given to the user of the instance.
    pub chown: bool,
    /// `logfile-chmod`: its mode.
    pub chmod: Option<u32>,
    /// `touch-logrotate`: files whose change renames it.
    pub rotate_on: Vec<PathBuf>,
    /// `touch-logreopen`: files whose change opens it anew.
    pub reopen_on: Vec<PathBuf>,
}

/// The lines of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineSpec {
    /// `log-format`: a template with `%(name)`.
    pub format: Option<String>,
    /// `log-format-strftime`: the line is a template of `strftime`, too.
    pub strftime: bool,
    /// `memory-report`: the size of the process.
    pub memory: bool,
    /// `log-x-forwarded-for`: the client is who that header names.
    pub forwarded_for: bool,
    /// `log-micros`: times are in microseconds.
    pub micros: bool,
    /// `log-4xx`.
    pub client_errors: bool,
    /// `log-5xx`.
    pub server_errors: bool,
    /// `log-zero`: responses without a body.
    pub empty: bool,
    /// `log-ioerror`: responses that could not be written.
    pub broken: bool,
    /// `log-slow`, in milliseconds; 0 is off.
    pub slow_ms: u32,
    /// `log-big`, in bytes; 0 is off.
    pub big_bytes: u64,
}
