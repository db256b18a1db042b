//! Websockets: through every door that has them, with threads and greenlets, over reloads, and their limits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Message, Role, WebSocket};

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::tls::{Authority, Secure};
use crate::support::wait::{PATIENCE, until};
use crate::support::{environment, free_port, uwsgi};

/// `/echo` sends back what comes, `/poll` the same as libraries on gevent do it, `/late` waits for ever, and everything
/// else says what it is.
const APP: &str = r#"
import select, sys, uwsgi

def echo(environ):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        message = uwsgi.websocket_recv()
        if message == b"raise":
            raise RuntimeError("as the client wished")
        if message == b"end":
            return
        (uwsgi.websocket_send if message.isascii() else uwsgi.websocket_send_binary)(message)

def poll(environ):
    fd = uwsgi.connection_fd()
    uwsgi.websocket_handshake()
    assert uwsgi.connection_fd() == fd
    while True:
        select.select([fd], [], [])
        while message := uwsgi.websocket_recv_nb():
            if message == b"end":
                return uwsgi.disconnect()
            uwsgi.websocket_send(message.decode())

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/echo", "/poll"):
        try:
            {"/echo": echo, "/poll": poll}[path](environ)
        except OSError as error:
            print("left:", error, file=sys.stderr)
        return ""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"#;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}
type Client = WebSocket<Box<dyn Stream>>;

fn socket(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn shake_hands(stream: Box<dyn Stream>, path: &str) -> Result<Client, String> {
    let request = format!("ws://localhost{path}");
    tungstenite::client(request, stream).map(|(client, _)| client).map_err(|error| error.to_string())
}

fn open(port: u16, path: &str) -> Client {
    shake_hands(Box::new(socket(port)), path).unwrap()
}

/// Opens one as a front end that speaks the uwsgi protocol.
fn open_packet(port: u16, path: &str) -> Client {
    let mut variables = uwsgi::get(path);
    variables.push(("HTTP_SEC_WEBSOCKET_KEY", "dGhlIHNhbXBsZSBub25jZQ=="));
    variables.push(("HTTP_SEC_WEBSOCKET_VERSION", "13"));
    let mut stream = socket(port);
    stream.write_all(&uwsgi::packet(&variables)).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    WebSocket::from_raw_socket(Box::new(stream), Role::Client, None)
}

/// Sends and gets texts and bytes, short and long, in pieces and with a ping between them.
fn talk(client: &mut Client) {
    let long = "x".repeat(300_000);
    for message in [Message::text("hello"), Message::text(long), Message::binary(vec![255; 100_000])] {
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
    client.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("are you there".into()));
}

/// How the server says goodbye.
fn farewell(client: &mut Client) -> Option<CloseCode> {
    loop {
        match client.read().unwrap() {
            Message::Close(frame) => return frame.map(|frame| frame.code),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn end(mut client: Client) {
    client.send(Message::text("end")).unwrap();
    assert_eq!(farewell(&mut client), Some(CloseCode::Normal));
}

/// An instance with these lines, behind the router, `http-socket` and `socket`.
struct Site {
    family: Family,
    router: u16,
    http: u16,
    packets: u16,
    folder: Folder,
}

fn site(lines: &str) -> Site {
    let (router, http, packets) = (free_port(), free_port(), free_port());
    let folder = Folder::new();
    folder.write("app.py", APP);
    let doors =
        format!("http = 127.0.0.1:{router}\nhttp-socket = 127.0.0.1:{http}\nsocket = 127.0.0.1:{packets}");
    folder.write("app.ini", format!("[uwsgi]\n{doors}\nwsgi-file = app.py\n{lines}\n"));
    let family = liege(&folder, &["--ini", "app.ini"]);
    Door::Port(http).wait_for("/", "hello");
    Door::Port(router).wait_for("/", "hello");
    Site { family, router, http, packets, folder }
}

fn through_every_door(site: &Site) {
    for path in ["/echo", "/poll"] {
        for port in [site.router, site.http, site.packets] {
            let mut client = if port == site.packets { open_packet(port, path) } else { open(port, path) };
            if path == "/echo" {
                talk(&mut client);
            } else {
                client.send(Message::text("polled")).unwrap();
                assert_eq!(client.read().unwrap(), Message::text("polled"));
            }
            end(client);
        }
    }
    assert!(!site.family.log().contains("left:"), "{}", site.family.log());
}

#[test]
fn messages_pass_through_every_door() {
    through_every_door(&site("http-websockets = true"));
}

#[test]
fn with_threads_others_are_served_meanwhile() {
    let site = site("http-websockets = true\nthreads = 3");
    through_every_door(&site);
    let mut clients = [open(site.router, "/echo"), open(site.http, "/echo")];
    for port in [site.router, site.http] {
        Door::Port(port).wait_for("/", "hello");
    }
    clients.iter_mut().for_each(talk);
    clients.into_iter().for_each(end);
}

#[test]
fn with_greenlets_many_are_open_at_once() {
    let Some(virtualenv) = environment("gevent") else { return };
    let lines = format!(
        "http-websockets = true\ngevent = 12\ngevent-monkey-patch = true\nvirtualenv = {}",
        virtualenv.display()
    );
    let site = site(&lines);
    through_every_door(&site);
    let mut clients: Vec<_> =
        (0..10).map(|n| open(if n % 2 == 0 { site.router } else { site.http }, "/echo")).collect();
    Door::Port(site.router).wait_for("/", "hello");
    clients.iter_mut().for_each(talk);
    clients.into_iter().for_each(end);
}

#[test]
fn messages_pass_through_tls() {
    let (folder, authority) = (Folder::new(), Authority::new("tests"));
    let identity = authority.sign("localhost");
    folder.write("server.pem", &identity.certificate);
    folder.write("server.key", &identity.key);
    folder.write("app.py", APP);
    let port = free_port();
    let lines = "wsgi-file = app.py\nhttp-websockets = true";
    folder.write("app.ini", format!("[uwsgi]\nhttps = 127.0.0.1:{port},server.pem,server.key\n{lines}\n"));
    let _family = liege(&folder, &["app.ini"]);
    let config = authority.client(None);
    Door::Secure(port, config.clone()).wait_for("/", "hello");
    let mut client = shake_hands(Box::new(Secure::connect(socket(port), &config).unwrap()), "/echo").unwrap();
    talk(&mut client);
    end(client);
}

#[test]
fn the_router_has_them_only_when_told() {
    let site = site("");
    // The application finds no request for a websocket, and answers nothing that makes sense.
    assert!(shake_hands(Box::new(socket(site.router)), "/echo").is_err());
    site.family.wait_for_log("left: no request for a websocket runs here");
    end(open(site.http, "/echo"));
}

#[test]
fn each_end_has_its_reason() {
    let site = site("http-websockets = true\nwebsockets-max-size = 10");
    for port in [site.router, site.http] {
        let mut client = open(port, "/echo");
        client.send(Message::text("raise")).unwrap();
        assert_eq!(farewell(&mut client), Some(CloseCode::Error));
        let mut client = open(port, "/echo");
        client.send(Message::text("x".repeat(10 * 1024))).unwrap();
        assert!(client.read().unwrap().is_text());
        client.send(Message::text("x".repeat(10 * 1024 + 1))).unwrap();
        assert_eq!(farewell(&mut client), Some(CloseCode::Size));
        let mut client = open(port, "/echo");
        client.close(None).unwrap();
        assert_eq!(farewell(&mut client), None);
        drop(open(port, "/echo"));
        end(open(port, "/echo"));
    }
    for reason in ["max allowed: 10 KiB", "the client closed the websocket", "the client is gone"] {
        let expected = format!("left: unable to receive websocket message: {reason}");
        let expected = expected.replace(": max", ": invalid packet size received, max");
        until(&expected, || site.family.log().matches(&expected).count() == 2);
    }
    assert!(site.family.log().contains("RuntimeError: as the client wished"), "{}", site.family.log());
    assert!(site.family.log().contains("GET /echo =>"), "{}", site.family.log());
}

#[test]
fn a_client_that_answers_no_ping_is_given_up() {
    let site = site("websockets-ping-freq = 1\nwebsockets-pong-tolerance = 1");
    let mut client = open(site.http, "/echo");
    assert_eq!(client.read().unwrap(), Message::Ping(Default::default()));
    client.flush().unwrap();
    // From here on nobody answers.
    site.family.wait_for_log("left: unable to receive websocket message: no PONG received in time");
    end(open(site.http, "/echo"));
}

#[test]
fn a_reload_lets_them_go_on_and_ends_them_before_their_worker() {
    let site = site("http-websockets = true\nprocesses = 2\nworker-reload-mercy = 8");
    let mut clients = [open(site.router, "/echo"), open(site.http, "/echo")];
    site.folder.write("app.py", APP.replace("hello", "reloaded"));
    site.family.signal(Signal::SIGHUP);
    for port in [site.router, site.http] {
        Door::Port(port).wait_for("/", "reloaded");
    }
    clients.iter_mut().for_each(talk);
    for client in &mut clients {
        assert_eq!(farewell(client), Some(CloseCode::Away));
    }
    assert!(!site.family.log().contains("NO MERCY"), "{}", site.family.log());
    end(open(site.router, "/echo"));
}

#[test]
fn a_silent_websocket_of_the_router_ends_after_http_timeout() {
    let site = site("http-websockets = true\nhttp-timeout = 1\nwebsockets-ping-freq = 0");
    let mut client = open(site.router, "/echo");
    talk(&mut client);
    client.read().unwrap_err();
    site.family.wait_for_log("left: unable to receive websocket message: the client is gone");
}

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length, 0, 0, 0, 0], payload].concat()
}

#[test]
fn a_client_that_only_pings_fills_no_memory() {
    let site = site("");
    let mut stream = socket(site.http);
    let _ = shake_hands(Box::new(stream.try_clone().unwrap()), "/echo").unwrap();
    let pings = frame(0x89, &[0; 125]).repeat(500);
    let sent = std::iter::repeat_with(|| stream.write_all(&pings)).take(100_000).find_map(Result::err);
    assert!(sent.is_some(), "6 GB of pings were taken");
    site.family.wait_for_log("left: unable to receive websocket message: the client does not read");
    end(open(site.http, "/echo"));
}

#[test]
fn a_message_without_an_end_keeps_no_other_greenlet_waiting() {
    let Some(virtualenv) = environment("gevent") else { return };
    let site =
        site(&format!("gevent = 4\ngevent-monkey-patch = true\nvirtualenv = {}", virtualenv.display()));
    let mut stream = socket(site.http);
    let _ = shake_hands(Box::new(stream.try_clone().unwrap()), "/echo").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            stream.write_all(&frame(0x01, b"a")).unwrap();
            let pieces = frame(0x00, b"").repeat(10_000);
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(&pieces).unwrap();
            }
        }
    });
    end(open(site.http, "/echo"));
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}
