//! Actions of the command line: something is done at once instead of serving.

use super::Kind::{Address, Flag, FreeText, Number, Path};
use super::{Kind, Row, Standing};

const fn action(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::CommandLine, "", doc)
}

pub(super) static ROWS: &[Row] = &[
    action(&["help", "usage"], Flag, "Says how liege is called (also `-h`)"),
    action(&["version"], Flag, "Prints the version"),
    action(&["get"], FreeText, "Prints the first value of that key, if there is one; repeatable"),
    action(&["exit"], Number, "Exits with that status, else with 1").optional(),
    action(&["reload"], Path, "Sends SIGHUP to the process whose pid is in that file: it reloads"),
    action(&["stop"], Path, "Sends SIGINT to the process whose pid is in that file: it stops"),
    action(
        &["pause", "suspend", "resume"],
        Path,
        "Sends SIGTSTP to the process whose pid is in that file: it pauses, or goes on",
    ),
    action(&["connect-and-read"], Address, "Prints what is said at that address, such as a stats server's"),
];
