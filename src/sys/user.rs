//! Users and groups, and becoming one of them for good.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, access, getegid, geteuid, getgid, getgrouplist, getgroups, getresgid,
    getresuid, getuid, setfsgid, setfsuid, setgroups, setresgid, setresuid, setuid,
};

use super::capabilities::{self, Capabilities};

/// Who this process runs as.
#[must_use]
pub fn current_uid() -> u32 {
    getuid().as_raw()
}

/// Whether what a user owns is to be trusted like what is our own: he is root, or this process's user.
#[must_use]
pub fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == current_uid()
}

/// The group this process runs as.
#[must_use]
pub fn current_gid() -> u32 {
    getgid().as_raw()
}

/// The number of a user, from a name or a number.
///
/// # Errors
/// There is no such user, or the user database cannot be read.
pub fn uid_of(text: &str) -> io::Result<u32> {
    find_user(text).map(|(uid, _)| uid)
}

/// The number of a group, from a name or a number.
///
/// # Errors
/// There is no such group, or the group database cannot be read.
pub fn gid_of(text: &str) -> io::Result<u32> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    Group::from_name(text)?
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {text}")))
}

/// Who to become: every name looked up, nothing done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Identity {
    /// Looks up `uid` and `gid` (names or numbers) and the further groups: those of the user unless
    /// `no_initgroups`, then `add_gid`. Without a gid it is the user's own, never the group of whoever starts us;
    /// without a uid the user stays.
    ///
    /// # Errors
    /// A name that does not exist, a number without an entry and without a gid, or a database that cannot be read.
    pub fn look_up(
        uid: Option<&str>,
        gid: Option<&str>,
        add_gid: &[String],
        no_initgroups: bool,
    ) -> io::Result<Self> {
        let user = uid.map(find_user).transpose()?;
        let given = gid.map(gid_of).transpose()?;
        let primary = match &user {
            None => getgid().as_raw(),
            Some((_, Some(user))) => user.gid.as_raw(),
            Some((uid, None)) => given.ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("uid {uid} has no entry: name its gid too"))
            })?,
        };
        let gid = given.unwrap_or(primary);
        let mut groups = Vec::new();
        if let Some((_, Some(user))) = user.as_ref().filter(|_| !no_initgroups) {
            let name = CString::new(user.name.as_str()).map_err(io::Error::other)?;
            groups.extend(getgrouplist(&name, Gid::from_raw(gid))?.into_iter().map(Gid::as_raw));
        }
        for group in add_gid {
            groups.push(gid_of(group)?);
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Self { uid: user.map_or(getuid().as_raw(), |(uid, _)| uid), gid, groups })
    }

    /// The user.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The group id.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether the process is this user and group already, for good.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3])
            && getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3])
    }

    /// Whether it may make files in a directory, as its owner, group and mode tell.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub fn may_make_in(&self, directory: &Path) -> io::Result<bool> {
        let found = std::fs::metadata(directory)?;
        let shift = match () {
            () if found.uid() == self.uid => 6,
            () if found.gid() == self.gid || self.groups.contains(&found.gid()) => 3,
            () => 0,
        };
        Ok(self.uid == 0 || (found.mode() >> shift) & 0o3 == 0o3)
    }

    /// Becomes this identity, irrevocably: supplementary groups, group, user, then capabilities, each verified; only
    /// these are kept. After an error the process must not go on.
    ///
    /// # Errors
    /// A step that was refused, or that the kernel says did not take effect.
    pub fn take_on(&self, kept: &Capabilities) -> io::Result<()> {
        let refused = |step: &str, error: nix::Error| {
            io::Error::new(io::Error::from(error).kind(), format!("{step}: {}", error.desc()))
        };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        // Nothing may attach to this process or read its memory while it is half one user and half another.
        nix::sys::prctl::set_dumpable(false).map_err(|e| refused("PR_SET_DUMPABLE", e))?;
        if !kept.is_empty() {
            capabilities::keep_over_change()?;
        }
        match setgroups(&groups) {
            Err(Errno::EPERM) if self.is_current() && are_fixed(&groups) => {}
            done => done.map_err(|e| refused("setgroups", e))?,
        }
        setresgid(gid, gid, gid).map_err(|e| refused(&format!("setresgid to {gid}"), e))?;
        setresuid(uid, uid, uid).map_err(|e| refused(&format!("setresuid to {uid}"), e))?;
        if !self.is_current() {
            return Err(io::Error::other(format!("the kernel did not change to uid {uid} and gid {gid}")));
        }
        // Leaving root empties all sets but the inheritable one; leaving another user empties none.
        if !uid.is_root() || !kept.is_empty() {
            capabilities::reduce_to(kept)?;
        }
        if !uid.is_root() && !kept.change_users() && setuid(Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("root could be regained after dropping it"));
        }
        Ok(())
    }
}

/// Whether this process has these groups already, in a user namespace where nobody can change any: its maker had no rights
/// over groups, as with `unshare --map-root-user`.
fn are_fixed(groups: &[Gid]) -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|said| said.starts_with(b"deny"))
        && getgroups().is_ok_and(|have| groups.iter().all(|group| have.contains(group)))
}

/// Whether this process may make files in a directory.
#[must_use]
pub fn may_make_in(directory: &Path) -> bool {
    access(directory, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// Whether this process may read a file.
#[must_use]
pub fn may_read(path: &Path) -> bool {
    access(path, AccessFlags::R_OK).is_ok()
}

/// Does something with nobody's rights to files, and ends the process where it cannot become itself again. Other threads
/// have the rights that they had.
///
/// # Errors
/// This process may not become nobody.
pub fn as_nobody<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    const NOBODY: u32 = 65_534;
    with_file_rights_of(NOBODY, NOBODY, work)
}

/// The same with the rights of any user with this group alone.
///
/// # Errors
/// This process may not become that user, and is itself then.
pub fn with_file_rights_of<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> io::Result<T> {
    let (groups, own_uid, own_gid) = (getgroups()?, geteuid(), getegid());
    let become_it = |uid: Uid, gid: Gid| {
        setfsgid(gid);
        setfsuid(uid);
        // What they answer is who it was before: asked with what nobody is, they change nothing.
        let is = (setfsuid(Uid::from_raw(u32::MAX)), setfsgid(Gid::from_raw(u32::MAX)));
        match is == (uid, gid) {
            true => Ok(()),
            false => Err(io::Error::other(format!("the kernel did not change to uid {uid} for files"))),
        }
    };
    setgroups(&[])?;
    let done = become_it(Uid::from_raw(uid), Gid::from_raw(gid)).map(|()| work());
    if let Err(error) = become_it(own_uid, own_gid).and_then(|()| Ok(setgroups(&groups)?)) {
        tracing::error!("cannot be user {own_uid} again: {error}");
        std::process::abort();
    }
    done
}

/// Gives up every way to gain privileges by executing a program (set-user-id and file capabilities), for this process
/// and all it starts.
///
/// # Errors
/// `prctl`.
pub fn set_no_new_privileges() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

fn find_user(text: &str) -> io::Result<(u32, Option<User>)> {
    if let Ok(uid) = text.parse() {
        return Ok((uid, User::from_uid(Uid::from_raw(uid))?));
    }
    let user = User::from_name(text)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {text}")))?;
    Ok((user.uid.as_raw(), Some(user)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_looked_up() {
        assert_eq!(uid_of("root").unwrap(), 0);
        assert_eq!(uid_of("4711").unwrap(), 4711);
        assert_eq!(gid_of("root").unwrap(), 0);
        assert_eq!(gid_of("4711").unwrap(), 4711);
        assert!(uid_of("no-such-user").unwrap_err().to_string().contains("no-such-user"));
        assert!(gid_of("no-such-group").unwrap_err().to_string().contains("no-such-group"));
    }

    #[test]
    fn a_user_without_a_gid_gets_his_own_group() {
        let Some(user) = User::from_name("nobody").unwrap() else { return };
        let identity = Identity::look_up(Some("nobody"), None, &["4711".into()], false).unwrap();
        assert_eq!(identity.gid, user.gid.as_raw());
        assert!(identity.groups.contains(&4711));
        let bare = Identity::look_up(Some("nobody"), Some("12"), &[], true).unwrap();
        assert_eq!(bare, Identity { uid: user.uid.as_raw(), gid: 12, groups: vec![] });
    }

    #[test]
    fn an_unknown_number_needs_a_gid() {
        assert!(Identity::look_up(Some("3999999"), None, &[], false).is_err());
        assert!(Identity::look_up(Some("3999999"), Some("3999999"), &[], false).is_ok());
    }

    #[test]
    fn saying_nothing_is_who_we_are() {
        assert!(Identity::look_up(None, None, &[], false).unwrap().is_current());
    }
}
