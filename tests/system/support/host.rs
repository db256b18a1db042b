//! A host: an emperor over a directory of its own, with its API.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::http::{Answer, Door};
use super::process::Family;
use super::server::{Folder, liege};
use super::wait::{eventually, until};

/// An emperor at work.
pub(crate) struct Host {
    /// Ended before the folder is removed.
    pub(crate) emperor: Family,
    folder: Folder,
}

impl Host {
    /// Starts an emperor over a directory with these files (name, text), each a vassal.
    pub(crate) fn start(vassals: &[(&str, &str)]) -> Self {
        Self::start_with(vassals, &[])
    }

    /// The same with further arguments; those that are no options are folders, and are made.
    pub(crate) fn start_with(vassals: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_in(Folder::new(), vassals, arguments)
    }

    /// The same by an emperor that is nobody, as its vassals; `None`, said, where nobody can become another user.
    pub(crate) fn start_as_nobody(arguments: &[&str]) -> Option<Self> {
        let folder = Folder::for_nobody()?;
        std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
        let library = format!("--vassals-default=extension={}/libliege.so", folder.path().display());
        let own = ["--uid=nobody", "--gid=nogroup", "--vassals-default=python=/usr/bin/python3", &library];
        Some(Self::start_in(folder, &[], &[arguments, &own].concat()))
    }

    fn start_in(folder: Folder, vassals: &[(&str, &str)], arguments: &[&str]) -> Self {
        std::fs::create_dir(folder.path().join("vassals")).unwrap();
        for name in arguments.iter().filter(|argument| !argument.starts_with('-')) {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, text) in vassals {
            folder.write(Path::new("vassals").join(name), text);
        }
        let emperor = liege(&folder, &[&["--emperor", "vassals", "--api", "api.sock"], arguments].concat());
        let host = Self { emperor, folder };
        until("the API", || host.api().get("/v1/vassals").is_ok());
        host
    }

    /// Starts an emperor over the same directory, as the service manager does when the one before died. What that one
    /// has started ends with what is returned.
    #[must_use]
    pub(crate) fn start_another(&mut self) -> Family {
        let another = liege(&self.folder, &["--emperor", "vassals", "--api", "api.sock"]);
        let before = std::mem::replace(&mut self.emperor, another);
        until("the API", || self.api().get("/v1/vassals").is_ok());
        before
    }

    /// The folder that everything of this host is in.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The path of a vassal's file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("vassals").join(name)
    }

    /// Writes a vassal's file by an atomic rename.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        self.folder.write(Path::new("vassals").join(name), text);
    }

    /// Gives a vassal's file a new time, as `touch` does.
    pub(crate) fn touch(&self, name: &str) {
        std::fs::File::options()
            .append(true)
            .open(self.file(name))
            .unwrap()
            .set_modified(SystemTime::now())
            .unwrap();
    }

    /// Removes a vassal's file.
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    /// The API's door.
    pub(crate) fn api(&self) -> Door {
        Door::Unix(self.folder.path().join("api.sock"))
    }

    /// A GET of the API that must be answered with 200.
    pub(crate) fn ask(&self, path: &str) -> Value {
        let answer = self.api().get(path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// A POST to the API.
    pub(crate) fn post(&self, path: &str) -> Answer {
        let headers = ["Connection: close", "Content-Type: application/json"];
        self.api().connect().unwrap().ask("POST", path, &headers, b"{}").unwrap()
    }

    /// What the API says of a vassal; `None` while it does not know it.
    pub(crate) fn vassal(&self, name: &str) -> Option<Value> {
        let answer = self.api().get(&format!("/v1/vassals/{}", percent(name))).ok()?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap())
    }

    /// Waits until what the API says of a vassal is so.
    pub(crate) fn wait_for_vassal(
        &self,
        name: &str,
        what: &str,
        mut is_so: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = None;
        eventually(&format!("{name} {what}"), || {
            last = self.vassal(name);
            last.clone().filter(|vassal| is_so(vassal))
        })
    }

    /// Reloads a vassal by the API, waits for the end of the operation, and returns it.
    pub(crate) fn reload(&self, name: &str) -> Value {
        let answer = self.post(&format!("/v1/vassals/{}/reload", percent(name)));
        assert!((200..300).contains(&answer.status), "{}", answer.text());
        let operation: Value = serde_json::from_slice(&answer.body).unwrap();
        self.wait_for_operation(&operation["id"])
    }

    /// Waits for the end of an operation and returns it.
    pub(crate) fn wait_for_operation(&self, id: &Value) -> Value {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        eventually(&format!("the end of operation {id}"), || {
            let operation = self.ask(&format!("/v1/operations/{id}"));
            (operation["outcome"] != "running").then_some(operation)
        })
    }
}

fn percent(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
