//! The rows of sockets, and of the router behind some of them.

use serde_json::{Value, json};

/// A line, the place in the spec that it changes, and the value there.
pub(super) fn rows() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("socket = a.sock", "/listen/1", json!({"address": {"Unix": "/srv/a.sock"}, "protocol": "uwsgi"})),
        ("fastcgi-socket = @a", "/listen/1", json!({"address": {"Abstract": "a"}, "protocol": "fastcgi"})),
        ("scgi-socket = @a", "/listen/1", json!({"address": {"Abstract": "a"}, "protocol": "scgi"})),
        ("http-socket = @a", "/listen/1", json!({"address": {"Abstract": "a"}, "protocol": "http"})),
        ("http = @a", "/listen/1", json!({"address": {"Abstract": "a"}, "protocol": "router"})),
        ("https = @a,c.pem,k.pem", "/listen/1", json!({"address": {"Abstract": "a"}, "protocol": "https"})),
        (
            "https = @a,c.pem,/k.pem,HIGH,!ca.pem",
            "/router/tls/0",
            json!({
                "address": {"Abstract": "a"}, "certificate": "/srv/c.pem", "key": "/k.pem", "ciphers": "HIGH",
                "client_ca": {"file": "/srv/ca.pem", "is_mandatory": true}
            }),
        ),
        (
            "https2 = addr=@a,crt=c.pem,key=k.pem,spdy=1,client_ca=ca.pem",
            "/router/tls/0/client_ca",
            json!({"file": "/srv/ca.pem", "is_mandatory": false}),
        ),
        ("http-to-https = @a", "/listen/1", json!({"address": {"Abstract": "a"}, "protocol": "redirect"})),
        ("http-to-https = @a,8443", "/router/redirects/0/port", json!(8443)),
        ("https-export-cert = true", "/router/export_certificate", json!(true)),
        ("http-enable-proxy-protocol = true", "/router/proxy_protocol", json!(true)),
        ("http-websockets = true", "/router/websockets", json!(true)),
        ("http-auto-gzip = true", "/router/auto_gzip", json!(true)),
        ("http-to = a.sock", "/router/to", json!([{"Unix": "/srv/a.sock"}])),
        ("http-connect-timeout = 7", "/router/connect_timeout_s", json!(7)),
        ("http-harakiri = 7", "/router/harakiri_s", json!(7)),
        ("websockets-ping-freq = 7", "/websockets/ping_freq_s", json!(7)),
        ("websockets-pong-tolerance = 7", "/websockets/pong_tolerance_s", json!(7)),
        ("websockets-max-size = 7", "/websockets/max_size_kib", json!(7)),
        ("http-timeout = 7", "/router/timeout_s", json!(7)),
        ("http-headers-timeout = 7", "/router/headers_timeout_s", json!(7)),
        ("http-var = A=b=c", "/router/variables", json!([["A", "b=c"]])),
        ("http-server-name-as-http-host = true", "/router/names_server_by_host", json!(true)),
        ("http-keepalive = 7", "/router/keepalive_s", json!(7)),
        ("shared-socket = :1\nsocket = =0", "/shared", json!([{"Tcp": {"host": "", "port": 1}}])),
        ("map-socket = 0:1,3\nprocesses = 4", "/socket_map/0", json!([1, 3])),
        ("protocol = http\nsocket = @a", "/listen/1/protocol", json!("http")),
        ("protocol = fastcgi\nsocket = @a", "/listen/1/protocol", json!("fastcgi")),
        ("protocol = scgi\nsocket = @a", "/listen/1/protocol", json!("scgi")),
        ("freebind = true", "/sockets/freebind", json!(true)),
        ("reuse-port = true", "/sockets/reuse_port", json!(true)),
        ("so-keepalive = true", "/sockets/keepalive", json!(true)),
        ("socket-sndbuf = 7", "/sockets/send_buffer_bytes", json!(7)),
        ("socket-rcvbuf = 7", "/sockets/receive_buffer_bytes", json!(7)),
        ("listen = 7", "/backlog", json!(7)),
        ("chmod-socket = 600", "/chmod_socket", json!(0o600)),
        ("chown-socket = a:b", "/chown_socket", json!({"user": "a", "group": "b"})),
        ("abstract-socket = true\nsocket = a", "/listen/1/address", json!({"Abstract": "a"})),
    ]
}
