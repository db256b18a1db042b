//! The options that say what is done around an instance's start, its workers and its end.

use super::By::{Master, Worker};
use super::Kind::{Flag, FreeText, Number, Text};
use super::{By, Row, obeyed_by as row};

const fn hook(names: &'static [&'static str], by: By, doc: &'static str) -> Row {
    row(names, FreeText, by, "none", doc)
}

pub(super) static ROWS: &[Row] = &[
    hook(
        &["hook-asap"],
        Master,
        "Does an action (`exec:COMMAND`, `write:FILE STRING` and the like) as soon as the configuration was read, and before each reload; repeatable",
    ),
    hook(
        &["exec-asap"],
        Master,
        "Runs a command of the shell as soon as the configuration was read, and before each reload; what fails ends the start; repeatable",
    ),
    hook(
        &["hook-pre-jail"],
        Master,
        "As `hook-asap`, at a first start only, before `hook-in-jail`; repeatable",
    ),
    hook(
        &["exec-pre-jail"],
        Master,
        "As `exec-asap`, at a first start only, before `hook-in-jail`; repeatable",
    ),
    hook(
        &["hook-in-jail"],
        Master,
        "As `hook-asap`, when the log and the pid file are there; also before each reload; repeatable",
    ),
    hook(
        &["exec-in-jail"],
        Master,
        "As `exec-asap`, when the log and the pid file are there; also before each reload; repeatable",
    ),
    hook(
        &["hook-post-jail"],
        Master,
        "As `hook-as-root`, before it, in an instance that is `jailed`; repeatable",
    ),
    hook(
        &["exec-post-jail"],
        Master,
        "As `exec-as-root`, before it, in an instance that is `jailed`; repeatable",
    ),
    row(&["jailed"], Flag, Master, "off", "`hook-post-jail` and `exec-post-jail` are done"),
    hook(&["hook-as-root"], Master, "As `hook-asap`, just before privileges drop; only by root; repeatable"),
    hook(&["exec-as-root"], Master, "As `exec-asap`, just before privileges drop; only by root; repeatable"),
    hook(&["hook-as-user"], Master, "As `hook-asap`, just after privileges dropped; repeatable"),
    hook(&["exec-as-user"], Master, "As `exec-asap`, just after privileges dropped; repeatable"),
    hook(
        &["hook-master-start"],
        Master,
        "As `hook-asap`, when the master begins; `unix_signal:15 gracefully_kill_them_all` is always so; repeatable",
    ),
    hook(&["hook-pre-app"], Worker, "As `hook-asap`, before the application is loaded; repeatable"),
    hook(&["exec-pre-app"], Worker, "As `exec-asap`, before the application is loaded; repeatable"),
    hook(&["hook-post-app"], Worker, "As `hook-asap`, when the application is loaded; repeatable"),
    hook(&["exec-post-app"], Worker, "As `exec-asap`, when the application is loaded; repeatable"),
    hook(&["hook-post-fork"], Worker, "As `hook-asap`, in each new worker; repeatable"),
    hook(&["hook-accepting"], Worker, "As `hook-asap`, in each worker that is about to accept; repeatable"),
    hook(&["hook-accepting-once"], Worker, "The same, not in one that replaces another; repeatable"),
    hook(&["hook-accepting1"], Worker, "As `hook-accepting`, in worker 1; repeatable"),
    hook(&["hook-accepting1-once"], Worker, "As `hook-accepting-once`, in worker 1; repeatable"),
    hook(
        &["hook-as-user-atexit"],
        Master,
        "Does an action when the instance ends, for 30 s at most; repeatable",
    ),
    hook(
        &["exec-as-user-atexit"],
        Master,
        "Runs a command of the shell when the instance ends, for 30 s at most; repeatable",
    ),
    hook(
        &["hook-touch"],
        Master,
        "`FILE ACTION`: does an action when the file is touched, beside the serving, for 30 s at most; repeatable",
    ),
    hook(
        &["hook-emperor-stop"],
        Master,
        "Does an action when the emperor says to stop, before requests are finished, for 30 s at most; repeatable",
    ),
    hook(
        &["hook-emperor-reload"],
        Master,
        "Does an action when the emperor says to reload, for 30 s at most; repeatable",
    ),
    hook(
        &["hook-emperor-lost"],
        Master,
        "Does an action when the emperor is gone, for 30 s at most; repeatable",
    ),
    hook(
        &["hook-as-vassal"],
        By::Emperor,
        "As `hook-asap`, in the process of each vassal before its file is read, as whom it runs; `putenv:` is a variable of the vassal; repeatable",
    ),
    hook(
        &["exec-as-vassal"],
        By::Emperor,
        "As `exec-asap`, in the process of each vassal before its file is read, as whom it runs; the command finds `UWSGI_VASSAL_CONFIG`, `_PID`, `_UID` and `_GID`; what fails ends the start; repeatable",
    ),
    hook(
        &["hook-as-emperor"],
        By::Emperor,
        "As `hook-asap`, by the emperor whenever it has started a vassal, beside everything else, for 30 s at most; repeatable",
    ),
    hook(
        &["exec-as-emperor"],
        By::Emperor,
        "As `exec-asap`, by the emperor whenever it has started a vassal, beside everything else, for 30 s at most; the command finds `UWSGI_VASSAL_CONFIG`, `_PID`, `_UID` and `_GID`; repeatable",
    ),
    hook(
        &["hook-emperor-start"],
        By::Emperor,
        "As `hook-asap`, once, before the emperor starts anything; what fails ends the emperor; repeatable",
    ),
    row(
        &["honour-stdin"],
        Flag,
        Worker,
        "off",
        "Workers keep the standard input, for a debugger, instead of `/dev/null`",
    ),
    hook(&["wait-for-fs"], Master, "Begins only when there is something at this path; repeatable"),
    hook(&["wait-for-file"], Master, "Begins only when there is a regular file at this path; repeatable"),
    hook(&["wait-for-dir"], Master, "Begins only when there is a directory at this path; repeatable"),
    hook(&["wait-for-mountpoint"], Master, "Begins only when something is mounted at this path; repeatable"),
    hook(
        &["wait-for-interface", "wait-for-iface", "wait-interface", "wait-iface"],
        Master,
        "Begins only when there is this network interface; repeatable",
    ),
    row(
        &["wait-for-socket"],
        Text,
        Master,
        "none",
        "Loads the application only when somebody accepts connections at this address; repeatable",
    ),
    row(
        &["wait-for-fs-timeout", "wait-for-file-timeout", "wait-for-dir-timeout"],
        Number,
        Master,
        "60",
        "Seconds after which `wait-for-file` and the like give up",
    ),
    row(
        &[
            "wait-for-interface-timeout",
            "wait-for-iface-timeout",
            "wait-interface-timeout",
            "wait-iface-timeout",
        ],
        Number,
        Master,
        "60",
        "Seconds after which `wait-for-interface` gives up",
    ),
    row(&["wait-for-socket-timeout"], Number, Master, "60", "Seconds after which `wait-for-socket` gives up"),
];
