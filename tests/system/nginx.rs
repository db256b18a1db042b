//! Behind a real nginx with `uwsgi_pass`, `fastcgi_pass` and `scgi_pass`, over TCP and over a unix socket.

use std::process::Command;

use crate::support::apps::TOOLS;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::Family;
use crate::support::{free_port, program};

/// An nginx over `pass` by `protocol`, in the host's folder. By FastCGI it keeps its connections.
fn nginx(host: &Host, protocol: &str, pass: &str) -> Option<(Family, Door)> {
    let program = program("nginx")?;
    let port = free_port();
    let folder = host.folder().path();
    let (keeps, kept) =
        if protocol == "fastcgi" { ("keepalive 8;", "fastcgi_keep_conn on;") } else { ("", "") };
    let configuration = format!(
        "daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream app {{ server {pass}; {keeps} }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 100m;
        location / {{ include {params}; {protocol}_pass app; {protocol}_read_timeout 30s; {kept} }}
        location /unbuffered {{
            include {params}; {protocol}_pass app; {kept} {protocol}_buffering off; {protocol}_request_buffering off;
        }}
    }}
}}
",
        params = params(host, protocol)
    );
    host.folder().write("nginx.conf", configuration);
    let prefix = format!("{}/", folder.display());
    let mut command = Command::new(program);
    command.args(["-p", &prefix, "-c", "nginx.conf"]);
    // Its workers must be able to enter the folder of the test.
    if nix::unistd::geteuid().is_root() {
        command.args(["-g", "user root;"]);
    }
    let family = Family::start(&mut command, &folder.join("nginx.log"));
    Some((family, Door::Port(port)))
}

/// The parameters that every distribution of nginx ships, written out.
fn params(host: &Host, protocol: &str) -> String {
    let names = [
        ("QUERY_STRING", "$query_string"),
        ("REQUEST_METHOD", "$request_method"),
        ("CONTENT_TYPE", "$content_type"),
        ("CONTENT_LENGTH", "$content_length"),
        ("REQUEST_URI", "$request_uri"),
        ("PATH_INFO", "$document_uri"),
        ("DOCUMENT_ROOT", "$document_root"),
        ("SERVER_PROTOCOL", "$server_protocol"),
        ("REQUEST_SCHEME", "$scheme"),
        ("HTTPS", "$https if_not_empty"),
        ("REMOTE_ADDR", "$remote_addr"),
        ("REMOTE_PORT", "$remote_port"),
        ("SERVER_PORT", "$server_port"),
        ("SERVER_NAME", "$server_name"),
    ];
    let lines: String =
        names.iter().map(|(name, value)| format!("{protocol}_param {name} {value};\n")).collect();
    host.folder().write("uwsgi_params", lines);
    host.folder().path().join("uwsgi_params").display().to_string()
}

fn serves_behind_nginx(protocol: &str, socket: &str, pass: &str) {
    let host = Host::start(&[]);
    host.folder().write("tools.py", TOOLS);
    host.write(
        "tools.ini",
        format!(
            "[uwsgi]\nprotocol = {protocol}\nsocket = {socket}\nchmod-socket = 666\nprocesses = 2\n\
             wsgi-file = %d../tools.py\n"
        ),
    );
    let pass = pass.replace("FOLDER", host.folder().path().to_str().unwrap());
    let Some((_nginx, door)) = nginx(&host, protocol, &pass) else { return };
    door.wait_for("/", "hello");
    let large = vec![b'x'; 900_000];
    let mut connection = door.connect().unwrap();
    assert_eq!(connection.ask("POST", "/echo", &[], &large).unwrap().body, large);
    assert_eq!(connection.ask("GET", "/stream", &[], b"").unwrap().text(), "part 0\npart 1\npart 2\n");
    assert_eq!(connection.ask("GET", "/raise", &[], b"").unwrap().status, 500);
    assert_eq!(connection.ask("POST", "/", &[], &large).unwrap().text(), "hello", "an unread body is no 502");
    // It may close the connection of a client whose body nobody reads.
    let mut unbuffered = door.connect().unwrap();
    assert_eq!(unbuffered.ask("POST", "/unbuffered", &[], &large).unwrap().text(), "hello");
    connection.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let head = connection.answer(true).unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    // Without a length, and in pieces.
    connection
        .send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(connection.answer(false).unwrap().text(), "body");
    // Clients that do not wait, in the middle of their request or of the answer.
    for _ in 0..5 {
        let mut gone = door.connect().unwrap();
        gone.send(b"POST /unbuffered HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbody").unwrap();
        drop(gone);
        assert_eq!(connection.ask("GET", "/", &[], b"").unwrap().text(), "hello");
    }

    let load = Load::start(&door, Manner::Fresh);
    for _ in 0..3 {
        host.touch("tools.ini");
        load.go_on();
    }
    host.wait_for_vassal("tools.ini", "is up", |vassal| vassal["state"] == "up");
    load.stop().nothing_failed();
}

fn over_tcp(protocol: &str) {
    let port = free_port();
    serves_behind_nginx(protocol, &format!("127.0.0.1:{port}"), &format!("127.0.0.1:{port}"));
}

fn over_a_unix_socket(protocol: &str) {
    serves_behind_nginx(protocol, "%d../app.sock", "unix:FOLDER/app.sock");
}

#[test]
fn an_app_serves_behind_nginx_over_tcp() {
    over_tcp("uwsgi");
}

#[test]
fn an_app_serves_behind_nginx_over_a_unix_socket() {
    over_a_unix_socket("uwsgi");
}

#[test]
fn an_app_serves_behind_nginx_by_fastcgi() {
    over_tcp("fastcgi");
    over_a_unix_socket("fastcgi");
}

#[test]
fn an_app_serves_behind_nginx_by_scgi() {
    over_tcp("scgi");
    over_a_unix_socket("scgi");
}
