//! The options of what is made of the application: what is loaded besides, how it is found, what becomes of its
//! exceptions, its locks, and where its stacks are told.

use super::By::Worker;
use super::Kind::{Flag, FreeText, Number, Pair, Path, Text};
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &[
            "shared-import",
            "pyshared-import",
            "shared-pyimport",
            "shared-py-import",
            "shared-python-import",
            "py-shared-import",
            "python-shared-import",
        ],
        Text,
        Worker,
        "none",
        "A module, or a `.py` file, that is loaded once for all workers of a generation, with `lazy-apps`, too; a failure is only logged; repeatable",
    ),
    row(
        &["pymodule-alias"],
        Pair,
        Worker,
        "none",
        "`name=module`, or `name=file` with a slash in it: what `import name` gives, before anything is loaded; repeatable",
    ),
    row(
        &["post-pymodule-alias"],
        Pair,
        Worker,
        "none",
        "The same after `import`, where `import uwsgi` works; repeatable",
    ),
    row(
        &["paste"],
        Text,
        Worker,
        "none",
        "`config:FILE.ini` or `egg:NAME`: the application is loaded by PasteDeploy, which the virtualenv must have",
    ),
    row(&["paste-name"], Text, Worker, "main", "Which application of it"),
    row(&["paste-logger"], Flag, Worker, "off", "With `paste`: the file sets the loggers up, too"),
    row(&["ini-paste"], Path, Worker, "none", "As `ini` and `paste = config:` with this file"),
    row(&["ini-paste-logged"], Path, Worker, "none", "As `ini-paste` and `paste-logger`"),
    row(
        &["locks"],
        Number,
        Worker,
        "0",
        "The highest number of a lock for `uwsgi.lock`, beside lock 0; at most 1024",
    ),
    row(
        &["py-tracebacker"],
        Path,
        Worker,
        "none",
        "Who connects to the unix socket of this name with the worker's number behind it gets the stacks of its threads",
    ),
    row(
        &["catch-exceptions"],
        Flag,
        Worker,
        "off",
        "An exception's answer shows its traceback and the request's variables, but for credentials; for development",
    ),
    row(&["reload-on-exception"], Flag, Worker, "off", "A worker is replaced after any exception"),
    row(
        &["reload-on-exception-type"],
        Text,
        Worker,
        "none",
        "A worker is replaced after an exception of this class, `module.Class` or `Class`; repeatable",
    ),
    row(
        &["reload-on-exception-value"],
        FreeText,
        Worker,
        "none",
        "A worker is replaced after an exception with this text; repeatable",
    ),
    row(
        &["reload-on-exception-repr"],
        FreeText,
        Worker,
        "none",
        "A worker is replaced after this exception, as `module.Class: text` or `Class: text`; repeatable",
    ),
];
