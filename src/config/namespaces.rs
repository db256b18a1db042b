//! Namespaces that a vassal has for itself (`emperor-use-clone`).

use serde::{Deserialize, Serialize};

/// Which namespaces a vassal has for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Mounts (`fs`, `mount`, `mnt`, `ns`).
    pub mounts: bool,
    /// System V IPC and POSIX message queues (`ipc`).
    pub ipc: bool,
    /// Network (`net`).
    pub network: bool,
    /// Processes (`pid`); `/proc` then shows only them, so it comes with mounts.
    pub pids: bool,
    /// The host's name (`uts`).
    pub hostname: bool,
}

impl Namespaces {
    /// From a list as uWSGI has it: `pid,ipc,fs`.
    ///
    /// # Errors
    /// A name that is none, or cannot be had.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "fs" | "mount" | "mnt" | "ns" => all.mounts = true,
                "ipc" => all.ipc = true,
                "net" => all.network = true,
                "pid" => (all.pids, all.mounts) = (true, true),
                "uts" => all.hostname = true,
                "files" | "io" | "parent" | "sysvsem" => {
                    return Err(format!(
                        "`{name}` is no namespace: a program that is executed shares none of it"
                    ));
                }
                "user" => {
                    return Err("`user`: in a user namespace of its own a vassal is root, and outside nobody but the emperor's user; let it be its own user (emperor-tyrant, `uid`) with the other namespaces".to_owned());
                }
                other => return Err(format!("there is no namespace `{other}`")),
            }
        }
        Ok(all)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_uwsgi() {
        let of_pid = Namespaces { pids: true, mounts: true, ..Namespaces::default() };
        assert_eq!(Namespaces::parse("pid"), Ok(of_pid));
        assert_eq!(Namespaces::parse("fs, pid,"), Ok(of_pid));
        let rest = Namespaces { ipc: true, network: true, hostname: true, ..Namespaces::default() };
        assert_eq!(Namespaces::parse("ipc,net,uts"), Ok(rest));
        for bad in ["user", "files", "pids", "pid ipc"] {
            assert!(Namespaces::parse(bad).is_err(), "{bad}");
        }
    }
}
