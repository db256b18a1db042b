//! The options about what workers log, how large and old they may grow, and how their interpreter runs.

use super::By::{Master, Worker};
use super::Kind::{Flag, FreeText, Mode, Number, Pair, Path, Text};
use super::{By, Kind, Row, Standing};

const fn row(
    names: &'static [&'static str],
    kind: Kind,
    by: By,
    default: &'static str,
    doc: &'static str,
) -> Row {
    Row::new(names, kind, Standing::Obeyed(by), default, doc)
}

pub(super) static ROWS: &[Row] = &[
    // The lines of requests.
    row(
        &["log-format", "logformat"],
        FreeText,
        Worker,
        "uWSGI's own line",
        "The line of a request, with `%(name)` for its variables, such as `%(addr)`, `%(method)`, `%(uri)`, `%(status)`, `%(msecs)`, `%(size)`, `%(uagent)`, `%(var.HTTP_X)`",
    ),
    row(
        &["log-format-strftime", "logformat-strftime"],
        Flag,
        Worker,
        "off",
        "The line is a template of `strftime`, too",
    ),
    row(&["memory-report"], Flag, Worker, "off", "Begins the line of a request with the size of the process")
        .short('m'),
    row(&["log-x-forwarded-for"], Flag, Worker, "off", "The line names the client of `X-Forwarded-For`"),
    row(&["log-micros"], Flag, Worker, "off", "The line has microseconds instead of milliseconds"),
    row(&["log-4xx"], Flag, Worker, "off", "With `disable-logging`: a line for answers of 400 to 499"),
    row(&["log-5xx"], Flag, Worker, "off", "With `disable-logging`: a line for answers of 500 to 599"),
    row(&["log-zero"], Flag, Worker, "off", "With `disable-logging`: a line for answers without a body"),
    row(
        &["log-ioerror"],
        Text,
        Worker,
        "off",
        "With `disable-logging`: a line for answers that could not be written",
    ),
    row(
        &["log-slow"],
        Number,
        Worker,
        "off",
        "With `disable-logging`: a line for requests that took so many milliseconds",
    ),
    row(&["log-big"], Number, Worker, "off", "With `disable-logging`: a line for answers of so many bytes"),
    row(&["show-config"], Flag, Master, "off", "The configuration goes to the log at the start"),
    row(
        &["log-maxsize"],
        Number,
        Master,
        "never",
        "The file of `logto` is renamed when it has so many bytes, and a new one begun",
    ),
    row(
        &["log-backupname"],
        Path,
        Master,
        "the time in seconds behind its name",
        "What it is renamed to; what was there before is lost",
    ),
    row(&["log-reopen"], Flag, Master, "off", "A reload opens the file anew"),
    row(&["log-truncate"], Flag, Master, "off", "The file is emptied at the start"),
    row(&["logfile-chown"], Flag, Master, "off", "The file is given to the user and group of the instance"),
    row(&["logfile-chmod"], Mode, Master, "640 without the umask", "The mode of the file"),
    row(&["touch-logrotate"], Path, Master, "none", "A file whose change renames the log; repeatable"),
    row(&["touch-logreopen"], Path, Master, "none", "A file whose change opens the log anew; repeatable"),
    // Size and age.
    row(
        &["reload-on-rss"],
        Number,
        Worker,
        "off",
        "A worker whose resident size reached so many MiB after a request is replaced",
    ),
    row(
        &["reload-on-as"],
        Number,
        Worker,
        "off",
        "A worker whose address space reached so many MiB after a request is replaced",
    ),
    row(
        &["max-worker-lifetime"],
        Number,
        Worker,
        "never",
        "A worker is replaced after so many seconds; more than `min-worker-lifetime`",
    ),
    row(
        &["max-worker-lifetime-delta"],
        Number,
        Worker,
        "0",
        "Seconds that are added to it once for each worker before this one, to spread them",
    ),
    row(&["max-fd"], Number, Master, "inherited", "Descriptors that each process may have"),
    row(&["limit-as"], Number, Master, "inherited", "MiB of address space that each process may have"),
    row(&["limit-nproc"], Number, Master, "inherited", "Processes that the user may have"),
    // What the application is given, and what it sends.
    row(
        &["mount", "worker-mount"],
        Pair,
        Worker,
        "none",
        "`/path=module:callable` or `/path=file.py`: a further application, for requests whose SCRIPT_NAME is that; repeatable",
    ),
    row(
        &["manage-script-name"],
        Flag,
        Worker,
        "off",
        "The application with the longest `mount` that the path of a request begins with answers it; that part becomes SCRIPT_NAME",
    ),
    row(
        &["limit-post"],
        Number,
        Worker,
        "none",
        "Bytes that the body of a request may have; a longer one is answered with 413",
    ),
    row(
        &["import", "pyimport", "py-import", "python-import"],
        Text,
        Worker,
        "none",
        "A module, or a `.py` file, that is loaded before the application; a failure is only logged; repeatable",
    ),
    row(
        &["add-header"],
        FreeText,
        Worker,
        "none",
        "`Name: value`: a header that every response of the application gets; repeatable",
    ),
    row(
        &["disable-write-exception"],
        Flag,
        Worker,
        "off",
        "`write` does not tell the application that the client is gone",
    ),
    row(
        &["stats-http"],
        Flag,
        Master,
        "off",
        "The answers of `stats` begin with a head of HTTP, for browsers",
    ),
    row(&["stats-minified", "stats-min"], Flag, Master, "off", "The answers of `stats` have no white space"),
    row(&["stats-no-cores"], Flag, Master, "off", "The answers of `stats` leave the threads of workers out"),
    row(
        &["stats-request-vars"],
        Flag,
        Worker,
        "off",
        "The answers of `stats` have the variables of running requests, credentials and query strings hidden",
    ),
    row(&["stats-request-query"], Flag, Worker, "off", "`stats-request-vars` shows query strings, too"),
    row(
        &["stats-push"],
        FreeText,
        Master,
        "none",
        "Pushes the statistics: `statsd:HOST:PORT[,PREFIX]`, or `file:path=FILE[,freq=SECONDS][,separator=TEXT]`; repeatable",
    ),
    row(
        &["stats-pusher-default-freq", "stats-pushers-default-freq"],
        Number,
        Master,
        "3",
        "Seconds between two pushes of `stats-push`",
    ),
    // The interpreter.
    row(
        &["py-autoreload", "python-autoreload", "py-auto-reload", "python-auto-reload"],
        Number,
        Worker,
        "off",
        "Looks every so many seconds for changed files of loaded modules, and reloads; for development",
    ),
    row(
        &["py-auto-reload-ignore", "py-autoreload-ignore"],
        Text,
        Worker,
        "none",
        "A module whose changes do not matter to `py-autoreload`; repeatable",
    ),
    row(&["pyargv"], Text, Worker, "`-c`", "`sys.argv`, in words separated by spaces"),
    row(&["optimize"], Number, Master, "0", "1 runs the interpreter with `-O`, 2 with `-OO`").short('O'),
    row(&["wsgi-disable-file-wrapper"], Flag, Worker, "off", "There is no `wsgi.file_wrapper`"),
];
