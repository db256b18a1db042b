//! The options about what lives beside the workers.

use super::Kind::{Flag, FreeText, Number, Path, Text};
use super::{Row, obeyed_by_master as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["attach-daemon"],
        FreeText,
        "none",
        "A command that `sh` runs beside the workers, once the instance serves: it is started again when it ends, anew at a reload, and stopped with the instance; repeatable",
    ),
    row(
        &["attach-control-daemon"],
        FreeText,
        "none",
        "The same, but when it ends the instance stops; repeatable",
    ),
    row(
        &["attach-daemon2"],
        FreeText,
        "none",
        "`key=value,…`: `cmd` with `pidfile`, `daemonize`, `freq`, `control`, `touch` (files separated by `;`), `stopsignal`, `reloadsignal`, `notifypid`, `stdin`, `uid`, `gid`, `ns_pid`, `chdir`, `max_throttle`; a comma in the command is written `\\,`; repeatable",
    ),
    row(
        &["smart-attach-daemon"],
        FreeText,
        "none",
        "`PIDFILE[,SECONDS] COMMAND`: one that goes to the background and writes its pid there within so many seconds, 10; it outlives reloads, and is not started where the pid file names one that runs; repeatable",
    ),
    row(
        &["smart-attach-daemon2"],
        FreeText,
        "none",
        "The same for a command that stays in the foreground: the pid file is written for it; repeatable",
    ),
    row(
        &["daemons-honour-stdin"],
        Flag,
        "off",
        "Daemons get the master's standard input instead of `/dev/null`",
    ),
    row(
        &["cron"],
        FreeText,
        "none",
        "`minute hour day month weekday command`, in local time: -1 is any, -5 every fifth; `sh` runs it; repeatable",
    ),
    row(&["unique-cron"], FreeText, "none", "The same, but not while it still runs; repeatable"),
    row(
        &["cron2"],
        FreeText,
        "none",
        "`minute=…,hour=…,day=…,month=…,week=…,unique=1,harakiri=SECONDS command`: what is not said is any; repeatable",
    ),
    row(&["cron-harakiri"], Number, "never", "Seconds after which a cron command is killed"),
    row(
        &["touch-exec"],
        FreeText,
        "none",
        "`FILE COMMAND`: `sh` runs the command when the file changes; repeatable",
    ),
    row(
        &["mule"],
        Text,
        "none",
        "A process of the application that serves no request: it runs a file that ends in `.py`, or `module:function`; without a value it gives what `uwsgi.mule_msg` sends to `uwsgi.mule_msg_hook`; repeatable",
    )
    .optional(),
    row(&["mules"], Number, "0", "So many mules that only take messages"),
    row(
        &["mule-reload-mercy"],
        Number,
        "60",
        "Seconds that a mule gets to end, at a reload or a stop, before it is killed",
    ),
    row(&["mule-harakiri"], Number, "never", "Seconds that a mule may work on one message before it is killed"),
    row(
        &["mule-msg-size"],
        Number,
        "what the system gives a socket",
        "Bytes of messages that may wait for a mule; a longer message, or one more, is refused",
    ),
    row(&["touch-mules-reload"], Path, "none", "The mules are started anew when this file changes; repeatable"),
];
