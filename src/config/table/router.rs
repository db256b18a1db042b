//! The options of the router, its sockets included.

use super::By::Router;
use super::Kind::{Address, Flag, FreeText, Number, Pair, Text};
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Obeyed(Router), default, doc)
}

pub(super) static ROWS: &[Row] = &[
    row(
        &["http", "httprouter"],
        Address,
        "none",
        "Listens for HTTP/1.1 in the router, which hands requests to idle workers; repeatable",
    ),
    row(
        &["https", "https-socket"],
        FreeText,
        "none",
        "`ADDRESS,CERTIFICATE,KEY[,CIPHERS[,CLIENT-CA]]`: listens for HTTP/1.1 over TLS 1.2 and 1.3 in the router; the files are PEM, read before privileges drop and again at each reload; CIPHERS is a list in the words of OpenSSL; certificates of clients are checked if there are any, with a `!` before CLIENT-CA there must be one; repeatable",
    ),
    row(
        &["https2"],
        FreeText,
        "none",
        "As `https`, in pairs: `addr=ADDRESS,cert=FILE,key=FILE[,ciphers=LIST][,clientca=FILE]`; repeatable",
    ),
    row(
        &["http-to-https"],
        Text,
        "none",
        "`ADDRESS[,PORT]`: listens for HTTP/1.1 in the router and sends its clients to the same address with `https`, at PORT if it is not 443; repeatable",
    ),
    row(
        &["https-export-cert"],
        Flag,
        "off",
        "The application gets the certificate of a client of `https` in PEM, in `HTTPS_CC`; its name is in `HTTPS_DN` always",
    ),
    row(
        &["http-enable-proxy-protocol"],
        Flag,
        "off",
        "A connection to the router may begin with a header of the PROXY protocol (version 1 or 2), which says who the client is: only for sockets that nobody but such a proxy reaches",
    )
    .optional(),
    row(
        &["http-websockets"],
        Flag,
        "off",
        "A request to the router that asks for a websocket reaches the application as such; behind `http-socket`, `socket` and the like they always do",
    ),
    row(
        &["http-harakiri"],
        Number,
        "0",
        "Seconds after which a router that does not answer its master is killed and replaced; the sockets stay open; 0: never",
    ),
    row(
        &["http-to"],
        Address,
        "none",
        "Requests of the router's clients go by the uwsgi protocol to the server at this address, in turn where there are several; not to this instance's workers, unless it is their own socket; repeatable",
    ),
    row(
        &["http-connect-timeout"],
        Number,
        "`http-timeout`",
        "Seconds that connecting to a server of `http-to` may take",
    ),
    row(
        &["http-auto-gzip"],
        Flag,
        "off",
        "The router compresses answers with `uWSGI-Encoding: gzip`, unless they have a `Content-Encoding`, for clients that accept gzip",
    ),
    row(
        &["http-timeout"],
        Number,
        "60",
        "Seconds of inactivity between the router and a worker or client",
    ),
    row(
        &["http-headers-timeout"],
        Number,
        "15",
        "Seconds from the first byte of a request to the end of its head, at the router; 0 is the default",
    ),
    row(
        &["http-var"],
        Pair,
        "none",
        "A variable that the application gets with each request of the router's clients; repeatable",
    ),
    row(
        &["http-server-name-as-http-host"],
        Flag,
        "off",
        "`SERVER_NAME` of the requests of the router's clients is what they sent as `Host`",
    ),
    row(
        &["http-keepalive"],
        Number,
        "5",
        "Seconds that the router keeps an idle connection; 0 closes after each answer, 1 is the default",
    )
    .optional(),
];
