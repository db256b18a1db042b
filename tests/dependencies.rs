//! The crates that liege is made of: each from the registry, its version fixed, its licence one that `deny.toml` allows.

#![expect(clippy::expect_used, reason = "a test says what is wrong by panicking, also in its helpers")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_crate_is_from_the_registry_under_an_allowed_licence() {
    let allowed = allowed_licences();
    assert!(allowed.contains(&"MIT".to_owned()), "deny.toml was read: {allowed:?}");
    let crates = crates();
    assert!(crates.len() > 20, "cargo knows the crates");
    for package in crates {
        let text = |key: &str| package.get(key).and_then(Value::as_str);
        let name = text("name").expect("a name");
        if name == "liege" {
            continue;
        }
        let source = text("source").unwrap_or("a folder");
        assert!(
            source.starts_with("registry+https://github.com/rust-lang/crates.io-index"),
            "{name}: {source}"
        );
        let licence = text("license").unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
    }
}

#[test]
fn a_licence_is_allowed_if_all_its_parts_can_be() {
    let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    for (licence, expected) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0", false),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR GPL-3.0", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("(MIT OR GPL-3.0) AND MIT", true),
        ("none", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), expected, "{licence}");
    }
}

/// What cargo knows of the crates in `Cargo.lock` that are used here.
fn crates() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata.get("packages").and_then(Value::as_array).cloned().expect("packages")
}

fn allowed_licences() -> Vec<String> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml");
    let list = text.lines().find_map(|line| line.strip_prefix("allow = [")).expect("a list in one line");
    list.trim_end_matches(']').split(',').map(|one| one.trim().trim_matches('"').to_owned()).collect()
}

/// An SPDX expression without nesting: parts joined by `AND`, each a choice.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    licence.split(" AND ").all(|part| {
        let choices = part.trim_matches(['(', ')']).replace('/', " OR ");
        choices.split(" OR ").any(|choice| allowed.iter().any(|known| known == choice.trim()))
    })
}
