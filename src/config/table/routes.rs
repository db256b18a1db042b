//! The options of internal routing.

use super::By::Worker;
use super::Kind::FreeText;
use super::{Row, Standing};

const fn row(names: &'static [&'static str], doc: &'static str) -> Row {
    Row::new(names, FreeText, Standing::Obeyed(Worker), "none", doc)
}

pub(super) static ROWS: &[Row] = &[
    row(
        &["route"],
        "`regular-expression action:arguments`: what is done with requests whose path (`PATH_INFO`) matches, before a file or the application answers; see [routing](routing.md); repeatable",
    ),
    row(&["route-host"], "As `route`, for the field `Host`; repeatable"),
    row(&["route-uri"], "As `route`, for `REQUEST_URI`; repeatable"),
    row(&["route-qs"], "As `route`, for the query string; repeatable"),
    row(&["route-remote-addr"], "As `route`, for the client's address; repeatable"),
    row(&["route-remote-user"], "As `route`, for `REMOTE_USER`; repeatable"),
    row(&["route-referer"], "As `route`, for the field `Referer`; repeatable"),
    row(&["route-user-agent"], "As `route`, for the field `User-Agent`; repeatable"),
    row(&["route-if"], "`test:arguments action:arguments`: the same where a test succeeds; repeatable"),
    row(&["route-if-not"], "The same where it fails; repeatable"),
    row(&["route-run"], "`action:arguments`: what is always done; repeatable"),
    row(&["route-label"], "A name for the rules after it, which `goto` jumps to; repeatable"),
    row(
        &["error-route"],
        "`regular-expression action:arguments`: what is done with requests whose path (`PATH_INFO`) matches, when the status of an answer is known, whatever it is; see [routing](routing.md); repeatable",
    ),
    row(&["error-route-host"], "As `error-route`, for the field `Host`; repeatable"),
    row(&["error-route-uri"], "As `error-route`, for `REQUEST_URI`; repeatable"),
    row(&["error-route-qs"], "As `error-route`, for the query string; repeatable"),
    row(&["error-route-remote-addr"], "As `error-route`, for the client's address; repeatable"),
    row(&["error-route-remote-user"], "As `error-route`, for `REMOTE_USER`; repeatable"),
    row(&["error-route-referer"], "As `error-route`, for the field `Referer`; repeatable"),
    row(&["error-route-user-agent"], "As `error-route`, for the field `User-Agent`; repeatable"),
    row(
        &["error-route-status"],
        "`status action:arguments`: the same for answers of this status; repeatable",
    ),
    row(&["error-route-if"], "`test:arguments action:arguments`: the same where a test succeeds; repeatable"),
    row(&["error-route-if-not"], "The same where it fails; repeatable"),
    row(&["error-route-run"], "`action:arguments`: what is always done; repeatable"),
    row(&["error-route-label"], "A name for the rules after it, which `goto` jumps to; repeatable"),
    row(
        &["response-route"],
        "`regular-expression action:arguments`: what is done with requests whose path (`PATH_INFO`) matches, when the head of an answer goes out; see [routing](routing.md); repeatable",
    ),
    row(&["response-route-host"], "As `response-route`, for the field `Host`; repeatable"),
    row(&["response-route-uri"], "As `response-route`, for `REQUEST_URI`; repeatable"),
    row(&["response-route-qs"], "As `response-route`, for the query string; repeatable"),
    row(&["response-route-remote-addr"], "As `response-route`, for the client's address; repeatable"),
    row(&["response-route-remote-user"], "As `response-route`, for `REMOTE_USER`; repeatable"),
    row(&["response-route-referer"], "As `response-route`, for the field `Referer`; repeatable"),
    row(&["response-route-user-agent"], "As `response-route`, for the field `User-Agent`; repeatable"),
    row(
        &["response-route-status"],
        "`status action:arguments`: the same for answers of this status; repeatable",
    ),
    row(
        &["response-route-if"],
        "`test:arguments action:arguments`: the same where a test succeeds; repeatable",
    ),
    row(&["response-route-if-not"], "The same where it fails; repeatable"),
    row(&["response-route-run"], "`action:arguments`: what is always done; repeatable"),
    row(&["response-route-label"], "A name for the rules after it, which `goto` jumps to; repeatable"),
    row(
        &["final-route"],
        "`regular-expression action:arguments`: what is done with requests whose path (`PATH_INFO`) matches, when the answer is out; see [routing](routing.md); repeatable",
    ),
    row(&["final-route-host"], "As `final-route`, for the field `Host`; repeatable"),
    row(&["final-route-uri"], "As `final-route`, for `REQUEST_URI`; repeatable"),
    row(&["final-route-qs"], "As `final-route`, for the query string; repeatable"),
    row(&["final-route-remote-addr"], "As `final-route`, for the client's address; repeatable"),
    row(&["final-route-remote-user"], "As `final-route`, for `REMOTE_USER`; repeatable"),
    row(&["final-route-referer"], "As `final-route`, for the field `Referer`; repeatable"),
    row(&["final-route-user-agent"], "As `final-route`, for the field `User-Agent`; repeatable"),
    row(
        &["final-route-status"],
        "`status action:arguments`: the same for answers of this status; repeatable",
    ),
    row(&["final-route-if"], "`test:arguments action:arguments`: the same where a test succeeds; repeatable"),
    row(&["final-route-if-not"], "The same where it fails; repeatable"),
    row(&["final-route-run"], "`action:arguments`: what is always done; repeatable"),
    row(&["final-route-label"], "A name for the rules after it, which `goto` jumps to; repeatable"),
];
