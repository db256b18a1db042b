//! A source file as the rules see it: as written, and as code alone (no comments, no text in quotes, no tests).

use std::path::Path;

/// A source file.
pub(crate) struct Source {
    /// From the root of the clone: `src/emperor/run.rs`.
    pub(crate) path: String,
    /// As written.
    pub(crate) text: String,
    /// Without comments, without what stands in quotes, and without the tests at the end.
    pub(crate) code: String,
    /// How long it is without the tests at the end.
    pub(crate) lines: usize,
}

impl Source {
    /// Takes a file apart.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let lines = text[..end].lines().count();
        Self { path: path.to_owned(), text: text.to_owned(), code: strip(&text[..end]), lines }
    }

    /// Every Rust file of the clone's `src` and `tests`, except the rules themselves, which name what they forbid.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let mut sources = Vec::new();
        for folder in ["src", "tests"] {
            collect(root, &root.join(folder), &mut sources);
        }
        sources.retain(|source| !source.path.starts_with("tests/tidy"));
        sources
    }

    /// The folder of `src` (or the file, for one that stands there alone) that this belongs to.
    pub(crate) fn folder(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Virtualenvs and caches are not ours.
            if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
                collect(root, &path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            sources.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Blanks comments and the contents of quoted text. Raw strings and nested block comments are rare enough here that
/// a line-wise reading with one state serves.
fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if rest.starts_with("r#\"") {
            code.push_str("\"\"");
            rest = rest[3..].find("\"#").map_or("", |end| &rest[3 + end + 2..]);
        } else if first == '"' {
            code.push_str("\"\"");
            rest = after_quote(&rest[1..]);
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest = &rest[rest.find("\"'").unwrap() + 2..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

fn after_quote(text: &str) -> &str {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return &text[at + 1..],
            _ => escaped = false,
        }
    }
    ""
}
