"""Limits by control groups: they are the kernel's, hold against a tenant who tries, and outlive the emperor."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from host import *

# Does what the path says, and says how it went.
TRIES = """
import os, subprocess, threading, time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    what = environ['PATH_INFO']
    if what == '/forks':
        made = 0
        try:
            for _ in range(1000):
                subprocess.Popen(['sleep', '1000'])
                made += 1
        except OSError as error:
            return [f'{made} {type(error).__name__}'.encode()]
    if what == '/memory':
        hog = []
        while True: hog.append(os.urandom(1 << 20) * 4)
    if what == '/spin':
        for _ in range(4): subprocess.Popen(['sh', '-c', 'while :; do :; done'])
    if what == '/bomb' and os.fork() == 0:
        while True:
            try: os.fork()
            except OSError: pass
    if what.startswith('/run/'):
        done = subprocess.run(what[5:], shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return [done.stdout]
    return [b'%d' % os.getpid()]
"""


# What a tenant may try, and what comes of it; nothing said: it is killed for it, alone.
PYTHON = "python3 -c '{}' 2>&1 | tail -1"
HOSTILE = [
    ("memory of no file", PYTHON.format("import os; f = os.memfd_create(\"x\")\nfor _ in range(1000): os.write(f, bytes(1 << 20))"), None),
    ("a file in memory", "head -c 1G /dev/zero >/dev/shm/hers", None),
    ("all of her processes", "kill -9 -1", None),
    ("all descriptors", PYTHON.format("import os\ntry:\n  while True: os.pipe()\nexcept OSError as e: print(e)"), "Too many open files"),
    ("another's port", PYTHON.format("import socket; s = socket.socket(); s.setsockopt(1, 15, 1); s.bind((\"127.0.0.1\", 8002))"), "Address already in use"),
    ("a better place", "nice -n -5 true 2>&1; chrt -f 1 true 2>&1", "ermi"),
    ("the emperor's directory", "touch /run/liege/x /run/x 2>&1", "Permission denied"),
    ("the API", PYTHON.format("import socket; socket.socket(socket.AF_UNIX).connect(\"/run/liege/api.sock\")"), "Permission denied"),
    ("a word to systemd", PYTHON.format("import socket; print(socket.socket(socket.AF_UNIX, 2).sendto(b\"STOPPING=1\", \"/run/systemd/notify\"))"), "10"),
    ("another's memory", "for p in $(pgrep -u 20002); do cat /proc/$p/environ; done 2>&1 | tail -1", "Permission denied"),
]
LARGE = "hog = b'x' * (300 << 20)\n"
HOLDS_WATCHES = "import ctypes, time\nwhile ctypes.CDLL(None).inotify_init() >= 0: pass\ntime.sleep(10000)"
CALLS_THE_EMPEROR = """
import glob, socket
held = []
while True:
    try:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect("/run/liege/api.d/rendezvous")
        s.setblocking(False)
        s.send(bytes(100))
        held = held[-300:] + [s]
    except OSError: pass
"""


class Bombs:
    """Has each master of a vassal become a fork bomb as soon as it serves, until the block ends; `masters`: those."""

    def __init__(self, vassal, port):
        self.vassal, self.port, self.masters, self.done = vassal, port, set(), threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        while not self.done.wait(0.1):
            new = set(masters(self.vassal)) - self.masters
            with contextlib.suppress(OSError, http.client.HTTPException):
                if new and get(self.port, "/bomb", timeout=5):
                    self.masters |= new

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def group(vassal):
    return GROUP / f"vassals/vassal-{vassal}"


def limit(vassal, file):
    return (group(vassal) / file).read_text().strip()


def where(pid):
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix(f"0::/system.slice/{UNIT}")


class Limited(Case):
    def limits(self, *words, lines=()):
        """The operator's options, under the unit as it is shipped."""
        if systemd() < 254:
            self.skipTest("DelegateSubgroup= is there from systemd 254 on")
        self.options(*words, lines=lines)

    def file_says(self, name, *lines):
        file = VASSALS / f"{name}.ini"
        text = file.read_text().split("[emperor]")[0]
        new = VASSALS / ".new"
        new.write_text("\n".join([text, "[emperor]", *lines, ""]))
        new.rename(file)


class Kernel(Limited):
    def test_the_limits_are_in_the_control_groups_and_the_emperor_has_none(self):
        self.limits("--vassals-limit memory-max=200M", "--vassals-limit cpu-max=150%", "--vassals-limit 'b* pids-max=50'")
        self.vassal("a", 8001, TRIES)
        self.vassal("b", 8002, TRIES)
        self.start()
        most = min(int(pathlib.Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
        for name, expected in (("a.ini", ["209715200", "150000 100000", str(most * 15 // 100)]), ("b.ini", ["209715200", "150000 100000", "50"])):
            self.assertEqual([limit(name, file) for file in ("memory.max", "cpu.max", "pids.max")], expected)
        for name, port in (("a.ini", 8001), ("b.ini", 8002)):
            for pid in (*masters(name), get(port)):
                self.assertRegex(where(pid), f"^/vassals/vassal-{name}/[0-9]+$")
        self.assertEqual(where(emperor()), "/emperor")
        for file in ("memory.max", "pids.max", "cpu.max"):
            self.assertRegex((GROUP / "emperor" / file).read_text(), "^max")

    def test_hogs_do_not_reach_their_neighbour(self):
        self.limits("--vassals-limit 'hog* memory-max=120M'", "--vassals-limit 'hog* cpu-max=20%'",
                    "--vassals-limit 'hog* pids-max=40'")
        self.vassal("hog", 8001, TRIES, "threads = 2")
        self.vassal("other", 8002)
        self.start()
        with Clients(8002) as quiet:
            quiet.more(50)
        apps, master = masters("other.ini"), masters("hog.ini")
        with Clients(8002) as clients:
            made = get(8001, "/forks")
            self.assertRegex(made, "^[0-9]+ BlockingIOError$")
            self.assertLess(int(made.split()[0]), 40)
            worker = get(8001)
            self.assertIsNone(answers(8001, "/memory"))
            until("another worker", lambda: answers(8001) not in (None, worker))
            for pid in processes(group("hog.ini")):
                if b"sleep" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            until("room for others", lambda: int(limit("hog.ini", "pids.current")) < 20)
            get(8001, "/spin")
            clients.more(100)
        self.assertEqual(clients.failed, [])
        self.assertEqual((masters("other.ini"), masters("hog.ini")), (apps, master))
        self.assertLess(clients.slowest, 5 + quiet.slowest)
        events = dict(line.split() for line in limit("hog.ini", "cpu.stat").splitlines())
        self.assertGreater(int(events["nr_throttled"]), 0)
        events = dict(line.split() for line in limit("hog.ini", "memory.events").splitlines())
        self.assertGreater(int(events["oom_kill"]), 0)
        # Whoever asks is told that it was the kernel, and why.
        why = liege("why", "hog", check=False).stdout
        self.assertRegex(why, r"worker 1 \(pid [0-9]+\) died .*: the kernel killed it: out of memory .*, inside of GET /memory")
        self.assertIn("out of memory: the kernel killed it", liege("events", "hog", "--json"))
        self.assertRegex(ask_api("/metrics"), r'liege_exits_total{vassal="hog.ini",role="worker",reason="out-of-memory"} [1-9]')
        print(f"         the neighbour's slowest answer: {clients.slowest:.2f} s; without hogs {quiet.slowest:.2f} s")
        self.assertEqual(shown("ActiveState", "NRestarts"), ["active", "0"])

    def test_an_app_that_needs_more_memory_than_it_may_have_is_told_so(self):
        self.limits("--vassals-limit memory-max=100M")
        self.vassal("a", 8001, TRIES)
        self.vassal("large", 8002, LARGE, "need-app = true")
        self.start()
        said = "the interpreter ended while it loaded the application: signal 9 (SIGKILL); out of memory: the kernel killed it"
        until("the reason", lambda: said in liege("why", "large", check=False).stdout)
        (APPS / "a.py").write_text(LARGE)
        with Clients(8001) as clients:
            reloaded = liege("reload", "a", "--wait", check=False)
            clients.more()
        self.assertEqual((reloaded.returncode, clients.failed), (4, []))
        self.assertIn(said, reloaded.stdout + reloaded.stderr)

    def test_where_a_group_is_full_workers_are_missing_and_it_is_said_why(self):
        self.limits("--vassals-limit pids-max=9")
        self.vassal("a", 8001, TRIES, "processes = 20")
        self.start()
        said = "its control group may have 9 processes (pids-max, limit-nproc, or TasksMax of the unit), and there is no room for another"
        until("the reason", lambda: said in liege("why", "a", check=False).stdout)
        self.assertTrue(answers(8001))

    def test_a_stop_ends_all_that_is_in_a_group(self):
        self.limits("--vassals-limit pids-max=100")
        self.vassal("a", 8001, TRIES)
        self.start()
        get(8001, "/run/setsid sleep 100000 >/dev/null 2>&1 & setsid sh -c 'trap \"\" TERM; sleep 99999' >/dev/null 2>&1 &")
        self.assertGreater(len(processes(group("a.ini"))), 3)
        (VASSALS / "a.ini").unlink()
        until("the end of its group", lambda: not group("a.ini").exists())
        self.vassal("a", 8001, TRIES)
        until("the next one", lambda: answers(8001))
        get(8001, "/run/setsid sleep 100000 >/dev/null 2>&1 &")
        systemctl("stop", UNIT)
        self.assertEqual((processes(), GROUP.exists()), ([], False))


class Shares(Limited):
    """Without a limit of the operator's every vassal has the same share of the CPUs, whatever it starts."""

    def used(self, place):
        """CPU time of a control group, in seconds."""
        return int(dict(line.split() for line in (place / "cpu.stat").read_text().splitlines())["usage_usec"]) / 1e6

    def share(self, one, other, seconds):
        """What a control group gets of the CPU time of both within so much of it."""
        before = self.used(one), self.used(other)
        spent = lambda: (self.used(one) - before[0], self.used(other) - before[1])
        until("the CPU time", lambda: sum(spent()) > seconds)
        return spent()[0] / sum(spent())

    def test_who_starts_many_processes_gets_no_more_of_the_cpus(self):
        self.limits("--vassals-limit 'heavy* cpu-weight=400'")
        for name, port in (("one", 8001), ("four", 8002), ("heavy", 8003)):
            self.vassal(name, port, TRIES)
        self.vassal("meek", 8004, TRIES, "prio = 10")
        self.start()
        weights = [limit(f"{name}.ini", "cpu.weight") for name in ("one", "four", "heavy", "meek")]
        self.assertEqual(weights, ["100", "100", "400", "11"])
        get(8001, "/run/(while :; do :; done) >/dev/null 2>&1 &")
        get(8002, "/spin")
        equal = self.share(group("one.ini"), group("four.ini"), 4)
        get(8003, "/spin")
        heavier = self.share(group("heavy.ini"), group("four.ini"), 4)
        get(8004, "/spin")
        meeker = self.share(group("meek.ini"), group("four.ini"), 4)
        print(f"         one process beside four: {equal:.0%} of the time of both; of weight 400 beside 100: {heavier:.0%}; of nice 10 beside 0: {meeker:.0%}")
        self.assertGreater(equal, 0.4)
        self.assertGreater(heavier, 0.7)
        self.assertLess(meeker, 0.25)

    def test_many_busy_vassals_leave_the_emperor_its_half(self):
        self.limits()
        self.vassal("other", 8002)
        self.start()
        at_rest = self.asks(5)
        burn = APPS / "burn"
        burn.write_text("#!/bin/sh\nwhile :; do :; done\n")
        burn.chmod(0o755)
        for number in range(30):
            new = VASSALS / ".new"
            new.write_text(f"[uwsgi]\nuid = nobody\n[emperor]\nexec = {burn}\n")
            new.rename(VASSALS / f"burn{number}.ini")
        until("all of them", lambda: len(processes(GROUP / "vassals")) > 30)
        busy = self.asks(10)
        print(f"         the API at rest {spread(at_rest)}; beside 30 busy vassals {spread(busy)}")
        # As if the emperor had endless work.
        with subprocess.Popen(["sh", "-c", f"echo $$ > {GROUP}/emperor/cgroup.procs; while :; do :; done"]) as endless:
            try:
                share = self.share(GROUP / "emperor", GROUP / "vassals", 4)
            finally:
                endless.kill()
        print(f"         the emperor's share beside them: {share:.0%}")
        self.assertGreater(share, 0.4)

    def asks(self, seconds):
        """How long the API took for each answer."""
        waits, over = [], time.monotonic() + seconds
        while time.monotonic() < over:
            began = time.monotonic()
            ask_api("/v1/vassals")
            waits.append(time.monotonic() - began)
            time.sleep(0.02)
        return waits

    def test_a_fork_bomb_is_ended_and_its_neighbour_does_not_notice(self):
        """Told for people: what a neighbour and the API notice of a vassal that is a fork bomb whenever it serves."""
        for what, rules, line in (
            ("half a CPU", ["cpu-max=50%", "pids-max=100"], ""),
            ("a low weight", ["cpu-weight=10", "pids-max=100"], ""),
            ("a usual weight", ["pids-max=100"], ""),
            ("the limit of its user", [], "limit-nproc = 100"),
        ):
            with self.subTest(what):
                self.clear()
                self.limits(*(f"--vassals-limit 'hog* {rule}'" for rule in rules))
                self.vassal("hog", 8001, TRIES, "threads = 2", line, owner="games")
                self.vassal("other", 8002)
                self.start()
                self.assertEqual(limit("hog.ini", "pids.max"), "100")
                apps, first = masters("other.ini"), masters("hog.ini")
                began = time.monotonic()
                get(8001, "/bomb")
                until("its end", lambda: not set(first) & set(masters("hog.ini")))
                took = time.monotonic() - began
                why = liege("why", "hog", check=False).stdout
                self.assertRegex(why, "its master .* ended .*: signal 9; a fork bomb: the emperor killed it")
                self.assertRegex(liege("events", "hog"), "a fork bomb: refused [0-9]+ processes within [0-9.]+ s beyond the 100 that it may have")
                rested = float(re.search("tried again in ([0-9.]+) s", liege("events", "hog"))[1])
                self.assertGreaterEqual(rested, 10)
                liege("start", "hog", "--wait")
                self.assertIsNotNone(answers(8001))
                # So long that it rests once, as far as it takes no more than the machine's patience.
                seconds = min(max(30, 110 * took), 170)
                with Clients(8002, pause=0.005) as quiet:
                    quiet_api = self.asks(seconds / 2)
                with Clients(8002, pause=0.005) as clients, Bombs("hog.ini", 8001) as bombs:
                    api = self.asks(seconds)
                print(f"         {what}, ended after {took:.2f} s, rests {rested:.0f} s, {len(bombs.masters)} times in {seconds:.0f} s: the neighbour {spread(clients.waits)}, at rest {spread(quiet.waits)};"
                      f" the API {spread(api)}, at rest {spread(quiet_api)}")
                self.assertEqual((clients.failed, masters("other.ini")), ([], apps))

    def test_root_has_as_many_processes_as_it_likes(self):
        """As ever: the kernel holds no `limit-nproc` against root."""
        self.limits()
        self.vassal("mine", 8001, TRIES, "limit-nproc = 3", "threads = 8", "uid = root")
        self.start()
        self.assertIsNotNone(answers(8001))
        self.assertGreater(int(limit("mine.ini", "pids.max")), 100)


class Lives(Limited):
    def test_limits_of_the_operator_outlive_the_emperor_and_the_next_one_changes_them(self):
        self.outlive("--vassals-limit pids-max=100")

    def test_limits_of_a_file_outlive_the_emperor_and_the_next_one_changes_them(self):
        self.outlive()

    def outlive(self, *words):
        self.limits(*words)
        self.vassal("a", 8001, TRIES)
        self.file_says("a", "memory-max = 100M")
        self.start()
        apps, place = masters("a.ini"), where(masters("a.ini")[0])
        self.assertEqual(limit("a.ini", "memory.max"), "104857600")
        with Clients(8001) as clients:
            kill_emperor()
            self.assertEqual(where(emperor()), "/emperor")
            self.assertEqual((masters("a.ini"), where(apps[0])), (apps, place))
            self.assertEqual(limit("a.ini", "memory.max"), "104857600")
            self.file_says("a", "memory-max = 150M")
            until("the new limit", lambda: limit("a.ini", "memory.max") == "157286400")
            liege("upgrade", "--wait")
            self.file_says("a", "memory-max = 160M")
            until("the new limit", lambda: limit("a.ini", "memory.max") == "167772160")
            clients.more()
        self.assertEqual(clients.failed, [])
        (VASSALS / "a.ini").unlink()
        until("the end of its group", lambda: not group("a.ini").exists())

    def test_a_running_vassal_gets_its_first_limit_with_a_reload(self):
        self.limits()
        self.vassal("a", 8001, TRIES)
        self.start()
        with Clients(8001) as clients:
            # As one that an emperor has started who had no groups.
            for pid in processes(group("a.ini")):
                (GROUP / "emperor/cgroup.procs").write_text(str(pid))
            for place in (*group("a.ini").glob("[0-9]*"), group("a.ini")):
                place.rmdir()
            self.file_says("a", "pids-max = 60")
            until("its group", group("a.ini").exists)
            until("the reload", lambda: "60" == limit("a.ini", "pids.max"))
            liege("reload", "a", "--wait")
            clients.more()
        self.assertEqual(clients.failed, [])
        for pid in (*masters("a.ini"), get(8001)):
            self.assertRegex(where(pid), "^/vassals/vassal-a.ini/[0-9]+$")

    def test_a_restart_of_the_unit_and_of_a_vassal_keep_them(self):
        self.limits("--vassals-limit pids-max=77")
        self.vassal("a", 8001, TRIES)
        self.start()
        systemctl("restart", UNIT)
        with Clients(8001) as clients:
            liege("restart", "a", "--wait")
            systemctl("reload", UNIT)
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(limit("a.ini", "pids.max"), "77")
        for pid in (*masters("a.ini"), get(8001)):
            self.assertRegex(where(pid), "^/vassals/vassal-a.ini/[0-9]+$")
        self.assertEqual(len(list(group("a.ini").glob("[0-9]*"))), 1)

    def test_without_the_subgroup_the_emperor_says_what_to_do(self):
        self.options("--vassals-limit pids-max=77", lines=["DelegateSubgroup="])
        self.assertNotEqual(systemctl("start", UNIT, check=False).returncode, 0)
        self.assertIn("add DelegateSubgroup=emperor to the unit (systemd 254), or say adopt = no", self.said())

    def test_without_the_subgroup_and_without_adoption_they_hold(self):
        self.options("--vassals-limit pids-max=77", "--adopt=no", lines=["DelegateSubgroup="])
        self.vassal("a", 8001, TRIES)
        self.start()
        self.assertEqual(limit("a.ini", "pids.max"), "77")
        kill_emperor()
        self.assertEqual((limit("a.ini", "pids.max"), len(masters("a.ini"))), ("77", 1))


class Tenants(Limited):
    def tenant(self, name, port, uid):
        self.vassal(name, port, TRIES, f"chdir = /", owner="root")
        os.chown(VASSALS / f"{name}.ini", uid, uid)

    def check_apart(self, alice):
        """Alice, at this port, reaches nothing of Bob; numbers of processes are not hers."""
        seen = get(alice, "/run/ls /proc | grep -c '^[0-9]'")
        self.assertLess(int(seen), 10)
        self.assertEqual(get(alice, "/run/id -u").strip(), "20001")
        self.assertIn("CapEff:\t0000000000000000", get(alice, "/run/grep CapEff /proc/self/status"))
        for pid in (*processes(group("bob.ini")), emperor()):
            self.assertRegex(get(alice, f"/run/kill -0 {pid}"), "(?i)no such process|not permitted")
        writes = [f"echo 1 > {group('bob.ini')}/cgroup.kill", f"echo max > {group('alice.ini')}/pids.max", "cat /run/liege/api.sock",
                  f"echo 0 > {group('bob.ini')}/cgroup.procs", f"echo 0 > {GROUP}/emperor/cgroup.procs", f"mkdir {GROUP}/vassals/free"]
        for command in writes:
            self.assertRegex(get(alice, f"/run/{command}"), "(?i)permission denied|read-only|nonexistent|no such")

    def test_tenants_namespaces_and_limits_together(self):
        self.limits("--emperor-tyrant", "--emperor-use-clone pid,ipc,uts", "--vassals-limit pids-max=60")
        self.tenant("alice", 8001, 20001)
        self.tenant("bob", 8002, 20002)
        self.start()
        until("answers", lambda: answers(8001) and answers(8002))
        self.check_apart(8001)
        self.assertRegex(get(8001, "/forks"), "BlockingIOError")
        apps = masters("alice.ini") + masters("bob.ini")
        with Clients(8002) as clients:
            kill_emperor()
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(masters("alice.ini") + masters("bob.ini"), apps)
        self.assertEqual(limit("alice.ini", "pids.max"), "60")
        # She may have less, and not more.
        for said, expected in (("pids-max = 500", "60"), ("pids-max = 40", "40")):
            self.file_says("alice", said)
            os.chown(VASSALS / "alice.ini", 20001, 20001)
            until("the limit", lambda: limit("alice.ini", "pids.max") == expected)
        systemctl("stop", UNIT)
        self.assertEqual((processes(), GROUP.exists()), ([], False))

    def test_what_a_tenant_uses_up_nobody_else_lacks(self):
        """No namespaces: users and limits alone."""
        self.limits("--emperor-tyrant", "--vassals-limit memory-max=150M", "--vassals-limit pids-max=80")
        self.tenant("alice", 8001, 20001)
        self.tenant("bob", 8002, 20002)
        self.start()
        until("answers", lambda: answers(8001) and answers(8002))
        self.assertTrue(pathlib.Path(CALLS_THE_EMPEROR.split('"')[1]).exists())
        apps = masters("bob.ini")
        ask = lambda command: answers(8001, f"/run/{command}")
        with Clients(8002) as clients:
            for what, deed, expected in HOSTILE:
                said = until(what, lambda: ask(deed) if answers(8001) else None) if expected else ask(deed)
                print(f"         {what}: {(said or 'killed').strip()}")
                self.assertRegex(said or "", expected or "^")
                # What is there stays hers as long as it is there.
                pathlib.Path("/dev/shm/hers").unlink(missing_ok=True)
                self.assertEqual(masters("bob.ini"), apps, what)
                until("she serves again", lambda: answers(8001))
            for deed in (HOLDS_WATCHES, CALLS_THE_EMPEROR):
                ask(f"setsid python3 -c '{deed}' >/dev/null 2>&1 &")
            # The emperor still sees what changes, and the next one finds whom it seeks among the callers.
            before = get(8002)
            os.utime(VASSALS / "bob.ini")
            until("a reload", lambda: answers(8002) not in (None, before))
            kill_emperor()
            clients.more()
        self.assertEqual(clients.failed, [])
        self.assertEqual(masters("bob.ini"), apps)
        self.assertEqual(shown("ActiveState"), "active")
        (VASSALS / "alice.ini").unlink()
        until("the end of all that is hers", lambda: not group("alice.ini").exists())

    def test_an_emperor_with_a_few_capabilities_has_groups_and_tenants(self):
        self.limits("--emperor-tyrant", "--vassals-limit pids-max=60",
                    lines=["User=games", "AmbientCapabilities=CAP_SETUID CAP_SETGID CAP_KILL CAP_DAC_READ_SEARCH"])
        self.tenant("alice", 8001, 20001)
        self.start()
        until("an answer", lambda: answers(8001))
        self.assertEqual(limit("alice.ini", "pids.max"), "60")
        self.assertEqual(get(8001, "/run/id -u").strip(), "20001")
        kill_emperor()
        liege("reload", "alice", "--wait")
        self.assertEqual(limit("alice.ini", "pids.max"), "60")
