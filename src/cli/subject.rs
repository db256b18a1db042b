//! What `liege check` and `liege config` are about: files as an emperor would start them, a section of one, or a whole
//! command line.

use std::path::{Path, PathBuf};

use super::paper::complain;
use crate::config::address::Address;
use crate::config::command_line;
use crate::config::diagnostic::{Cause, Diagnostic, Severity};
use crate::config::emperor::{EmperorSpec, Source};
use crate::config::format::Format;
use crate::config::instance::InstanceSpec;
use crate::config::load;
use crate::config::raw::{Entry, Raw};
use crate::config::surroundings::{Surroundings, World};
use crate::config::vassals::VassalOptions;
use crate::emperor::attributes::{Attributes, Wanted};
use crate::emperor::scan::{Look, Manner};
use crate::emperor::sources::Sources;
use crate::sys::file::open_untrusted;

/// How much of a file is read.
const FILE_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Files, directories of them, and sections: `app.ini:web` is what `--ini app.ini:web` is.
    Files(Vec<PathBuf>),
    /// uWSGI's command line.
    Line(Vec<String>),
}

/// One configuration, read.
#[derive(Debug)]
pub struct Reading {
    /// What it is called: the file as given, or `command line`.
    pub name: String,
    /// Its entries.
    pub raw: Raw,
    /// What is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// The instance that it describes, as far as it could be understood.
    pub instance: Option<InstanceSpec>,
    /// The emperor that it describes, as far as it could be understood.
    pub emperor: Option<EmperorSpec>,
    place: Place,
}

/// Where a configuration's relative names start, and what people call that.
#[derive(Debug, Default)]
struct Place {
    directory: PathBuf,
    shown: PathBuf,
}

impl Place {
    /// A file as people find it from where they are.
    fn shown(&self, name: &str) -> String {
        match self.directory.join(name).is_file() {
            true => self.shown.join(name).display().to_string(),
            false => name.to_owned(),
        }
    }
}

impl Subject {
    /// Reads all of it. What cannot be read is told, and answered as `None`.
    #[must_use]
    pub fn read(&self) -> Vec<Option<Reading>> {
        match self {
            Self::Line(arguments) => vec![Some(read_line("command line", arguments))],
            Self::Files(paths) => {
                // `./a.ini` is `a.ini` to people.
                let plain = |path: &PathBuf| match path.strip_prefix("./") {
                    Ok(rest) if rest != Path::new("") => rest.to_owned(),
                    _ => path.clone(),
                };
                paths.iter().flat_map(|path| read_path(&plain(path))).collect()
            }
        }
    }
}

fn read_line(name: &str, arguments: &[String]) -> Reading {
    let world = World::here();
    let raw = command_line::read(arguments, &world).raw;
    Reading::of(name.to_owned(), raw, &world)
}

/// The command line that `FILE:SECTION` is short for.
pub(super) fn with_section(path: &Path) -> Option<[String; 2]> {
    let name = path.to_str()?;
    let (file, _) = name.rsplit_once(':')?;
    Some([format!("--{}", Format::of(file)?.option()), name.to_owned()])
}

fn read_path(path: &Path) -> Vec<Option<Reading>> {
    if let Some(arguments) = with_section(path) {
        return vec![Some(read_line(&path.display().to_string(), &arguments))];
    }
    if !path.is_dir() {
        return vec![read_file(path, None)];
    }
    let mut readings = Vec::new();
    let sources = match Sources::new(&[Source::Directory(path.to_owned())], &[], Manner::default()) {
        Ok(sources) => sources,
        Err(error) => {
            complain(&format!("cannot list {}: {error}", path.display()));
            return vec![None];
        }
    };
    let listing = sources.scan();
    for problem in listing.problems.iter().flatten() {
        complain(&format!("cannot list {}: {problem}", path.display()));
        readings.push(None);
    }
    for (id, look) in &listing.looks {
        if matches!(look, Look::Found(_)) {
            let file = if path == Path::new(".") { PathBuf::from(id) } else { path.join(id) };
            readings.push(read_file(&file, None));
        }
    }
    for refused in &listing.not_started {
        let name = refused.directory.join(&refused.name).display().to_string();
        let told = Diagnostic {
            severity: Severity::Error,
            file: name.clone(),
            line: None,
            option: None,
            message: format!("is not started: {}", refused.reason),
            suggestion: None,
            cause: Cause::Host,
        };
        let raw = Raw::default();
        let diagnostics = vec![told];
        let place = Place::default();
        readings.push(Some(Reading { name, raw, diagnostics, instance: None, emperor: None, place }));
    }
    readings
}

/// Reads a file, whose content may be another one's.
pub(super) fn read_file(file: &Path, content: Option<&Path>) -> Option<Reading> {
    let here = World::here();
    let bytes_of = |path: &Path| {
        let bytes = here.read(path, FILE_LIMIT_BYTES)?;
        if bytes.len() > FILE_LIMIT_BYTES {
            return Err(std::io::Error::other(format!("it is longer than {FILE_LIMIT_BYTES} bytes")));
        }
        Ok(bytes)
    };
    let read = here.locate(file).and_then(|path| Ok((path, bytes_of(content.unwrap_or(file))?)));
    let (path, bytes) = match read {
        Ok(read) => read,
        Err(error) => {
            complain(&format!("cannot read {}: {error}", content.unwrap_or(file).display()));
            return None;
        }
    };
    // The emperor stands in the directory of its vassals.
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    let world = World::at(directory.clone()).called_on(on_demand(&path));
    let raw = load::entries(&VassalOptions::default(), &path.to_string_lossy(), &bytes, &world);
    let mut reading = Reading::of(file.display().to_string(), raw, &world);
    reading.place = Place { directory, shown: file.parent().unwrap_or(Path::new("")).to_owned() };
    if let Some(spec) = &mut reading.instance {
        spec.name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    }
    for diagnostic in &mut reading.diagnostics {
        diagnostic.file = reading.place.shown(&diagnostic.file);
    }
    Some(reading)
}

/// The socket on which an emperor waits for the vassal, as the file itself says; an emperor's own options may name others.
fn on_demand(path: &Path) -> Option<Address> {
    let attributes = Attributes::read(path, &open_untrusted(path).ok()?, &Wanted::default());
    let (address, _) = Address::parse(&attributes.on_demand?, Path::new("/")).ok()?;
    Some(address)
}

impl Reading {
    fn of(name: String, raw: Raw, world: &World) -> Self {
        let place = Place::default();
        if raw.is_emperor() {
            let loaded = load::emperor(raw.clone(), world);
            let (diagnostics, emperor) = (loaded.diagnostics, loaded.spec.or(loaded.draft));
            return Self { name, raw, diagnostics, instance: None, emperor, place };
        }
        let loaded = load::instance(raw.clone(), world);
        let (diagnostics, instance) = (loaded.diagnostics, loaded.spec.or(loaded.draft));
        Self { name, raw, diagnostics, instance, emperor: None, place }
    }

    /// Whether nothing refuses it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// What this host has told, with its file as people find it.
    #[must_use]
    pub fn placed(&self, told: Diagnostic) -> Diagnostic {
        let file = if told.option.is_none() { self.name.clone() } else { self.place.shown(&told.file) };
        Diagnostic { file, ..told }
    }

    /// An entry's origin as people find it.
    #[must_use]
    pub fn origin(&self, entry: &Entry) -> String {
        let file = self.place.shown(&entry.origin.file);
        entry.origin.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
    }
}
