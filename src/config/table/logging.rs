//! The options about where log lines go, and what becomes of them on the way.

use super::By::{Both, Master};
use super::Kind::{FreeText, Number, Text};
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["log-date", "logdate", "log-prefix"],
        FreeText,
        Both,
        "off",
        "Begins each line that liege itself logs with the date as uWSGI writes it, or as this format of `strftime` says (in a file each `%` is doubled)",
    )
    .optional(),
    row(
        &["logger", "worker-logger"],
        FreeText,
        Master,
        "standard error",
        "`[NAME ]KIND[:ARGUMENTS]`: what takes the log in place of standard error: `file:PATH` or `file:logfile=PATH,maxsize=BYTES,backupname=PATH`, `stdio`, `fd:NUMBER`, `syslog[:IDENT[,FACILITY]]`, `rsyslog:HOST[:PORT][,TAG[,PRIORITY]]`, `socket:ADDRESS[,PREFIX]`; one with a name only what is routed to it; repeatable",
    ),
    row(
        &["req-logger", "logger-req", "worker-logger-req"],
        FreeText,
        Master,
        "as other lines",
        "As `logger`, for the lines of requests; repeatable",
    ),
    row(
        &["log-syslog"],
        Text,
        Master,
        "off",
        "`[IDENT[,FACILITY]]`: as `logger = syslog:IDENT,FACILITY`; repeatable",
    )
    .optional(),
    row(&["log-socket"], Text, Master, "off", "As `logger = socket:ADDRESS[,PREFIX]`; repeatable"),
    row(
        &["log-route"],
        FreeText,
        Master,
        "none",
        "`NAME PATTERN`: lines that the regular expression matches go to the `logger` of that name, and nowhere else; repeatable",
    ),
    row(&["log-req-route"], FreeText, Master, "none", "As `log-route`, for the lines of requests; repeatable"),
    row(
        &["log-drain"],
        FreeText,
        Master,
        "none",
        "Lines that this regular expression matches are left out; repeatable",
    ),
    row(
        &["log-filter"],
        FreeText,
        Master,
        "none",
        "Lines that no such regular expression matches are left out; repeatable",
    ),
    row(
        &["log-encoder", "worker-log-encoder"],
        FreeText,
        Master,
        "none",
        "`KIND[:LOGGER] TEXT`: what each line becomes (only for that logger): `prefix`, `suffix`, `nl`, `format` and `json` with `${msg}`, `${msgnl}`, `${unix}`, `${millis}`, `${micros}`, `${strftime:FORMAT}`; one after the other; repeatable",
    ),
    row(
        &["log-req-encoder", "worker-log-req-encoder"],
        FreeText,
        Master,
        "none",
        "As `log-encoder`, for what `req-logger` takes; repeatable",
    ),
    row(
        &["log-master-bufsize"],
        Number,
        Master,
        "8192",
        "Bytes of a line that loggers get in one piece, 256 to 65536",
    ),
];
