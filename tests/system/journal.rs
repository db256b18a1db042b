//! The journal of systemd, as far as a socket can be it: whose line it is, and that nobody's flood drowns the others'.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::Folder;
use crate::support::wait::{PATIENCE, until};
use crate::support::{LIEGE, extension, free_port};

type Entry = BTreeMap<String, String>;

/// Says what is asked for; a flood is four megabytes.
const SPEAKER: &str = "import sys, urllib.parse
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/flood':
        for number in range(20000):
            print('flood', number, 'x' * 200, file=sys.stderr)
    print(urllib.parse.unquote(environ['QUERY_STRING']), file=sys.stderr, flush=True)
    return [b'ok']
";

/// The fields of an entry; none of ours has several lines.
fn entry(datagram: &[u8]) -> Entry {
    let text = std::str::from_utf8(datagram).unwrap();
    text.lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// What a journal reads that takes so long for each entry, until it is removed.
fn journal(folder: &Folder, for_each: Duration) -> Receiver<Entry> {
    let path = folder.path().join("journal");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (sender, entries) = channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while path.exists() {
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            if sender.send(entry(&buffer[..length])).is_err() {
                break;
            }
            std::thread::sleep(for_each);
        }
    });
    entries
}

/// An emperor whose standard error is the journal's; the file takes what that does not.
fn start(folder: &Folder, vassals: &[(&str, u16)]) -> Family {
    extension();
    folder.write("app.py", SPEAKER);
    for (name, port) in vassals {
        let text = format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\ndisable-logging = true\n"
        );
        folder.write(format!("vassals/{name}.ini"), text);
    }
    folder.write("liege.log", "");
    let log = folder.path().join("liege.log");
    let file = std::fs::metadata(&log).unwrap();
    let mut command = Command::new(LIEGE);
    command.args(["--emperor", "vassals", "--api", "api.sock"]).current_dir(folder.path());
    command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
    command.env("LIEGE_JOURNAL_SOCKET", folder.path().join("journal"));
    let emperor = Family::start(&mut command, &log);
    for (_, port) in vassals {
        Door::Port(*port).wait_for("/", "ok");
    }
    emperor
}

fn wait_for(entries: &Receiver<Entry>, message: &str) -> Entry {
    wait_for_with(entries, message, |_| {})
}

/// The entry with this message; `other` is given those that come before.
fn wait_for_with(entries: &Receiver<Entry>, message: &str, mut other: impl FnMut(&Entry)) -> Entry {
    loop {
        let entry = entries.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{message}: {error}"));
        if entry["MESSAGE"] == message {
            return entry;
        }
        other(&entry);
    }
}

#[test]
fn a_line_is_an_entry_with_its_vassal_and_a_journal_that_is_gone_costs_none() {
    let (folder, port) = (Folder::new(), free_port());
    let first = journal(&folder, Duration::ZERO);
    let emperor = start(&folder, &[("shop", port)]);
    let say = |what: &str| assert_eq!(Door::Port(port).get(&format!("/?{what}")).unwrap().text(), "ok");
    for (said, priority, message) in [
        ("hello", "6", "[shop.ini] hello"),
        ("%3C4%3Elow", "4", "[shop.ini] low"),
        ("ERROR:root:bad", "3", "[shop.ini] ERROR:root:bad"),
    ] {
        say(said);
        let entry = wait_for(&first, message);
        let field = |name: &str| entry[name].as_str();
        assert_eq!(
            [field("VASSAL"), field("PRIORITY"), field("SYSLOG_IDENTIFIER")],
            ["shop.ini", priority, "liege"]
        );
        assert_eq!(entry.len(), 4, "{entry:?}");
    }
    assert_eq!(emperor.log(), "");

    std::fs::remove_file(folder.path().join("journal")).unwrap();
    // Its thread ends, and with it the socket.
    while first.recv_timeout(PATIENCE).is_ok() {}
    say("alone");
    emperor.wait_for_log("<6>[shop.ini] alone\n");

    let second = journal(&folder, Duration::ZERO);
    say("again");
    wait_for(&second, "[shop.ini] again");
    assert!(!emperor.log().contains("again"), "{}", emperor.log());
}

#[test]
fn the_flood_of_one_vassal_costs_no_line_of_another() {
    let folder = Folder::new();
    let (loud, quiet) = (free_port(), free_port());
    let entries = journal(&folder, Duration::from_micros(300));
    let emperor = start(&folder, &[("loud", loud), ("quiet", quiet)]);
    let flood = std::thread::spawn(move || Door::Port(loud).get("/flood?over").unwrap().text());
    let (mut number, is_told) = (0, Cell::new(false));
    let mut look = |entry: &Entry| {
        assert!(!entry["MESSAGE"].contains("were dropped"), "{entry:?}");
        is_told.set(is_told.get() || entry["MESSAGE"].starts_with("[loud.ini] WARN dropped "));
    };
    while !flood.is_finished() || number < 50 {
        assert_eq!(Door::Port(quiet).get(&format!("/?said-{number}")).unwrap().text(), "ok");
        wait_for_with(&entries, &format!("[quiet.ini] said-{number}"), &mut look);
        number += 1;
    }
    assert_eq!(flood.join().unwrap(), "ok");
    // The master of the one that wrote too much has counted what nobody could take, and the emperor lost nothing.
    until("the count of what was lost", || {
        let answer = Door::Unix(folder.path().join("api.sock")).get("/v1/vassals/loud.ini").unwrap();
        let vassal: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        vassal["totals"]["log_lines_dropped"].as_u64().is_some_and(|count| count > 0)
    });
    // The few lines of its own that find no room here go to standard error.
    for lost in ["said-", "flood", "were dropped"] {
        assert!(!emperor.log().contains(lost), "{}", emperor.log());
    }
    until("the log itself to say how many", || {
        entries.try_iter().for_each(|entry| look(&entry));
        is_told.get()
    });
}
