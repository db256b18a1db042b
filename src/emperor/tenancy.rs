//! Whom a vassal runs as under `emperor-tyrant`: the owner of its file, if nobody else can have chosen that file or
//! written it.

use crate::config::tenant::{Tenant, Tyrant};
use crate::sys::way::{Kind, Step};

use super::audit;

const GROUP: u32 = 0o020;
const OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// A vassal's file as it was opened, and the way to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    /// Up to the watched directory.
    pub(super) to_directory: &'a [Step],
    /// Beyond it, where its name is a symbolic link.
    pub(super) beyond: &'a [Step],
    /// The owner of the open file.
    pub(super) owner: Tenant,
    /// Its permissions.
    pub(super) mode: u32,
    /// An access control list lets others write it.
    pub(super) listed: bool,
}

/// Why the vassal of a file runs as nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disowned {
    /// Who owns it, all the same.
    pub owner: Tenant,
    /// A sentence.
    pub reason: String,
}

/// Whom the vassal of a file runs as under the emperor of the user `us`.
///
/// # Errors
/// Why nobody, and who would be it.
pub(super) fn tenant(opened: &Opened<'_>, tyrant: Tyrant, us: u32) -> Result<Tenant, Disowned> {
    let link = opened.beyond.first().filter(|link| tyrant.nofollow && link.kind == Kind::Link);
    let owner = link.map_or(opened.owner, |link| Tenant { uid: link.uid, gid: link.gid });
    match problem(opened, (owner, link.is_some()), us) {
        Some(reason) => Err(Disowned { owner, reason }),
        None => Ok(owner),
    }
}

/// What is wrong with a file of this tenant, to whom the link belongs, or what it leads to.
fn problem(opened: &Opened<'_>, (tenant, by_link): (Tenant, bool), us: u32) -> Option<String> {
    if let Some(problem) = audit::problem(opened.to_directory, us) {
        return Some(format!("emperor-tyrant goes by owners, but {problem}"));
    }
    if tenant.uid == 0 || tenant.gid == 0 {
        let whose = if tenant.uid == 0 { "belongs to root" } else { "has root's group" };
        return Some(format!("it {whose} ({tenant}): give it to the user whom it is to run as"));
    }
    if tenant.uid == us {
        return Some(
            "it belongs to the emperor's own user: give it to the user whom it is to run as".to_owned(),
        );
    }
    let owner = opened.owner.uid;
    let ours = |uid: u32| uid == 0 || uid == us;
    // What the tenant gets to read is his, or was chosen by us alone.
    if by_link && owner != tenant.uid && !ours(owner) {
        return Some(format!("the symbolic link belongs to uid {}, the file to uid {owner}", tenant.uid));
    }
    let mut chosen = opened.beyond.iter().skip(usize::from(by_link));
    if let Some(step) = chosen.find(|step| !ours(step.uid) && step.uid != owner) {
        return Some(stranger(step, owner));
    }
    // Whoever writes to a directory could put another file of the tenant's there, one that he did not mean to be run.
    let open_to_others = |step: &&Step| {
        let shared = step.listed || shared(step.mode, step.gid, owner);
        step.kind == Kind::Directory && step.mode & STICKY == 0 && shared
    };
    if let Some(step) = opened.beyond.iter().find(open_to_others) {
        let (path, mode) = (step.path.display(), rights(step.mode, step.listed));
        return Some(format!("others can write to {path}, through which it is reached ({mode})"));
    }
    if opened.listed || shared(opened.mode, opened.owner.gid, owner) {
        let mode = rights(opened.mode, opened.listed);
        return Some(format!("others can write it and would run code as {tenant} ({mode}): chmod go-w"));
    }
    None
}

/// Whether others than its owner can write to what has this mode and group. A group of the owner's own number is his alone
/// by custom; of any other group every member can.
const fn shared(mode: u32, gid: u32, owner: u32) -> bool {
    mode & OTHERS != 0 || (mode & GROUP != 0 && gid != owner)
}

fn rights(mode: u32, listed: bool) -> String {
    let list = if listed { " and an access control list" } else { "" };
    format!("mode {:04o}{list}", mode & 0o7777)
}

fn stranger(step: &Step, owner: u32) -> String {
    let path = step.path.display();
    let what = match step.kind {
        Kind::Link => format!("the symbolic link {path} was made by uid {}", step.uid),
        Kind::Directory => format!("it is reached through {path}, which belongs to uid {}", step.uid),
    };
    format!("{what}, neither the file's owner (uid {owner}) nor root")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: u32 = 1001;
    const BOB: u32 = 1002;
    const US: u32 = 77;

    fn step(kind: Kind, uid: u32, mode: u32) -> Step {
        Step { path: "/x".into(), kind, uid, gid: uid, mode, listed: false }
    }

    fn link(uid: u32) -> Step {
        step(Kind::Link, uid, 0o777)
    }

    fn directory(uid: u32) -> Step {
        step(Kind::Directory, uid, 0o755)
    }

    #[test]
    fn the_owner_counts_if_nobody_else_can_have_chosen_the_file() {
        let nobody = Err(());
        for (what, beyond, owner, mode, follow, nofollow) in [
            ("a plain file", vec![], ALICE, 0o600, Ok(ALICE), Ok(ALICE)),
            ("root's", vec![], 0, 0o644, nobody, nobody),
            ("the emperor's", vec![], US, 0o644, nobody, nobody),
            ("writable for all", vec![], ALICE, 0o602, nobody, nobody),
            ("writable for her own group", vec![], ALICE, 0o664, Ok(ALICE), Ok(ALICE)),
            ("root's link to hers", vec![link(0), directory(ALICE)], ALICE, 0o600, Ok(ALICE), nobody),
            ("her link to hers", vec![link(ALICE), directory(ALICE)], ALICE, 0o600, Ok(ALICE), Ok(ALICE)),
            ("her link to another's", vec![link(ALICE), directory(BOB)], BOB, 0o644, nobody, nobody),
            ("her link to root's", vec![link(ALICE), directory(0)], 0, 0o600, nobody, Ok(ALICE)),
            ("root's link to her link to another's", vec![link(0), link(ALICE)], BOB, 0o600, nobody, nobody),
            (
                "her link through her directory to root's",
                vec![link(ALICE), directory(ALICE)],
                0,
                0o600,
                nobody,
                nobody,
            ),
            ("her link to her link to root's", vec![link(ALICE), link(ALICE)], 0, 0o600, nobody, nobody),
            (
                "root's link through another's directory",
                vec![link(0), directory(BOB)],
                ALICE,
                0o600,
                nobody,
                nobody,
            ),
        ] {
            let owner = Tenant { uid: owner, gid: owner };
            let opened = Opened {
                to_directory: &[directory(0), directory(US)],
                beyond: &beyond,
                owner,
                mode,
                listed: false,
            };
            let found = |nofollow| {
                let tyrant = Tyrant { nofollow, initgroups: false };
                tenant(&opened, tyrant, US).map(|tenant| tenant.uid).map_err(drop)
            };
            assert_eq!((found(false), found(true)), (follow, nofollow), "{what}");
        }
    }

    #[test]
    fn nobody_else_can_put_another_file_where_a_link_leads() {
        let owner = Tenant { uid: ALICE, gid: ALICE };
        for (uid, gid, mode, listed, expected) in [
            (ALICE, ALICE, 0o775, false, true),
            (ALICE, ALICE, 0o775, true, false),
            (ALICE, 33, 0o775, false, false),
            (ALICE, ALICE, 0o777, false, false),
            (0, 33, 0o2775, false, false),
            (0, 0, 0o1777, false, true),
        ] {
            let beyond = [link(0), Step { gid, listed, ..step(Kind::Directory, uid, mode) }];
            let mut opened =
                Opened { to_directory: &[directory(0)], beyond: &beyond, owner, mode: 0o660, listed: false };
            let found = tenant(&opened, Tyrant::default(), 0);
            assert_eq!(found.is_ok(), expected, "{uid} {gid} {mode:o}: {found:?}");
            opened.listed = true;
            assert!(tenant(&opened, Tyrant::default(), 0).is_err(), "others can write the file");
        }
    }

    #[test]
    fn directories_that_others_control_and_shared_files_are_refused() {
        let shared = step(Kind::Directory, 0, 0o775);
        let sticky = step(Kind::Directory, 0, 0o1777);
        let owner = Tenant { uid: ALICE, gid: 33 };
        for (to_directory, owner, mode, expected) in [
            (vec![directory(0)], owner, 0o640, true),
            (vec![sticky.clone(), directory(0)], owner, 0o640, true),
            (vec![directory(0), sticky], owner, 0o640, false),
            (vec![shared.clone(), directory(0)], owner, 0o640, false),
            (vec![directory(0), shared], owner, 0o640, false),
            (vec![directory(0), directory(ALICE)], owner, 0o640, false),
            (vec![link(ALICE), directory(0)], owner, 0o640, false),
            (vec![directory(0)], owner, 0o660, false),
            (vec![directory(0)], Tenant { uid: ALICE, gid: 0 }, 0o640, false),
        ] {
            let opened = Opened { to_directory: &to_directory, beyond: &[], owner, mode, listed: false };
            let found = tenant(&opened, Tyrant::default(), 0);
            assert_eq!(found.is_ok(), expected, "{to_directory:?} {owner} {mode:o}: {found:?}");
        }
    }
}
