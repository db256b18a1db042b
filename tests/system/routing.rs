//! Internal routing: the rules of one file, asked through every door.

use base64::Engine as _;

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::until;
use crate::support::{environment, free_port, uwsgi};

/// Tells what it sees of the request, with the status that the path asks for.
const TELLS: &str = r#"
import time
def application(environ, start_response):
    path = environ["PATH_INFO"]
    status = {"/missing": "404 Not Found", "/boom": "500 Oops", "/shown": "404 Not Found"}.get(path, "200 OK")
    if path == "/slow":
        time.sleep(60)
    names = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REMOTE_USER", "X_VAR"]
    text = "|".join(str(environ.get(name, "-")) for name in names)
    start_response(status, [("Content-Type", "text/plain"), ("X-Gone", "1"), ("X-App", "1")])
    return [environ["wsgi.input"].read(), text.encode()]
"#;

/// `secret`, as `htpasswd -s` writes it.
const HTPASSWD: &str = "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

const RULES: &str = r"
static-map = /static=%dfiles
static-map = /locked=%dfiles
add-header = X-Every: 1
log-format = LINE %(method) %(uri) %(status) %(mark)
route = ^/healthz$ donotlog:
route = ^/said/(.*) log:said $1 by ${REQUEST_METHOD}
route = ^/said logvar:mark=marked
route = ^/admin basicauth:Area,me:pw
route = ^/locked basicauth:Files,%dhtpasswd
route = ^/go/(.*)/(.*)$ redirect:https://example.org/x/$2/$1
route = ^/deny break:403 Forbidden
route = ^/not return:405
route = ^/silent break:
route = ^/old/(.*) rewrite:/new/$1?a=b
route = ^/set addvar:X_VAR=${qs[q]}-${cookie[c]}
route = ^/set setmethod:PUT
route-if = equal:${HTTP_X_FORWARDED_PROTO};http redirect-permanent:https://example.org${REQUEST_URI}
route-if-not = empty:${HTTP_X_B} addheader:X-Full: ${HTTP_X_B}
route-uri = ^/static/ addheader:X-Static: 1
route = ^/rem remheader:X-Gone
route = ^/sorry file:filename=%dsorry.html,status=503 Service Unavailable
route = ^/st/(.*) static:%dfiles/$1
route = ^/next/(.*) static-next:%dfiles/$1
route = ^/slow harakiri:1
route = ^/jump goto:after
route-run = addheader:X-Between: 1
route-label = after
error-route-status = 500 addheader:X-Error: ${uwsgi[status]}
error-route = ^/missing redirect:/elsewhere
response-route-status = 404 addheader:X-Not: found
final-route-status = 404 log:final ${PATH_INFO} ${uwsgi[status]}
";

fn start(lines: &str) -> (Family, Door, Door, Folder) {
    let folder = Folder::new();
    let (http, router) = (free_port(), free_port());
    folder.write("app.py", TELLS);
    folder.write("files/a.css", "body {}");
    folder.write("secret", "secret");
    folder.write("sorry.html", "sorry");
    folder.write("htpasswd", HTPASSWD);
    let sockets = format!("http-socket = 127.0.0.1:{http}\nhttp = 127.0.0.1:{router}\nsocket = app.sock");
    folder.write("app.ini", format!("[uwsgi]\n{sockets}\nwsgi-file = %dapp.py\n{lines}\n{RULES}"));
    let family = liege(&folder, &["--ini", "app.ini"]);
    let doors = (Door::Port(http), Door::Port(router));
    doors.0.wait_for("/up", "GET||/up||-|-");
    doors.1.wait_for("/up", "GET||/up||-|-");
    (family, doors.0, doors.1, folder)
}

fn basic(text: &str) -> String {
    format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

/// A path, fields, the status, a field of the answer, the body.
type Row<'a> = (&'a str, &'a [&'a str], u16, (&'a str, Option<&'a str>), &'a str);

fn ask_all(door: &Door) {
    let (me, no) = (basic("me:pw"), basic("me:no"));
    let (ada, not_ada) = (basic("ada:secret"), basic("ada:x"));
    let rows: &[Row<'_>] = &[
        ("/", &[], 200, ("x-every", Some("1")), "GET||/||-|-"),
        ("/", &[], 200, ("x-between", Some("1")), "GET||/||-|-"),
        ("/jump", &[], 200, ("x-between", None), "GET||/jump||-|-"),
        ("/admin", &[], 401, ("www-authenticate", Some("Basic realm=\"Area\"")), "Unauthorized"),
        ("/admin/x", &[&no], 401, ("x-every", Some("1")), "Unauthorized"),
        ("/admin", &[&me], 200, ("x-app", Some("1")), "GET||/admin||me|-"),
        ("/a/%2e%2e/admin", &[], 200, ("x-app", Some("1")), "GET||/a/../admin||-|-"),
        ("/%61dmin", &[], 401, ("x-app", None), "Unauthorized"),
        ("/x/../admin", &[], 401, ("x-app", None), "Unauthorized"),
        ("/admin%0a", &[], 401, ("x-app", None), "Unauthorized"),
        ("/locked/a.css", &[], 401, ("content-length", Some("12")), "Unauthorized"),
        ("/locked/a.css", &[&not_ada], 401, ("x-app", None), "Unauthorized"),
        ("/locked/a.css", &[&ada], 200, ("content-type", Some("text/css")), "body {}"),
        ("/go/a/b", &[], 302, ("location", Some("https://example.org/x/b/a")), "Moved"),
        ("/go/a/b%0dX:%20y", &[], 400, ("x", None), "Bad Request"),
        ("/deny", &[], 403, ("content-length", Some("0")), ""),
        ("/not", &[], 405, ("content-type", Some("text/plain")), "Method Not Allowed"),
        ("/old/x%20y?z=1", &[], 200, ("x-app", Some("1")), "GET||/new/x y|a=b&z=1|-|-"),
        ("/set?q=5", &["Cookie: a=1; c=two"], 200, ("x-app", Some("1")), "PUT||/set|q=5|-|5-two"),
        (
            "/p?q",
            &["X-Forwarded-Proto: http"],
            301,
            ("location", Some("https://example.org/p?q")),
            "Moved Permanently",
        ),
        ("/b", &["X-B: full"], 200, ("x-full", Some("full")), "GET||/b||-|-"),
        ("/static/a.css", &[], 200, ("x-static", Some("1")), "body {}"),
        ("/rem", &[], 200, ("x-gone", None), "GET||/rem||-|-"),
        ("/sorry", &[], 503, ("content-type", Some("text/html")), "sorry"),
        ("/st/a.css", &[], 200, ("content-type", Some("text/css")), "body {}"),
        ("/st/none", &[], 404, ("x-not", Some("found")), "Not Found"),
        ("/st/..%2fsecret", &[], 404, ("x-not", Some("found")), "Not Found"),
        ("/next/a.css", &[], 200, ("x-app", None), "body {}"),
        ("/next/none", &[], 200, ("x-app", Some("1")), "GET||/next/none||-|-"),
        ("/missing", &[], 302, ("location", Some("/elsewhere")), "Moved"),
        ("/missing", &[], 302, ("x-app", None), "Moved"),
        ("/shown", &[], 404, ("x-not", Some("found")), "GET||/shown||-|-"),
        ("/boom", &[], 500, ("x-error", Some("500")), "GET||/boom||-|-"),
    ];
    for (path, fields, status, (name, value), body) in rows {
        let answer = door.connect().unwrap().ask("GET", path, fields, b"").unwrap();
        let told = (answer.status, answer.header(name), answer.text());
        assert_eq!(told, (*status, *value, (*body).to_owned()), "{path} {fields:?} {name}");
    }
    let answer = door.connect().unwrap().ask("POST", "/old/p", &[], b"body").unwrap();
    assert_eq!(answer.text(), "bodyPOST||/new/p|a=b|-|-");
    let answer = door.connect().unwrap().ask("HEAD", "/sorry", &[], b"").unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (503, Some("5")));
}

#[test]
fn rules_hold_at_every_door() {
    for lines in ["threads = 1", "threads = 3\nprocesses = 2"] {
        let (family, http, router, folder) = start(lines);
        ask_all(&http);
        ask_all(&router);
        let socket = Door::Unix(folder.path().join("app.sock"));
        for (path, expected) in [
            ("/admin", "Unauthorized"),
            ("/old/x", "GET||/new/x|a=b|-|-"),
            ("/locked/a.css", "Unauthorized"),
            ("/static/a.css", "body {}"),
        ] {
            let answer = uwsgi::ask(&socket, &uwsgi::get(path), b"").unwrap();
            assert!(answer.ends_with(expected), "{path}: {answer}");
        }
        // No answer at all.
        assert!(http.get("/silent").is_err());
        assert_eq!(uwsgi::ask(&socket, &uwsgi::get("/silent"), b"").unwrap(), "");
        assert_eq!(http.get("/").unwrap().status, 200, "it serves on");
        drop((family, folder));
    }
}

#[test]
fn files_and_what_rules_have_the_last_word_about_are_counted() {
    let stats = free_port();
    let (_family, http, _router, _folder) = start(&format!("stats = 127.0.0.1:{stats}"));
    let counted = || {
        let told = Door::Port(stats).connect().unwrap().rest().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let core = &told["workers"][0]["cores"][0];
        (core["static_requests"].as_u64().unwrap(), core["routed_requests"].as_u64().unwrap())
    };
    assert_eq!(counted(), (0, 0));
    let mut expected = (0, 0);
    for (path, files, rules) in
        [("/static/a.css", 1, 0), ("/st/a.css", 1, 1), ("/deny", 0, 1), ("/missing", 0, 1), ("/said/x", 0, 0)]
    {
        http.get(path).unwrap();
        expected = (expected.0 + files, expected.1 + rules);
        until(&format!("{path} is counted: {expected:?}"), || counted() == expected);
    }
}

#[test]
fn rules_hold_for_greenlets() {
    let Some(virtualenv) = environment("gevent") else { return };
    let (_family, http, router, _folder) =
        start(&format!("gevent = 4\nvirtualenv = {}", virtualenv.display()));
    ask_all(&http);
    ask_all(&router);
}

#[test]
fn rules_say_what_the_log_has() {
    let (family, http, _router, _folder) = start("");
    for path in ["/healthz", "/said/it%0dLINE", "/shown"] {
        http.get(path).unwrap();
    }
    family.wait_for_log("LINE GET /shown 404 -");
    let log = family.log();
    assert!(log.contains("said it\\rLINE by GET\n"), "{log}");
    assert!(log.contains("LINE GET /said/it%0dLINE 200 marked\n"), "{log}");
    assert!(log.contains("final /shown 404\n"), "{log}");
    assert!(!log.contains("/healthz"), "{log}");
    // It has a second, and the worker is replaced.
    assert!(http.get("/slow").is_err());
    http.wait_for("/up", "GET||/up||-|-");
}
