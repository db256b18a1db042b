//! The options about the file that `logto` names.

use super::instance::large;
use super::sift::{Said, Sift};
use crate::config::logging::LogFileSpec;
use crate::config::value;

/// Obeys them; whether it was one.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, has_log: bool, file: &mut LogFileSpec) -> bool {
    let start = sift.raw.directory.clone();
    match said.name() {
        "log-maxsize" => file.max_bytes = large(sift, said),
        "log-backupname" => file.backup = sift.path(said, &start),
        "log-reopen" => file.reopen = said.flag(),
        "log-truncate" => file.truncate = said.flag(),
        "logfile-chown" => file.chown = said.flag(),
        "logfile-chmod" => match value::mode(said.text()) {
            Some(mode) => file.chmod = Some(mode),
            None => {
                let suggestion = "three octal digits, such as 640".to_owned();
                sift.error(said, format!("invalid chmod value: {}", said.text()), Some(suggestion));
            }
        },
        "touch-logrotate" => file.rotate_on.extend(sift.path(said, &start)),
        "touch-logreopen" => file.reopen_on.extend(sift.path(said, &start)),
        _ => return false,
    }
    if !has_log {
        sift.warn(said, "has no effect without `logto` or `logger`", None);
    }
    true
}
