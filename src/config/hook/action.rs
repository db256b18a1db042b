//! The language of `hook-*`: `exec:touch x` and the like.

use std::path::PathBuf;

use super::{Action, Awaited, Meaning, Number, PATIENCE_S};
use crate::config::address::Address;
use crate::config::value;

/// What can be said, for messages.
const ACTIONS: &str = "exec, safeexec, print, log, chdir, putenv, mkdir, unlink, create, touch, write, writen, append, appendn, writefifo, spinningfifo, chmod, sticky, chown, chown2, wait_for_fs, wait_for_file, wait_for_dir, wait_for_socket, unix_signal";

/// Why a text is no action, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAction {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl NoAction {
    fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }

    fn form(name: &str, form: &str) -> Self {
        Self::new(format!("invalid {name} syntax"), format!("write {name}:{form}"))
    }
}

/// What a text such as `exec:touch x` says, and whether the log is to keep quiet of it (`!` in front).
///
/// # Errors
/// It is no action of ours.
pub fn parse(text: &str) -> Result<(Action, bool), NoAction> {
    let Some((name, argument)) = text.split_once(':') else {
        return Err(NoAction::new("invalid hook syntax, must be hook:args", format!("there are {ACTIONS}")));
    };
    let (name, private) = name.strip_prefix('!').map_or((name, false), |name| (name, true));
    action(name, argument).map(|action| (action, private))
}

fn action(name: &str, argument: &str) -> Result<Action, NoAction> {
    let path = || match argument {
        "" => Err(NoAction::form(name, "PATH")),
        path => Ok(PathBuf::from(path)),
    };
    let pair = |form: &str| match argument.split_once(' ') {
        Some((path, rest)) if !path.is_empty() => Ok((PathBuf::from(path), rest.to_owned())),
        _ => Err(NoAction::form(name, form)),
    };
    let wait = |what: Awaited| Ok(Action::Wait { what, patience_s: PATIENCE_S });
    match name {
        "exec" | "safeexec" => Ok(Action::Exec { command: argument.to_owned(), safe: name == "safeexec" }),
        "print" | "log" => Ok(Action::Print(argument.to_owned())),
        "cd" | "chdir" => path().map(Action::Chdir),
        "putenv" => match argument.split_once('=') {
            Some((variable, text)) if !variable.is_empty() && !argument.contains('\0') => {
                Ok(Action::Putenv(variable.to_owned(), text.to_owned()))
            }
            _ => Err(NoAction::form(name, "NAME=VALUE")),
        },
        "mkdir" => path().map(Action::Mkdir),
        "unlink" => path().map(Action::Unlink),
        "create" | "creat" => path().map(Action::Create),
        "touch" => path().map(Action::Touch),
        "appendn" if !argument.is_empty() && !argument.contains(' ') => {
            Ok(Action::Write { path: path()?, text: "\n".to_owned(), append: true })
        }
        "write" | "writen" | "append" | "appendn" => {
            let (path, mut text) = pair("FILE STRING")?;
            if name.ends_with('n') {
                text.push('\n');
            }
            Ok(Action::Write { path, text, append: name.starts_with("append") })
        }
        "writefifo" | "spinningfifo" => {
            let (path, text) = pair("FIFO STRING")?;
            Ok(Action::WriteFifo { path, text, patient: name == "spinningfifo" })
        }
        "chmod" => {
            let (path, mode) = pair("FILE MODE")?;
            match value::octal(&mode).filter(|_| matches!(mode.len(), 3 | 4)) {
                Some(mode) => Ok(Action::Chmod(path, mode)),
                None => Err(NoAction::form(name, "FILE MODE, with a mode such as 640")),
            }
        }
        "sticky" => path().map(Action::Sticky),
        "chown" | "chown2" => {
            let form = "FILE USER GROUP";
            let (path, owner) = pair(form)?;
            let (user, group) = owner.split_once(' ').ok_or_else(|| NoAction::form(name, form))?;
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if name == "chown2" && !(is_number(user) && is_number(group)) {
                return Err(NoAction::form(name, "FILE UID GID, with numbers"));
            }
            Ok(Action::Chown { path, user: user.to_owned(), group: group.to_owned() })
        }
        "wait_for_fs" => wait(Awaited::Any(path()?)),
        "wait_for_file" => wait(Awaited::File(path()?)),
        "wait_for_dir" => wait(Awaited::Directory(path()?)),
        "wait_for_socket" => match Address::parse(argument, std::path::Path::new("")) {
            Ok((address, _)) => wait(Awaited::Socket(address)),
            Err(error) => Err(NoAction::new(error, "write wait_for_socket:ADDRESS")),
        },
        "unix_signal" => signal(argument),
        _ => Err(missing(name)),
    }
}

fn signal(argument: &str) -> Result<Action, NoAction> {
    let (number, function) =
        argument.split_once(' ').ok_or_else(|| NoAction::form("unix_signal", "NUMBER FUNCTION"))?;
    let number = match number {
        "1" => Number::Hup,
        "2" => Number::Int,
        "3" => Number::Quit,
        "10" => Number::Usr1,
        "15" => Number::Term,
        other => {
            let message = format!("the meaning of signal {other} cannot be chosen");
            return Err(NoAction::new(message, "there are 1, 2, 3, 10 and 15"));
        }
    };
    let meaning = match function {
        "gracefully_kill_them_all" | "kill_them_all" => Meaning::Stop,
        "grace_them_all" | "reap_them_all" => Meaning::Reload,
        "stats" => Meaning::Statistics,
        other => {
            let message = format!("unable to find function \"{other}\"");
            let advice =
                "there are gracefully_kill_them_all, kill_them_all, grace_them_all, reap_them_all and stats";
            return Err(NoAction::new(message, advice));
        }
    };
    Ok(Action::Signal(number, meaning))
}

/// What uWSGI has, with what to do instead; or what nobody has.
fn missing(name: &str) -> NoAction {
    let advice = match name {
        "mount" | "umount" => "mount it by the service unit (RequiresMountsFor=) or /etc/fstab",
        "call" | "callret" | "callint" | "callintret" | "ffi" | "tcc" | "perl" => {
            "functions of uWSGI's own program are not there: say exec:COMMAND"
        }
        "hostname" => "the name is the host's: emperor-use-clone = uts and hostnamectl, or a container",
        "alarm" => "say exec:COMMAND, with what tells you",
        "rpc" | "retryrpc" => "there is no uwsgi RPC: say exec:COMMAND, such as curl",
        "exit" => "say exec:false: what fails ends the start",
        _ => {
            return NoAction::new(format!("hook action not found: {name}"), format!("there are {ACTIONS}"));
        }
    };
    NoAction::new(format!("liege does not do {name}:"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_form() {
        let exec = |command: &str, safe| Action::Exec { command: command.to_owned(), safe };
        let write = |text: &str, append| Action::Write { path: "/f".into(), text: text.to_owned(), append };
        let fifo = |patient| Action::WriteFifo { path: "/f".into(), text: "a b".to_owned(), patient };
        let own = |user: &str, group: &str| Action::Chown {
            path: "/f".into(),
            user: user.to_owned(),
            group: group.to_owned(),
        };
        let wait = |what| Action::Wait { what, patience_s: 60 };
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 5432 };
        for (text, expected) in [
            ("exec:touch /f; b:c", exec("touch /f; b:c", false)),
            ("safeexec:false", exec("false", true)),
            ("print:", Action::Print(String::new())),
            ("log:a: b", Action::Print("a: b".to_owned())),
            ("cd:/d", Action::Chdir("/d".into())),
            ("chdir:d", Action::Chdir("d".into())),
            ("putenv:A=b=c", Action::Putenv("A".to_owned(), "b=c".to_owned())),
            ("mkdir:/d", Action::Mkdir("/d".into())),
            ("unlink:/f", Action::Unlink("/f".into())),
            ("creat:/f", Action::Create("/f".into())),
            ("create:/f", Action::Create("/f".into())),
            ("touch:/f", Action::Touch("/f".into())),
            ("write:/f a b", write("a b", false)),
            ("write:/f ", write("", false)),
            ("writen:/f a", write("a\n", false)),
            ("append:/f a", write("a", true)),
            ("appendn:/f a", write("a\n", true)),
            ("appendn:/f", write("\n", true)),
            ("writefifo:/f a b", fifo(false)),
            ("spinningfifo:/f a b", fifo(true)),
            ("chmod:/f 640", Action::Chmod("/f".into(), 0o640)),
            ("chmod:/f 1777", Action::Chmod("/f".into(), 0o1777)),
            ("sticky:/f", Action::Sticky("/f".into())),
            ("chown:/f www-data www-data", own("www-data", "www-data")),
            ("chown2:/f 33 0", own("33", "0")),
            ("wait_for_fs:/f", wait(Awaited::Any("/f".into()))),
            ("wait_for_file:/f", wait(Awaited::File("/f".into()))),
            ("wait_for_dir:/f", wait(Awaited::Directory("/f".into()))),
            ("wait_for_socket:127.0.0.1:5432", wait(Awaited::Socket(address))),
            ("unix_signal:15 gracefully_kill_them_all", Action::Signal(Number::Term, Meaning::Stop)),
            ("unix_signal:1 kill_them_all", Action::Signal(Number::Hup, Meaning::Stop)),
            ("unix_signal:10 grace_them_all", Action::Signal(Number::Usr1, Meaning::Reload)),
            ("unix_signal:2 stats", Action::Signal(Number::Int, Meaning::Statistics)),
        ] {
            assert_eq!(parse(text), Ok((expected.clone(), false)), "{text}");
            assert_eq!(parse(&format!("!{text}")), Ok((expected, true)), "!{text}");
        }
    }

    #[test]
    fn what_is_no_action_says_what_to_do() {
        for (text, message, advice) in [
            ("touch /f", "invalid hook syntax", "there are exec,"),
            ("tuch:/f", "hook action not found: tuch", "there are exec,"),
            ("write:/f", "invalid write syntax", "write:FILE STRING"),
            ("mkdir:", "invalid mkdir syntax", "mkdir:PATH"),
            ("chmod:/f rw", "invalid chmod syntax", "640"),
            ("chown:/f root", "invalid chown syntax", "USER GROUP"),
            ("chown2:/f root root", "invalid chown2 syntax", "UID"),
            ("putenv:A", "invalid putenv syntax", "NAME=VALUE"),
            ("unix_signal:15", "invalid unix_signal syntax", "NUMBER FUNCTION"),
            ("unix_signal:9 kill_them_all", "signal 9", "15"),
            ("unix_signal:15 end_me", "unable to find function \"end_me\"", "gracefully_kill_them_all"),
            ("mount:proc none /proc", "liege does not do mount:", "service unit"),
            ("call:uwsgi_log x", "liege does not do call:", "exec:COMMAND"),
            ("exit:1", "liege does not do exit:", "exec:false"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(message) && error.advice.contains(advice), "{text}: {error:?}");
        }
    }
}
