//! The formats of configuration files: `.ini`, and uWSGI's shapes of JSON, YAML and XML. Each becomes the same list
//! of keys and values, with line numbers.

pub mod ini;
mod json;
mod xml;
mod yaml;

use super::text::{disguise, tame};

/// The most lines with content, or keys, that a file may have.
pub const LINES_MAX: usize = 50_000;
/// The most bytes that a value may have.
pub const VALUE_MAX: usize = 64 * 1024;
/// How deep lists and mappings nest.
const DEPTH_MAX: usize = 16;
/// How many oddities of one file are worth telling.
const DOUBTS_MAX: usize = 200;

/// A format of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// `key = value` in sections.
    Ini,
    /// `{"uwsgi": {"key": "value", "list": ["a", "b"]}}`.
    Json,
    /// `uwsgi:`, and the keys indented below it.
    Yaml,
    /// `<uwsgi><key>value</key></uwsgi>`.
    Xml,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The option or placeholder.
    pub key: String,
    /// Its value; empty for a bare key.
    pub value: String,
    /// From 1.
    pub line: u32,
}

/// Of an entry without a name: uWSGI keeps it, but nothing can refer to it.
const NAMELESS: &str = "there is no name before the value: it says nothing";

/// What was read from one section of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// In order, repeated keys included.
    pub items: Vec<Item>,
    /// What was passed over, each with its line.
    pub doubts: Vec<(u32, String)>,
}

impl Section {
    fn doubt(&mut self, line: u32, doubt: impl Into<String>) {
        if self.doubts.len() < DOUBTS_MAX {
            self.doubts.push((line, doubt.into()));
        }
    }

    fn push(&mut self, key: &str, value: String, line: u32) -> Result<(), Mistake> {
        if self.items.len() >= LINES_MAX {
            return Err(Mistake::at(line, format!("more than {LINES_MAX} entries")));
        }
        if key.len().saturating_add(value.len()) > VALUE_MAX {
            return Err(Mistake::at(line, format!("an entry may have {VALUE_MAX} bytes at most")));
        }
        if key.is_empty() {
            self.doubt(line, NAMELESS);
            return Ok(());
        }
        self.items.push(Item { key: key.to_owned(), value, line });
        Ok(())
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    /// Where, from 1; `None`: nowhere in particular.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl Mistake {
    fn at(line: u32, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }
}

impl Format {
    /// The format that a file's name tells, as uWSGI goes by it: the case of the letters counts.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        Self::of_option(extension).filter(|_| !matches!(extension, "xmlconfig"))
    }

    /// The format of the files that an option of that name loads.
    #[must_use]
    pub fn of_option(option: &str) -> Option<Self> {
        Some(match option {
            "ini" => Self::Ini,
            "json" | "js" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "xml" | "xmlconfig" => Self::Xml,
            _ => return None,
        })
    }

    /// The option that loads files of this format.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Ini => "ini",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Xml => "xml",
        }
    }

    /// What a section is called there.
    #[must_use]
    pub fn call(self, section: &str) -> String {
        match self {
            Self::Ini => format!("section [{section}]"),
            Self::Json => format!("object \"{section}\""),
            Self::Yaml => format!("mapping {section}:"),
            Self::Xml => format!("element <{section}>"),
        }
    }

    /// Characters that a stray `%` before them leaves in place: without them the file would fall apart.
    pub(super) const fn structure(self) -> &'static str {
        match self {
            Self::Ini => "",
            Self::Json => "\"\\",
            Self::Yaml => "\"'",
            Self::Xml => "<&",
        }
    }

    /// Disguises what the value of a magic variable could do to a file of this format.
    pub(super) fn tame(self, value: &str) -> String {
        match self {
            Self::Ini => tame(value),
            _ => disguise(value, |c| !c.is_ascii_alphanumeric() && c != '/' && c != '_'),
        }
    }

    /// Reads one section; the empty name asks for the usual one. `None`: it is not there. `magic` replaces the magic
    /// variables of a line, given its number.
    ///
    /// # Errors
    /// When a limit is passed or the text is not of this format.
    pub fn read(
        self,
        text: &str,
        section: &str,
        magic: impl FnMut(&str, u32) -> String,
    ) -> Result<Option<Section>, Mistake> {
        match self {
            Self::Ini => ini::read(text, or_usual(section), magic),
            Self::Json => json::read(&replaced(text, magic)?, or_usual(section)),
            Self::Yaml => yaml::read(&replaced(text, magic)?, or_usual(section)),
            Self::Xml => xml::read(&replaced(text, magic)?, section),
        }
    }
}

/// The section that is read when none is asked for.
const USUAL_SECTION: &str = "uwsgi";

fn or_usual(section: &str) -> &str {
    if section.is_empty() { USUAL_SECTION } else { section }
}

/// The text with its magic variables replaced, line by line, so that the lines keep their numbers.
fn replaced(text: &str, mut magic: impl FnMut(&str, u32) -> String) -> Result<String, Mistake> {
    // Values can be longer than the letters that stand for them, but not without end.
    const LONGEST: usize = 8 * 1024 * 1024;
    let mut whole = String::with_capacity(text.len());
    for (line, number) in text.split('\n').zip(1u32..) {
        if line.contains('\0') {
            return Err(Mistake::at(number, "this is no text in UTF-8: there is a NUL byte in it"));
        }
        whole.push_str(&magic(line, number));
        whole.push('\n');
        if whole.len() > LONGEST {
            return Err(Mistake::at(number, format!("more than {LONGEST} bytes with its magic variables")));
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("a.ini", Some(Format::Ini)),
            ("/x.json/a.js", Some(Format::Json)),
            ("a.json", Some(Format::Json)),
            ("a.yml", Some(Format::Yaml)),
            ("a.yaml", Some(Format::Yaml)),
            ("a.xml", Some(Format::Xml)),
            ("a.xmlconfig", None),
            ("a.INI", None),
            ("ini", None),
            ("a.toml", None),
        ] {
            assert_eq!(Format::of(name), format, "{name}");
        }
    }
}
