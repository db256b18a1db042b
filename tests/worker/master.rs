//! Plays the master: starts a zygote under a real interpreter, asks for workers, talks to them as clients do.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use liege::config::address::{Address, Listen, Protocol};
use liege::config::instance::InstanceSpec;
use liege::stats::scoreboard::Scoreboard;
use liege::sys::process::{self, Child, Exit, Launch};
use liege::sys::wait;
use liege::wire::boot::{BOOT, CHANNEL_VARIABLE, EXTENSION_VARIABLE};
use liege::wire::message::{FromWorker, FromZygote, ToWorker, ToZygote};
use liege::wire::{PROTOCOL, channel};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Nothing in these tests takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The interpreters of this machine that the extension is made for.
pub(crate) fn interpreters() -> Vec<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let mut found = Vec::new();
    for version in ["3.10", "3.11", "3.12", "3.13"] {
        let mut candidates: Vec<PathBuf> = fs::read_dir(format!("{home}/.pyenv/versions"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(version))
            .map(|entry| entry.path().join("bin/python"))
            .collect();
        let path = std::env::var("PATH").unwrap_or_default();
        candidates
            .extend(path.split(':').map(|directory| Path::new(directory).join(format!("python{version}"))));
        match candidates.into_iter().find(|path| path.is_file() && !path.to_string_lossy().contains("shims"))
        {
            Some(path) => found.push(path),
            None => println!("skipped: no Python {version} here"),
        }
    }
    assert!(!found.is_empty(), "no interpreter found");
    found
}

/// One interpreter, for tests that are about something else.
pub(crate) fn interpreter() -> PathBuf {
    interpreters().remove(0)
}

/// The interpreter that has gevent; without it the test says that it is skipped.
pub(crate) fn with_gevent() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/gevent");
    let is_there = folder.join("complete").exists();
    if !is_there {
        println!("skipped: {} is not there (tests/make-environments makes it)", folder.display());
    }
    is_there.then(|| folder.join("bin/python"))
}

/// Has a worker run so many requests as greenlets.
pub(crate) fn greenlets(spec: &mut Value, number: u32) {
    spec["workers"]["gevent"] = json!({
        "greenlets": number, "early_monkey_patch": false, "monkey_patch": false, "wait_for_hub": false,
    });
}

/// The master of one application.
pub(crate) struct Master {
    zygote: Child,
    channel: OwnedFd,
    pub(crate) board: Scoreboard,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) uwsgi: PathBuf,
    /// What the zygote said when it had loaded, or failed to.
    pub(crate) loaded: FromZygote,
}

/// A worker that was forked for us.
pub(crate) struct Worker {
    pub(crate) process: Child,
    pub(crate) pid: u32,
    channel: Option<OwnedFd>,
}

impl Master {
    /// Starts a zygote that loads `app` as `app.py`, with the spec changed by `change`.
    pub(crate) fn start(python: &Path, app: &str, change: impl FnOnce(&mut Value)) -> Self {
        static SUBREAPER: Once = Once::new();
        SUBREAPER.call_once(|| process::set_child_subreaper().unwrap());
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("app.py"), app).unwrap();
        let mut spec = spec(directory.path());
        change(&mut spec);
        let spec: InstanceSpec = serde_json::from_value(spec).unwrap();
        let (channel, theirs) = channel::pair().unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let zygote = Launch::new(python)
            .arg("-c")
            .arg(BOOT)
            .env(EXTENSION_VARIABLE, extension())
            .env(CHANNEL_VARIABLE, "0")
            .directory(directory.path())
            .stdin(theirs)
            .stdout(log.try_clone().unwrap().into())
            .stderr(log.into())
            .spawn()
            .unwrap();
        let hello: FromZygote = receive(&channel).expect("hello");
        assert!(matches!(hello, FromZygote::Hello { protocol: PROTOCOL, .. }), "{hello:?}");
        let cores = usize::try_from(spec.workers.cores()).unwrap();
        let board = Scoreboard::create(4, cores).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = tcp.local_addr().unwrap();
        let uwsgi = directory.path().join("uwsgi.sock");
        let unix = UnixListener::bind(&uwsgi).unwrap();
        let listeners = vec![
            Listen {
                address: Address::Tcp { host: "127.0.0.1".into(), port: http.port() },
                protocol: Protocol::Http,
            },
            Listen { address: Address::Unix(uwsgi.clone()), protocol: Protocol::Uwsgi },
        ];
        let load = ToZygote::Load { protocol: PROTOCOL, generation: 1, spec: Box::new(spec), listeners };
        channel::send(&channel, &load, &[board.fd(), tcp.as_fd(), unix.as_fd()]).unwrap();
        let loaded = receive(&channel).expect("loaded");
        Self { zygote, channel, board, directory, http, uwsgi, loaded }
    }

    /// Starts it with one worker.
    pub(crate) fn with_worker(python: &Path, app: &str, change: impl FnOnce(&mut Value)) -> (Self, Worker) {
        let master = Self::start(python, app, change);
        assert!(matches!(master.loaded, FromZygote::Loaded { .. }), "{:?}\n{}", master.loaded, master.log());
        let worker = master.fork(1, 0, &[]);
        master.wait_ready(&worker);
        (master, worker)
    }

    /// Asks for a worker.
    pub(crate) fn fork(&self, worker: u32, slot: u32, routed: &[OwnedFd]) -> Worker {
        let (channel, theirs) = channel::pair().unwrap();
        let mut fds = vec![theirs.as_fd()];
        fds.extend(routed.iter().map(AsFd::as_fd));
        let routed = u32::try_from(routed.len()).unwrap();
        let message = ToZygote::Fork { worker, slot, routed, first: true };
        channel::send(&self.channel, &message, &fds).unwrap();
        match receive(&self.channel) {
            Some(FromZygote::Forked { pid, .. }) => {
                let process = Child::adopt(pid).unwrap();
                Worker { process, pid, channel: Some(channel) }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it accepts requests.
    pub(crate) fn wait_ready(&self, worker: &Worker) {
        match worker.receive() {
            Some(FromWorker::Ready { pid, .. }) => assert_eq!(pid, worker.pid),
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    /// Closes the zygote's channel and waits for its end; what was written until then.
    pub(crate) fn end(mut self) -> String {
        self.channel = channel::pair().unwrap().0;
        assert!(wait::readable(self.zygote.as_fd(), Some(LIMIT)).unwrap(), "the zygote lives on");
        self.log()
    }

    /// What zygote and workers wrote.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("log")).unwrap()).into_owned()
    }

    /// Waits for text in the log.
    pub(crate) fn wait_log(&self, text: &str) {
        until(|| self.log().contains(text), || format!("{text:?} in the log:\n{}", self.log()));
    }

    /// Sends bytes over HTTP and reads until the connection ends.
    pub(crate) fn http(&self, request: &[u8]) -> String {
        let mut socket = self.connect();
        socket.write_all(request).unwrap();
        read_all(&mut socket)
    }

    /// A GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> String {
        self.http(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// A connection to the HTTP listener.
    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.http).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }

    /// Sends a uwsgi packet with these variables and a body, and reads until the connection ends.
    pub(crate) fn uwsgi(&self, variables: &[(&str, &str)], body: &[u8]) -> String {
        let mut socket = UnixStream::connect(&self.uwsgi).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(&packet(variables)).unwrap();
        socket.write_all(body).unwrap();
        read_all(&mut socket)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.zygote.kill();
        let _ = process::wait(&self.zygote);
    }
}

impl Worker {
    /// Tells it to finish.
    pub(crate) fn drain(&self) {
        self.send(ToWorker::Drain);
    }

    pub(crate) fn hurry(&self) {
        self.send(ToWorker::Hurry);
    }

    /// Opens a passage for idle connections to and from it.
    pub(crate) fn open_passage(&self, (entrance, exit): &(OwnedFd, OwnedFd)) {
        let ends = [entrance.as_fd(), exit.as_fd()];
        channel::send(self.channel.as_ref().unwrap(), &ToWorker::Passage, &ends).unwrap();
    }

    fn send(&self, order: ToWorker) {
        channel::send(self.channel.as_ref().unwrap(), &order, &[]).unwrap();
    }

    /// Its next message; `None` when it is gone.
    pub(crate) fn receive(&self) -> Option<FromWorker> {
        receive(self.channel.as_ref().unwrap())
    }

    /// Disappears, as a master that died.
    pub(crate) fn leave(&mut self) {
        self.channel = None;
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> Exit {
        assert!(wait::readable(self.process.as_fd(), Some(LIMIT)).unwrap(), "worker {} lives on", self.pid);
        process::wait(&self.process).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

/// A uwsgi packet.
pub(crate) fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in variables.iter().flat_map(|(key, value)| [key, value]) {
        block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        block.extend(text.as_bytes());
    }
    let [low, high] = u16::try_from(block.len()).unwrap().to_le_bytes();
    [&[0, low, high, 0], &block[..]].concat()
}

/// The next message; `None` when the peer is gone.
fn receive<T: DeserializeOwned>(channel: &OwnedFd) -> Option<T> {
    assert!(wait::readable(channel, Some(LIMIT)).unwrap(), "no message came");
    channel::receive(channel).unwrap().map(|(message, _)| message)
}

/// Reads to the end; what came before a reset counts.
pub(crate) fn read_all(socket: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one response with a Content-Length.
pub(crate) fn read_response(socket: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "ended after {:?}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    socket.read_exact(&mut body).unwrap();
    bytes.extend(body);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a server of this host has read all that was sent on this connection.
pub(crate) fn is_read(connection: &TcpStream) -> bool {
    let port = |address: io::Result<SocketAddr>| format!(":{:04X} ", address.unwrap().port());
    let ends = [port(connection.peer_addr()), port(connection.local_addr())];
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| {
        let places = ends.each_ref().map(|end| line.find(end.as_str()));
        matches!(places, [Some(server), Some(client)] if server < client)
    });
    // The queues stand in the fifth column, what was sent before what was received.
    line.and_then(|line| line.split_whitespace().nth(4)).is_some_and(|queues| queues.ends_with(":00000000"))
}

/// Waits until something is so.
pub(crate) fn until(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The extension that belongs to this build.
fn extension() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let candidates = [deps.join("libliege.so"), deps.join("../libliege.so")];
    let age = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    candidates.into_iter().filter(|path| path.exists()).max_by_key(age).expect("libliege.so is built")
}

fn spec(directory: &Path) -> Value {
    json!({
        "name": "test", "listen": [], "backlog": 100, "chmod_socket": null, "chown_socket": null,
        "app": {
            "load": { "Module": "app" }, "callable": null, "need_app": false,
            "chdir": directory, "pythonpath": [],
        },
        "workers": {
            "processes": 1, "threads": 1, "lazy_apps": false, "harakiri_s": 0, "max_requests": 0,
            "max_requests_delta": 0, "min_lifetime_s": 0, "buffer_size_bytes": 4096, "socket_timeout_s": 4,
            "reload_mercy_s": 60, "instance_mercy_s": 0,
        },
        "identity": {
            "uid": null, "gid": null, "add_gid": [], "no_initgroups": false, "umask": null, "deny_root_apps": false,
        },
        "interpreter": { "python": null, "virtualenv": null, "extension": null },
        "env": [], "stats": [],
        "files": { "pidfile": null, "pidfile2": null, "safe_pidfile": null },
        "log": { "logto": null, "logto2": null, "daemonize": false, "requests": true },
        "touch_reload": [], "vacuum": false, "die_on_term": false, "auto_procname": false, "procname_prefix": "",
        "emperor": [], "said": [["module", "app"], ["master", ""]],
    })
}
