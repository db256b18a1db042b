//! `liege check FILE…`: what is wrong with vassal files, as an instance would see them.

use std::path::Path;

use super::exit::Exit;
use super::failure;
use super::paper::{complain, print};
use crate::config::load;
use crate::config::surroundings::{Surroundings, World};

/// How much of a file is read.
const FILE_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// Prints every mistake and doubt of each file.
#[must_use]
pub fn run(files: &[std::path::PathBuf]) -> Exit {
    files.iter().fold(Exit::Done, |exit, file| exit.worse(check(file)))
}

fn check(file: &Path) -> Exit {
    let world = World::here();
    let (path, bytes) =
        match world.locate(file).and_then(|path| Ok((path.clone(), world.read(&path, FILE_LIMIT_BYTES)?))) {
            Ok(found) => found,
            Err(error) => {
                complain(&format!("cannot read {}: {error}", file.display()));
                return Exit::Failed;
            }
        };
    if bytes.len() > FILE_LIMIT_BYTES {
        complain(&format!("{} is longer than {FILE_LIMIT_BYTES} bytes", file.display()));
        return Exit::Failed;
    }
    let loaded = load::vassal(&path.to_string_lossy(), &bytes, &world);
    for diagnostic in &loaded.diagnostics {
        print(&failure::diagnostic(diagnostic, ""));
    }
    match loaded.spec {
        None => Exit::Failed,
        Some(_) => {
            print(&format!("{}: good\n", file.display()));
            Exit::Done
        }
    }
}
