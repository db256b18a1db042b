//! An emperor as a process of its own, over directories of the test, whose masters are `fake_master.py`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use liege::config::emperor::{EmperorSpec, Source};
use liege::emperor::{Handle, Request, run};
use liege::sys::activation::Activation;
use liege::wire::message::Policy;

/// Everything that is waited for comes within this time.
const PATIENCE: Duration = Duration::from_secs(45);

/// Plays the emperor: what the test binary does when [`Stage`] starts it again.
pub(crate) fn play() -> ExitCode {
    let base = PathBuf::from(std::env::var_os("STAGE").unwrap());
    liege::trace::start(false);
    let spec = fs::read(base.join("spec")).unwrap();
    let spec: EmperorSpec = serde_json::from_slice(&spec).unwrap();
    let binary = base.join("binary").to_string_lossy().into_owned();
    let policy = Policy { binary, ..Policy::default() };
    run::main(spec, policy, Activation::default(), move |handle| Ok(show(handle, base)))
}

/// What the API would do: writes the fleet to a file whenever it changes, and follows requests written into another.
async fn show(handle: Handle, base: PathBuf) {
    loop {
        {
            let fleet = handle.fleet();
            let shown: Vec<String> = fleet
                .vassals
                .values()
                .map(|vassal| {
                    let reload = vassal.last_reload.as_ref().and_then(|operation| operation.ending.clone());
                    format!(
                        "{} {:?} pid={} restarts={} reload={reload:?} log={:?}",
                        vassal.id,
                        vassal.state,
                        vassal.pid().unwrap_or(0),
                        vassal.restarts,
                        vassal.log.back().map(|line| line.text.clone()),
                    )
                })
                .collect();
            let refused =
                fleet.not_started.iter().map(|refused| format!("! {} {}", refused.name, refused.reason));
            let phase = format!("{:?} {}", fleet.phase, fleet.reexecutions);
            let all: Vec<String> = shown.into_iter().chain(refused).chain([phase]).collect();
            fs::write(base.join("fleet.new"), all.join("\n")).unwrap();
            fs::rename(base.join("fleet.new"), base.join("fleet")).unwrap();
        }
        if fs::remove_file(base.join("upgrade")).is_ok() {
            let _ = handle.request("test".to_owned(), Request::Upgrade).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) struct Stage {
    dir: tempfile::TempDir,
    emperor: Child,
}

impl Stage {
    /// Starts an emperor over two directories, the first with these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self::under(&[], files, |_, _| {})
    }

    /// The same with a command in front, and with these options.
    pub(crate) fn under(
        before: &[&str],
        files: &[(&str, &str)],
        options: impl FnOnce(&mut EmperorSpec, &Path),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for made in ["one", "two"] {
            fs::create_dir(dir.path().join(made)).unwrap();
        }
        for (name, content) in files {
            fs::write(dir.path().join("one").join(name), content).unwrap();
        }
        let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emperor/fake_master.py");
        let us = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in instance) exec python3 {fake};; probe) exec {};; *) exec {} \"$@\";; esac\n",
            concat!(env!("CARGO_BIN_EXE_liege"), " probe"),
            us.display()
        );
        install(&dir.path().join("binary"), &script);
        let base = dir.path();
        let mut spec = EmperorSpec {
            sources: ["one", "two"].map(|name| Source::Directory(base.join(name))).to_vec(),
            throttle_ms: 300,
            max_throttle_ms: 1_000,
            curse_tolerance_ms: Some(500),
            pidfile: Some(base.join("pid")),
            logto: Some(base.join("log")),
            runtime_directory: Some(base.join("run")),
            runtime_told: true,
            ..EmperorSpec::default()
        };
        options(&mut spec, base);
        fs::write(base.join("spec"), serde_json::to_vec(&spec).unwrap()).unwrap();
        let binary = base.join("binary").display().to_string();
        let mut line: Vec<&str> = before.to_vec();
        line.push(&binary);
        let emperor = Command::new(line[0])
            .args(&line[1..])
            .args(["--exact", "the_emperor", "--nocapture"])
            .env("STAGE", dir.path())
            .env("FAKE_LOG", dir.path().join("fakes"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, emperor }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path("one").join(name), content).unwrap();
    }

    /// Changes the options, for the next image.
    pub(crate) fn change(&self, options: impl FnOnce(&mut EmperorSpec, &Path)) {
        let mut spec: EmperorSpec = serde_json::from_slice(&fs::read(self.path("spec")).unwrap()).unwrap();
        options(&mut spec, self.dir.path());
        fs::write(self.path("spec"), serde_json::to_vec(&spec).unwrap()).unwrap();
    }

    /// What the fakes said of themselves.
    pub(crate) fn fakes(&self) -> Vec<String> {
        read(&self.path("fakes")).lines().map(str::to_owned).collect()
    }

    pub(crate) fn log(&self) -> String {
        read(&self.path("log"))
    }

    /// The last lines of the log, cut for people.
    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<String> =
            log.lines().rev().take(40).map(|line| line.chars().take(200).collect()).collect();
        lines.into_iter().rev().collect::<Vec<String>>().join("\n")
    }

    /// The line of a vassal, as the API would show it.
    pub(crate) fn line(&self, start: &str) -> String {
        read(&self.path("fleet")).lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    }

    pub(crate) fn pid(&self, vassal: &str) -> i32 {
        let line = self.line(vassal);
        let pid = line.split("pid=").nth(1).and_then(|rest| rest.split(' ').next());
        pid.and_then(|pid| pid.parse().ok()).unwrap_or(0)
    }

    /// Waits until the line of a vassal contains the text behind its name, which itself can contain anything.
    pub(crate) fn until(&self, start: &str, contains: &str) {
        let seen = || self.line(start).strip_prefix(start).is_some_and(|rest| rest.contains(contains));
        self.wait(&format!("{start} {contains}"), seen);
    }

    pub(crate) fn wait(&self, what: &str, mut seen: impl FnMut() -> bool) {
        let start = Instant::now();
        while !seen() {
            let shown = read(&self.path("fleet"));
            assert!(start.elapsed() < PATIENCE, "not seen: {what}\n{shown:.2000}\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, pid: i32, signal: &str) {
        assert!(pid > 1, "a signal to {pid}");
        assert!(
            Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap().success()
        );
    }

    pub(crate) fn signal_emperor(&self, signal: &str) {
        self.signal(i32::try_from(self.emperor.id()).unwrap(), signal);
    }

    /// Replaces the binary by another script, as an upgrade does.
    pub(crate) fn install(&self, script: &str) {
        install(&self.path("binary"), script);
    }

    /// Ends the emperor, and waits for it.
    pub(crate) fn end(&mut self) -> std::process::ExitStatus {
        self.signal_emperor("TERM");
        let start = Instant::now();
        loop {
            if let Some(status) = self.emperor.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the emperor does not end\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A test that failed leaves its emperor: without it the fakes end by themselves.
        let _ = self.emperor.kill();
        let _ = self.emperor.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_end());
        }
    }
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn install(at: &Path, script: &str) {
    let new = at.with_extension("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, at).unwrap();
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
