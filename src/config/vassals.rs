//! Which files are vassals, by their names.

use super::format::Format;

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
