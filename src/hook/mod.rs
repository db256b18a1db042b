//! Doing what hooks say: commands, files and waits, one after the other.

pub mod role;
mod wait;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::config::hook::{Action, Hook, Point};
use crate::sys::process::{Exit, Launch};
use crate::sys::{output, user};
use crate::wire::failure::Failure;

/// Who does them: what begins is told, and who can be held up runs the commands.
pub trait Stage {
    /// A hook begins; `limit`: what it gives itself, `None` where only whoever waits for it limits it.
    fn begins(&mut self, what: &str, limit: Option<Duration>);

    /// Runs a command to its end; `None`: it got its time, and was killed.
    ///
    /// # Errors
    /// It cannot be started.
    fn run(&mut self, command: Launch) -> io::Result<Option<Exit>>;
}

/// Does what these say, in order, until one fails. `env`: variables of the commands, in place of this process's.
///
/// # Errors
/// The first that fails, by its name, how it failed, and where it was said.
pub fn perform(
    hooks: &[Hook],
    env: &[(String, Option<String>)],
    stage: &mut dyn Stage,
) -> Result<(), Failure> {
    for hook in hooks {
        let shown = hook.said.as_deref();
        let phase = hook.point.phase();
        match (&hook.action, shown) {
            (Action::Print(_), _) => {}
            (Action::Wait { patience_s, .. }, Some(what)) => {
                tracing::info!("waiting for {what} (max {patience_s} seconds) ...");
            }
            (_, Some(said)) => tracing::info!("running \"{said}\" ({phase})..."),
            (_, None) => tracing::info!("running --- PRIVATE HOOK --- ({phase})..."),
        }
        stage.begins(&name(hook), limit(hook));
        act(&hook.action, env, stage).map_err(|how| {
            let what = name(hook);
            match &hook.action {
                Action::Exec { .. } => Failure::new(format!("{what}: the command ended with {how}")),
                _ => Failure::new(format!("{what}: {how}")),
            }
        })?;
    }
    Ok(())
}

/// `exec-asap = install -d /run/x (app.ini:7)`.
#[must_use]
pub fn name(hook: &Hook) -> String {
    let said = hook.said.as_deref().map(|said| format!(" = {said}")).unwrap_or_default();
    format!("{}{said} ({})", hook.option, hook.place.0)
}

/// What it gives itself.
fn limit(hook: &Hook) -> Option<Duration> {
    match &hook.action {
        Action::Wait { patience_s, .. } => Some(Duration::from_secs((*patience_s).into())),
        _ => None,
    }
}

fn act(action: &Action, env: &[(String, Option<String>)], stage: &mut dyn Stage) -> Result<(), String> {
    let done = match action {
        Action::Exec { command, safe } => return execute(command, *safe, env, stage),
        Action::Wait { what, patience_s } => return wait::until_there(what, *patience_s),
        Action::WriteFifo { path, text, patient } => return wait::write_to_reader(path, text, *patient),
        Action::Print(text) => {
            tracing::info!("{text}");
            Ok(())
        }
        Action::Chdir(path) => std::env::set_current_dir(path),
        // What an instance that was killed left behind, or what this one made before a reload.
        Action::Mkdir(path) if path.is_dir() => Ok(()),
        Action::Mkdir(path) => fs::create_dir(path),
        Action::Unlink(path) => fs::remove_file(path),
        Action::Create(path) => output::write(path, false).map(drop),
        Action::Touch(path) => touch(path),
        Action::Write { path, text, append } => write(path, text, *append),
        Action::Chmod(path, mode) => output::set_mode(path, |_| *mode),
        Action::Sticky(path) => output::set_mode(path, |mode| mode | 0o1000),
        Action::Chown { path, user, group } => {
            user::uid_of(user).and_then(|uid| output::give(path, uid, user::gid_of(group)?))
        }
        // What these mean was seen to when the configuration was read.
        Action::Putenv(..) | Action::Signal(..) => Ok(()),
    };
    done.map_err(|error| error.to_string())
}

fn execute(
    command: &str,
    safe: bool,
    env: &[(String, Option<String>)],
    stage: &mut dyn Stage,
) -> Result<(), String> {
    let mut launch = Launch::new("/bin/sh").arg("-c").arg(command);
    for (name, value) in env {
        launch = match value {
            Some(value) => launch.env(name, value),
            None => launch.unset_env(name),
        };
    }
    let how = match stage.run(launch) {
        Ok(Some(exit)) if exit.is_success() => return Ok(()),
        Ok(Some(exit)) => exit.to_string(),
        Ok(None) => "SIGKILL: it ran for too long".to_owned(),
        Err(error) => error.to_string(),
    };
    if safe {
        tracing::warn!("command \"{command}\" ended with {how}");
        return Ok(());
    }
    Err(how)
}

fn write(path: &Path, text: &str, append: bool) -> io::Result<()> {
    output::write(path, append)?.write_all(text.as_bytes())
}

fn touch(path: &Path) -> io::Result<()> {
    let file: File = output::write(path, true)?;
    file.set_modified(std::time::SystemTime::now())
}

/// The hooks of some points, in the order of the points.
#[must_use]
pub fn of(hooks: &[Hook], points: &[Point]) -> Vec<Hook> {
    points.iter().flat_map(|point| crate::config::hook::at(hooks, point)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::hook::{Place, parse};
    use crate::sys::process;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Stage for Told {
        fn begins(&mut self, what: &str, _: Option<Duration>) {
            self.0.push(what.to_owned());
        }

        fn run(&mut self, command: Launch) -> io::Result<Option<Exit>> {
            process::wait(&command.spawn()?).map(Some)
        }
    }

    fn hook(text: &str) -> Hook {
        let (action, _) = parse(text).unwrap();
        Hook {
            point: Point::Asap,
            late: false,
            action,
            option: "hook-asap".to_owned(),
            said: Some(text.to_owned()),
            place: Place("a.ini:3".to_owned()),
        }
    }

    #[test]
    fn files_are_made_and_changed_in_order() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let (dir, file, gone) = (at("d"), at("d/f"), at("gone"));
        let hooks: Vec<Hook> = [
            format!("mkdir:{dir}"),
            format!("mkdir:{dir}"),
            format!("write:{file} one"),
            format!("append:{file} two"),
            format!("appendn:{file}"),
            format!("exec:printf \"$A\" >> {file}; test -z \"$HOME\""),
            format!("chmod:{file} 640"),
            format!("sticky:{dir}"),
            format!("touch:{}", at("t")),
            format!("create:{gone}"),
            format!("unlink:{gone}"),
            "safeexec:exit 3".to_owned(),
            format!("wait_for_file:{file}"),
            format!("wait_for_dir:{dir}"),
            "print:done".to_owned(),
        ]
        .iter()
        .map(|text| hook(text))
        .collect();
        let env = [("A".to_owned(), Some("three".to_owned())), ("HOME".to_owned(), None)];
        let mut told = Told::default();
        perform(&hooks, &env, &mut told).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "onetwo\nthree");
        assert!(Path::new(&at("t")).exists() && !Path::new(&gone).exists());
        assert_eq!(told.0.len(), hooks.len());
        assert_eq!(told.0[0], format!("hook-asap = mkdir:{dir} (a.ini:3)"));
    }

    #[test]
    fn what_fails_says_its_name_how_and_where_and_nothing_follows() {
        let home = tempfile::tempdir().unwrap();
        let after = home.path().join("after");
        for (text, how) in [
            ("exec:exit 7", "hook-asap = exec:exit 7 (a.ini:3): the command ended with exit status 7"),
            ("exec:kill -9 $$", "signal 9"),
            ("mkdir:/proc/x", "hook-asap = mkdir:/proc/x (a.ini:3): "),
            ("write:/nonexistent/x y", "No such file"),
            ("chown:/etc/passwd nosuchuser root", "there is no user nosuchuser"),
            ("writefifo:/nonexistent/x y", "No such file"),
        ] {
            let hooks = [hook(text), hook(&format!("create:{}", after.display()))];
            let failure = perform(&hooks, &[], &mut Told::default()).unwrap_err();
            assert!(failure.message.contains(how), "{text}: {failure}");
            assert!(!after.exists());
        }
    }
}
