# Small applications that keep or break the rules of PEP 3333, by path.
import io
import itertools
import os
import sys
import tempfile

PLAIN = [("Content-Type", "text/plain")]
closed = []
kept = {}


class Body:
    """An iterable whose close() is counted."""

    def __init__(self, name, items):
        self.name = name
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self):
        closed.append(self.name)


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


def generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one "
    yield b""
    yield b"two"


def late_start(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b""
    start_response("404 Not Found", PLAIN, (None, None, None))
    yield b"changed"


def writer(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    write(b"twice ")
    kept["write"] = write
    return [b"and returned"]


def kept_write(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        kept["write"](b"evil")
    except ValueError as error:
        return [b"refused: " + str(error).encode()]
    return [b"written"]


def kept_input(environ, start_response):
    start_response("200 OK", PLAIN)
    old, kept["input"] = kept.get("input"), environ["wsgi.input"]
    if old is None:
        return [b"kept"]
    try:
        return [b"read: " + old.read()]
    except ValueError as error:
        return [b"refused: " + str(error).encode()]


def twice(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        start_response("201 Created", PLAIN)
    except AssertionError:
        return [b"raised"]
    return [b"taken"]


def exc_info_before(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        raise KeyError("x")
    except KeyError:
        start_response("503 Service Unavailable", PLAIN, sys.exc_info())
    return [b"replaced"]


def exc_info_after(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"output")
    try:
        raise KeyError("the original")
    except KeyError:
        start_response("500 Oops", PLAIN, sys.exc_info())
    return [b"never"]


def headers(status, fields):
    def app(environ, start_response):
        start_response(status, fields)
        return [b"body"]

    return app


def raises(error):
    def app(environ, start_response):
        raise error

    return app


def raises_late(environ, start_response):
    start_response("200 OK", PLAIN)
    return Body("late", [b"begun", RuntimeError("the middle of it")])


def raises_first(environ, start_response):
    start_response("200 OK", PLAIN)
    return Body("first", [RuntimeError("before output")])


def recursion(environ, start_response):
    return recursion(environ, start_response)


def items(*values):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        return Body("items", values)

    return app


def length(announced, *values):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", announced)])
        return Body("length", values)

    return app


def endless(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return Body("endless", itertools.repeat(b"ab"))


def endless_file(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return environ["wsgi.file_wrapper"](open("/dev/zero", "rb"))


def status_of_body(status):
    def app(environ, start_response):
        start_response(status, PLAIN)
        return Body(status, [b"body"])

    return app


def echo(environ, start_response):
    start_response("200 OK", PLAIN)
    body = environ["wsgi.input"]
    how = environ["QUERY_STRING"]
    if how == "all":
        read = [body.read()]
    elif how == "size":
        read = iter(lambda: body.read(3), b"")
    elif how == "negative":
        read = [body.read(-1)]
    elif how == "none":
        read = [body.read(None)]
    elif how == "line":
        read = iter(body.readline, b"")
    elif how == "line_size":
        read = iter(lambda: body.readline(2), b"")
    elif how == "lines":
        read = body.readlines()
    elif how == "hint":
        read = body.readlines(1)
        read.append(body.read())
    elif how == "iterate":
        read = list(body)
    else:
        read = []
    read = list(read)
    return [b"|".join(read) + b" then " + repr([body.read(), body.read(1), body.readline()]).encode()]


def file_of(environ, kind):
    if kind == "disk":
        file = open(__file__, "rb")
    elif kind == "raw":
        file = open(__file__, "rb", buffering=0)
    elif kind == "memory":
        file = io.BytesIO(open(__file__, "rb").read())
    elif kind == "temporary":
        file = tempfile.NamedTemporaryFile()
        file.write(open(__file__, "rb").read())
        file.flush()
        file.seek(0)
    else:
        file = None
    return file


def send_file(environ, start_response):
    kind, _, options = environ["QUERY_STRING"].partition("&")
    fields = [("Content-Length", "10")] if "length" in options else []
    start_response("200 OK", fields)
    file = file_of(environ, kind)
    if "seek" in options:
        file.seek(2)

    class Closing(type(file) if kind == "memory" else object):
        pass

    wrapper = environ["wsgi.file_wrapper"](file, 100)
    kept["file"] = file
    return wrapper


def file_is_closed(environ, start_response):
    start_response("200 OK", PLAIN)
    return [str(kept["file"].closed).encode()]


def environ_facts(environ, start_response):
    assert type(environ) is dict
    assert "leak" not in environ
    environ["leak"] = True
    shown = [f"{key}={value!r}" for key, value in sorted(environ.items()) if not key.startswith("wsgi.") or key in SHOWN]
    wrong = [key for key, value in environ.items() if key.isupper() and type(value) is not str]
    assert not wrong, wrong
    assert not [name for name in os.environ if name.startswith("LIEGE_")]
    start_response("200 OK", PLAIN)
    return ["\n".join(shown).encode()]


SHOWN = {"wsgi.version", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"}


def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    stream.write("to errors \udc80\n")
    stream.writelines(["several ", "lines\n"])
    stream.flush()
    print("to stdout")
    start_response("200 OK", PLAIN)
    return [b"logged"]


def closed_names(environ, start_response):
    start_response("200 OK", PLAIN)
    names = ",".join(closed).encode()
    closed.clear()
    return [names]


def closing_fails(environ, start_response):
    class Failing(Body):
        def close(self):
            raise RuntimeError("close failed")

    start_response("200 OK", PLAIN)
    return Failing("failing", [b"sent"])


APPS = {
    "/list": lambda e, s: (s("200 OK", PLAIN), [b"listed"])[1],
    "/bytes": lambda e, s: (s("200 OK", PLAIN), b"whole")[1],
    "/empty": lambda e, s: (s("200 OK", PLAIN), [])[1],
    "/generator": generator,
    "/late_start": late_start,
    "/writer": writer,
    "/kept_write": kept_write,
    "/kept_input": kept_input,
    "/twice": twice,
    "/exc_info_before": exc_info_before,
    "/exc_info_after": exc_info_after,
    "/never_started": lambda e, s: [b"body"],
    "/returns_none": lambda e, s: s("200 OK", PLAIN) and None,
    "/status_int": headers(200, PLAIN),
    "/status_split": headers("200 OK\r\nEvil: 1", PLAIN),
    "/name_split": headers("200 OK", [("X\r\nEvil", "1")]),
    "/value_split": headers("200 OK", [("X", "1\r\nEvil: 1")]),
    "/value_long": headers("200 OK", [("X", "1\n" + 20_000 * "é")]),
    "/value_nul": headers("200 OK", [("X", "a\0b")]),
    "/value_bytes": headers("200 OK", [("X", b"1")]),
    "/value_unicode": headers("200 OK", [("X", "\u20ac")]),
    "/value_surrogate": headers("200 OK", [("X", "\udc80")]),
    "/value_latin1": headers("200 OK", [("X", "\xfc")]),
    "/headers_tuple": headers("200 OK", (("X", "1"),)),
    "/header_of_three": headers("200 OK", [("X", "1", "2")]),
    "/hop_by_hop": headers("200 OK", [("Transfer-Encoding", "chunked"), ("Connection", "upgrade")]),
    "/says_close": headers("200 OK", [("Connection", "close")]),
    "/raises": raises(RuntimeError("a secret")),
    "/system_exit": raises(SystemExit(3)),
    "/keyboard_interrupt": raises(KeyboardInterrupt()),
    "/generator_exit": raises(GeneratorExit()),
    "/memory_error": raises(MemoryError()),
    "/unprintable": raises(Unprintable()),
    "/recursion": recursion,
    "/raises_late": raises_late,
    "/raises_first": raises_first,
    "/str_item": items("text"),
    "/none_item": items(None),
    "/long_length": length("2", b"abc", b"def"),
    "/short_length": length("10", b"abc"),
    "/odd_length": length("+4", b"abcd"),
    "/endless": endless,
    "/endless_file": endless_file,
    "/204": status_of_body("204 No Content"),
    "/304": status_of_body("304 Not Modified"),
    "/counted": items(b"a", b"b"),
    "/echo": echo,
    "/file": send_file,
    "/file_is_closed": file_is_closed,
    "/environ": environ_facts,
    "/errors": errors,
    "/closed": closed_names,
    "/closing_fails": closing_fails,
}


def application(environ, start_response):
    return APPS[environ["PATH_INFO"]](environ, start_response)
