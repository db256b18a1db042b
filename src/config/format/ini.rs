//! The ini grammar: lines become keys and values with their line numbers.
//!
//! Lines are normalised first (bare keys get their `=`, whatever the `rust-ini` crate would read differently is
//! disguised), then the crate reads them. Our index of line numbers runs beside it, and the two are held to each
//! other: when they disagree the file is refused.

use ini::{Ini, ParseOption};

use super::{Item, LINES_MAX, Mistake, NAMELESS, Section, VALUE_MAX};
use crate::config::text::{reveal, reveal_shielded, shield};

/// The items of one section of a file, in order; `None`: it has none. `magic` replaces the magic variables of a
/// line, given its number.
pub(super) fn read(
    text: &str,
    section: &str,
    mut magic: impl FnMut(&str, u32) -> String,
) -> Result<Option<Section>, Mistake> {
    if let Some(line) = binary_line(text) {
        return Err(Mistake::at(line, "this is no text in UTF-8: there is a NUL byte in it"));
    }
    let mut doubts = Section::default();
    let (normal, lines) = normalise(text, section, &mut magic, &mut doubts)?;
    let options = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
    let ini =
        Ini::load_from_str_opt(&normal, options).map_err(|error| unreadable(&reveal(&error.to_string())))?;
    let read: Vec<_> = ini
        .iter()
        .flat_map(|(name, properties)| properties.iter().map(move |(key, value)| (name, key, value)))
        .collect();
    if read.len() != lines.len() {
        return Err(unreadable(&format!("{} entries in {} lines", read.len(), lines.len())));
    }
    let section = escape(section);
    let items: Vec<_> = read
        .into_iter()
        .zip(lines)
        .filter(|((name, ..), _)| *name == Some(&section))
        .map(|((_, key, value), line)| Item {
            key: reveal_shielded(key),
            value: reveal_shielded(value),
            line,
        })
        .collect();
    Ok((!items.is_empty()).then_some(Section { items, ..doubts }))
}

fn unreadable(why: &str) -> Mistake {
    Mistake { line: None, message: format!("cannot be read as ini: {why}") }
}

/// The line of a NUL byte that stands before the first section. After that it only ends its line's content.
fn binary_line(text: &str) -> Option<u32> {
    let line =
        text.split('\n').zip(1..).find(|(line, _)| line.contains('\0') || trim(line).starts_with('['))?;
    line.0.contains('\0').then_some(line.1)
}

/// The text that the crate reads, and the line of each of its entries; what is passed over in the section is a doubt.
fn normalise(
    text: &str,
    section: &str,
    magic: &mut impl FnMut(&str, u32) -> String,
    doubts: &mut Section,
) -> Result<(String, Vec<u32>), Mistake> {
    let mut is_wanted = false;
    let mut normal = String::with_capacity(text.len().min(VALUE_MAX));
    let mut lines = Vec::new();
    let mut headers = 0usize;
    for (line, number) in text.split('\n').zip(1u32..) {
        let line = trim(line.split('\0').next().unwrap_or_default());
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if lines.len().saturating_add(headers) >= LINES_MAX {
            return Err(Mistake::at(number, format!("more than {LINES_MAX} lines")));
        }
        let line = if line.len() > VALUE_MAX { line.to_owned() } else { magic(line, number) };
        if line.len() > VALUE_MAX {
            return Err(Mistake::at(number, format!("a line may have {VALUE_MAX} bytes at most")));
        }
        let line = trim(&line);
        if let Some(name) = line.strip_prefix('[') {
            headers = headers.saturating_add(1);
            let mut name = name.chars();
            // The last character goes, whatever it is: that is how uWSGI reads a header.
            name.next_back();
            is_wanted = name.as_str() == section;
            normal.push('[');
            normal.push_str(&escape(name.as_str()));
            normal.push_str("]\n");
            continue;
        }
        let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (trim(key), trim(value)));
        if key.is_empty() {
            // Magic variables without a value can leave nothing at all.
            if is_wanted && !value.is_empty() {
                doubts.doubt(number, NAMELESS);
            }
            continue;
        }
        if headers == 0 {
            continue;
        }
        normal.push_str(&escape(key));
        normal.push('=');
        normal.push_str(&escape(value));
        normal.push('\n');
        lines.push(number);
    }
    Ok((normal, lines))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r'])
}

/// Whatever the crate would act on.
fn escape(text: &str) -> String {
    shield(text, |c, _| c.is_whitespace() || "\\:=[];#\"'".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str, section: &str) -> Vec<(String, String, u32)> {
        read(text, section, |line, _| line.to_owned())
            .unwrap()
            .unwrap_or_default()
            .items
            .into_iter()
            .map(|item| (item.key, item.value, item.line))
            .collect()
    }

    #[test]
    fn lines_are_read_as_uwsgi_reads_them() {
        type Items<'a> = &'a [(&'a str, &'a str, u32)];
        let rows: &[(&str, Items<'_>)] = &[
            ("[uwsgi]\na = b\n", &[("a", "b", 2)]),
            ("[uwsgi]\r\n\r\n a\t=\tb \r\nmaster\r\nc=d", &[("a", "b", 3), ("master", "", 4), ("c", "d", 5)]),
            ("x = 1\n[uwsgi]\na = 1", &[("a", "1", 3)]),
            ("[uwsgi]\nenv = A=b=c", &[("env", "A=b=c", 2)]),
            ("[uwsgi]\nkey: value\na : b = c", &[("key: value", "", 2), ("a : b", "c", 3)]),
            (
                "[uwsgi]\n; no\n# no\na = 1 # part\nb = x ; part",
                &[("a", "1 # part", 4), ("b", "x ; part", 5)],
            ),
            ("[uwsgi]\na = 1\n[other]\nb = 2\n[uwsgi]\na = 3", &[("a", "1", 2), ("a", "3", 6)]),
            ("[uwsgi] ; x\na = 1", &[]),
            ("  [uwsgi]\na = 1", &[("a", "1", 2)]),
            ("[ uwsgi ]\na = 1", &[]),
            ("[uwsgi)\na = 1", &[("a", "1", 2)]),
            (
                "[uwsgi]\na = \"b\"\nc = 'd'\ne = \\n\\",
                &[("a", "\"b\"", 2), ("c", "'d'", 3), ("e", "\\n\\", 4)],
            ),
            ("[uwsgi]\na = 1\0b = 2\nc = 3", &[("a", "1", 2), ("c", "3", 3)]),
            ("[uwsgi]\na = 1\rb = 2", &[("a", "1\rb = 2", 2)]),
            ("[uwsgi]\n\u{a0}a = \u{a0}", &[("\u{a0}a", "\u{a0}", 2)]),
            ("[uwsgi]\na = [b]\nenv X = y", &[("a", "[b]", 2), ("env X", "y", 3)]),
        ];
        for (text, expected) in rows {
            let read = plain(text, "uwsgi");
            let read: Vec<_> = read.iter().map(|(k, v, line)| (k.as_str(), v.as_str(), *line)).collect();
            assert_eq!(&read, expected, "{text:?}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let long = format!("[uwsgi]\na = {}", "x".repeat(VALUE_MAX));
        let many = format!("[uwsgi]\n{}", "a\n".repeat(LINES_MAX));
        for (text, line, message) in [
            ("\u{7f}ELF\n\0\n[uwsgi]\na = 1", 2, "NUL"),
            ("\u{fffd}\u{fffd}[\0u\0w\0", 1, "NUL"),
            ("[\0u\0w\0s\0g\0i\0]\0\n", 1, "NUL"),
            (long.as_str(), 2, "a line may have"),
            (many.as_str(), 50_001, "more than 50000 lines"),
        ] {
            let mistake = read(text, "uwsgi", |line, _| line.to_owned()).unwrap_err();
            assert_eq!(mistake.line, Some(line));
            assert!(mistake.message.contains(message), "{mistake}");
        }
    }

    #[test]
    fn a_value_without_a_name_is_told_and_passed_over() {
        let read = read("[o]\n= n\n[uwsgi]\n= x\na = 1\n=\n\t=y", "uwsgi", |line, _| line.to_owned());
        let read = read.unwrap().unwrap();
        assert_eq!(read.doubts.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 7]);
        assert_eq!(read.items.len(), 1);
    }

    /// The grammar once more, without the crate.
    fn by_hand(text: &str) -> Vec<(String, String, u32)> {
        let mut section = None;
        let mut items = Vec::new();
        for (line, number) in text.split('\n').zip(1..) {
            let line = trim(line.split('\0').next().unwrap());
            match line.chars().next() {
                None | Some(';' | '#') => {}
                Some('[') => {
                    let mut name = line.chars().skip(1).collect::<String>();
                    name.pop();
                    section = Some(name);
                }
                Some(_) if section.as_deref() != Some("uwsgi") => {}
                Some(_) => {
                    let (key, value) = line.split_once('=').unwrap_or((line, ""));
                    // A line of nothing but `=` says nothing.
                    if trim(key).is_empty() {
                        continue;
                    }
                    items.push((trim(key).to_owned(), trim(value).to_owned(), number));
                }
            }
        }
        items
    }

    proptest! {
        #[test]
        fn the_crate_and_our_index_agree(lines in prop::collection::vec("[ -~\t\r\u{a0}\u{85}é:=\\[\\]#;\"'\\\\]{0,12}", 0..12)) {
            let text = format!("[uwsgi]\n{}", lines.join("\n"));
            if let Ok(read) = read(&text, "uwsgi", |line, _| line.to_owned()) {
                let read: Vec<_> = read.unwrap_or_default().items.into_iter().map(|item| (item.key, item.value, item.line)).collect();
                prop_assert_eq!(read, by_hand(&text));
            }
        }
    }
}
