//! What a path lies on.

use std::path::Path;

use nix::sys::statfs::{FsType, statfs};

/// File systems whose content others change behind this kernel's back: of other machines, of programs, and those that
/// several machines have together (`linux/magic.h`, and what `stat` of coreutils knows of those that are not in there).
const REMOTE: [(u64, &str); 20] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x6573_5546, "FUSE"),
    (0x0bd0_0bd0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x4750_4653, "GPFS"),
    (0xaad7_aaea, "PanFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x786f_4256, "a shared folder of VirtualBox"),
    (0xbacb_acbc, "a shared folder of VMware"),
    (0x7c7c_6673, "a shared folder of Parallels"),
];

/// The same as they are called in `/proc/self/mountinfo`, and what mounts such ones when somebody comes.
const SERVED: [&str; 28] = [
    "9p",
    "afs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "panfs",
    "prl_fs",
    "pvfs2",
    "smb2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
    "wekafs",
];

/// Whether whoever uses a file system of this kind waits for another machine, or for a program.
#[must_use]
pub fn is_served(kind: &str) -> bool {
    kind.starts_with("fuse.") || SERVED.binary_search(&kind).is_ok()
}

/// Waits until whoever serves this file system has answered, however it does. Neither the kernel nor an NFS client answers
/// this from what it remembers.
pub fn ask(path: &Path) {
    let _ = statfs(path);
}

/// Why this kernel does not tell of every change below a path: the file system is of another machine, or of a
/// program. `None`: it does, or there is nothing at that path.
#[must_use]
pub fn tells_nothing(path: &Path) -> Option<String> {
    remote(statfs(path).ok()?.filesystem_type())
}

fn remote(kind: FsType) -> Option<String> {
    // The number is 32 bits wide; where the field is wider, its sign was extended.
    let magic = kind.0.cast_unsigned() & 0xffff_ffff;
    let (_, name) = REMOTE.iter().find(|(known, _)| *known == magic)?;
    Some(format!("others can change what is on {name}, and nothing tells of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remote_is_known_by_its_number() {
        assert_eq!(tells_nothing(Path::new("/proc")), None);
        assert_eq!(tells_nothing(Path::new("/nonexistent/liege")), None);
        assert!(SERVED.is_sorted() && is_served("fuse.sshfs") && is_served("nfs4"));
        assert!(!is_served("fusectl") && !is_served("ext4") && !is_served("nfsd"));
        assert!(remote(FsType(0x6969)).unwrap().contains("NFS"));
        assert!(remote(FsType(0x786f_4256)).unwrap().contains("VirtualBox"));
        assert!(remote(FsType(0xff53_4d42_u32.cast_signed().into())).unwrap().contains("CIFS"));
    }
}
