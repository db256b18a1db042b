//! Magic variables: `%n`, `%d` and the like, replaced in the text of files when they are read.

use std::path::Path;

use super::format::Format;
use super::surroundings::Facts;

/// The version that `%V` tells: that of the uWSGI whose files we read.
const UWSGI_VERSION: &str = "2.0.31";

/// The names of a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileNames {
    /// As given, without the section (`%o`).
    pub(super) given: String,
    /// Absolute (`%p`).
    pub(super) path: String,
    /// The section asked for, empty for the default one (`%x`).
    pub(super) section: String,
    /// The inode (`%i`).
    pub(super) inode: Option<u64>,
}

/// Everything that the magic variables of one file tell.
pub(super) struct Magic<'a> {
    /// The file itself.
    pub(super) own: &'a FileNames,
    /// The first file loaded with `ini`, for the upper-case letters.
    pub(super) first: Option<&'a FileNames>,
    /// The machine, the user, the time.
    pub(super) facts: &'a Facts,
    /// The directory at start (`%v`).
    pub(super) directory: &'a Path,
    /// What the file is written in.
    pub(super) format: Format,
}

impl Magic<'_> {
    /// The line with its magic variables replaced; `swallowed` learns of each `%` that stood for nothing (`None`:
    /// at the end of the line).
    pub(super) fn replace(&self, line: &str, mut swallowed: impl FnMut(Option<char>)) -> String {
        let mut replaced = String::with_capacity(line.len());
        let mut rest = line.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                replaced.push(c);
                continue;
            }
            match rest.next() {
                Some('%') => replaced.push('%'),
                Some('(') => replaced.push_str("%("),
                Some('[') => replaced.push('\u{1b}'),
                Some(letter) => match self.value(letter) {
                    Some(value) => replaced.push_str(&self.format.tame(&value)),
                    None => {
                        if self.format.structure().contains(letter) {
                            replaced.push(letter);
                        }
                        swallowed(Some(letter));
                    }
                },
                None => swallowed(None),
            }
        }
        replaced
    }

    fn value(&self, letter: char) -> Option<String> {
        let facts = self.facts;
        Some(match letter {
            'k' => facts.cpus.to_string(),
            'h' => facts.hostname.clone(),
            'b' => facts.binary.clone(),
            'v' => self.directory.display().to_string(),
            't' => (facts.unix_us / 1_000_000).to_string(),
            'T' => facts.unix_us.to_string(),
            'u' => facts.uid.to_string(),
            'U' => facts.user.clone(),
            'g' => facts.gid.to_string(),
            'G' => facts.group.clone(),
            'V' => UWSGI_VERSION.to_owned(),
            '0'..='9' => {
                let index = usize::try_from(letter.to_digit(10)?).ok()?;
                self.own
                    .directory()
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .nth(index)
                    .unwrap_or_default()
                    .to_owned()
            }
            'o' | 'p' | 's' | 'd' | 'n' | 'e' | 'c' | 'x' | 'i' | 'j' => self.own.value(letter),
            'O' | 'P' | 'S' | 'D' | 'N' | 'E' | 'C' | 'X' | 'I' | 'J' => {
                self.first.map(|first| first.value(letter.to_ascii_lowercase())).unwrap_or_default()
            }
            _ => return None,
        })
    }
}

impl FileNames {
    /// With its slash at the end.
    fn directory(&self) -> &str {
        self.path.rfind('/').and_then(|slash| self.path.get(..=slash)).unwrap_or_default()
    }

    fn base(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn value(&self, letter: char) -> String {
        let base = self.base();
        match letter {
            'o' => self.given.clone(),
            'p' => self.path.clone(),
            's' => base.to_owned(),
            'd' => self.directory().to_owned(),
            'n' => base.rsplit_once('.').map_or(base, |(stem, _)| stem).to_owned(),
            'e' => base.rsplit_once('.').map_or("", |(_, extension)| extension).to_owned(),
            'c' => self.directory().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
            'x' => self.section.clone(),
            'i' => self.inode.map(|inode| inode.to_string()).unwrap_or_default(),
            // The bytes of the number as they lie in the memory of a PC.
            'j' => format!("{:08X}", djb33x(&self.path).swap_bytes()),
            _ => String::new(),
        }
    }
}

fn djb33x(text: &str) -> u32 {
    text.bytes().fold(5381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::super::text::reveal;
    use super::*;

    #[test]
    fn each_letter_has_its_value() {
        let own = FileNames {
            given: "../apps/my.app.ini".to_owned(),
            path: "/srv/apps/my.app.ini".to_owned(),
            section: "web".to_owned(),
            inode: Some(17),
        };
        let first = FileNames { path: "/etc/first.ini".to_owned(), ..FileNames::default() };
        let facts =
            Facts { cpus: 2, hostname: "host".into(), unix_us: 3_000_001, uid: 7, ..Facts::default() };
        let magic = Magic {
            own: &own,
            first: Some(&first),
            facts: &facts,
            directory: Path::new("/run"),
            format: Format::Ini,
        };
        for (line, expected, swallows) in [
            ("%o %p %s", "../apps/my.app.ini /srv/apps/my.app.ini my.app.ini", 0),
            ("%dx %n %e %c %x %i", "/srv/apps/x my.app ini apps web 17", 0),
            ("%0/%1/%2", "srv/apps/", 0),
            ("%j", "940C243D", 0),
            ("%P %N %D", "/etc/first.ini first /etc/", 0),
            ("%k %h %v %t %T %u", "2 host /run 3 3000001 7", 0),
            ("%%Y %(name) %[", "%Y %(name) \u{1b}", 0),
            ("%Y-%m %", "- ", 3),
            ("%(%k + 1)", "%(2 + 1)", 0),
        ] {
            let mut swallowed = 0;
            assert_eq!(reveal(&magic.replace(line, |_| swallowed += 1)), expected, "{line}");
            assert_eq!(swallowed, swallows, "{line}");
        }
    }

    #[test]
    fn a_files_name_is_data() {
        let own = FileNames { path: "/srv/$(HOME)%(x)\n.ini".to_owned(), ..FileNames::default() };
        let facts = Facts::default();
        for format in [Format::Ini, Format::Json, Format::Yaml, Format::Xml] {
            let magic = Magic { own: &own, first: None, facts: &facts, directory: Path::new("/"), format };
            let line = magic.replace("a = %s", |_| ());
            assert!(!line.contains(['$', '\n']) && !line.contains("%("));
            assert_eq!(reveal(&line), "a = $(HOME)%(x)\n.ini");
        }
    }
}
