//! A file system of another program, by `bindfs`: what lies there can be silent, or gone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory that is seen at another place by a file system of a program. What changes behind it the kernel does not
/// tell of, as on NFS.
pub(crate) struct Far {
    place: PathBuf,
    program: Child,
}

impl Far {
    /// `None`: this cannot be had here, which is told.
    pub(crate) fn mount(real: &Path, place: &Path) -> Option<Self> {
        let _ = fs::create_dir(place);
        let program = Command::new("bindfs").arg("-f").args([real, place]).stdin(Stdio::null()).spawn();
        let Ok(program) = program else {
            eprintln!("skipped: bindfs is not installed");
            return None;
        };
        let mut far = Self { place: place.to_owned(), program };
        while fs::metadata(place).unwrap().dev() == fs::metadata(real).unwrap().dev() {
            if far.program.try_wait().unwrap().is_some() {
                eprintln!("skipped: bindfs may not mount here");
                return None;
            }
            std::thread::yield_now();
        }
        Some(far)
    }

    /// The server answers nobody, or does again.
    pub(crate) fn stop(&self, stopped: bool) {
        let signal = if stopped { "-STOP" } else { "-CONT" };
        let pid = self.program.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The server is gone.
    pub(crate) fn crash(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        for unmount in [&["umount", "-l"][..], &["fusermount", "-uz"]] {
            let done =
                Command::new(unmount[0]).args(&unmount[1..]).arg(&self.place).stderr(Stdio::null()).status();
            if done.is_ok_and(|status| status.success()) {
                break;
            }
        }
        self.crash();
    }
}
