//! The options about the processes of an instance: what they are called, the files that tell their pids or let only one
//! instance start, and how they begin and end.

use super::By::{Both, Config, Master, Worker};
use super::Kind::{Flag, FreeText, Identity, Language, Number, Path, Text};
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    // What they are called.
    row(&["auto-procname"], Flag, Master, "off", "Process titles that tell what each process is"),
    row(&["procname-prefix"], Text, Master, "none", "In front of the process titles"),
    row(&["procname-prefix-spaced"], Text, Master, "none", "As `procname-prefix`, with a space behind it"),
    row(&["procname-append"], Text, Master, "none", "Behind the process titles"),
    row(&["procname"], Text, Master, "what each process is", "The title of every process"),
    row(&["procname-master"], Text, Master, "as `procname`", "The title of the master"),
    // Files.
    row(&["safe-pidfile2"], Path, Master, "none", "Where the master's pid is written, too, once it serves"),
    row(
        &["flock"],
        Path,
        Master,
        "none",
        "A file that is there, and that the instance keeps locked as long as it runs; it does not start while another has it; repeatable",
    ),
    row(&["flock-wait"], Path, Master, "none", "As `flock`, but it waits for the other to end"),
    row(&["flock2"], Path, Master, "none", "As `flock`, with the log already where it goes"),
    row(&["flock-wait2"], Path, Master, "none", "As `flock-wait`, with the log already where it goes"),
    row(
        &["daemonize2"],
        Path,
        Master,
        "off",
        "As `daemonize`, but once the application is loaded: until then the log stays where it was, and the status of the command says whether it was loaded",
    ),
    row(
        &["early-envdir"],
        Language,
        Config,
        "",
        "As `envdir`, but at once: `$(NAME)` and `if-env` see its variables",
    ),
    row(
        &["fallback-config"],
        Path,
        Master,
        "none",
        "What is started instead where this configuration is refused, or cannot be entered (a socket, a directory)",
    ),
    // Another program in its place.
    row(
        &["privileged-binary-patch"],
        Text,
        Master,
        "none",
        "A program that the instance becomes before it is its user, with its own arguments; of a file that is root's only, where root starts it",
    ),
    row(
        &["privileged-binary-patch-arg"],
        FreeText,
        Master,
        "none",
        "The same with a command of the shell, which gets no arguments",
    ),
    row(
        &["unprivileged-binary-patch"],
        Text,
        Master,
        "none",
        "A program that the instance becomes once it is its user, with its own arguments",
    ),
    row(
        &["unprivileged-binary-patch-arg"],
        FreeText,
        Master,
        "none",
        "The same with a command of the shell, which gets no arguments",
    ),
    row(
        &["unshare"],
        Text,
        Master,
        "none",
        "Namespaces that the instance has for itself where root starts it: some of `fs`, `ipc`, `net` (only a loopback interface; `shared-socket` is bound before), `uts`, separated by commas",
    ),
    // Reloads.
    row(
        &["fs-reload", "fs-brutal-reload"],
        Path,
        Master,
        "none",
        "A file or directory: a change of it, or of what is directly in it, reloads the instance at once; repeatable",
    ),
    row(
        &["exit-on-reload"],
        Flag,
        Master,
        "off",
        "A reload ends the instance with status 0, for whoever starts it again; below liege's emperor a new one takes its place",
    ),
    // Privileges.
    row(
        &["immediate-uid"],
        Identity,
        Both,
        "none",
        "As `uid`, but an instance becomes it before it does anything else: no log, pid file or hook is made as root",
    ),
    row(&["immediate-gid"], Identity, Both, "none", "As `gid`, at the same time as `immediate-uid`"),
    row(
        &["drop-after-init"],
        Flag,
        Master,
        "off",
        "The privileges drop once `chdir` is entered, and `logto2`, `pidfile2` and the sockets are made; nothing of the application is loaded before",
    ),
    // How workers live.
    row(&["chdir2"], Path, Worker, "none", "Where workers go once the application is loaded"),
    row(
        &["prio"],
        Number,
        Master,
        "as it is",
        "The nice value of all processes, -20 to 19; of a vassal it counts among vassals (`cpu-weight` in its stead where that is said)",
    ),
    row(
        &["cpu-affinity"],
        Number,
        Worker,
        "off",
        "How many CPUs each worker keeps to: the first worker the first ones, and so on, round again when all are taken",
    ),
    row(
        &["reaper"],
        Flag,
        Worker,
        "off",
        "After each request a worker reaps children of its that ended: nobody else learns their status then",
    )
    .short('r'),
    row(
        &["skip-atexit"],
        Flag,
        Worker,
        "off",
        "A worker ends without what was registered for its end, neither `uwsgi.atexit` nor Python's `atexit`",
    ),
    row(
        &["skip-atexit-teardown"],
        Flag,
        Worker,
        "off",
        "A worker calls `uwsgi.atexit`, and ends without what Python does at its end",
    ),
    row(&["no-site"], Flag, Master, "off", "The interpreter does not import `site` (`-S`)"),
];
