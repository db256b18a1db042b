//! One instance without an emperor, started by a command line.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::http::Door;
use super::process::Family;
use super::{LIEGE, extension, free_port};

/// A folder for one test, with files written into it.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("liege-test-").tempdir().unwrap())
    }

    /// One where users can go who cannot go to the clone, with the extension in it; `None`, said, where nobody can
    /// become another user.
    pub(crate) fn for_nobody() -> Option<Self> {
        if !can_drop_privileges() {
            return None;
        }
        let folder = Self::new();
        folder.open_to(0o755);
        std::fs::copy(extension(), folder.path().join("libliege.so")).unwrap();
        Some(folder)
    }

    /// Lets others in, by these bits of the mode.
    pub(crate) fn open_to(&self, mode: u32) {
        std::fs::set_permissions(self.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders on its way, by an atomic rename.
    pub(crate) fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fresh = self.path().join(".fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, path).unwrap();
    }
}

/// Starts `liege` with these arguments in the folder.
pub(crate) fn liege<A: AsRef<OsStr>>(folder: &Folder, arguments: &[A]) -> Family {
    extension();
    Family::start(
        Command::new(LIEGE).args(arguments).current_dir(folder.path()),
        &folder.path().join("liege.log"),
    )
}

/// An instance with `app.ini` made of these lines, and a door.
pub(crate) fn serve_app(app: &str, lines: &str) -> (Family, Door, Folder) {
    let (folder, port) = (Folder::new(), free_port());
    folder.open_to(0o755);
    folder.write("app.py", app);
    let text = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{lines}\n");
    folder.write("app.ini", text);
    let family = liege(&folder, &["--ini", "app.ini"]);
    (family, Door::Port(port), folder)
}

/// Whether a process can become another user; where not, the test is skipped, and this says so.
pub(crate) fn can_drop_privileges() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can drop privileges");
    }
    is_root
}
