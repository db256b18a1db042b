//! Files: found, read within limits, cut into lines that are said one by one.

use std::path::Path;
use std::sync::Arc;

use super::{Assembly, Manner};
use crate::config::diagnostic::Severity;
use crate::config::expand;
use crate::config::ini;
use crate::config::magic::{FileNames, Magic};
use crate::config::raw::Origin;
use crate::config::text::{decode, reveal};

/// The longest file.
const FILE_MAX: usize = 4 * 1024 * 1024;
/// How many bytes of files are read for one configuration.
const READ_MAX: usize = 32 * 1024 * 1024;
/// How deep files include each other.
const DEPTH_MAX: usize = 16;
/// How many oddities of one file are worth telling.
const ODDITIES_MAX: usize = 200;

impl Assembly<'_> {
    /// Loads `FILE` or `FILE:SECTION`.
    pub(in crate::config) fn load(&mut self, name: &str, manner: Manner, origin: &Origin) {
        let name = reveal(&expand::environment(name, self.around));
        let option = match manner {
            Manner::Ini => "ini",
            Manner::Include => "include",
            Manner::Inherit => "inherit",
        };
        if self.files.len() >= DEPTH_MAX {
            let chain = self.files.join(" → ");
            let message = format!("files include each other more than {DEPTH_MAX} deep: {chain} → {name}");
            self.report(Severity::Error, origin, Some(option), &message, None);
            return;
        }
        let (file, asked) = match (manner, name.rsplit_once(':')) {
            (Manner::Ini, Some((file, section))) if !section.starts_with("//") => (file, section),
            _ => (name.as_str(), ""),
        };
        if manner != Manner::Ini && !is_ini(file, origin, option, self) {
            return;
        }
        let file = if file.is_empty() {
            let Some(last) = self.last_ini.clone() else {
                self.report(Severity::Error, origin, Some(option), "no ini file was read before this", None);
                return;
            };
            last
        } else {
            file.to_owned()
        };
        let section = if asked.is_empty() { "uwsgi" } else { asked };
        let before = self.diagnostics.len();
        if !self.read_file(&file, section, asked, manner, origin) && self.diagnostics.len() == before {
            let message = format!("can't find section \"{section}\" in configuration file {file}");
            self.report(Severity::Warning, origin, Some(option), &message, None);
        }
    }

    /// Whether the section was there; what goes wrong is reported.
    pub(super) fn read_file(
        &mut self,
        file: &str,
        section: &str,
        asked: &str,
        manner: Manner,
        origin: &Origin,
    ) -> bool {
        let bytes = match self.read_bytes(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report(Severity::Error, origin, None, &error, None);
                return true;
            }
        };
        let names = self.names(file, asked);
        if manner == Manner::Ini && self.first.is_none() {
            self.first = Some(names.clone());
        }
        self.last_ini = Some(file.to_owned());
        let display: Arc<str> = Arc::from(if file.starts_with('/') { &names.path } else { file });
        self.file.get_or_insert_with(|| display.to_string());
        let mut oddities: Vec<(u32, Option<char>)> = Vec::new();
        let magic =
            Magic { own: &names, first: self.first.as_ref(), facts: &self.facts, directory: &self.directory };
        let replace = |line: &str, number: u32| {
            magic.replace(line, |swallowed| {
                if oddities.len() < ODDITIES_MAX {
                    oddities.push((number, swallowed));
                }
            })
        };
        let items = ini::read(&decode(&bytes), section, replace);
        for (line, letter) in oddities {
            let origin = Origin { file: display.clone(), line: Some(line) };
            let message = match letter {
                Some(letter) => format!("`%{letter}` is not a magic variable and stands for nothing"),
                None => "`%` at the end of a line stands for nothing".to_owned(),
            };
            self.report(
                Severity::Warning,
                &origin,
                None,
                &message,
                Some("write %% for a percent sign".to_owned()),
            );
        }
        match items {
            Ok(items) => {
                self.files.push(file.to_owned());
                for item in &items {
                    let origin = Origin { file: display.clone(), line: Some(item.line) };
                    self.say(&item.key, Some(&item.value), &origin);
                }
                self.files.pop();
                !items.is_empty()
            }
            Err(error) => {
                let line = match error {
                    ini::IniError::NotText(line)
                    | ini::IniError::LongLine(line)
                    | ini::IniError::Nameless(line) => Some(line),
                    ini::IniError::TooManyLines | ini::IniError::Unreadable(_) => None,
                };
                self.report(Severity::Error, &Origin { file: display, line }, None, &error.to_string(), None);
                true
            }
        }
    }

    pub(super) fn read_bytes(&mut self, file: &str) -> Result<Vec<u8>, String> {
        let bytes = match &self.held {
            Some((held, bytes)) if *held == self.directory.join(file) => bytes.to_vec(),
            _ => match file.split_once("://") {
                None if file == "-" => self.around.read_inherited(0, FILE_MAX),
                Some(("fd", number)) => match number.parse() {
                    Ok(descriptor) => self.around.read_inherited(descriptor, FILE_MAX),
                    Err(_) => return Err(format!("`{file}` is not a descriptor")),
                },
                Some((scheme, _)) => {
                    return Err(format!("{scheme}:// is not supported, only files, - and fd://N"));
                }
                None => self.around.read(Path::new(file), FILE_MAX),
            }
            .map_err(|error| format!("realpath() of {file} failed: {}", plain(&error)))?,
        };
        if bytes.len() > FILE_MAX {
            return Err(format!("{file} is longer than {FILE_MAX} bytes"));
        }
        self.bytes_read = self.bytes_read.saturating_add(bytes.len());
        if self.bytes_read > READ_MAX {
            return Err(format!("the files of this configuration have more than {READ_MAX} bytes"));
        }
        Ok(bytes)
    }

    fn names(&self, file: &str, asked: &str) -> FileNames {
        if file == "-" || file.contains("://") {
            return FileNames { given: file.to_owned(), section: asked.to_owned(), ..FileNames::default() };
        }
        let path = Path::new(file);
        // The file may be gone by now: then its name still tells what it was.
        let located = self.around.locate(path).unwrap_or_else(|_| self.directory.join(path));
        FileNames {
            given: file.to_owned(),
            path: located.to_string_lossy().into_owned(),
            section: asked.to_owned(),
            inode: self.around.inode(path),
        }
    }
}

/// Whether a file's extension says ini; anything else is reported.
fn is_ini(file: &str, origin: &Origin, option: &str, assembly: &mut Assembly<'_>) -> bool {
    if file.ends_with(".ini") {
        return true;
    }
    let format = match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("yml" | "yaml") => Some("YAML"),
        Some("xml") => Some("XML"),
        Some("js" | "json") => Some("JSON"),
        _ => None,
    };
    let suggestion = format.map_or_else(
        || "liege --help lists the commands; the name of a file must end in .ini".to_owned(),
        |format| format!("{format} files are not read, write it as .ini"),
    );
    let message = format!("unable to load configuration from {file}");
    assembly.report(Severity::Error, origin, Some(option), &message, Some(suggestion));
    false
}

/// The system's words without Rust's `(os error 2)`.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
