//! Which files are vassals, by their names, and what an emperor says to all of them.

use serde::{Deserialize, Serialize};

use super::format::Format;

/// How far into a vassal's file its emperor looks for the section `[emperor]`.
pub const EMPEROR_BYTES: usize = 64 * 1024;

/// What an emperor says to all its vassals; keys and values as an instance's command line would have them, relative
/// names from the vassal's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VassalOptions {
    /// Said where the vassal does not say that option itself (`vassals-default`); magic variables tell of its file.
    pub defaults: Vec<(String, String)>,
    /// Said before the vassal's file (`vassals-inherit-before`, `vassals-include-before`, `vassal-set`).
    pub before: Vec<(String, String)>,
    /// Said after it (`vassals-inherit`, `vassals-include`).
    pub after: Vec<(String, String)>,
}

impl VassalOptions {
    /// Whether nothing is said to them.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.defaults.is_empty() && self.before.is_empty() && self.after.is_empty()
    }

    /// Puts them into the order in which uWSGI says them: what is inherited, what is included, what is set.
    pub fn sort(&mut self) {
        let rank = |key: &str| ["inherit", "include", "set"].iter().position(|known| *known == key);
        self.before.sort_by_key(|(key, _)| rank(key));
        self.after.sort_by_key(|(key, _)| rank(key));
    }
}

/// Which programs run vassals in place of ours (`emperor-wrapper` and its family), by path or by a name for the `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// Instead of ours (`emperor-wrapper`).
    pub wrapper: Option<String>,
    /// Tried before that one (`emperor-wrapper-override`).
    pub first: Vec<String>,
    /// Tried when it cannot be executed (`emperor-wrapper-fallback`).
    pub last: Vec<String>,
    /// Further ends of vassals' names, of which a program has to be told what they are.
    pub extra_extensions: Vec<String>,
}

impl Programs {
    /// The programs to try for a vassal, in order; none: ours runs it, as its master. `exec` is what its file says, which
    /// counts more than what is said to all. Ours among others is `own`.
    #[must_use]
    pub fn of(&self, exec: Option<&str>, own: &str) -> Vec<String> {
        match exec {
            Some("" | "liege") => Vec::new(),
            Some(exec) => vec![exec.to_owned()],
            None if self.wrapper.is_none() && self.first.is_empty() => Vec::new(),
            None => {
                let main = self.wrapper.clone().unwrap_or_else(|| own.to_owned());
                self.first.iter().cloned().chain([main]).chain(self.last.iter().cloned()).collect()
            }
        }
    }

    /// The arguments with which uWSGI's emperor starts the vassal of that file name.
    #[must_use]
    pub fn arguments(&self, name: &str, options: &VassalOptions) -> Vec<String> {
        let is_extra = |end: &String| !end.is_empty() && name.ends_with(end.as_str());
        let option = match Format::of(name) {
            _ if self.extra_extensions.iter().any(is_extra) => "config",
            Some(format) => format.option(),
            None => "inherit",
        };
        let own = (option.to_owned(), name.to_owned());
        let all = options.before.iter().chain([&own]).chain(&options.after);
        all.flat_map(|(option, value)| [format!("--{option}"), value.clone()]).collect()
    }
}

/// Whether a vassal file may have this name; `extra` are further ends of such names.
#[must_use]
pub fn is_name(name: &str, extra: &[String]) -> bool {
    Format::of(name).is_some() || extra.iter().any(|end| !end.is_empty() && name.ends_with(end.as_str()))
}

/// Whether a name that ends so may be that of a vassal file.
#[must_use]
pub fn may_end_in(end: &str, extra: &[String]) -> bool {
    let known = [".ini", ".json", ".js", ".yaml", ".yml", ".xml"].into_iter();
    let mut known = known.chain(extra.iter().map(String::as_str)).filter(|known| !known.is_empty());
    is_name(end, extra) || known.any(|known| known.ends_with(end))
}

/// A part of a shell pattern as the `glob` crate understands it: `**` is nothing but `*`, and `[^` is `[!`.
#[must_use]
pub fn shell(part: &str) -> String {
    let mut part = part.replace("[^", "[!");
    while part.contains("**") {
        part = part.replace("**", "*");
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_tried_in_the_order_of_uwsgi_and_a_file_counts_more() {
        let own = ["w", "o", "/own"].map(str::to_owned);
        let [wrapper, first, ours] = &own;
        for (wrapper, first, exec, expected) in [
            (None, None, None, &[][..]),
            (None, None, Some("uwsgi"), &["uwsgi"]),
            (Some(wrapper), Some(first), None, &["o", "w", "f"]),
            (None, Some(first), None, &["o", "/own", "f"]),
            (Some(wrapper), Some(first), Some("uwsgi"), &["uwsgi"]),
            (Some(wrapper), None, Some("liege"), &[]),
            (Some(wrapper), None, Some(""), &[]),
        ] {
            let programs = Programs {
                wrapper: wrapper.cloned(),
                first: first.into_iter().cloned().collect(),
                last: vec!["f".to_owned()],
                extra_extensions: Vec::new(),
            };
            assert_eq!(programs.of(exec, ours), expected, "{programs:?} {exec:?}");
        }
    }

    #[test]
    fn a_program_is_told_of_its_file_as_by_uwsgi() {
        let pairs = |text: &str| {
            let pair = |pair: &str| pair.split_once(' ').map(|(k, v)| (k.to_owned(), v.to_owned()));
            text.split(", ").filter_map(pair).collect()
        };
        let options = VassalOptions {
            defaults: Vec::new(),
            before: pairs("inherit /t/tb.ini, include /t/inc.ini, set p1=x"),
            after: pairs("inherit /t/t.ini, include /t/i.ini"),
        };
        let programs = Programs { extra_extensions: vec![".skel".to_owned()], ..Programs::default() };
        let all = programs.arguments("a.ini", &options).join(" ");
        let expected = "--inherit /t/tb.ini --include /t/inc.ini --set p1=x --ini a.ini --inherit /t/t.ini --include /t/i.ini";
        assert_eq!(all, expected);
        for (name, expected) in [
            ("a.xml", "--xml a.xml"),
            ("a.yml", "--yaml a.yml"),
            ("a.js", "--json a.js"),
            ("-a.json", "--json -a.json"),
            ("a.skel", "--config a.skel"),
            ("a", "--inherit a"),
        ] {
            assert_eq!(programs.arguments(name, &VassalOptions::default()).join(" "), expected);
        }
    }

    #[test]
    fn names_end_as_uwsgi_wants_them() {
        let extra = [".skel".to_owned(), String::new()];
        for (name, expected) in [
            ("a.ini", true),
            ("a.yml", true),
            ("a.b.json", true),
            ("a.skel", true),
            ("a.INI", false),
            ("a.conf", false),
            ("a.toml", false),
            ("a", false),
        ] {
            assert_eq!(is_name(name, &extra), expected, "{name}");
        }
        assert_eq!(shell("a***[^x]"), "a*[!x]");
    }
}
