//! A host: the real binary as emperor over a directory, real Python apps behind it, and clients that never stop.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::port::free_port;

const PATIENCE: Duration = Duration::from_secs(60);
const LIEGE: &str = env!("CARGO_BIN_EXE_liege");

pub(crate) struct Host {
    dir: tempfile::TempDir,
    emperor: Child,
    before: Vec<String>,
    options: Vec<String>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same with further options of the emperor.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::prepared(options, |_| {})
    }

    /// The same in a directory in which something is done before the emperor starts.
    pub(crate) fn prepared(options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::behind(&[], options, prepare)
    }

    /// The same with a command in front, which becomes the emperor.
    pub(crate) fn behind(before: &[&str], options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Vassals of other users pass.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("v")).unwrap();
        prepare(dir.path());
        let [before, options] = [before, options]
            .map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>());
        let emperor = start(&before, dir.path(), &options);
        Self { dir, emperor, before, options }
    }

    /// Starts an emperor, as the service manager does when the one before died.
    pub(crate) fn start_another(&mut self) {
        self.emperor = start(&self.before, self.dir.path(), &self.options);
    }

    /// Kills the emperor.
    pub(crate) fn kill_emperor(&mut self) {
        self.emperor.kill().unwrap();
        self.emperor.wait().unwrap();
    }

    /// Starts an emperor over the same directory, and waits for its end.
    pub(crate) fn second_emperor(&self) -> std::process::ExitStatus {
        start(&self.before, self.dir.path(), &self.options).wait().unwrap()
    }

    /// Changes the options of the next emperor.
    pub(crate) fn say(&mut self, options: &[&str]) {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
    }

    /// Every process of this host but the emperor.
    pub(crate) fn processes(&self) -> Vec<String> {
        let ours = format!("--emperor {}", self.dir.path().display());
        let mut lines = all_command_lines(&self.dir.path().display().to_string());
        lines.retain(|line| !line.contains(&ours));
        lines
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes an app that answers with this text, and `/slow` after a second.
    pub(crate) fn app(&self, name: &str, import: &str, answer: &str) {
        let text = format!(
            "import os, time\n{import}\ndef application(environ, start_response):\n    \
             if environ['PATH_INFO'] == '/slow':\n        time.sleep(1)\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'{answer}']\n"
        );
        fs::write(self.path(&format!("{name}.py")), text).unwrap();
    }

    /// Writes a vassal's file that serves an app, after which the file is put into place; answers its port.
    pub(crate) fn vassal(&self, file: &str, app: &str) -> u16 {
        self.vassal_with(file, app, "processes = 2")
    }

    /// The same with further lines.
    pub(crate) fn vassal_with(&self, file: &str, app: &str, lines: &str) -> u16 {
        let port = free_port();
        let base = self.dir.path().display();
        let text = format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nchdir = {base}\nwsgi-file = {app}.py\n{lines}\n\
             worker-reload-mercy = 10\ndisable-logging = true\nneed-app = true\n"
        );
        fs::write(self.path("v").join(file), text).unwrap();
        port
    }

    pub(crate) fn touch(&self, file: &str) {
        let file = fs::File::options().append(true).open(self.path("v").join(file)).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// A command of the binary, asked of this emperor's API: whether it worked, and what it printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(LIEGE);
        let output = command.args(arguments).arg("--api").arg(self.path("api")).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The master of the only vassal, or of the one with this name in its command line.
    pub(crate) fn master(&self, name: &str) -> u32 {
        let mut found = None;
        self.wait(&format!("a master of {name}"), || {
            found = children(self.emperor.id()).into_iter().find(|pid| command_line(*pid).contains(name));
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn emperor_pid(&self) -> u32 {
        self.emperor.id()
    }

    pub(crate) fn signal_emperor(&self, signal: &str) {
        kill(self.emperor.id(), signal);
    }

    pub(crate) fn wait(&self, what: &str, mut seen: impl FnMut() -> bool) {
        let start = Instant::now();
        while !seen() {
            assert!(start.elapsed() < PATIENCE, "not seen: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the app on this port answers so.
    pub(crate) fn until(&self, port: u16, answer: &str) {
        self.wait(&format!("{answer} on port {port}"), || get(port, "/").is_ok_and(|got| got == answer));
    }

    pub(crate) fn end(mut self) {
        self.signal_emperor("TERM");
        assert!(self.emperor.wait().unwrap().success(), "{}", self.log());
        let left: Vec<String> = all_command_lines(&self.dir.path().display().to_string());
        assert!(left.is_empty(), "left behind: {left:?}\n{}", self.log());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Without one to stop them, the instances would serve on for a while.
        if !matches!(self.emperor.try_wait(), Ok(None)) {
            self.start_another();
        }
        let start = Instant::now();
        while matches!(self.emperor.try_wait(), Ok(None)) && start.elapsed() < PATIENCE / 2 {
            let _ = Command::new("kill").arg(self.emperor.id().to_string()).stderr(Stdio::null()).status();
            std::thread::sleep(Duration::from_millis(200));
        }
        let _ = self.emperor.kill();
        let _ = self.emperor.wait();
    }
}

fn start(before: &[String], base: &Path, options: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(base.join("log")).unwrap();
    let mut line = before.iter().map(String::as_str).chain([LIEGE]);
    Command::new(line.next().unwrap())
        .args(line)
        .arg("--emperor")
        .arg(base.join("v"))
        .arg("--api")
        .arg(base.join("api"))
        .args(options)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Clients that send a request each 5 ms: every other one keeps its connection and posts.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..4)
            .map(|n| {
                let (stop, failures) = (stop.clone(), failures.clone());
                std::thread::spawn(move || {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        let result =
                            if n % 2 == 0 { get(port, "/").map(drop) } else { post(port, &mut kept) };
                        if let Err(error) = result {
                            failures.lock().unwrap().push(format!("client {n}: {error}"));
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                })
            })
            .collect();
        Self { stop, failures, threads }
    }

    /// Ends them; answers what failed.
    pub(crate) fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.failures.lock().unwrap())
    }
}

/// The body of the answer to a request on a connection of its own; anything but a 200 is an error.
pub(crate) fn get(port: u16, path: &str) -> io::Result<String> {
    let mut socket = connect(port)?;
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("answered {answer:?}"))),
    }
}

/// Posts on a kept connection, which is replaced when the server said that it closes it; nothing is tried again.
fn post(port: u16, kept: &mut Option<TcpStream>) -> io::Result<()> {
    let mut socket = match kept.take() {
        Some(socket) => socket,
        None => connect(port)?,
    };
    socket.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = socket.read(&mut buffer)?;
        if length == 0 {
            return Err(io::Error::other(format!("ended after {:?}", String::from_utf8_lossy(&answer))));
        }
        answer.extend(&buffer[..length]);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let expected = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if expected.is_some_and(|expected| expected.parse() == Ok(body.len())) {
            if !head.starts_with("http/1.1 200 ") {
                return Err(io::Error::other(text));
            }
            if !head.contains("connection: close") {
                *kept = Some(socket);
            }
            return Ok(());
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(socket)
}

pub(crate) fn kill(pid: u32, signal: &str) {
    assert!(Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap().success());
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
        .collect()
}

fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// The command lines and directories of all processes that mention this text.
fn all_command_lines(text: &str) -> Vec<String> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes
        .filter(|pid| *pid != std::process::id())
        .map(|pid| {
            let directory = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            format!("{} in {}", command_line(pid), directory.display())
        })
        .filter(|line| line.contains(text))
        .collect()
}
