//! The options that are refused until they exist: without them something else would be served, or something unsafe
//! done. The text says what to use until then.

use super::Kind::{Flag, FreeText, Path};
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::NotYet, "", doc)
}

const DROP: &str = "an application is never loaded as root: let its user read what it needs, or say `cap`; `drop-after-init` binds the sockets as root";
const MASTER: &str = "the master believes its workers, and so has no rights that they have not: say `drop-after-init` for sockets, `hook-as-root` for what root does first, or `cap`";

pub(super) static ROWS: &[Row] = &[
    // Sockets and protocols.
    row(&["add-header-req"], FreeText, "add it in the web server in front or in the application"),
    // Applications.
    // Companions.
    row(&["legion-attach-daemon"], FreeText, "there are no legions: use `attach-daemon` on one host"),
    row(&["legion-cron"], FreeText, "there are no legions: use `cron` on one host"),
    // Hooks and commands.
    // Privileges.
    row(&["drop-after-apps"], Flag, DROP),
    row(&["master-as-root"], Flag, MASTER),
    row(
        &["chroot"],
        Path,
        "a reload executes the binary and the interpreter by their paths: use RootDirectory= of the service unit, where all of them are",
    ),
    // The emperor.
    row(&["early-emperor"], Flag, "give each vassal its `uid` and `gid`, or say emperor-tyrant"),
    row(
        &["emperor-magic-exec"],
        Flag,
        "no file of a watched directory is executed: let a script write what it prints into the file, and touch it",
    ),
];
