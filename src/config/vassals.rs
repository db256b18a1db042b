//! Which files are vassals, by their names, and what an emperor says to all of them.

use serde::{Deserialize, Serialize};

use super::format::Format;

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
    /// Puts them into the order in which uWSGI says them: what is inherited, what is included, what is set.
    pub fn sort(&mut self) {
        let rank = |key: &str| ["inherit", "include", "set"].iter().position(|known| *known == key);
        self.before.sort_by_key(|(key, _)| rank(key));
        self.after.sort_by_key(|(key, _)| rank(key));
    }
}

/// Whether a vassal file may have this name; `extra` are further ends of such names.
#[must_use]
pub fn is_name(name: &str, extra: &[String]) -> bool {
    Format::of(name).is_some() || extra.iter().any(|end| !end.is_empty() && name.ends_with(end.as_str()))
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
