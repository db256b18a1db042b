//! The parts of the documentation that are made from the code are what the code says. `make docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::path::Path;

use liege::cli::manual::{self, Shell};
use liege::config::table;

#[test]
fn the_options_of_the_documentation_are_those_of_the_table() {
    is_made_of("docs/options.md", &table::markdown());
}

#[test]
fn the_manual_page_and_the_completions_are_those_of_the_code() {
    is_made_of("docs/liege.1", &manual::page());
    is_made_of("completions/liege.bash", &manual::completions(Shell::Bash));
    is_made_of("completions/_liege", &manual::completions(Shell::Zsh));
    is_made_of("completions/liege.fish", &manual::completions(Shell::Fish));
}

/// Compares, or writes anew where that is asked for.
fn is_made_of(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("LIEGE_MAKE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "{page} is behind the code: run `make docs`");
}
