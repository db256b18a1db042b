//! Static files: found, and sent without the application or its interpreter.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::file;
use super::job::Head;
use super::output::{AnyHead, ItemError, Output};
use super::spool::Part;
use super::start_response::STATUS_LINE_BYTES;
use crate::config::instance::InstanceSpec;
use crate::config::routes::action::FileAnswer;
use crate::config::static_files::ServeMode;
use crate::gateway::head::Fault;
use crate::gateway::static_files::{Answer, Asked, Candidate, Rules};
use crate::sys::beneath::{self, Found};
use crate::sys::file::open_untrusted;

/// The longest file of media types.
const MEDIA_TYPES_BYTES: u64 = 1024 * 1024;

/// Sends static files.
#[derive(Debug)]
pub(super) struct StaticFiles {
    rules: Rules,
    /// What `add-header` adds.
    fields: Vec<(String, String)>,
}

/// A file that is to be sent.
struct Chosen {
    found: Found,
    /// Its name without an ending for its compressed form.
    named: PathBuf,
    is_gzip: bool,
}

impl StaticFiles {
    /// As the instance was told; `None`: there are none.
    pub(super) fn new(spec: &InstanceSpec) -> Option<Self> {
        let rules = Rules::new(&spec.static_files, &media_types(spec))?;
        Some(Self { rules, fields: spec.app.add_headers.clone() })
    }

    /// The same for files that internal routing names.
    pub(super) fn for_rules(spec: &InstanceSpec) -> Self {
        let rules = Rules::for_any(&spec.static_files, &media_types(spec));
        Self { rules, fields: spec.app.add_headers.clone() }
    }

    /// `Content-Type` of a file of this name.
    pub(super) fn media_type(&self, path: &Path) -> &str {
        self.rules.media_type(path)
    }

    /// Answers a request with a file that internal routing names, detached; `None`: there is none.
    pub(super) fn serve(
        &self,
        head: &Head,
        file: &FileAnswer,
        path: &[u8],
        output: &mut Output,
    ) -> Option<Result<(), ItemError>> {
        let path = PathBuf::from(OsStr::from_bytes(path));
        if file.as_static {
            let asked = asked(head)?;
            let chosen = self.choose(&asked, Candidate { root: &file.root, path })?;
            let opened = chosen.found.open().ok()?;
            return Some(self.send(&asked, &chosen, opened, output));
        }
        let found = beneath::find(&path, std::iter::once(file.root.as_path()))?;
        let opened = found.open().ok().filter(|_| found.metadata.is_file())?;
        let media_type = file.media_type.as_deref().unwrap_or_else(|| self.rules.media_type(&path));
        Some(self.send_as_said(&file.status, media_type, found.metadata.len(), opened, output))
    }

    fn send_as_said(
        &self,
        status: &str,
        media_type: &str,
        length: u64,
        file: std::fs::File,
        output: &mut Output,
    ) -> Result<(), ItemError> {
        let mut head = Fields::new(output, status.as_bytes())?;
        head.add("Content-Type", media_type)?;
        for (name, value) in &self.fields {
            head.add(name, value)?;
        }
        head.add("Content-Length", &length.to_string())?;
        head.start(output)?;
        file::send(output, Part { file: Arc::new(file), at: 0, end: length })?;
        output.end()
    }

    /// Answers a request for a file, detached; `None`: the application is to answer it.
    pub(super) fn answer(&self, head: &Head, output: &mut Output) -> Option<Result<(), ItemError>> {
        let asked = asked(head)?;
        let chosen =
            self.rules.candidates(&asked.path).find_map(|candidate| self.choose(&asked, candidate))?;
        let file = chosen.found.open().ok()?;
        Some(self.send(&asked, &chosen, file, output))
    }

    /// The file at that place, or the one that stands for the directory there.
    fn choose(&self, asked: &Asked, candidate: Candidate<'_>) -> Option<Chosen> {
        let find = |path: &Path| {
            let safe = self.rules.spec().safe.iter().map(PathBuf::as_path);
            beneath::find(path, [candidate.root].into_iter().chain(safe))
        };
        let mut named = candidate.path;
        let mut found = find(&named)?;
        if found.metadata.is_dir() {
            let mut indices = self.rules.spec().index.iter().map(|name| named.join(name));
            (named, found) = indices.find_map(|path| {
                let found = find(&path).filter(|found| found.metadata.is_file())?;
                Some((path, found))
            })?;
        }
        if !found.metadata.is_file() {
            return None;
        }
        let compressed = self.rules.may_be_gzip(asked, &named).then(|| with_ending(&named, ".gz"));
        match compressed.and_then(|path| find(&path)).filter(|found| found.metadata.is_file()) {
            Some(found) => Some(Chosen { found, named, is_gzip: true }),
            None => Some(Chosen { found, named, is_gzip: false }),
        }
    }

    fn send(
        &self,
        asked: &Asked,
        chosen: &Chosen,
        file: std::fs::File,
        output: &mut Output,
    ) -> Result<(), ItemError> {
        let spec = self.rules.spec();
        let (length, now) = (chosen.found.metadata.len(), SystemTime::now());
        let changed = chosen.found.metadata.modified().unwrap_or(now);
        let answer = self.rules.answer(asked, changed, length);
        let status: &[u8] = match answer {
            Answer::Whole => b"200 OK",
            Answer::Part(..) => b"206 Partial Content",
            Answer::NotModified => b"304 Not Modified",
            Answer::Unsatisfiable => b"416 Range Not Satisfiable",
        };
        let mut head = Fields::new(output, status)?;
        let (mut at, mut end) = (0, length);
        match answer {
            Answer::NotModified => end = 0,
            Answer::Unsatisfiable => {
                end = 0;
                head.add("Content-Range", &format!("bytes */{length}"))?;
            }
            Answer::Part(from, to) => {
                (at, end) = (from, to);
                head.add("Content-Range", &format!("bytes {from}-{}/{length}", to.saturating_sub(1)))?;
            }
            Answer::Whole => {}
        }
        if matches!(answer, Answer::Whole | Answer::Part(..)) {
            output.sent.is_file = true;
            head.add("Content-Type", self.rules.media_type(&chosen.named))?;
            let real = chosen.found.path.to_string_lossy();
            match spec.mode {
                ServeMode::Plain => {}
                ServeMode::Sendfile => head.add("X-Sendfile", &real)?,
                ServeMode::AccelRedirect => head.add("X-Accel-Redirect", &real)?,
            }
            if spec.mode != ServeMode::Plain {
                (at, end) = (0, 0);
            }
        }
        if !spec.gzip.is_empty() {
            head.add("Vary", "Accept-Encoding")?;
        }
        if chosen.is_gzip {
            head.add("Content-Encoding", "gzip")?;
        }
        if spec.ranges {
            head.add("Accept-Ranges", "bytes")?;
        }
        head.add("Last-Modified", &httpdate::fmt_http_date(changed))?;
        if let Some(expires) = self.rules.expires(asked, &chosen.named, changed, now) {
            head.add("Expires", &httpdate::fmt_http_date(expires))?;
        }
        for (name, value) in &self.fields {
            head.add(name, value)?;
        }
        head.add("Content-Length", &end.saturating_sub(at).to_string())?;
        head.start(output)?;
        if !asked.is_head {
            file::send(output, Part { file: Arc::new(file), at, end })?;
        }
        output.end()
    }
}

/// A head that is being made.
struct Fields {
    head: AnyHead,
    count: usize,
    bytes: usize,
}

impl Fields {
    fn new(output: &Output, status: &[u8]) -> Result<Self, ItemError> {
        let head = AnyHead::new(output.medium(), status).map_err(refused)?;
        Ok(Self { head, count: 0, bytes: status.len() + STATUS_LINE_BYTES })
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), ItemError> {
        self.head.field(name.as_bytes(), value.as_bytes()).map_err(refused)?;
        self.count += 1;
        self.bytes += name.len() + value.len() + 4;
        Ok(())
    }

    fn start(self, output: &mut Output) -> Result<(), ItemError> {
        // Nothing was started before.
        let _ = output.start(self.head, false, self.count, self.bytes);
        Ok(())
    }
}

fn refused(fault: Fault) -> ItemError {
    ItemError::Gone(std::io::Error::other(fault))
}

/// What a request for a file says; `None`: it is for none.
fn asked(head: &Head) -> Option<Asked> {
    match head {
        Head::Http(parts, _) => Asked::of_http(parts),
        Head::Packet(packet) => Asked::of_packet(&packet.view()),
    }
}

fn media_types(spec: &InstanceSpec) -> Vec<String> {
    let read = |path: &PathBuf| {
        read_media_types(path).unwrap_or_else(|error| {
            tracing::warn!("mime-file: cannot read {}: {error}", path.display());
            String::new()
        })
    };
    spec.static_files.media_types.iter().map(read).collect()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(ending));
    name.into()
}

fn read_media_types(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut std::io::Read::take(open_untrusted(path)?, MEDIA_TYPES_BYTES),
        &mut text,
    )?;
    Ok(text)
}
