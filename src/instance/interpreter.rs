//! Which Python runs the application, and which extension it loads.

use std::collections::HashMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::launch::Interpreter;
use crate::config::instance::{InstanceSpec, InterpreterSpec};
use crate::sys::exec;
use crate::sys::pipe;
use crate::sys::process::{self, Launch};
use crate::sys::way;
use crate::wire::failure::Failure;

/// Has an interpreter say where it is. Whoever asked may be gone by then, as with a rehearsal that is not wanted any more:
/// that ends it without a word.
const WHERE: &str = "import _signal, os, sys; _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL); os.write(1, os.fsencode(sys.executable))";
/// The longest path that an interpreter may answer with.
const PATH_LIMIT_BYTES: u64 = 4096;

/// The interpreter that `spec` asks for, and the extension for it. Only to be called by whom the application runs as:
/// it may run a script that a tenant named.
///
/// # Errors
/// One of them is missing; the failure says how to mend it.
pub(super) fn find_all(spec: &InstanceSpec, extension: Option<&Path>) -> Result<Interpreter, Failure> {
    Ok(Interpreter { python: find(spec)?, extension: find_extension(spec, extension)? })
}

/// The interpreter that `spec` asks for, itself.
fn find(spec: &InstanceSpec) -> Result<PathBuf, Failure> {
    let found = look(spec).map_err(|failure| failure.at(spec.place_of(&["python", "virtualenv"])))?;
    real(&found)
}

/// The interpreter that `spec` asks for: `python`, the virtualenv's, or `python3` from the PATH. Runs nothing.
///
/// # Errors
/// There is none; the failure says how to mend it.
pub fn look(spec: &InstanceSpec) -> Result<PathBuf, Failure> {
    Ok(match &spec.interpreter {
        InterpreterSpec { python: Some(python), .. } => named(python, path_of(spec).as_deref())?,
        InterpreterSpec { virtualenv: Some(virtualenv), .. } => of_virtualenv(virtualenv)?,
        _ => exec::find_program(OsStr::new("python3"), path_of(spec).as_deref()).ok_or_else(|| {
            Failure::new("there is no python3 on the PATH").with_hint("name an interpreter with `python`")
        })?,
    })
}

/// The extension for it: the option, beside the executable, or installed in the virtualenv.
///
/// # Errors
/// There is none.
fn find_extension(spec: &InstanceSpec, policy: Option<&Path>) -> Result<PathBuf, Failure> {
    const NAME: &str = "libliege.so";
    if let Some(named) = spec.interpreter.extension.as_deref().or(policy) {
        return if named.is_file() {
            Ok(named.to_owned())
        } else {
            Err(Failure::new(format!("the extension {} does not exist", named.display()))
                .at(spec.place_of(&["extension"])))
        };
    }
    let mut places = Vec::new();
    if let Some(beside) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(beside.join(NAME));
        places.push(beside.join("deps").join(NAME));
        places.push(beside.join("../lib/liege").join(NAME));
    }
    if let Some(virtualenv) = &spec.interpreter.virtualenv {
        let versions = fs::read_dir(virtualenv.join("lib")).into_iter().flatten().flatten();
        places.extend(versions.map(|version| version.path().join("site-packages/liege").join(NAME)));
    }
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        Failure::new(format!("the extension {NAME} is not at any of: {}", tried.join(", ")))
            .with_hint("install it beside the liege binary, or name it with `extension`")
    })
}

fn named(python: &Path, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    exec::find_program(python.as_os_str(), path).ok_or_else(|| {
        if let Some(directory) = way::barrier(python).filter(|_| python.is_absolute()) {
            return barred("python", python, &directory);
        }
        Failure::new(format!("python = {}: there is no such program", python.display()))
            .with_hint("give the path of an interpreter, such as /usr/bin/python3")
    })
}

fn of_virtualenv(virtualenv: &Path) -> Result<PathBuf, Failure> {
    let shown = virtualenv.display();
    for name in ["python", "python3"] {
        let python = virtualenv.join("bin").join(name);
        if python.is_file() {
            return Ok(python);
        }
        if let Some(directory) = way::barrier(&python) {
            return Err(barred(&format!("the virtualenv {shown}"), &python, &directory));
        }
        if let Ok(target) = fs::read_link(&python) {
            return Err(Failure::new(format!(
                "the virtualenv {shown} is broken: {} leads to {}, which is gone",
                python.display(),
                target.display()
            ))
            .with_hint(format!(
                "the Python that it was made with was removed; make it again: python3 -m venv --upgrade {shown}"
            )));
        }
    }
    let (message, hint) = if virtualenv.is_dir() {
        (
            format!("{shown} is not a virtualenv: it has no bin/python"),
            "name the directory that has bin/python".to_owned(),
        )
    } else {
        (format!("the virtualenv {shown} does not exist"), format!("make it: python3 -m venv {shown}"))
    };
    Err(Failure::new(message).with_hint(hint))
}

/// There may be an interpreter, and whom the application runs as does not get to it.
fn barred(what: &str, python: &Path, directory: &Path) -> Failure {
    let (python, directory) = (python.display(), directory.display());
    Failure::new(format!(
        "{what} cannot be used: the directory {directory}, on the way to {python}, lets this user not pass"
    ))
    .with_hint(format!(
        "let whom the instance runs as pass (chmod o+x {directory}), or make it with a Python elsewhere"
    ))
}

/// The interpreter itself. A program is taken as it is, so that a virtualenv's stays one; a script (a shim of pyenv and
/// the like) is asked once, because going through it costs a multiple of Python's own start.
fn real(found: &Path) -> Result<PathBuf, Failure> {
    type Known = HashMap<PathBuf, ((i64, i64), PathBuf)>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    if !is_script(found) {
        return Ok(found.to_owned());
    }
    let changed = fs::metadata(found).map_or((0, 0), |stat| (stat.mtime(), stat.mtime_nsec()));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((then, python)) = known.get(found)
        && *then == changed
    {
        return Ok(python.clone());
    }
    let python = ask(found).map_err(|error| {
        Failure::new(format!("the interpreter {} does not say where it is: {error}", found.display()))
    })?;
    known.insert(found.to_owned(), (changed, python.clone()));
    Ok(python)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

fn ask(script: &Path) -> io::Result<PathBuf> {
    let (reader, writer) = pipe::plain()?;
    let child = Launch::new(script).arg("-c").arg(WHERE).stdout(writer).spawn()?;
    let mut answer = Vec::new();
    fs::File::from(reader).take(PATH_LIMIT_BYTES).read_to_end(&mut answer)?;
    let exit = process::wait(&child)?;
    let python = PathBuf::from(OsString::from_vec(answer));
    if exit.is_success() && python.is_file() { Ok(python) } else { Err(io::Error::other(exit.to_string())) }
}

fn path_of(spec: &InstanceSpec) -> Option<OsString> {
    match spec.env.iter().rev().find(|(name, _)| name == "PATH") {
        Some((_, value)) => value.clone().map(OsString::from),
        None => env::var_os("PATH"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_broken_virtualenv_says_how_to_mend_it() {
        let home = tempfile::tempdir().unwrap();
        let missing = of_virtualenv(&home.path().join("none")).unwrap_err();
        assert!(missing.message.contains("does not exist"));
        let empty = of_virtualenv(home.path()).unwrap_err();
        assert!(empty.message.contains("is not a virtualenv"));
        fs::create_dir(home.path().join("bin")).unwrap();
        symlink("/nonexistent/python3.9", home.path().join("bin/python")).unwrap();
        let dangling = of_virtualenv(home.path()).unwrap_err();
        assert!(dangling.message.contains("/nonexistent/python3.9"), "{dangling}");
        assert!(dangling.hint.unwrap().contains("--upgrade"));
    }

    #[test]
    fn who_answers_to_nobody_says_nothing() {
        let python = exec::find_program(OsStr::new("python3"), env::var_os("PATH").as_deref()).unwrap();
        let ((gone, writer), (reader, errors)) = (pipe::plain().unwrap(), pipe::plain().unwrap());
        drop(gone);
        let launch = Launch::new(python).arg("-c").arg(WHERE).stdout(writer).stderr(errors);
        let child = launch.spawn().unwrap();
        let mut said = String::new();
        fs::File::from(reader).read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
        process::wait(&child).unwrap();
    }

    #[test]
    fn a_script_is_asked_and_a_program_is_not() {
        let home = tempfile::tempdir().unwrap();
        let shim = home.path().join("python3");
        let python = exec::find_program(OsStr::new("python3"), env::var_os("PATH").as_deref()).unwrap();
        let python = real(&python).unwrap();
        fs::write(&shim, format!("#!/bin/sh\nexec {} \"$@\"\n", python.display())).unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        let found = real(&shim).unwrap();
        assert!(!is_script(&found));
        assert_eq!(real(&python).unwrap(), python);
    }
}
