//! Small WSGI apps.

/// Answers every request with the text, and reads the body of a POST.
pub(crate) fn says(text: &str) -> String {
    format!(
        r#"
def application(environ, start_response):
    environ["wsgi.input"].read()
    body = {text:?}.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#
    )
}

/// The same, after an import that takes this many seconds.
pub(crate) fn says_after_import(text: &str, seconds: f32) -> String {
    format!("import time\ntime.sleep({seconds})\n{}", says(text))
}

/// Cannot be imported.
pub(crate) const BROKEN: &str = "import time\nraise RuntimeError('no luck today')\n";

/// Answers `/pid`, `/sleep` (the seconds in the query), `/die`, `/echo`, `/stream`, and `hello` to everything else.
pub(crate) const TOOLS: &str = r#"
import os, signal, time

def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    body = b"hello"
    if path == "/pid":
        body = str(os.getpid()).encode()
    elif path == "/sleep":
        time.sleep(float(query))
        body = b"slept"
    elif path == "/segfault":
        import ctypes
        ctypes.string_at(0)
    elif path == "/exit":
        os._exit(0)
    elif path == "/raise":
        raise ValueError("raised on purpose")
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"part %d\n" % number for number in range(3))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;
