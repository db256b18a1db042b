//! Behind a real nginx with `uwsgi_pass`, over TCP and over a unix socket.

use std::process::Command;

use crate::support::apps::TOOLS;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::Family;
use crate::support::{free_port, program};

/// An nginx over `pass`, in the host's folder.
fn nginx(host: &Host, pass: &str) -> Option<(Family, Door)> {
    let program = program("nginx")?;
    let port = free_port();
    let folder = host.folder().path();
    let configuration = format!(
        "daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ include {}; uwsgi_pass {pass}; }}
    }}
}}
",
        params(host)
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
fn params(host: &Host) -> String {
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
    let lines: String = names.iter().map(|(name, value)| format!("uwsgi_param {name} {value};\n")).collect();
    host.folder().write("uwsgi_params", lines);
    host.folder().path().join("uwsgi_params").display().to_string()
}

fn serves_behind_nginx(socket: &str, pass: &str) {
    let host = Host::start(&[]);
    host.folder().write("tools.py", TOOLS);
    host.write(
        "tools.ini",
        format!("[uwsgi]\nsocket = {socket}\nchmod-socket = 666\nprocesses = 2\nwsgi-file = %d../tools.py\n"),
    );
    let pass = pass.replace("FOLDER", host.folder().path().to_str().unwrap());
    let Some((_nginx, door)) = nginx(&host, &pass) else { return };
    door.wait_for("/", "hello");
    let large = vec![b'x'; 900_000];
    let mut connection = door.connect().unwrap();
    assert_eq!(connection.ask("POST", "/echo", &[], &large).unwrap().body, large);
    assert_eq!(connection.ask("GET", "/stream", &[], b"").unwrap().text(), "part 0\npart 1\npart 2\n");
    assert_eq!(connection.ask("GET", "/raise", &[], b"").unwrap().status, 500);
    assert_eq!(connection.ask("POST", "/", &[], &large).unwrap().text(), "hello", "an unread body is no 502");

    let load = Load::start(&door, Manner::Fresh);
    for _ in 0..3 {
        host.touch("tools.ini");
        load.go_on();
    }
    host.wait_for_vassal("tools.ini", "is up", |vassal| vassal["state"] == "up");
    load.stop().nothing_failed();
}

#[test]
fn an_app_serves_behind_nginx_over_tcp() {
    let port = free_port();
    serves_behind_nginx(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{port}"));
}

#[test]
fn an_app_serves_behind_nginx_over_a_unix_socket() {
    serves_behind_nginx("%d../app.sock", "unix:FOLDER/app.sock");
}
