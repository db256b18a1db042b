//! Real frameworks, each in its own virtualenv, and two Python versions under one emperor.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::apps::says;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::server::Folder;
use crate::support::{environment, free_port};

const FLASK: &str = r#"
import flask

app = flask.Flask(__name__)

@app.route("/")
def index():
    return "flask " + flask.request.method

@app.route("/upload", methods=["POST"])
def upload():
    return str(len(flask.request.files["file"].read()))
"#;

/// A virtualenv, and the lines of a vassal that uses it on a new port.
fn lines(virtualenv: &Path) -> (String, Door) {
    let port = free_port();
    let text = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nvirtualenv = {}\n", virtualenv.display());
    (text, Door::Port(port))
}

const SMALL_SETTINGS: &str = r#"
SECRET_KEY = "for a test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "small.urls"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
"#;

const SMALL_URLS: &str = r#"
from django.http import HttpResponse
from django.urls import path

def view(request):
    return HttpResponse(f"small {type(request).__name__} {request.method}")

urlpatterns = [path("", view)]
"#;

#[test]
fn django_flask_and_plain_apps_run_under_one_emperor_on_two_python_versions() {
    let host = Host::start(&[]);
    let folder = host.folder();
    let mut expected = Vec::new();

    if let Some(virtualenv) = environment("django") {
        let started = Command::new(virtualenv.join("bin/django-admin"))
            .args(["startproject", "mysite"])
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(started.success());
        for (name, app) in [
            ("django.ini", "module = mysite.wsgi:application"),
            (
                "django-factory.ini",
                "module = django.core.wsgi:get_wsgi_application()\nenv = DJANGO_SETTINGS_MODULE=mysite.settings",
            ),
        ] {
            let (text, door) = lines(&virtualenv);
            host.write(
                name,
                format!("{text}chdir = %d../mysite\npythonpath = %d../mysite\nprocesses = 2\n{app}\n"),
            );
            expected.push((door, "The install worked successfully! Congratulations!"));
        }
        // The handler itself, as it is named in files from before the factory; it needs a site without models.
        folder.write("handler/small/__init__.py", "");
        folder.write("handler/small/settings.py", SMALL_SETTINGS);
        folder.write("handler/small/urls.py", SMALL_URLS);
        let (text, door) = lines(&virtualenv);
        host.write(
            "django-handler.ini",
            format!(
                "{text}chdir = %d../handler\npythonpath = %d../handler\nenv = DJANGO_SETTINGS_MODULE=small.settings\nmodule = django.core.handlers.wsgi:WSGIHandler()\nneed-app = true\n"
            ),
        );
        expected.push((door, "small WSGIRequest GET"));
    }
    if let Some(virtualenv) = environment("flask") {
        folder.write("flask/site.py", FLASK);
        let (text, door) = lines(&virtualenv);
        host.write(
            "flask.ini",
            format!("{text}wsgi-file = %d../flask/site.py\ncallable = app\nthreads = 4\n"),
        );
        expected.push((door, "flask GET"));
    }
    for name in ["plain", "other"] {
        let Some(virtualenv) = environment(name) else { continue };
        folder.write(
            format!("{name}/app.py"),
            says("plain").replace("\"plain\"", "(\"plain \" + __import__('sys').prefix)"),
        );
        let (text, door) = lines(&virtualenv);
        host.write(&format!("{name}.ini"), format!("{text}wsgi-file = %d../{name}/app.py\n"));
        expected.push((door, "plain "));
    }

    for (door, text) in &expected {
        let mut last = String::new();
        crate::support::wait::until(&format!("{text:?} from {door:?}"), || {
            door.get("/").is_ok_and(|answer| {
                last = answer.text();
                answer.status == 200 && last.contains(text)
            })
        });
    }
}

#[test]
fn flask_reads_an_uploaded_file() {
    let Some(virtualenv) = environment("flask") else { return };
    let host = Host::start(&[]);
    host.folder().write("site.py", FLASK);
    let (text, door) = lines(&virtualenv);
    host.write("flask.ini", format!("{text}wsgi-file = %d../site.py\ncallable = app\n"));
    door.wait_for("/", "flask GET");
    let content = "x".repeat(300_000);
    let body = format!(
        "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{content}\r\n--line--\r\n"
    );
    let headers = ["Content-Type: multipart/form-data; boundary=line"];
    let answer = door.connect().unwrap().ask("POST", "/upload", &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.text(), content.len().to_string());
}

#[test]
fn a_virtualenv_that_is_not_there_is_named() {
    let host = Host::start(&[]);
    host.folder().write("app.py", says("hello"));
    let (text, _door) = lines(Path::new("/nowhere/to/be/found"));
    host.write("lost.ini", format!("{text}wsgi-file = %d../app.py\n"));
    host.emperor.wait_for_log("/nowhere/to/be/found");
}

#[test]
fn an_interpreter_that_is_too_old_is_named() {
    let Some(python) = environment("plain").map(|plain| plain.join("bin/python")) else { return };
    let host = Host::start(&[]);
    let old = host.folder().path().join("old");
    assert!(Command::new(python).args(["-m", "venv", "--without-pip"]).arg(&old).status().unwrap().success());
    // An interpreter that takes itself for an older one.
    let lib = std::fs::read_dir(old.join("lib")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(lib.join("site-packages/old.pth"), "import sys; sys.version_info = (3, 9, 18)\n").unwrap();
    host.folder().write("app.py", says("hello"));
    let (text, _door) = lines(&old);
    host.write("old.ini", format!("{text}wsgi-file = %d../app.py\n"));
    let vassal = host.wait_for_vassal("old.ini", "says why", |vassal| vassal["last_failure"].is_object());
    let message = "the interpreter is cpython 3.9.18: liege needs CPython 3.10 or later";
    assert_eq!(vassal["last_failure"]["message"], message, "{vassal:#}");
}

#[test]
fn a_python_that_the_user_does_not_get_to_is_not_called_gone() {
    let Some(open) = Folder::for_nobody() else { return };
    let place = open.path().display().to_string();
    open.write("app.py", says("v1"));
    open.write("private/python3", "");
    std::fs::set_permissions(open.path().join("private"), Permissions::from_mode(0o700)).unwrap();
    std::fs::create_dir_all(open.path().join("venv/bin")).unwrap();
    symlink("../../private/python3", open.path().join("venv/bin/python")).unwrap();
    let host = Host::start(&[]);
    for (name, line) in [("a.ini", "virtualenv = PLACE/venv"), ("b.ini", "python = PLACE/private/python3")] {
        host.write(
            name,
            format!(
                "[uwsgi]\nhttp-socket = 127.0.0.1:0\nuid = nobody\ngid = nogroup\nextension = PLACE/libliege.so\nwsgi-file = PLACE/app.py\n{line}\n"
            )
            .replace("PLACE", &place),
        );
        let expected = format!("the directory {place}/private, on the way to");
        host.wait_for_vassal(name, "says which directory is in the way", |vassal| {
            vassal["reason"].as_str().is_some_and(|reason| reason.contains(&expected))
        });
    }
}
