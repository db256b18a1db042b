//! Starting what belongs to an instance: zygotes in the vassal's interpreter, and our own binary in other roles.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::logs::Output;
use crate::config::instance::InstanceSpec;
use crate::sys::own;
use crate::sys::process::{Child, Launch};
use crate::wire::{boot, channel, inherited};

/// The binary that this process runs, even if another one has its path by now.
const THIS_BINARY: &str = "/proc/self/exe";

/// What a zygote is started with.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    /// The interpreter.
    pub(super) python: PathBuf,
    /// The extension.
    pub(super) extension: PathBuf,
}

/// What commands and interpreters of a vassal have in their environment, in place of what this process has.
pub(super) fn environment(spec: &InstanceSpec, supervised: bool) -> Vec<(String, Option<String>)> {
    let mut changes: Vec<(String, Option<String>)> =
        inherited::OF_ONE_PROCESS.map(|name| (name.to_owned(), None)).into();
    if supervised {
        // What the administrator's shell loads into every program is not for vassals.
        let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        changes.extend(names.filter(|name| name.starts_with("LD_")).map(|name| (name, None)));
    }
    if spec.interpreter.virtualenv.is_some() {
        changes.push(("PYTHONHOME".to_owned(), None));
    }
    changes.extend(spec.env.iter().cloned());
    changes
}

/// Starts a zygote, which writes to what `output` gives; answers our end of its channel.
///
/// # Errors
/// The interpreter cannot be started, or no descriptor is left.
pub(super) fn zygote(
    interpreter: &Interpreter,
    spec: &InstanceSpec,
    supervised: bool,
    output: &dyn Fn() -> io::Result<OwnedFd>,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    let mut launch = Launch::new(&interpreter.python);
    match spec.interpreter.optimize {
        0 => {}
        1 => launch = launch.arg("-O"),
        _ => launch = launch.arg("-OO"),
    }
    if spec.interpreter.no_site {
        launch = launch.arg("-S");
    }
    launch = launch.arg("-c").arg(boot::BOOT).stdin(theirs).stdout(output()?).stderr(output()?);
    if let Some(directory) = &spec.app.chdir {
        launch = launch.directory(directory);
    }
    for (name, value) in environment(spec, supervised) {
        launch = match value {
            Some(value) => launch.env(name, value),
            None => launch.unset_env(name),
        };
    }
    launch = launch.env(boot::EXTENSION_VARIABLE, &interpreter.extension).env(boot::CHANNEL_VARIABLE, "0");
    Ok((launch.spawn()?, ours))
}

/// Starts our binary in another role; answers our end of its channel. `binary` is another one than this process runs.
///
/// # Errors
/// It cannot be started, or no descriptor is left.
pub(super) fn role(
    role: &str,
    name: &str,
    binary: Option<&Path>,
    directory: Option<&Path>,
    output: Option<&Output>,
) -> io::Result<(Child, OwnedFd)> {
    let (mut launch, ours) = ourselves(role, name, binary.unwrap_or(Path::new(THIS_BINARY)), output)?;
    if let Some(directory) = directory {
        launch = launch.directory(directory);
    }
    Ok((launch.spawn()?, ours))
}

fn ourselves(
    role: &str,
    name: &str,
    binary: &Path,
    output: Option<&Output>,
) -> io::Result<(Launch, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    let mut launch = Launch::new(binary)
        .arg0("liege")
        .arg(role)
        .arg(name)
        .stdin(theirs)
        .env(inherited::VARIABLE, "0")
        .unset_env(inherited::RESUME_VARIABLE);
    if let Some(output) = output {
        launch = launch.stdout(output.for_child()?).stderr(output.for_child()?);
    }
    Ok((launch, ours))
}

/// Starts a keeper; answers our end of its channel. With `own_pids` it is the first process of a namespace.
///
/// # Errors
/// It cannot be started, or no descriptor is left.
pub(super) fn keeper(name: &str, own_pids: bool, output: &Output) -> io::Result<(Child, OwnedFd)> {
    let (launch, ours) = ourselves("keeper", name, Path::new(THIS_BINARY), Some(output))?;
    Ok((launch.own_pids(own_pids).spawn()?, ours))
}

/// The path by which this process's binary was started: after an upgrade it leads to the new one.
pub(super) fn own_path() -> PathBuf {
    let said = own::arguments().first().cloned().unwrap_or_else(|| OsString::from("liege"));
    let found = crate::sys::exec::find_program(&said, env::var_os("PATH").as_deref());
    let path = found.or_else(|| env::current_exe().ok()).unwrap_or_else(|| PathBuf::from(said));
    if path.is_absolute() { path } else { env::current_dir().map_or(path.clone(), |d| d.join(&path)) }
}
