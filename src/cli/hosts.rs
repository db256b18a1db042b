//! `--hosts`: a list of emperors on several hosts, and what all of them tell.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::client::{Client, ClientError};
use super::command::Access;
use super::endpoint::{self, Endpoint};
use super::exit::Exit;
use super::names;
use super::paper::{Paper, Tone, complain, print_on};
use super::{status, trust};
use crate::api::views::VassalList;
use crate::trace::escaped;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many hosts a list may have.
const HOSTS_MAX: usize = 1000;
const LIST_LIMIT_BYTES: u64 = 1024 * 1024;

/// An emperor, and what it is called.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name; empty: it is the only one.
    pub name: String,
    /// The way to it.
    pub client: Client,
}

impl Host {
    /// The answer to a `GET`, if it comes soon.
    ///
    /// # Errors
    /// No answer, a late one, a refusal, or an answer of another version.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let late = |_| self.client.broken(format!("nothing came within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, self.client.get(path)).await.map_err(late)?
    }
}

/// Those that are to be asked: one, or those of the list.
///
/// # Errors
/// The list cannot be used, or the only emperor does not answer.
pub async fn find(access: &Access) -> Result<Vec<Host>, ClientError> {
    let Some(list) = &access.hosts else {
        return Ok(vec![Host { name: String::new(), client: Client::find(access).await? }]);
    };
    let token = access.token_file.as_deref().map(endpoint::token).transpose();
    let entries = token.and_then(|token| read(list, token.as_ref()));
    let mut hosts = entries.map_err(ClientError::Access)?;
    if hosts.iter().any(|host| host.client.is_secure()) {
        let trust = trust::config(access).map_err(ClientError::Access)?;
        hosts.iter_mut().for_each(|host| host.client.trust(&trust));
    }
    Ok(hosts)
}

/// The hosts of a list: `[NAME=]ADDRESS` separated by commas, or a file with a line `[NAME=]ADDRESS [TOKEN-FILE]` for
/// each.
fn read(list: &str, token: Option<&HeaderValue>) -> Result<Vec<Host>, String> {
    let path = Path::new(list);
    let hosts = match path.metadata() {
        Ok(metadata) if metadata.is_file() => {
            let cannot = |why: String| format!("cannot read the list of hosts {}: {why}", path.display());
            if metadata.len() > LIST_LIMIT_BYTES {
                return Err(cannot(format!("it is longer than {LIST_LIMIT_BYTES} bytes")));
            }
            let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
            lines(path, &text, token)?
        }
        _ => {
            list.split(',').map(|entry| host(entry.trim(), token.cloned())).collect::<Result<Vec<_>, _>>()?
        }
    };
    for (place, host) in hosts.iter().enumerate() {
        if hosts.iter().take(place).any(|other| other.name == host.name) {
            return Err(format!("two hosts of the list are called {}", escaped(&host.name)));
        }
    }
    match hosts.len() {
        0 => Err(format!("{}: there is no host in it", path.display())),
        1..=HOSTS_MAX => Ok(hosts),
        count => Err(format!("{count} hosts are too many: {HOSTS_MAX} at most")),
    }
}

fn lines(path: &Path, text: &str, token: Option<&HeaderValue>) -> Result<Vec<Host>, String> {
    let mut hosts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(entry) = words.next() else { continue };
        let wrong = |why: String| format!("{}:{}: {why}", path.display(), number + 1);
        // Beside the list, unless it says otherwise.
        let beside = |file: &str| path.parent().map_or_else(|| PathBuf::from(file), |place| place.join(file));
        let own = words.next().map(|file| endpoint::token(&beside(file))).transpose().map_err(wrong)?;
        if words.next().is_some() {
            return Err(wrong("write [NAME=]ADDRESS [TOKEN-FILE]".to_owned()));
        }
        hosts.push(host(entry, own.or_else(|| token.cloned())).map_err(wrong)?);
    }
    Ok(hosts)
}

fn host(entry: &str, token: Option<HeaderValue>) -> Result<Host, String> {
    let (name, address) = match entry.split_once('=') {
        Some((name, address)) => (name, address),
        None => ("", entry),
    };
    if address.is_empty() {
        return Err("a host has no address: write [NAME=]ADDRESS".to_owned());
    }
    let endpoint = Endpoint::parse(address)?;
    if name.is_empty() && matches!(endpoint, Endpoint::Unix(_)) && !address.contains('/') {
        return Err(format!(
            "{} is no file, and no address: write http://HOST:PORT or a path",
            escaped(address)
        ));
    }
    let name = match (name, &endpoint) {
        ("", Endpoint::Tcp { .. }) => endpoint.authority(),
        ("", Endpoint::Unix(path)) => path.display().to_string(),
        (name, _) => name.to_owned(),
    };
    Ok(Host { name, client: Client::new(endpoint, token, None) })
}

/// Prints how every host stands, each as it answers: none waits for another.
pub async fn status(hosts: Vec<Host>, wanted: &[String], only_names: bool, json: bool) -> Exit {
    let paper = Paper::stdout();
    let (sender, mut receiver) = mpsc::channel(hosts.len().max(1));
    for host in hosts {
        let sender = sender.clone();
        tokio::spawn(async move {
            let answer = host.ask::<VassalList>("/v1/vassals").await;
            let _ = sender.send((host.name, answer)).await;
        });
    }
    drop(sender);
    let mut exit = Exit::Done;
    while let Some((name, answer)) = receiver.recv().await {
        if answer.is_err() {
            exit = Exit::Unreachable;
        }
        let text = match (json, only_names) {
            (true, _) => machine(&name, answer, wanted),
            (false, true) => named(&name, answer, wanted),
            (false, false) => block(&name, answer, wanted, paper, SystemTime::now()),
        };
        if !print_on(&text) {
            break;
        }
    }
    exit
}

fn chosen(mut list: VassalList, wanted: &[String]) -> VassalList {
    let is_meant = |name: &str| wanted.is_empty() || wanted.iter().any(|given| names::is_meant(given, name));
    list.vassals.retain(|vassal| is_meant(&vassal.name));
    list
}

fn machine(name: &str, answer: Result<VassalList, ClientError>, wanted: &[String]) -> String {
    let (list, error) = match answer {
        Ok(list) => (Some(chosen(list, wanted)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    format!("{}\n", serde_json::json!({"host": name, "answer": list, "error": error}))
}

fn named(name: &str, answer: Result<VassalList, ClientError>, wanted: &[String]) -> String {
    match answer {
        Ok(list) => {
            let vassals = chosen(list, wanted).vassals;
            vassals.iter().map(|vassal| format!("{} {}\n", escaped(name), escaped(&vassal.name))).collect()
        }
        Err(error) => {
            complain(&format!("{}: {error}", escaped(name)));
            String::new()
        }
    }
}

fn block(
    name: &str,
    answer: Result<VassalList, ClientError>,
    wanted: &[String],
    paper: Paper,
    now: SystemTime,
) -> String {
    let title = paper.tone(Tone::Heading, &escaped(name));
    match answer {
        Err(error) => format!("{title}: {}\n", paper.tone(Tone::Bad, &error.to_string())),
        Ok(list) => {
            let summary = status::summary(&list, now);
            let mut shown = chosen(list, wanted).vassals;
            if wanted.is_empty() {
                shown.retain(status::needs_a_look);
            }
            let table = if shown.is_empty() { String::new() } else { status::table(&shown, paper, now) };
            let table: String = table.lines().map(|line| format!("  {line}\n")).collect();
            format!("{title}: {summary}{table}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hosts: &[Host]) -> String {
        hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_list_is_a_file_or_addresses() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("token"), "secret\n").unwrap();
        let file = path("hosts").display().to_string();
        for (text, expected) in [
            ("web1=http://10.0.0.1:9000 token\n\n# no\nhttp://web2:9000 # yes\n", Ok("web1 web2:9000")),
            ("here=/run/liege/api.sock\n", Ok("here")),
            ("", Err("there is no host in it")),
            ("a=http://x:1\na=http://y:1\n", Err("two hosts of the list are called a")),
            ("a=http://x:1 gone\n", Err(":1: cannot use the token file")),
            ("a=http://x:1 token more\n", Err(":1: write [NAME=]ADDRESS")),
            ("\na=ftp://x:1\n", Err(":2: ftp://x:1: write http://HOST:PORT")),
        ] {
            std::fs::write(path("hosts"), text).unwrap();
            match (read(&file, None), expected) {
                (Ok(hosts), Ok(expected)) => assert_eq!(names(&hosts), expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        assert_eq!(names(&read("a=http://x:1,http://y:2, b=/s", None).unwrap()), "a y:2 b");
        for wrong in ["a=", "http://x", "nowhere.list"] {
            assert!(read(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_without_an_answer_is_told() {
        let error = || ClientError::Broken { at: "http://web1:1".into(), reason: "nobody listens".into() };
        let paper = Paper { width: None, colour: false };
        let shown = block("web\u{1b}1", Err(error()), &[], paper, SystemTime::now());
        assert_eq!(shown, "web\\x1b1: the API at http://web1:1 did not answer: nobody listens\n");
        let json: serde_json::Value = serde_json::from_str(&machine("web1", Err(error()), &[])).unwrap();
        assert_eq!((&json["host"], json["answer"].is_null()), (&"web1".into(), true));
    }
}
