"""What an operator does with systemctl, and how it ends."""

import os
import pathlib
import signal
import subprocess
import threading
import time

from host import *

# A request for /slow ends when there is a file `go`; /leave starts a process that leaves its group and session.
BUSY = f"""
import os, subprocess, time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/slow':
        open('/tmp/slow-began', 'w').close()
        while not os.path.exists('{APPS}/go'): time.sleep(0.05)
    if environ['PATH_INFO'] == '/stuck':
        open('/tmp/slow-began', 'w').close()
        time.sleep(100000)
    if environ['PATH_INFO'] == '/leave':
        child = subprocess.Popen(['/bin/sh', '-c', 'trap "" TERM HUP INT; (sleep 100000 & echo $!); sleep 100000'],
                                 stdout=subprocess.PIPE, start_new_session=True)
        return [child.stdout.readline()]
    return [b'hello']
"""
BEGAN = pathlib.Path("/tmp/slow-began")


class Asked(threading.Thread):
    """A request of which it is known that it has begun."""

    def __init__(self, port, path):
        super().__init__()
        self.port, self.path, self.answer = port, path, None
        BEGAN.unlink(missing_ok=True)
        self.start()
        until("the begin of the request", BEGAN.exists)

    def run(self):
        self.answer = answers(self.port, self.path)


class Reload(Case):
    def test_a_reload_waits_for_the_outcome_and_costs_no_request(self):
        self.vassal("a", 8001)
        self.vassal("b", 8002)
        self.start()
        before, apps, workers = emperor(), masters("a.ini") + masters("b.ini"), {get(8001), get(8002)}
        with Clients(8001, 8002) as clients:
            systemctl("reload", UNIT)
            self.assertFalse(workers & {get(8001), get(8002)}, "the new code serves when it returns")
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual((emperor(), shown("ActiveState", "NRestarts")), (before, ["active", "0"]))
        self.assertEqual(masters("a.ini") + masters("b.ini"), apps)

    def test_a_reload_with_a_broken_app_fails_and_says_which_and_why(self):
        self.vassal("good", 8001)
        self.vassal("broken", 8002)
        self.start()
        before = get(8002)
        (APPS / "broken.py").write_text("import nothing_of_this_name\n")
        with Clients(8001, 8002) as clients:
            done = systemctl("reload", UNIT, check=False)
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(get(8002), before, "the old code serves on")
        said = self.said()
        for part in ("broken.ini: rolled back", "No module named 'nothing_of_this_name'"):
            self.assertIn(part, said)
        self.assertEqual(shown("ActiveState", "NRestarts"), ["active", "0"])
        # Mended, it is as if nothing had happened.
        (APPS / "broken.py").write_text(HELLO)
        systemctl("reload", UNIT)
        self.assertNotEqual(get(8002), before)


class Stop(Case):
    def test_a_stop_finishes_what_runs_and_leaves_nothing(self):
        self.vassal("a", 8001, BUSY, "processes = 2")
        self.start()
        slow = Asked(8001, "/slow")
        stopping = threading.Thread(target=systemctl, args=("stop", UNIT))
        stopping.start()
        until("the begin of the stop", lambda: "graceful shutdown triggered" in self.said())
        (APPS / "go").touch()
        slow.join()
        stopping.join()
        self.assertEqual(slow.answer, "hello")
        self.assertEqual((processes(), GROUP.exists()), ([], False))
        self.assertEqual(shown("ActiveState", "Result"), ["inactive", "success"])

    def test_a_stop_ends_what_an_app_left_behind(self):
        self.vassal("a", 8001, BUSY)
        self.start()
        left = int(get(8001, "/leave"))
        self.assertTrue(alive(left))
        systemctl("stop", UNIT)
        self.assertEqual((processes(), alive(left)), ([], False))
        self.assertEqual(shown("ActiveState", "Result"), ["inactive", "success"])

    def test_a_stuck_app_does_not_hold_a_stop_up_beyond_the_mercy(self):
        self.options("--reload-mercy", "5")
        self.vassal("a", 8001, BUSY)
        self.vassal("b", 8002)
        self.start()
        stuck = Asked(8001, "/stuck")
        began = time.monotonic()
        systemctl("stop", UNIT)
        self.assertLess(time.monotonic() - began, 80, "systemd's patience is 90 s")
        stuck.join()
        self.assertEqual((processes(), shown("ActiveState", "Result")), ([], ["inactive", "success"]))

    def test_a_restart_is_an_orderly_stop_and_a_start(self):
        self.vassal("a", 8001, BUSY)
        self.start()
        before = emperor()
        left = int(get(8001, "/leave"))
        slow = Asked(8001, "/slow")
        restarting = threading.Thread(target=systemctl, args=("restart", UNIT))
        restarting.start()
        (APPS / "go").touch()
        restarting.join()
        slow.join()
        self.assertEqual((slow.answer, get(8001), alive(left)), ("hello", "hello", False))
        self.assertNotEqual(emperor(), before)
        self.assertEqual(len(masters("a.ini")), 1)

    def test_at_a_socket_of_systemds_a_restart_costs_no_request(self):
        socket = pathlib.Path("/run/systemd/system/check.socket")
        socket.write_text(f"[Socket]\nListenStream=127.0.0.1:8001\nFileDescriptorName=a.ini\nService={UNIT}\n")
        self.addCleanup(systemctl, "daemon-reload")
        self.addCleanup(socket.unlink)
        self.addCleanup(systemctl, "stop", "check.socket")
        systemctl("daemon-reload")
        self.vassal("a", 8001, HELLO, "processes = 2")
        systemctl("start", "check.socket")
        self.start()
        before = get(8001)
        with Clients(8001, 8001, 8001) as clients:
            for _ in range(2):
                systemctl("restart", UNIT)
                clients.more()
            kill_emperor()
            systemctl("reload", UNIT)
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertNotEqual(get(8001), before)

    def test_a_stop_while_the_emperor_is_stopped_by_a_signal_is_ended_by_systemd(self):
        self.drop_in("TimeoutStopSec=30")
        self.vassal("a", 8001)
        self.start()
        os.kill(emperor(), signal.SIGSTOP)
        systemctl("stop", UNIT)
        self.assertEqual((processes(), alive(emperor())), ([], False))


class Upgrade(Case):
    def test_a_new_binary_takes_over_without_a_failed_request(self):
        self.vassal("a", 8001, HELLO, "processes = 2")
        self.vassal("b", 8002)
        self.start()
        before, apps = emperor(), masters("a.ini") + masters("b.ini")
        binary, unit = pathlib.Path("/usr/local/bin/liege"), pathlib.Path(f"/usr/local/lib/systemd/system/{UNIT}")
        with Clients(8001, 8002) as clients:
            for file in (binary, pathlib.Path("/usr/local/lib/liege/libliege.so")):
                # As `install` does: the file is another one.
                copy = file.with_suffix(".new")
                copy.write_bytes(file.read_bytes())
                copy.chmod(0o755)
                copy.rename(file)
            unit.write_text(unit.read_text())
            systemctl("daemon-reload")
            self.assertTrue(os.readlink(f"/proc/{before}/exe").endswith("(deleted)"))
            liege("upgrade", "--wait")
            for pid in (before, *apps):
                self.assertEqual(os.readlink(f"/proc/{pid}/exe"), str(binary))
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual((emperor(), masters("a.ini") + masters("b.ini")), (before, apps))
        self.assertEqual(shown("ActiveState", "NRestarts"), ["active", "0"])
        self.assertRegex(shown("StatusText"), "^2 of 2 vassals serve")
