//! The environment of vassals that run as the owners of their files: what everybody may know, and what the operator names.

use std::ffi::OsString;

use crate::sys::process::Launch;

/// What every program needs, and how much an instance logs.
const USUAL: [&str; 5] = ["PATH", "LANG", "TZ", "LIEGE_LOG", "LIEGE_LOG_FORMAT"];
/// Options that the operator says to all vassals.
const OPTIONS: &str = "UWSGI_VASSAL_";

/// Gives a vassal nothing of the emperor's environment, `all`, but the usual and what is `named`: `NAME` as the emperor
/// has it, or `NAME=value`.
pub(super) fn of_tenants(
    launch: Launch,
    named: &[String],
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Launch {
    let is_kept = |name: &str| {
        USUAL.contains(&name) || name.starts_with(OPTIONS) || named.iter().any(|named| named == name)
    };
    let kept = all.filter(|(name, _)| name.to_str().is_some_and(is_kept));
    let launch = kept.fold(launch.clear_env(), |launch, (name, value)| launch.env(name, value));
    let said = named.iter().filter_map(|named| named.split_once('='));
    said.fold(launch, |launch, (name, value)| launch.env(name, value))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::sys::pipe;
    use crate::sys::process::wait;

    #[test]
    fn only_the_usual_and_what_is_named_passes() {
        let all = [
            ("PATH", "/bin"),
            ("SECRET", "s"),
            ("LD_PRELOAD", "/x.so"),
            ("UWSGI_VASSAL_WORKERS", "2"),
            ("UWSGI_HTTP", ":80"),
            ("PROXY", "p"),
            ("TZ", "UTC"),
        ];
        let all = all.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let named = ["PROXY".to_owned(), "TZ=CET".to_owned(), "NEW=a=b".to_owned(), "MISSING".to_owned()];
        let (output, theirs) = pipe::plain().unwrap();
        let launch = of_tenants(Launch::new("/usr/bin/env"), &named, all.into_iter()).stdout(theirs);
        let child = launch.spawn().unwrap();
        let mut text = String::new();
        std::fs::File::from(output).read_to_string(&mut text).unwrap();
        wait(&child).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["NEW=a=b", "PATH=/bin", "PROXY=p", "TZ=CET", "UWSGI_VASSAL_WORKERS=2"]);
    }
}
