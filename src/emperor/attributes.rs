//! The section `[emperor]` of a vassal's file: the little that the emperor itself reads of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::diagnostic::{Cause, Diagnostic, Severity};
use crate::config::emperor::EmperorSpec;
use crate::config::format::{Format, Item};
use crate::config::limits::Limits;
use crate::config::vassals::EMPEROR_BYTES;
use crate::sys::user;

/// How many attributes are kept, and how long each may be.
const KEPT: usize = 32;
const VALUE_BYTES: usize = 4096;
/// How many doubts about a file the log tells.
const TOLD: usize = 4;
/// What importance may be.
const IMPORTANCE: std::ops::RangeInclusive<i32> = -1000..=1000;

/// Which keys are looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those that are kept (`emperor-attr`).
    pub kept: Vec<String>,
    /// What means the same as `exec` (`emperor-wrapper-attr`).
    pub program: Option<String>,
    /// What names the directory (`emperor-chdir-attr`).
    pub directory: Option<String>,
}

impl Wanted {
    /// Those of an emperor with these options.
    #[must_use]
    pub fn of(spec: &EmperorSpec) -> Self {
        Self {
            kept: spec.attributes.clone(),
            program: spec.program_attribute.clone(),
            directory: spec.directory_attribute.clone(),
        }
    }
}

/// What a vassal's file says to the emperor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// `importance`: of vassals that wait for a place the more important are started first. Only files of root and
    /// of the emperor's user can ask for it.
    pub importance: i32,
    /// `on-demand`: the socket on which the emperor waits for a connection before it starts the vassal. It is made with
    /// the emperor's rights, so only files of root and of the emperor's user can name one.
    #[serde(default)]
    pub on_demand: Option<String>,
    /// Whether the file is root's or our own user's.
    #[serde(default)]
    pub ours: bool,
    /// `memory-max`, `cpu-max`, `pids-max`: what all its processes together may use. Files of tenants only lower it.
    #[serde(default)]
    pub limits: Limits,
    /// `exec`: the program to run instead of ours.
    pub exec: Option<Box<str>>,
    /// Where it is started, if not in its directory (`emperor-chdir-attr`): it goes there with its own rights.
    #[serde(default)]
    pub directory: Option<Box<str>>,
    /// The keys that `emperor-attr` names, with their values.
    pub collected: BTreeMap<String, String>,
}

impl Attributes {
    /// Reads them from the open file of this path; one that cannot be read, or not be understood, has none: its
    /// instance says why.
    #[must_use]
    pub fn read(path: &Path, file: &File, wanted: &Wanted) -> Self {
        let mut text = Vec::new();
        if Format::of(&path.to_string_lossy()).is_some_and(|format| format != Format::Ini) {
            return Self::default();
        }
        let Ok(owner) = file.metadata().map(|metadata| metadata.uid()) else { return Self::default() };
        // One byte more tells that it goes on.
        let length = u64::try_from(EMPEROR_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        if file.take(length).read_to_end(&mut text).is_err() {
            return Self::default();
        }
        let (attributes, doubts) = Self::judge(path, &text, wanted, user::is_ours(owner));
        // Whoever writes the file fills no log.
        doubts.iter().take(TOLD).for_each(|doubt| tracing::warn!("section [emperor] of {doubt}"));
        attributes
    }

    /// Reads them from what would be the content of the file of this path, and tells what counts otherwise than one may
    /// think. `ours`: the file is root's or our own user's.
    #[must_use]
    pub fn judge(path: &Path, text: &[u8], wanted: &Wanted, ours: bool) -> (Self, Vec<Diagnostic>) {
        let name = path.to_string_lossy();
        if Format::of(&name).is_some_and(|format| format != Format::Ini) {
            return Default::default();
        }
        let text = String::from_utf8_lossy(whole_lines(text));
        // Most files have none, and are not cut into lines for it.
        let section =
            text.contains("[emperor]").then(|| Format::Ini.read(&text, "emperor", |line, _| line.to_owned()));
        let items = section.and_then(Result::ok).flatten().map(|section| section.items).unwrap_or_default();
        let doubts = items.iter().filter_map(|item| {
            let (message, suggestion) = doubt(item, ours)?;
            Some(Diagnostic {
                severity: Severity::Warning,
                file: name.to_string(),
                line: Some(item.line),
                option: Some(item.key.clone()),
                message,
                suggestion: Some(suggestion),
                cause: Cause::NoEffect,
            })
        });
        let doubts = doubts.collect();
        (Self::of(items, wanted, ours), doubts)
    }

    fn of(items: Vec<Item>, wanted: &Wanted, trusted: bool) -> Self {
        let mut attributes = Self { ours: trusted, ..Self::default() };
        for item in items {
            if item.value.len() > VALUE_BYTES {
                continue;
            }
            match item.key.as_str() {
                "importance" if trusted => {
                    let importance = item.value.parse().unwrap_or_default();
                    attributes.importance = i32::clamp(importance, *IMPORTANCE.start(), *IMPORTANCE.end());
                }
                "on-demand" if trusted && !item.value.is_empty() => {
                    attributes.on_demand = Some(item.value.clone())
                }
                name if Limits::NAMES.contains(&name) => {
                    // What is none is told by `doubt`.
                    let _ = attributes.limits.set(name, &item.value);
                }
                "exec" => attributes.exec = Some(item.value.as_str().into()),
                _ => {}
            }
            let is = |key: &Option<String>| key.as_ref() == Some(&item.key);
            if is(&wanted.program) {
                attributes.exec = Some(item.value.as_str().into());
            }
            if is(&wanted.directory) && !item.value.is_empty() {
                attributes.directory = Some(item.value.as_str().into());
            }
            if wanted.kept.contains(&item.key) && attributes.collected.len() < KEPT {
                attributes.collected.insert(item.key, item.value);
            }
        }
        attributes
    }
}

/// The lines of a file that count: no byte-order mark, and none that is cut.
fn whole_lines(text: &[u8]) -> &[u8] {
    let within = match text.get(..EMPEROR_BYTES) {
        Some(within) if text.len() > EMPEROR_BYTES => {
            let end = within.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
            within.get(..end).unwrap_or_default()
        }
        _ => text,
    };
    within.strip_prefix(b"\xef\xbb\xbf").unwrap_or(within)
}

/// Why an attribute does not count as it stands, and what to do.
fn doubt(item: &Item, ours: bool) -> Option<(String, String)> {
    let value = item.value.as_str();
    let not_ours = || {
        let message = "it has no effect: the file is neither root's nor the emperor's user's".to_owned();
        (message, "leave it to the operator".to_owned())
    };
    match item.key.as_str() {
        "importance" | "on-demand" if !ours => Some(not_ours()),
        "importance" if value.parse::<i32>().is_ok_and(|number| IMPORTANCE.contains(&number)) => None,
        "importance" => {
            let (least, most) = (IMPORTANCE.start(), IMPORTANCE.end());
            Some((format!("`{value}` is no number from {least} to {most}"), "write such a number".to_owned()))
        }
        "on-demand" if !value.is_empty() => {
            let error = Address::parse(value, Path::new("/")).err()?;
            Some((format!("the vassal is not waited for: {error}"), "write an address".to_owned()))
        }
        name if Limits::NAMES.contains(&name) => {
            let error = Limits::default().set(name, value).err()?;
            Some((format!("it has no effect: {error}"), "write such a value".to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, wanted: &Wanted, trusted: bool) -> Attributes {
        Attributes::judge(Path::new("a.ini"), text.as_bytes(), wanted, trusted).0
    }

    #[test]
    fn only_the_section_and_only_what_is_known_or_asked_for_is_read() {
        let wanted = Wanted { kept: vec!["team".to_owned()], ..Wanted::default() };
        let other =
            Wanted { program: Some("run".to_owned()), directory: Some("in".to_owned()), ..wanted.clone() };
        let named = parse("[emperor]\nrun = /bin/x\nin = /srv\n", &other, false);
        assert_eq!((named.exec.as_deref(), named.directory.as_deref()), (Some("/bin/x"), Some("/srv")));
        let text =
            "[uwsgi]\nimportance = 9\n[emperor]\nimportance = 7\nteam = a=b\nother = x\nexec = /bin/x\n";
        let attributes = parse(text, &wanted, true);
        assert_eq!((attributes.importance, attributes.exec.as_deref()), (7, Some("/bin/x")));
        assert_eq!(attributes.collected, BTreeMap::from([("team".to_owned(), "a=b".to_owned())]));
        assert_eq!(parse(text, &wanted, false).importance, 0, "a tenant does not overtake");
        for (trusted, socket) in [(true, Some("/run/a.sock")), (false, None)] {
            let attributes = parse("[emperor]\non-demand = /run/a.sock\n", &Wanted::default(), trusted);
            assert_eq!(attributes.on_demand.as_deref(), socket);
        }
        let limited = parse("[emperor]\nmemory-max = 1K\npids-max = many\n", &Wanted::default(), false);
        assert_eq!(limited.limits, Limits { memory_bytes: Some(1024), ..Limits::default() });
        for (value, expected) in [("-5", -5), ("5000000", 1000), ("many", 0), ("99999999999", 0), ("", 0)] {
            let text = format!("[emperor]\nimportance = {value}\n");
            assert_eq!(parse(&text, &Wanted::default(), true).importance, expected, "{value}");
        }
        for none in ["", "[uwsgi]\nmodule = a\n", "[emperor]\n", "\0\u{feff}[emperor", "[emperor]\nx\n=\n"] {
            assert_eq!(parse(none, &wanted, false), Attributes::default(), "{none:?}");
        }
    }

    #[test]
    fn what_does_not_count_is_told() {
        let text = "[uwsgi]\n[emperor]\nimportance = many\non-demand = :99999\nmemory-max = much\npids-max = 9\nx = y\n";
        let judge = |name: &str, ours| {
            Attributes::judge(Path::new(name), text.as_bytes(), &Wanted::default(), ours).1
        };
        let lines = |told: Vec<Diagnostic>| told.iter().filter_map(|told| told.line).collect::<Vec<_>>();
        assert_eq!(lines(judge("/v/a.ini", true)), [3, 4, 5]);
        let told = judge("/v/a.ini", false);
        assert!(told[0].message.contains("neither root's"), "{told:?}");
        assert_eq!(lines(told), [3, 4, 5]);
        assert_eq!(lines(judge("/v/a.json", true)), [0; 0]);
    }

    #[test]
    fn of_a_long_file_only_whole_lines_count() {
        let wanted = Wanted { kept: vec!["team".to_owned()], ..Wanted::default() };
        let head = "\u{feff}[emperor]\nteam = red\n";
        // The line ends with the last byte that is looked at, or one byte further on.
        for (further, team) in [(0, "blue"), (1, "red")] {
            let last = "\nteam = blue\n";
            let filling = "#".repeat(EMPEROR_BYTES + further - head.len() - last.len());
            let text = format!("{head}{filling}{last}team = far\n");
            assert_eq!(parse(&text, &wanted, false).collected["team"], team);
        }
    }

    #[test]
    fn attributes_are_bounded() {
        let wanted = Wanted { kept: (0..2 * KEPT).map(|n| format!("k{n}")).collect(), ..Wanted::default() };
        let lines: Vec<String> = wanted.kept.iter().map(|key| format!("{key} = v")).collect();
        let text = format!("[emperor]\n{}\nk0 = {}\n", lines.join("\n"), "x".repeat(VALUE_BYTES + 1));
        let attributes = parse(&text, &wanted, true);
        assert_eq!(attributes.collected.len(), KEPT);
        assert_eq!(attributes.collected["k0"], "v");
    }
}
