//! The options about where an instance listens, and how its sockets are set.

use super::By::{Both, Master, Worker};
use super::Kind::{Address, Flag, Mode, Number, Text};
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["socket", "uwsgi-socket"],
        Address,
        Master,
        "none",
        "Listens for the uwsgi protocol (`socket`: for that of `protocol`); repeatable",
    )
    .short('s'),
    row(
        &["http-socket", "http11-socket"],
        Address,
        Master,
        "none",
        "Listens for HTTP/1.1 in the workers themselves; repeatable",
    ),
    row(
        &["fastcgi-socket"],
        Address,
        Master,
        "none",
        "Listens for FastCGI, whose front end may keep its connections; repeatable",
    ),
    row(&["scgi-socket"], Address, Master, "none", "Listens for SCGI; repeatable"),
    row(
        &["protocol", "socket-protocol"],
        Text,
        Master,
        "uwsgi",
        "What is spoken on `socket`: uwsgi, http, fastcgi or scgi",
    ),
    row(
        &["shared-socket", "undeferred-shared-socket"],
        Address,
        Master,
        "none",
        "Binds before privileges drop; other options name the first as `=0`, the next as `=1`; repeatable",
    ),
    row(
        &["map-socket"],
        Text,
        Worker,
        "every worker serves every socket",
        "`SOCKET:WORKER[,WORKER…]`: only these workers, counted from 1, serve that socket, counted from 0 without those of the router; repeatable",
    ),
    row(&["freebind"], Flag, Master, "off", "An address may be one that the host does not have yet"),
    row(
        &["reuse-port"],
        Flag,
        Master,
        "off",
        "Another instance of the user may listen on the same port, if it says so, too",
    ),
    row(
        &["so-keepalive"],
        Flag,
        Master,
        "off",
        "Connections whose other end is gone are found out by the kernel",
    ),
    row(
        &["socket-sndbuf"],
        Number,
        Master,
        "as the kernel likes",
        "Bytes that the kernel holds of what is sent on a connection over TCP",
    ),
    row(
        &["socket-rcvbuf"],
        Number,
        Master,
        "as the kernel likes",
        "Bytes that the kernel holds of what came on a connection over TCP",
    ),
    row(
        &["listen"],
        Number,
        Both,
        "100",
        "Connections that wait in the kernel to be accepted; in an emperor, by a vassal that sleeps on demand",
    )
    .short('l'),
    row(
        &["chmod-socket", "chmod"],
        Mode,
        Both,
        "0666 without the umask",
        "Mode of unix sockets; in an emperor, of those of vassals that sleep on demand, and of `emperor-stats`",
    )
        .short('C')
        .optional(),
    row(
        &["chown-socket"],
        Text,
        Master,
        "none",
        "`user[:group]` of unix sockets; privileges drop only after all sockets are bound, but for names of hosts",
    ),
    row(
        &["abstract-socket"],
        Flag,
        Master,
        "off",
        "All unix sockets without a slash at the start of their name are abstract",
    )
    .short('a'),
];
