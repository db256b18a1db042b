//! Files: found, read within limits, cut into lines that are said one by one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Assembly, Manner};
use crate::config::diagnostic::{Cause, Diagnostic, Severity, has_room};
use crate::config::expand;
use crate::config::format::Format;
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

/// Why a file was not read.
pub(super) struct Unread {
    message: String,
    cause: Cause,
}

impl From<String> for Unread {
    fn from(message: String) -> Self {
        Self { message, cause: Cause::Value }
    }
}

impl Assembly<'_> {
    /// Loads `FILE` or `FILE:SECTION`.
    pub(in crate::config) fn load(&mut self, name: &str, manner: Manner, origin: &Origin) {
        let name = reveal(&expand::environment(name, self.around, &self.early));
        let option = match manner {
            Manner::Named(Some(format)) => format.option(),
            Manner::Named(None) => "config",
            Manner::Include => "include",
            Manner::Inherit => "inherit",
        };
        if self.files.len() >= DEPTH_MAX {
            let last = self.files.last().map_or("", String::as_str);
            let message = format!("files include each other more than {DEPTH_MAX} deep: {last} → {name}");
            self.report(Severity::Error, origin, Some(option), &message, None);
            return;
        }
        let (file, section) = match (manner, name.rsplit_once(':')) {
            (Manner::Named(_), Some((file, section))) if !section.starts_with("//") => (file, section),
            _ => (name.as_str(), ""),
        };
        let format = match manner {
            Manner::Named(Some(format)) => Some(format),
            _ => Format::of(file),
        };
        let Some(format) = format else {
            let message = format!("unable to load configuration from {file}");
            let hint = match file.rsplit_once(':') {
                Some((before, _)) if Format::of(before).is_some() => {
                    format!("a section is named behind ini: {}", said_with_section(origin, file))
                }
                _ => "liege --help lists the commands; the name of a file must end in .ini, .json, .yaml or .xml"
                    .to_owned(),
            };
            self.report(Severity::Error, origin, Some(option), &message, Some(hint));
            return;
        };
        let named = file;
        let file = if named.is_empty() {
            let Some(last) = self.last.get(&format).cloned() else {
                let message = format!("no {} file was read before this", format.option());
                self.report(Severity::Error, origin, Some(option), &message, None);
                return;
            };
            last
        } else {
            named.to_owned()
        };
        let mut names = self.names(&file, section);
        if named.is_empty() {
            names.given.clear();
        }
        let before = self.diagnostics.len();
        if !self.read_file(&file, format, names, manner, origin) && self.diagnostics.len() == before {
            let section = if section.is_empty() { "uwsgi" } else { section };
            let message = format!("can't find {} in configuration file {file}", format.call(section));
            let severity = match format {
                Format::Ini | Format::Yaml => Severity::Warning,
                Format::Json | Format::Xml => Severity::Error,
            };
            self.report(severity, origin, Some(option), &message, None);
        }
    }

    /// Whether the section was there; what goes wrong is reported.
    pub(super) fn read_file(
        &mut self,
        file: &str,
        format: Format,
        names: FileNames,
        manner: Manner,
        origin: &Origin,
    ) -> bool {
        let bytes = match self.read_bytes(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report_unread(origin, None, error);
                return true;
            }
        };
        // Not from within a file: one that was included, or named without an option, leaves them unset for all.
        if matches!(manner, Manner::Named(_)) && self.first.is_none() && self.files.is_empty() {
            self.first = Some(names.clone());
        }
        self.last.insert(format, file.to_owned());
        let display: Arc<str> = Arc::from(if file.starts_with('/') { &names.path } else { file });
        self.file.get_or_insert_with(|| display.to_string());
        let mut oddities: Vec<(u32, Option<char>)> = Vec::new();
        let magic = Magic {
            own: &names,
            first: self.first.as_ref(),
            facts: &self.facts,
            directory: &self.directory,
            format,
        };
        let replace = |line: &str, number: u32| {
            magic.replace(line, |swallowed| {
                if oddities.len() < ODDITIES_MAX {
                    oddities.push((number, swallowed));
                }
            })
        };
        let read = format.read(&decode(&bytes), &names.section, replace);
        for (line, letter) in oddities {
            let origin = Origin { file: display.clone(), line: Some(line) };
            let message = match letter {
                Some(letter) => format!("`%{letter}` is not a magic variable and stands for nothing"),
                None => "`%` at the end of a line stands for nothing".to_owned(),
            };
            let suggestion = Some("write %% for a percent sign".to_owned());
            self.report(Severity::Warning, &origin, None, &message, suggestion);
        }
        match read {
            Ok(None) => false,
            Ok(Some(section)) => {
                for (line, doubt) in section.doubts {
                    let origin = Origin { file: display.clone(), line: Some(line) };
                    self.report(Severity::Warning, &origin, None, &doubt, None);
                }
                self.files.push(file.to_owned());
                for item in &section.items {
                    let origin = Origin { file: display.clone(), line: Some(item.line) };
                    self.say(&item.key, Some(&item.value), &origin);
                }
                self.files.pop();
                true
            }
            Err(mistake) => {
                let origin = Origin { file: display, line: mistake.line };
                self.report(Severity::Error, &origin, None, &mistake.message, None);
                true
            }
        }
    }

    pub(super) fn report_unread(&mut self, origin: &Origin, option: Option<&str>, unread: Unread) {
        if has_room(&self.diagnostics, Severity::Error) {
            let told = origin.diagnose(Severity::Error, option, unread.message, None);
            self.diagnostics.push(Diagnostic { cause: unread.cause, ..told });
        }
    }

    pub(super) fn read_bytes(&mut self, file: &str) -> Result<Vec<u8>, Unread> {
        let bytes = match &self.held {
            Some((held, bytes)) if *held == self.directory.join(file) => bytes.to_vec(),
            _ => match file.split_once("://") {
                None if file == "-" => self.around.read_inherited(0, FILE_MAX),
                Some(("fd", number)) => match number.parse() {
                    Ok(descriptor) => self.around.read_inherited(descriptor, FILE_MAX),
                    Err(_) => return Err(format!("`{file}` is not a descriptor").into()),
                },
                Some(("exec", command)) => {
                    self.around.run(command, FILE_MAX).map_err(|error| match error.kind() {
                        io::ErrorKind::Unsupported => io::Error::other("commands are run at the start only"),
                        _ => error,
                    })
                }
                Some(("emperor", _)) => self.around.handed(),
                Some((scheme, _)) => {
                    let message =
                        "is not supported, only files, -, fd://N, exec://COMMAND and emperor://NAME";
                    return Err(format!("{scheme}:// {message}").into());
                }
                None => self.around.read(Path::new(file), FILE_MAX),
            }
            .map_err(|error| Unread {
                message: format!("realpath() of {file} failed: {}", plain(&error)),
                cause: Cause::Host,
            })?,
        };
        if bytes.len() > FILE_MAX {
            return Err(format!("{file} is longer than {FILE_MAX} bytes").into());
        }
        self.bytes_read = self.bytes_read.saturating_add(bytes.len());
        if self.bytes_read > READ_MAX {
            return Err(format!("the files of this configuration have more than {READ_MAX} bytes").into());
        }
        Ok(bytes)
    }

    pub(super) fn names(&self, file: &str, asked: &str) -> FileNames {
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

/// How a file is named with a section, there where it was named without.
fn said_with_section(origin: &Origin, file: &str) -> String {
    if origin.line.is_some() { format!("ini = {file}") } else { format!("--ini {file}") }
}

/// The system's words without Rust's `(os error 2)`.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
