//! Vassals that sleep, as their clients see them: woken by the first connection, put to sleep again, and nothing is lost
//! at either edge.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "emperor/host.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod host;
#[path = "support/port.rs"]
mod port;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host::{Host, get};

fn state(host: &Host, vassal: &str) -> String {
    let (_, said) = host.ask(&["status", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let of = list["vassals"].as_array().into_iter().flatten().find(|v| v["name"] == vassal);
    of.map(|v| v["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}

fn until(host: &Host, vassal: &str, wanted: &str) {
    host.wait(&format!("{vassal} is {wanted}"), || state(host, vassal) == wanted);
}

/// A question of the uwsgi protocol, asked on a unix socket.
fn ask(path: &Path) -> std::io::Result<String> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut block = Vec::new();
    let variables = [
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", "/"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "x"),
    ];
    for text in variables.iter().flat_map(|(name, value)| [name, value]) {
        block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        block.extend(text.as_bytes());
    }
    let mut packet = vec![0];
    packet.extend(u16::try_from(block.len()).unwrap().to_le_bytes());
    packet.push(0);
    packet.extend(block);
    socket.write_all(&packet)?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
}

#[test]
fn it_wakes_and_sleeps_over_and_over_and_no_request_is_lost() {
    let host = Host::with(&["--emperor-on-demand-extension", ".on-demand"]);
    host.app("app", "", "one");
    fs::write(host.path("v/a.ini.on-demand"), "").unwrap();
    let port = host.vassal_with("a.ini", "app", "idle = 1\ndie-on-idle = true");
    // The file beside it names nothing: it is started at once, and sleeps on its own socket later.
    host.until(port, "one");
    until(&host, "a.ini", "asleep");
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6_u64)
        .map(|n| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                let mut pause = 700 + 130 * n;
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = get(port, "/") {
                        failures.push(error.to_string());
                    }
                    // Each time at another moment between the last request and the sleep that follows it.
                    std::thread::sleep(Duration::from_millis(pause));
                    pause = 1000 + (pause * 7 + 311 * n) % 1700;
                }
                failures
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(8));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let failures = client.join().unwrap();
        assert!(failures.is_empty(), "{failures:?}\n{}", host.log());
    }
    for _ in 0..2 {
        until(&host, "a.ini", "asleep");
        assert!(host.processes().is_empty(), "{:?}", host.processes());
        let burst: Vec<_> = (0..10).map(|_| std::thread::spawn(move || get(port, "/").unwrap())).collect();
        assert!(burst.into_iter().all(|client| client.join().unwrap() == "one"));
    }
    assert!(host.log().contains("put to sleep: no request for 1 s"));
    assert!(host.log().contains("woken by a connection"));
    host.end();
}

#[test]
fn who_connects_sends_or_reads_slowly_keeps_it_awake() {
    let host = Host::new();
    let app = "def application(environ, start_response):\n    \
               body = environ['wsgi.input'].read()\n    start_response('200 OK', [])\n    \
               return [body if environ['PATH_INFO'] == '/' else b'x' * 30000000]\n";
    fs::write(host.path("app.py"), app).unwrap();
    host.app("witness", "", "one");
    let witness = host.vassal_with("w.ini", "witness", "idle = 3");
    let head = "Host: x\r\nConnection: close\r\n";
    let (get_big, post) = (format!("GET /big HTTP/1.1\r\n{head}\r\n"), format!("POST / HTTP/1.1\r\n{head}"));
    let cases = [
        ("sends", format!("{post}Content-Length: 20\r\n\r\n0123456789"), "0123456789", 20),
        ("reads", get_big.clone(), "", 30_000_000),
        ("connects", String::new(), get_big.as_str(), 30_000_000),
    ];
    let mut clients = Vec::new();
    for (what, begin, rest, expected) in &cases {
        for is_routed in [false, true] {
            let name = format!("{what}-{is_routed}.ini");
            let routed = port::free_port();
            let own = host.vassal_with(&name, "app", &format!("http = 127.0.0.1:{routed}\nidle = 1"));
            let port = if is_routed { routed } else { own };
            host.wait("an app", || get(port, "/").is_ok());
            let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            socket.write_all(begin.as_bytes()).unwrap();
            clients.push((name, socket, rest, expected));
        }
    }
    // When another one sleeps that nobody asks anything for longer, they would have slept.
    host.until(witness, "one");
    until(&host, "w.ini", "asleep");
    for (name, mut socket, rest, expected) in clients {
        assert_eq!(state(&host, &name), "up", "{name}\n{}", host.log());
        socket.write_all(rest.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answer.len() - head, *expected, "{name}\n{}", host.log());
        until(&host, &name, "asleep");
    }
    host.end();
}

#[test]
fn a_stop_kills_the_stubborn_and_nobody_else_while_others_sleep() {
    let host = Host::with(&["--emperor-on-demand-extension", ".socket", "--reload-mercy", "1"]);
    host.app("app", "", "one");
    for name in ["a.ini", "b.ini"] {
        fs::write(host.path("v").join(format!("{name}.socket")), host.path(name).display().to_string())
            .unwrap();
        host.vassal(name, "app");
        until(&host, name, "asleep");
    }
    let script =
        "#!/bin/sh\ntrap '' TERM INT HUP QUIT\ntouch \"${0%/*}\"/trapped\nwhile :; do sleep 1; done\n";
    fs::write(host.path("stubborn"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(host.path("stubborn"), mode).unwrap();
    let text = format!("[uwsgi]\n[emperor]\nexec = {}\n", host.path("stubborn").display());
    fs::write(host.path("v/c.ini"), text).unwrap();
    host.wait("the stubborn one", || host.path("trapped").exists());
    // Of uWSGI's emperor everybody gets SIGKILL then: it takes the pid of who sleeps, -1, for a process.
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    host.end();
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn a_socket_is_named_by_a_file_a_directory_or_a_command_and_goes_with_its_vassal() {
    let ways: [&[&str]; 3] = [
        &["--emperor-on-demand-extension", ".socket"],
        &["--emperor-on-demand-directory", "DIR"],
        &["--emperor-on-demand-exec", "DIR/name"],
    ];
    let name = "it's $(touch pwned) `a`.ini";
    for way in ways {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().display().to_string();
        let socket = base.path().join(Path::new(name).with_extension("socket"));
        let script =
            format!("#!/bin/sh\nbase=${{1##*/}}\necho \"{directory}/${{base%.ini}}.socket\"\necho more\n");
        fs::write(base.path().join("name"), script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(base.path().join("name"), mode).unwrap();
        let options: Vec<String> = way.iter().map(|option| option.replace("DIR", &directory)).collect();
        let host = Host::with(&options.iter().map(String::as_str).collect::<Vec<_>>());
        host.app("app", "", "one");
        fs::write(host.path("v").join(format!("{name}.socket")), format!("{}\n", socket.display())).unwrap();
        let home = host.path("");
        let text =
            format!("[uwsgi]\nchdir = {}\nwsgi-file = app.py\nneed-app = true\nidle = 1\n", home.display());
        fs::write(host.path("v").join(name), text).unwrap();
        until(&host, name, "asleep");
        assert!(host.processes().is_empty());
        for _ in 0..2 {
            assert_eq!(ask(&socket).unwrap(), "one", "{way:?}\n{}", host.log());
            until(&host, name, "asleep");
        }
        host.signal_emperor("HUP");
        host.wait("the emperor re-executed itself", || host.log().contains("re-executed"));
        assert_eq!(ask(&socket).unwrap(), "one", "{way:?}\n{}", host.log());
        until(&host, name, "asleep");
        fs::remove_file(host.path("v").join(name)).unwrap();
        host.wait("its socket is gone", || !socket.exists());
        assert!(!host.path("v/pwned").exists() && !host.path("pwned").exists());
        host.end();
    }
}

#[test]
fn a_socket_that_is_gone_or_another_is_waited_at_as_soon_as_that_is_known() {
    let mut host = Host::with(&["--emperor-on-demand-extension", ".socket"]);
    host.app("app", "", "one");
    let (first, second) = (host.path("first.sock"), host.path("second.sock"));
    let name = |socket: &Path| {
        fs::write(host.path("v/a.ini.socket"), format!("{}\n", socket.display())).unwrap();
    };
    let touch = || {
        let text = format!("[uwsgi]\nchdir = {}\nwsgi-file = app.py\nidle = 1\n", host.path("").display());
        fs::write(host.path("v/a.ini"), text).unwrap();
    };
    name(&first);
    touch();
    until(&host, "a.ini", "asleep");
    // By a touch of its file, and by every rescan.
    for (mend, is_by_rescan) in [(&touch as &dyn Fn(), false), (&|| drop(host.ask(&["rescan"])), true)] {
        fs::remove_file(&first).unwrap();
        mend();
        host.wait("its socket is there again", || first.exists());
        assert_eq!(state(&host, "a.ini"), "asleep", "{is_by_rescan}");
    }
    // Removed while it is awake it is there again when it sleeps.
    assert_eq!(ask(&first).unwrap(), "one", "{}", host.log());
    fs::remove_file(&first).unwrap();
    host.wait("its socket is there again", || first.exists());
    assert_eq!(ask(&first).unwrap(), "one", "{}", host.log());

    // Awake or asleep, it is waited for where its file says so by then.
    for (from, to) in [(&first, &second), (&second, &first)] {
        name(to);
        touch();
        host.wait("the other socket is there", || to.exists());
        until(&host, "a.ini", "asleep");
        assert!(!from.exists(), "{}", host.log());
    }
    // One that sleeps on a socket of its own is started for it.
    let own = host.path("own.sock");
    let text = format!(
        "[uwsgi]\nchdir = {}\nwsgi-file = app.py\nsocket = {}\nidle = 1\n",
        host.path("").display(),
        own.display()
    );
    fs::write(host.path("v/b.ini"), text).unwrap();
    until(&host, "b.ini", "up");
    until(&host, "b.ini", "asleep");
    fs::remove_file(&own).unwrap();
    host.ask(&["rescan"]);
    host.wait("its socket is there again", || own.exists());
    assert_eq!(ask(&own).unwrap(), "one", "{}", host.log());
    fs::remove_file(host.path("v/b.ini")).unwrap();

    // The next emperor knows it, too.
    assert_eq!(ask(&first).unwrap(), "one", "{}", host.log());
    fs::remove_file(&first).unwrap();
    host.kill_emperor();
    host.start_another();
    host.wait("its socket is there again", || first.exists());
    assert_eq!(ask(&first).unwrap(), "one", "{}", host.log());
    host.kill_emperor();
    host.start_another();
    host.wait("it is adopted", || host.log().matches("[a.ini] adopted: pid").count() == 2);
    fs::remove_file(host.path("v/a.ini")).unwrap();
    host.wait("its socket goes with it", || !first.exists());
    host.end();
}

#[test]
fn who_called_waits_while_the_app_fails_and_a_dead_emperor_is_followed_by_one_that_waits_on() {
    let mut host = Host::with(&["--emperor-on-demand-extension", ".socket", "--emperor-throttle", "200"]);
    host.app("app", "raise RuntimeError('broken')", "one");
    let port = port::free_port();
    fs::write(host.path("v/a.ini.socket"), format!("127.0.0.1:{port}")).unwrap();
    let home = host.path("");
    let text = format!(
        "[uwsgi]\nprotocol = http\nchdir = {}\nwsgi-file = app.py\nneed-app = true\nidle = 3\n",
        home.display()
    );
    fs::write(host.path("v/a.ini"), text).unwrap();
    until(&host, "a.ini", "asleep");
    let client = std::thread::spawn(move || get(port, "/"));
    host.wait("it fails", || host.log().contains("in a row"));
    host.app("app", "", "two");
    assert_eq!(client.join().unwrap().unwrap(), "two", "{}", host.log());
    until(&host, "a.ini", "asleep");

    host.kill_emperor();
    host.start_another();
    until(&host, "a.ini", "asleep");
    assert_eq!(get(port, "/").unwrap(), "two");
    // Awake, it is adopted, and goes back to sleep as if nothing had been.
    host.kill_emperor();
    host.start_another();
    host.wait("it is adopted", || host.log().contains("adopted: pid"));
    until(&host, "a.ini", "asleep");
    assert_eq!(get(port, "/").unwrap(), "two");
    let (done, said) = host.ask(&["stop", "a.ini", "--wait"]);
    assert!(done, "{said}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "stopped is stopped");
    host.end();
}
