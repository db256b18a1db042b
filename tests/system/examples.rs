//! What the README shows exists and works: its commands, its links, and the examples.

use std::path::Path;

use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::{free_port, root};

#[test]
fn the_readme_shows_run_and_test_in_its_first_screen() {
    let readme = read("README.md");
    let screen: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    let makefile = read("Makefile");
    for target in ["run", "test"] {
        assert!(screen.contains(&format!("make {target}")), "{target}");
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
    }
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    for name in pages() {
        for (at, _) in read(&name).match_indices("`make ") {
            let text = read(&name);
            let target: String =
                text[at + 6..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
            assert!(makefile.contains(&format!("\n{target}:")), "{name}: make {target}");
        }
    }
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    for name in pages() {
        let text = read(&name);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let path = root().join(&name).parent().unwrap().join(target);
                assert!(path.exists(), "{name}: {target}");
            }
        }
    }
}

#[test]
fn the_examples_serve() {
    let host = Host::start(&[]);
    for app in std::fs::read_dir(root().join("vassals.example/apps")).unwrap() {
        let path = app.unwrap().path();
        if path.is_file() {
            let name = Path::new("vassals/apps").join(path.file_name().unwrap());
            host.folder().write(name, std::fs::read(&path).unwrap());
        }
    }
    // The ports of the examples are fixed; here they make room for others.
    let mut doors = Vec::new();
    for (name, port) in [("hello.ini", "8001"), ("notes.ini", "8002"), ("router.ini", "8003")] {
        let free = free_port();
        let text = read(&format!("vassals.example/{name}"));
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{name}");
        let text = text.replace(port, &free.to_string()).replace("9192", &free_port().to_string());
        host.write(name, text);
        doors.push(Door::Port(free));
    }
    doors[0].wait_for("/", "Hello from liege.\n");
    crate::support::wait::until("the notes", || {
        doors[1].get("/").is_ok_and(|answer| answer.text().starts_with("Notes of notes"))
    });
    crate::support::wait::until("the clock", || {
        doors[2].get("/").is_ok_and(|answer| answer.text().len() == 9)
    });
}

/// README, CHANGELOG and the pages of `docs`.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}
