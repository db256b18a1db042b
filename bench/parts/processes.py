"""Processes: started with a mark, found with all their descendants, measured from /proc, and ended."""

import contextlib
import os
import signal
import subprocess
import time
import uuid

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MARK = "LIEGE_BENCH_MARK"


class Family:
    """A command and everything that it starts."""

    def __init__(self, command, log, cwd=None, env=None, cpu=None):
        self.mark = uuid.uuid4().hex
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                env={**os.environ, **(env or {}), MARK: self.mark},
            )
        self.log = log

    def pids(self):
        """The live processes: marked, or descendants of the first."""
        mark = f"{MARK}={self.mark}".encode()
        parents, found = {}, {self.process.pid}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = read(f"/proc/{name}/stat").rsplit(b")", 1)[1].split()
                if stat[0] == b"Z":
                    found.discard(int(name))
                    continue
                parents[int(name)] = int(stat[1])
                if mark in read(f"/proc/{name}/environ"):
                    found.add(int(name))
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
            found |= more
            grown = bool(more)
        return {pid for pid in found if pid in parents}

    def cpu_s(self, pids=None):
        """CPU seconds that the live processes and their reaped children have used."""
        total = 0
        for pid in self.pids() if pids is None else pids:
            with contextlib.suppress(OSError, IndexError):
                stat = read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()
                total += sum(int(field) for field in stat[11:15])
        return total * TICK_S

    def precise_cpu_s(self):
        """CPU seconds of the live threads, to the nanosecond."""
        return sum(self._task_values("schedstat", lambda text: int(text.split()[0]))) / 1e9

    def switches(self):
        """How often the live threads went to sleep of their own accord."""
        def voluntary(text):
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(b"voluntary_ctxt"))
        return sum(self._task_values("status", voluntary))

    def _task_values(self, file, value):
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(OSError, IndexError, StopIteration):
                        yield value(read(f"/proc/{pid}/task/{task}/{file}"))

    def pss_kb(self):
        """Proportional set size of all processes: shared pages are counted once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
                    if line.startswith(b"Pss:"):
                        total += int(line.split()[1])
        return total

    def stop(self, number=signal.SIGTERM, patience_s=60):
        """Asks the first process to stop; seconds until all are gone, and how many had to be killed."""
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        while time.monotonic() - start < patience_s:
            self.process.poll()
            if not self.pids():
                break
            time.sleep(0.005)
        taken_s = time.monotonic() - start
        left = self.pids()
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return taken_s, len(left)

    def tail(self, lines=15):
        """The end of the log."""
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])


def read(path):
    with open(path, "rb") as file:
        return file.read()
