"""What the checks share: the host as its operator sees it, with the unit, vassals and clients."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.parse

VASSALS = pathlib.Path("/etc/uwsgi/vassals")
APPS = pathlib.Path("/srv/apps")
UNIT = "liege.service"
DROP_IN = pathlib.Path(f"/run/systemd/system/{UNIT}.d/check.conf")
GROUP = pathlib.Path(f"/sys/fs/cgroup/system.slice/{UNIT}")
SHIPPED = "/usr/local/bin/liege --emperor /etc/uwsgi/vassals --root-apps deny"
# An emulated machine is slow; nothing here is about speed.
PATIENCE = 120

HELLO = """
import os, time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('hello %d' % os.getpid()).encode()]
"""


def run(*command, check=True, timeout=PATIENCE):
    """What a command prints; with `check`, it has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout if check else done


def systemctl(*words, **how):
    return run("systemctl", *words, **how)


def liege(*words, **how):
    return run("/usr/local/bin/liege", *words, **how)


def shown(*properties):
    """These properties of the unit, in this order."""
    lines = systemctl("show", UNIT, *(f"-p{name}" for name in properties)).splitlines()
    known = dict(line.split("=", 1) for line in lines)
    values = [known[name] for name in properties]
    return values[0] if len(values) == 1 else values


def systemd():
    """Its version."""
    return int(systemctl("--version").split()[1])


def emperor():
    return int(shown("MainPID"))


def until(what, condition, patience=PATIENCE):
    """The first true answer of `condition`."""
    end = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.05)


def get(port, path="/", timeout=PATIENCE):
    """The text of an answer with status 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("GET", urllib.parse.quote(path))
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"{answer.status}: {text[:200]}")
        return text


def answers(port, path="/"):
    """The same, or None."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return get(port, path)


def states():
    """The state of each vassal by its name; none while no emperor answers."""
    done = liege("status", "--json", check=False)
    return {one["name"]: one["state"] for one in json.loads(done.stdout)["vassals"]} if done.returncode == 0 else {}


def alive(pid):
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    return False


def processes(group=GROUP):
    """Who is in a control group, or below it."""
    with contextlib.suppress(FileNotFoundError):
        return sorted({int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()})
    return []


def masters(vassal):
    """The masters of a vassal that run, by their command lines."""
    found = []
    for pid in processes():
        with contextlib.suppress(OSError):
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"instance", vassal.encode()]:
                found.append(pid)
    return found


def ask_api(path):
    """The text of the API's answer with status 200."""
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect("/run/liege/api.sock")
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"{answer.status}: {text[:200]}")
        return text


def late(waits, part=0.99):
    """The 99th percentile of some times."""
    return sorted(waits)[int(len(waits) * part)]


def spread(waits):
    """Median, 99th percentile and longest of some times, for people."""
    return f"p50 {late(waits, 0.5) * 1000:.1f}, p99 {late(waits) * 1000:.1f}, slowest {max(waits) * 1000:.1f} ms"


class Clients:
    """Asks ports over and over, each in a thread of its own, until the block ends; `failed` has what went wrong."""

    def __init__(self, *ports, pause=0.05):
        self.failed, self.waits, self.pause = [], [], pause
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(port,)) for port in ports]

    def ask(self, port):
        while not self.done.is_set():
            began = time.monotonic()
            try:
                get(port)
                self.waits.append(time.monotonic() - began)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{port}: {error!r}")
            self.done.wait(self.pause)

    @property
    def count(self):
        return len(self.waits)

    @property
    def slowest(self):
        return max(self.waits)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        until("the first answers", lambda: self.count >= len(self.threads) or self.failed)
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def more(self, number=20):
        """Waits for so many further answers."""
        wanted = self.count + number
        until("further answers", lambda: self.count >= wanted or self.failed)


def kill_emperor():
    """Kills it, and waits until the next one has taken everything over."""
    before = emperor()
    os.kill(before, signal.SIGKILL)
    until("another emperor", lambda: emperor() not in (0, before))
    until("its readiness", lambda: shown("ActiveState") == "active")
    until("adoptions", lambda: set(states().values()) == {"up"})


class Case(unittest.TestCase):
    """A host without vassals, whose emperor is not started yet."""

    def setUp(self):
        self.cursor = run("journalctl", "-n0", "--show-cursor").split("cursor: ")[-1].strip()
        self.addCleanup(self.clear)
        self.clear()

    def clear(self):
        systemctl("stop", UNIT, check=False)
        systemctl("reset-failed", UNIT, check=False)
        for pid in processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until("the end of all processes", lambda: not processes())
        for place in (VASSALS, APPS):
            shutil.rmtree(place, ignore_errors=True)
        APPS.mkdir(parents=True)
        VASSALS.mkdir(parents=True)
        if DROP_IN.exists():
            DROP_IN.unlink()
            systemctl("daemon-reload")

    def drop_in(self, *lines):
        """Changes the unit's section [Service]."""
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text("\n".join(["[Service]", *lines, ""]))
        systemctl("daemon-reload")

    def options(self, *words, lines=()):
        """Changes the emperor's options, and further lines of the unit."""
        self.drop_in("ExecStart=", " ".join(["ExecStart=" + SHIPPED, *words]), *lines)

    def vassal(self, name, port, app=HELLO, *lines, owner="nobody", place=VASSALS):
        """A vassal that runs as nobody; it is whole when its emperor sees it."""
        module = APPS / f"{name}.py"
        module.write_text(app)
        lines = ["[uwsgi]", f"http-socket = 127.0.0.1:{port}", f"wsgi-file = {module}", f"uid = {owner}", "disable-logging = true", *lines]
        new = place / f".{name}"
        new.write_text("\n".join([*lines, ""]))
        new.rename(place / f"{name}.ini")

    def start(self):
        systemctl("start", UNIT)

    def said(self):
        """The unit's lines in the journal since this check began."""
        return run("journalctl", "-u", UNIT, "-o", "cat", "--after-cursor", self.cursor)

    def journal(self):
        return run("journalctl", "-o", "short-monotonic", "--no-hostname", "--after-cursor", self.cursor)
