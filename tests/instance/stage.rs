//! A real instance in a directory of its own, with its log as events.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::port::free_port;

/// Nothing takes so long unless it hangs, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An application that says its version and its pid, and does what the path says.
pub(crate) fn app(version: &str, first: &str) -> String {
    format!(
        "import os, time\n{first}\n\
         def application(environ, start_response):\n\
         \x20   if environ['PATH_INFO'] == '/sleep':\n\
         \x20       time.sleep(float(environ['QUERY_STRING']))\n\
         \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
         \x20   return [('{version} %d' % os.getpid()).encode()]\n"
    )
}

/// A running instance; it is killed when the test is over.
pub(crate) struct Instance {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) port: u16,
    child: Child,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Instance {
    /// Starts one with these lines of configuration beside its socket and its application.
    pub(crate) fn start(socket: &str, options: &str, app: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        fs::write(directory.path().join("app.py"), app).unwrap();
        let at = directory.path().display();
        let options = options.replace("DIR", &at.to_string());
        let ini = format!("[uwsgi]\n{socket} = 127.0.0.1:{port}\nwsgi-file = {at}/app.py\n{options}\n");
        fs::write(directory.path().join("app.ini"), ini).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_liege"))
            .arg("app.ini")
            .current_dir(directory.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        Self { directory, port, child, lines, heard: Vec::new() }
    }

    /// The same, and waits until a worker accepts.
    pub(crate) fn serving(socket: &str, options: &str, app: &str) -> Self {
        let mut instance = Self::start(socket, options, app);
        instance.hear("spawned uWSGI worker");
        instance.get("/");
        instance
    }

    /// Waits for a line of the log with this text, among those that no call before this one has passed over.
    pub(crate) fn hear(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("{text:?} was not heard in:\n{}", self.heard.join("\n")),
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the application's file at once.
    pub(crate) fn install(&self, app: &str) {
        fs::write(self.path("new.py"), app).unwrap();
        fs::rename(self.path("new.py"), self.path("app.py")).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// The version that serves and the pid of the worker that said so.
    pub(crate) fn get(&self, path: &str) -> (String, i32) {
        let body = get(self.port, path).unwrap_or_else(|error| panic!("{error}\n{}", self.all()));
        let (version, pid) = body.split_once(' ').unwrap_or_else(|| panic!("{body:?}"));
        (version.to_owned(), pid.parse().unwrap())
    }

    /// Waits until this version answers: a worker of the one before may take a connection before it hears of its end.
    pub(crate) fn wait_for(&self, version: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !get(self.port, "/").is_ok_and(|body| body.starts_with(&format!("{version} "))) {
            assert!(Instant::now() < deadline, "{version} does not answer");
        }
    }

    /// Waits for the master's end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // The log ends when the last process is gone.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.heard.push(line);
        }
        self.child.wait().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.heard.join("\n")
    }

    /// The log with what nobody has waited for yet.
    fn all(&self) -> String {
        let unheard = self.lines.try_iter();
        self.heard.iter().cloned().chain(unheard).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn wait_for_silence(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_silent() {
            assert!(Instant::now() < deadline, "somebody still listens");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn is_silent(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_err()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own; the answer's body if it is 200.
pub(crate) fn get(port: u16, path: &str) -> Result<String, String> {
    let attempt = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = attempt().map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
}

/// Clients that ask again and again until they are told to stop.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..3)
            .map(|_| {
                let (stop, answered, failures) = (stop.clone(), answered.clone(), failures.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match get(port, "/") {
                            Ok(_) => {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(failure) => failures.lock().unwrap().push(failure),
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                })
            })
            .collect();
        Self { stop, answered, failures, threads }
    }

    /// Ends them: nothing may have failed.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
        assert!(self.answered.load(Ordering::Relaxed) > 10);
    }
}
