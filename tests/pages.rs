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

#[test]
fn every_test_that_the_page_of_defects_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/defects.md")).unwrap();
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        read_all(&root.join(folder), &mut sources);
    }
    let mut count = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let tests: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let definition = format!("fn {test}(");
            assert!(sources.iter().any(|text| text.contains(&definition)), "there is no test {test}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

fn read_all(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(".venv") {
            read_all(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
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
