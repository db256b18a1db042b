//! The files of unix sockets: made, put in the place of dead ones, removed.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::socket::{UnixAddr, bind, connect, listen};
use nix::sys::stat::{FileStat, Mode, SFlag, umask};
use nix::unistd::{Gid, Uid, fchownat};

use super::place::Place;
use super::socket::{kernel_backlog, unix_socket};
use super::user::current_uid;

/// Which file a unix socket is: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// What a unix socket's file shall be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixOptions {
    /// Its mode, exact from the moment it exists.
    pub mode: u32,
    /// Its owner; `None`: whoever makes it.
    pub user: Option<u32>,
    /// Its group; `None`: whoever makes it.
    pub group: Option<u32>,
    /// Another user whose dead socket may be in the way: whom the instance runs as.
    pub runs_as: Option<u32>,
}

/// Listens on a unix socket, in place of a dead one of ours. Never waits.
///
/// # Errors
/// Something else is at the path, or somebody listens there, or `bind`, `listen`, `chown` or `chmod` fail; as
/// [`Place::of`].
pub fn listen_unix(path: &Path, options: UnixOptions, backlog: u32) -> io::Result<OwnedFd> {
    // Clients have to name it, too.
    UnixAddr::new(path)?;
    let place = Place::of(path)?;
    remove_dead(&place, options)?;
    let socket = unix_socket()?;
    let address = UnixAddr::new(place.path())?;
    // A chmod after bind would leave a moment in which anybody may connect.
    let old = umask(Mode::from_bits_truncate(0o777 & !options.mode));
    let bound = bind(socket.as_raw_fd(), &address);
    umask(old);
    bound?;
    let file = place.hold()?;
    let made = file.metadata()?;
    if !(made.file_type().is_socket() && made.nlink() == 1 && made.uid() == current_uid()) {
        return Err(io::Error::other("the socket was replaced while it was being made"));
    }
    let ready = adjust(&file, options).and_then(|()| Ok(listen(&socket, kernel_backlog(backlog)?)?));
    if let Err(error) = ready {
        // Nobody will ever listen there.
        if place.stat()?.is_some_and(|found| is_same(&found, &made)) {
            place.remove()?;
        }
        return Err(error);
    }
    Ok(socket)
}

/// The file at `path`, if it is a socket.
#[must_use]
pub fn identity(path: &Path) -> Option<FileIdentity> {
    let stat = fs::symlink_metadata(path).ok()?;
    stat.file_type().is_socket().then(|| FileIdentity { device: stat.dev(), inode: stat.ino() })
}

/// Whether nothing is at `path`.
#[must_use]
pub fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether somebody listens at a unix socket. Does not wait for him: where the queue is full there is one, too.
///
/// # Errors
/// `socket` or `connect`: the path is too long for one, or this process may not write to it.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    match connect(unix_socket()?.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        // One of datagrams or packets is somebody's, too.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Gives the file of a unix socket that was made before the mode and the owner that it is to have now. One that is another
/// by now, or belongs to somebody else, is left alone.
///
/// # Errors
/// It is not this user's to change.
pub fn change_unix(
    path: &Path,
    made: FileIdentity,
    mode: Option<u32>,
    options: UnixOptions,
) -> io::Result<()> {
    let file = Place::of(path)?.hold()?;
    let found = file.metadata()?;
    let owners = [Some(current_uid()), options.user, options.runs_as];
    let is_it = found.file_type().is_socket()
        && found.nlink() == 1
        && FileIdentity { device: found.dev(), inode: found.ino() } == made
        && owners.contains(&Some(found.uid()));
    if !is_it {
        return Ok(());
    }
    if let Some(mode) = mode.filter(|mode| found.mode() & 0o777 != *mode) {
        set_mode(&file, mode)?;
    }
    let differs = |wanted: Option<u32>, has| wanted.is_some_and(|wanted| wanted != has);
    if differs(options.user, found.uid()) || differs(options.group, found.gid()) {
        set_owner(&file, options)?;
    }
    Ok(())
}

/// Removes a unix socket if its file is still the one that was made.
///
/// # Errors
/// It is another one by now, or `unlink`.
pub fn remove_unix(path: &Path, made: FileIdentity) -> io::Result<()> {
    let place = match Place::of(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match place.stat()? {
        Some(found) if is_socket(&found) && (found.st_dev, found.st_ino) == (made.device, made.inode) => {
            place.remove()
        }
        None => Ok(()),
        Some(_) => Err(io::Error::other("it is not the socket that was made here")),
    }
}

/// Removes what is in the way, if it is a socket that nobody listens on, left by us, by the user whom the
/// instance runs as, or by the directory's owner.
fn remove_dead(place: &Place, options: UnixOptions) -> io::Result<()> {
    let Some(found) = place.stat()? else { return Ok(()) };
    let exists = |what: String| Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    if !is_socket(&found) {
        return exists("something is there that is not a socket".to_owned());
    }
    let owners = [Some(0), Some(current_uid()), options.user, options.runs_as, Some(place.owner()?)];
    if !owners.contains(&Some(found.st_uid)) {
        return exists(format!("a socket of another user (uid {}) is there", found.st_uid));
    }
    let is_listened_on = match is_listened_on(place.path()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => ask_as_owner(place, &found)?,
        asked => asked?,
    };
    if is_listened_on {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    place.remove()
}

/// Whether somebody listens at a socket that only its owner may connect to, asked by a process that is not root, but may
/// give files away: it makes the file its own for that.
fn ask_as_owner(place: &Place, found: &FileStat) -> io::Result<bool> {
    let own =
        |uid: u32, gid: u32| UnixOptions { user: Some(uid), group: Some(gid), ..UnixOptions::default() };
    let file = place.hold()?;
    let is_it = file.metadata().is_ok_and(|it| is_same(found, &it) && it.nlink() == 1);
    if !is_it || set_owner(&file, own(current_uid(), found.st_gid)).is_err() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let answer = is_listened_on(place.path());
    set_owner(&file, own(found.st_uid, found.st_gid))?;
    answer
}

/// Whether both tell of one file.
fn is_same(found: &FileStat, file: &Metadata) -> bool {
    (found.st_dev, found.st_ino) == (file.dev(), file.ino())
}

/// Gives the new socket's file its owner and checks its mode, through a descriptor of the file itself: the directory
/// may belong to somebody who puts another file there meanwhile.
fn adjust(file: &File, options: UnixOptions) -> io::Result<()> {
    if options.user.is_some() || options.group.is_some() {
        set_owner(file, options)?;
    }
    if file.metadata()?.mode() & 0o777 != options.mode {
        // A default access control list of the directory.
        set_mode(file, options.mode)?;
    }
    Ok(())
}

fn set_owner(file: &File, options: UnixOptions) -> io::Result<()> {
    let (user, group) = (options.user.map(Uid::from_raw), options.group.map(Gid::from_raw));
    Ok(fchownat(file, "", user, group, AtFlags::AT_EMPTY_PATH)?)
}

/// The descriptor's own path is the only way to its mode.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))
}

fn is_socket(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::socket::is_listening;
    use super::*;

    const PRIVATE: UnixOptions = UnixOptions { mode: 0o640, user: None, group: None, runs_as: None };

    #[test]
    fn a_unix_socket_has_its_mode_and_replaces_only_a_dead_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let listener = listen_unix(&path, PRIVATE, 10).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let alive = listen_unix(&path, PRIVATE, 10).unwrap_err();
        assert_eq!(alive.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let first = identity(&path).unwrap();
        let again = listen_unix(&path, UnixOptions { mode: 0o600, ..PRIVATE }, 10).unwrap();
        assert!(is_listening(&again));
        assert!(remove_unix(&path, identity(&path).unwrap()).is_ok());
        assert!(remove_unix(&path, first).is_ok(), "gone already is fine");
    }

    #[test]
    fn a_socket_that_is_used_again_gets_its_new_mode_and_no_other_file_does() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("app.sock"), directory.path().join("other.sock"));
        let _listeners = [&path, &other].map(|path| listen_unix(path, PRIVATE, 10).unwrap());
        let made = identity(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for (wanted, expected) in [(None, 0o640), (Some(0o666), 0o666), (Some(0o600), 0o600)] {
            change_unix(&path, made, wanted, PRIVATE).unwrap();
            change_unix(&other, made, wanted, PRIVATE).unwrap();
            assert_eq!((mode(&path), mode(&other)), (expected, 0o640));
        }
        fs::hard_link(&path, directory.path().join("link")).unwrap();
        change_unix(&path, made, Some(0o666), PRIVATE).unwrap();
        assert_eq!(mode(&path), 0o600, "who knows whose it is");
        if current_uid() == 0 {
            let given = UnixOptions { user: Some(65534), ..PRIVATE };
            change_unix(&other, identity(&other).unwrap(), None, given).unwrap();
            assert_eq!(fs::metadata(&other).unwrap().uid(), 65534);
            change_unix(&other, identity(&other).unwrap(), Some(0o666), PRIVATE).unwrap();
            assert_eq!(mode(&other), 0o640);
        }
    }

    #[test]
    fn what_is_not_a_dead_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "precious").unwrap();
        let error = listen_unix(&path, PRIVATE, 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let other = directory.path().join("other");
        let made = identity(&{
            let _listener = UnixListener::bind(&other).unwrap();
            other.clone()
        });
        fs::remove_file(&other).unwrap();
        fs::write(&other, "new").unwrap();
        assert!(remove_unix(&other, made.unwrap()).is_err());
    }

    #[test]
    fn whoever_listens_and_accepts_nobody_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let _full = listen_unix(&path, PRIVATE, 0).unwrap();
        let mut clients = Vec::new();
        loop {
            let client = unix_socket().unwrap();
            if connect(client.as_raw_fd(), &UnixAddr::new(&path).unwrap()).is_err() {
                break;
            }
            clients.push(client);
        }
        let (told, answer) = mpsc::channel();
        thread::spawn(move || told.send(listen_unix(&path, PRIVATE, 10).unwrap_err().kind()));
        assert_eq!(answer.recv_timeout(Duration::from_secs(30)), Ok(io::ErrorKind::AddrInUse));
    }

    /// A directory of a tenant's may become a link of his at any time: root makes the socket where he can make one.
    #[test]
    fn root_makes_no_socket_where_a_link_of_a_tenant_leads() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for directory in ["tenants", "tenants/release", "ours"] {
            fs::create_dir(at(directory)).unwrap();
        }
        symlink("release", at("tenants/current")).unwrap();
        symlink(at("ours"), at("tenants/run")).unwrap();
        if current_uid() != 0 {
            return;
        }
        for path in ["tenants", "tenants/release", "tenants/current", "tenants/run"] {
            lchown(at(path), Some(65534), None).unwrap();
        }
        let options = UnixOptions { user: Some(65534), ..PRIVATE };
        let error = listen_unix(&at("tenants/run/app.sock"), options, 10).unwrap_err();
        assert!(error.to_string().contains("tenants/run of another user (uid 65534)"), "{error}");
        assert_eq!(fs::read_dir(at("ours")).unwrap().count(), 0);
        let path = at("tenants/current/app.sock");
        let _listener = listen_unix(&path, options, 10).unwrap();
        assert!(is_listened_on(&path).unwrap());
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), 65534);
        let alive = listen_unix(&path, options, 10).unwrap_err();
        assert_eq!(alive.kind(), io::ErrorKind::AddrInUse);
    }
}
