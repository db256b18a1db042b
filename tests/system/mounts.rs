//! Several applications in one instance, and how large a request's body may be.

use crate::support::apps::says;
use crate::support::free_port;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::uwsgi;

/// Says its name and where it thinks it is.
fn tells(name: &str) -> String {
    format!(
        r#"
def application(environ, start_response):
    text = "{name} %r %r" % (environ["SCRIPT_NAME"], environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"#
    )
}

fn start(lines: &str) -> (Family, Door, Folder) {
    let folder = Folder::new();
    let port = free_port();
    for name in ["main", "one", "two"] {
        folder.write(format!("{name}.py"), tells(name));
    }
    folder.write("broken.py", "import nothing_of_this_name\n");
    folder.write("app.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\n{lines}\n"));
    let family = liege(&folder, &["--ini", "app.ini"]);
    (family, Door::Port(port), folder)
}

#[test]
fn the_path_chooses_among_mounted_applications() {
    for threads in [1, 2] {
        let lines = format!(
            "threads = {threads}\nmanage-script-name = true\nmodule = main\nmount = /one=one.py\n\
             mount = /one/two=two:application"
        );
        let (_family, door, _folder) = start(&lines);
        door.wait_for("/", "main '' '/'");
        for (path, expected) in [
            ("/one", "one '/one' ''"),
            ("/one/x%20y", "one '/one' '/x y'"),
            ("/one/two/", "two '/one/two' '/'"),
            ("/onetwo", "main '' '/onetwo'"),
        ] {
            assert_eq!(door.get(path).unwrap().text(), expected, "{path}");
        }
    }
}

#[test]
fn a_front_end_names_the_application_by_its_script_name() {
    let (_family, door, folder) = start("socket = app.sock\nmount = /one=one.py\nmount = /two=two.py");
    door.wait_for("/", "one '' '/'");
    let socket = Door::Unix(folder.path().join("app.sock"));
    for (script_name, expected) in [("/two", "two '/two' '/x'"), ("/other", "one '/other' '/x'")] {
        let mut variables = uwsgi::get("/x");
        variables.push(("SCRIPT_NAME", script_name));
        let answer = uwsgi::ask(&socket, &variables, b"").unwrap();
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[test]
fn one_application_that_does_not_load_leaves_the_others() {
    let (family, door, _folder) = start(
        "manage-script-name = true\nmount = /one=one.py\nmount = /broken=broken.py\nmount = /two=two.py",
    );
    door.wait_for("/two/", "two '/two' '/'");
    family.wait_for_log("No module named 'nothing_of_this_name'");
    assert_eq!(door.get("/one/").unwrap().text(), "one '/one' '/'");
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let folder = Folder::new();
    let (port, routed) = (free_port(), free_port());
    folder.write("app.py", says("app"));
    let lines = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nhttp = 127.0.0.1:{routed}\nsocket = app.sock\n\
         wsgi-file = app.py\nlimit-post = 10\n"
    );
    folder.write("app.ini", lines);
    let _family = liege(&folder, &["--ini", "app.ini"]);
    for door in [Door::Port(port), Door::Port(routed)] {
        door.wait_for("/", "app");
        for (length, status) in [(10, 200), (11, 413), (200_000, 413)] {
            let headers = ["Connection: close"];
            let body = vec![b'x'; length];
            let mut connection = door.connect().unwrap();
            let answer = connection.ask("POST", "/", &headers, &body).unwrap();
            assert_eq!(answer.status, status, "{length}");
        }
        let mut connection = door.connect().unwrap();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        connection.send(format!("{head}b\r\n12345678901\r\n0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(connection.answer(false).unwrap().status, 413);
    }
    let mut variables = uwsgi::get("/");
    variables[0].1 = "POST";
    variables.push(("CONTENT_LENGTH", "11"));
    let answer = uwsgi::ask(&Door::Unix(folder.path().join("app.sock")), &variables, b"12345678901").unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
