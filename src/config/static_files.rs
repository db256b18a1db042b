//! What is said about static files: where they lie, and how they are sent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is said about static files, as meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticSpec {
    /// `check-static`, then `static-map` and `static-map2`: where files are looked for, in that order.
    pub places: Vec<StaticPlace>,
    /// `static-index`: files that stand for their directory.
    pub index: Vec<String>,
    /// `static-safe`: directories that symbolic links may lead to.
    pub safe: Vec<PathBuf>,
    /// `static-skip-ext`: endings of names that are never sent.
    pub skip: Vec<String>,
    /// `mime-file`: further files of media types.
    pub media_types: Vec<PathBuf>,
    /// `static-gzip-all`, `static-gzip-dir`, `static-gzip-ext`, `static-gzip`: what is sent as `FILE.gz` where that
    /// exists.
    pub gzip: Vec<GzipRule>,
    /// `static-expires` and its like, in order; the first that matches counts.
    pub expires: Vec<ExpiresRule>,
    /// `honour-range`: parts of files are sent to who asks for them.
    pub ranges: bool,
    /// `file-serve-mode`: who sends the content.
    pub mode: ServeMode,
}

/// One place where files are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPlace {
    /// What the path of a request begins with; empty for `check-static`.
    pub prefix: String,
    /// The directory, or one file.
    pub path: PathBuf,
    /// `static-map2`: the prefix is part of the name below it.
    pub keeps_prefix: bool,
}

/// Files that may be sent compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GzipRule {
    /// All.
    All,
    /// Those whose path begins so.
    Below(PathBuf),
    /// Those whose name ends so.
    Ending(String),
    /// Those whose path matches the regular expression.
    Matching(String),
}

/// How long some files are fresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiresRule {
    /// Which files.
    pub of: Matter,
    /// The regular expression, or the media type.
    pub pattern: String,
    /// Seconds, from now or from the file's last change.
    pub seconds: u32,
    /// From the file's last change.
    pub from_change: bool,
}

/// What a pattern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Matter {
    /// The file's path.
    File,
    /// Its media type.
    MediaType,
    /// `REQUEST_URI`.
    Uri,
    /// `PATH_INFO`.
    PathInfo,
}

/// Who sends the content of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServeMode {
    /// The worker.
    #[default]
    Plain,
    /// The server in front, by `X-Sendfile`.
    Sendfile,
    /// The server in front, by `X-Accel-Redirect`.
    AccelRedirect,
}
