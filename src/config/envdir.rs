//! Directories with a file for each variable, as daemontools has them (`envdir`, `early-envdir`).

use std::path::Path;

use super::surroundings::{Kind, Surroundings};

/// The longest value that a file holds.
const VALUE_MAX: usize = 128 * 1024;

/// Variables in the order in which they are set; `None` removes one.
pub(super) type Changes = Vec<(String, Option<String>)>;

/// What a directory sets, and what is wrong with some of its files.
pub(super) fn read(directory: &Path, around: &dyn Surroundings) -> (Changes, Vec<String>) {
    let (mut changes, mut wrong) = (Vec::new(), Vec::new());
    if around.kind(directory) != Some(Kind::Directory) {
        return (changes, vec![format!("there is no directory {}", directory.display())]);
    }
    for file in around.matches(&format!("{}/*", glob::Pattern::escape(&directory.to_string_lossy()))) {
        let path = Path::new(&file);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = around.read(path, VALUE_MAX).map(|bytes| (bytes.len(), String::from_utf8(bytes)));
        match read {
            Ok((..=VALUE_MAX, Ok(text))) if !name.contains('=') && !text.contains('\0') => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                // An empty file removes the variable.
                changes.push((name, Some(text.to_owned()).filter(|text| !text.is_empty())));
            }
            Ok(_) => wrong.push(format!("{file} is no value of a variable")),
            Err(error) => wrong.push(format!("cannot read {file}: {error}")),
        }
    }
    (changes, wrong)
}

/// A variable of the environment after these changes.
pub(super) fn variable(name: &str, changes: &Changes, around: &dyn Surroundings) -> Option<String> {
    match changes.iter().rfind(|(changed, _)| changed == name) {
        Some((_, value)) => value.clone(),
        None => around.variable(name),
    }
}
