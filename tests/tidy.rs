//! Holds the code to the rules of `docs/architecture.md`: its tables are read from the page, not repeated here.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use rules::Rules;
use source::Source;

#[test]
fn the_code_obeys_the_architecture_page() {
    let rules = Rules::parse(&page()).expect("docs/architecture.md");
    let sources = Source::all(root());
    assert!(sources.len() > 20, "the sources were found");
    let broken: Vec<String> = sources.iter().flat_map(|source| rules.check(source)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_architecture_page_knows_every_folder_and_names_no_other() {
    let rules = Rules::parse(&page()).expect("docs/architecture.md");
    let mut found: Vec<String> = std::fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "lib")
        .collect();
    found.sort();
    let mut named: Vec<String> = rules.folders().map(str::to_owned).collect();
    named.sort();
    assert_eq!(found, named);
}

#[test]
fn no_folder_imports_what_imports_it() {
    let rules = Rules::parse(&page()).expect("docs/architecture.md");
    for folder in rules.folders() {
        for imported in rules.imports_of(folder) {
            assert!(!rules.imports_of(imported).contains(&folder.to_owned()), "{folder} and {imported}");
        }
    }
}

#[test]
fn every_rule_can_fail() {
    let rules = Rules::parse(&page()).expect("docs/architecture.md");
    // Path, text, and what the complaint must say; `None`: nothing to complain about.
    let rows: &[(&str, &str, Option<&str>)] = &[
        ("src/emperor/a.rs", "//! A.\nuse crate::wire::message;", None),
        ("src/emperor/a.rs", "//! A.\nuse crate::instance::run;", Some("imports instance")),
        ("src/wire/a.rs", "//! A.\nfn a() { crate::api::b() }", Some("imports api")),
        ("src/sys/a.rs", "//! A.\nuse crate::{tick::Tick, stats::{a, b}};", Some("imports stats")),
        ("src/sys/mod.rs", "//! A.\nuse super::wire::a;", Some("imports wire")),
        ("src/sys/a.rs", "//! A.\nuse super::wire::a;", None),
        ("src/sys/a/b.rs", "//! A.\nuse super::super::super::wire::a;", Some("imports wire")),
        ("src/sys/a.rs", "//! A.\n// as crate::wire does\nfn a() {}", None),
        ("src/sys/a.rs", "//! A.\nfn a() { b(\"crate::wire\") }", None),
        ("src/worker/a.rs", "//! A.\nuse pyo3::prelude::*;", None),
        ("src/gateway/a.rs", "//! A.\nuse pyo3::prelude::*;", Some("`pyo3`")),
        ("src/emperor/a.rs", "//! A.\nuse axum::Router;", Some("`axum`")),
        ("src/instance/a.rs", "//! A.\nfn a() { libc::fork(); }", Some("`libc`")),
        ("src/router/a.rs", "//! A.\nuse nix::unistd;", Some("`nix`")),
        ("src/wire/a.rs", "//! A.\nfn a() { unsafe { b() } }", Some("`unsafe`")),
        ("src/worker/fork.rs", "//! A.\nfn a() { unsafe { b() } }", None),
        ("src/worker/fork/pid.rs", "//! A.\nfn a() { unsafe { b() } }", None),
        ("src/worker/forked.rs", "//! A.\nfn a() { unsafe { b() } }", Some("`unsafe`")),
        ("src/instance/a.rs", "//! A.\nfn a() { Command::new(b) }", Some("`Command::new`")),
        ("src/sys/process.rs", "//! A.\nfn a() { Command::new(b) }", None),
        ("src/api/a.rs", "//! A.\nfn a() { println!() }", Some("`println!`")),
        ("src/api/a.rs", "//! A.\nfn a() { eprintln!() }", Some("`println!`")),
        ("src/cli/a.rs", "//! A.\nfn a() { println!() }", None),
        ("src/api/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    fn a() { println!() }\n}", None),
        ("src/api/a.rs", "fn a() {}", Some("begins with `//!`")),
        ("src/api/utils.rs", "//! A.", Some("says nothing")),
        ("src/helpers/a.rs", "//! A.", Some("says nothing")),
        ("src/api/a.rs", "//! A.\n// TODO: later", Some("TODO")),
        ("tests/a.rs", "//! A.\n#[ignore]\nfn a() {}", Some("ignore")),
        ("src/api/a.rs", "//! A.\nfn a() { todo!() }", Some("todo!")),
        ("src/api/a.rs", "//! A.\n#[allow(dead_code)]\nfn a() {}", Some("expect")),
        ("src/api/a.rs", "//! See ../shared/spec.", Some("stands alone")),
        ("src/unknown/a.rs", "//! A.", Some("no row")),
    ];
    for (path, text, complaint) in rows {
        let found = rules.check(&Source::new(path, text));
        match complaint {
            None => assert!(found.is_empty(), "{path}: {text}\n{found:?}"),
            Some(part) => assert!(found.iter().any(|line| line.contains(part)), "{path}: {text}\n{found:?}"),
        }
    }
    let long = format!("//! A.\n{}", "fn a() {}\n".repeat(400));
    assert!(rules.check(&Source::new("src/api/a.rs", &long)).iter().any(|line| line.contains("401 lines")));
}

#[test]
fn a_page_without_its_tables_is_refused() {
    assert!(Rules::parse("# Architecture\n").is_err());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/architecture.md")).unwrap()
}
