//! The options about static files.

use super::By::Worker;
use super::Kind::{Flag, FreeText, Pair, Path, Text};
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Obeyed(Worker), "none", doc)
}

pub(super) static ROWS: &[Row] = &[
    row(
        &["static-map"],
        Pair,
        "`/prefix=path`: a request whose path begins with the prefix gets the file of that name below the path, or the path itself if it is a file; where there is none the next map is asked, then the application; repeatable",
    ),
    row(
        &["static-map2"],
        Pair,
        "As `static-map`, with the prefix as part of the name below the path; repeatable",
    ),
    row(
        &["check-static", "static-check"],
        Path,
        "A directory in which the whole path of a request is looked for first; repeatable",
    ),
    row(&["static-index"], Text, "A file, `index.html`, that stands for its directory; repeatable"),
    row(
        &["static-safe"],
        Path,
        "A directory outside of those that symbolic links in them may lead to; repeatable",
    ),
    row(&["static-skip-ext"], Text, "The end of names, `.php`, that are left to the application; repeatable"),
    row(
        &["mime-file", "mimefile"],
        Path,
        "A file of media types, as `/etc/mime.types`, that counts before those that are built in; repeatable",
    ),
    row(
        &["static-gzip-all"],
        Flag,
        "`FILE.gz` is sent instead of any file, where it exists and the client understands gzip",
    ),
    row(
        &["static-gzip-dir", "static-gzip-prefix"],
        Path,
        "The same for files whose path begins so; repeatable",
    ),
    row(
        &["static-gzip-ext", "static-gzip-suffix"],
        Text,
        "The same for files whose name ends so; repeatable",
    ),
    row(
        &["static-gzip"],
        FreeText,
        "The same for files whose path matches the regular expression; repeatable",
    ),
    row(
        &["static-expires"],
        FreeText,
        "`regular-expression seconds`: files whose path matches may be kept so long (`Expires`); the first rule that matches counts; repeatable",
    ),
    row(
        &["static-expires-mtime"],
        FreeText,
        "The same, counted from the last change of the file; repeatable",
    ),
    row(
        &["static-expires-type"],
        Pair,
        "`type=seconds`: the same for a media type, `image/png=3600`; repeatable",
    ),
    row(&["static-expires-type-mtime"], Pair, "The same, counted from the last change; repeatable"),
    row(
        &["static-expires-uri"],
        FreeText,
        "`regular-expression seconds`: the same for what matches the request's URI; repeatable",
    ),
    row(&["static-expires-uri-mtime"], FreeText, "The same, counted from the last change; repeatable"),
    row(&["static-expires-path-info"], FreeText, "The same for what matches the request's path; repeatable"),
    row(&["static-expires-path-info-mtime"], FreeText, "The same, counted from the last change; repeatable"),
    row(&["honour-range"], Flag, "Who asks for a part of a file gets that part"),
    row(
        &["file-serve-mode", "fileserve-mode"],
        Text,
        "`x-sendfile` or `x-accel-redirect`: the web server in front sends the file that such a header names",
    ),
];
