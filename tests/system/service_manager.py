"""A service manager for one service, as systemd is one: keeps the descriptors that the service stores, and starts it again
whenever it ends. SIGUSR1: a restart. SIGTERM: a stop, for good. What it keeps is told in the file `store`, who runs in `main`.

    python3 service_manager.py MOST[:TOLD] COMMAND...

It keeps at most so many, and says that it keeps TOLD.
"""

import array
import fcntl
import os
import select
import signal
import socket
import stat
import sys
import time

COMMAND = sys.argv[2:]
MOST, _, TOLD = sys.argv[1].partition(":")
MOST, TOLD = int(MOST), int(TOLD or MOST)
kept = []  # (name, descriptor), as systemd keeps them: in the order in which they came
asked = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, _: asked.append(number))


def tell(name, text):
    with open(f".{name}", "w") as file:
        file.write(text)
    os.rename(f".{name}", name)


def is_known(descriptor):
    # The same socket; systemd asks kcmp.
    new = os.fstat(descriptor)
    return any((os.fstat(old).st_dev, os.fstat(old).st_ino) == (new.st_dev, new.st_ino) for _, old in kept)


def hear_all(notices, main):
    """What waits now, after a moment in which something may come; nothing while it does other things."""
    if os.path.exists("deaf"):
        return time.sleep(0.02)
    select.select([notices], [], [], 0.02)
    before = list(kept)
    try:
        while True:
            hear(notices, main)
    except BlockingIOError:
        if kept != before:
            tell("store", "".join(name + "\n" for name, _ in kept))


def hear(notices, main):
    room = socket.CMSG_SPACE(4 * 16) + socket.CMSG_SPACE(12)
    text, controls, _, _ = notices.recvmsg(4096, room)
    descriptors, sender = array.array("i"), 0
    for level, kind, data in controls:
        if kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data)
        elif kind == socket.SCM_CREDENTIALS:
            sender = int.from_bytes(data[:4], sys.byteorder)
    said = dict(line.split("=", 1) for line in text.decode().splitlines())
    if sender != main:  # NotifyAccess=main
        said = {}
    if "FDSTOREREMOVE" in said:
        for name, descriptor in [one for one in kept if one[0] == said["FDNAME"]]:
            os.close(descriptor)
            kept.remove((name, descriptor))
    for descriptor in descriptors:
        if "FDSTORE" in said and len(kept) < MOST and not is_known(descriptor):
            assert said["FDPOLL"] == "0" and stat.S_ISSOCK(os.fstat(descriptor).st_mode)
            kept.append((said["FDNAME"], descriptor))
        else:
            os.close(descriptor)


def start(notify):
    pid = os.fork()
    if pid:
        tell("main", str(pid))
        return pid
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 1000) for _, descriptor in kept]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + number)
    os.closerange(3 + len(high), 900)
    environment = {**os.environ, "NOTIFY_SOCKET": notify}
    if TOLD:
        environment["FDSTORE"] = str(TOLD)
    if kept:
        names = ":".join(name for name, _ in kept)
        environment |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": names}
    os.execvpe(COMMAND[0], COMMAND, environment)


notify = os.path.abspath("notify")
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
notices.bind(notify)
notices.setblocking(False)
tell("store", "")
main, told = start(notify), 0
while True:
    hear_all(notices, main)
    if len(asked) > told:
        told = len(asked)
        os.kill(main, signal.SIGTERM)
    ended, _ = os.waitpid(main, os.WNOHANG)
    if not ended:
        continue
    hear_all(notices, main)  # what it said before its end counts
    if signal.SIGTERM in asked:
        sys.exit(0)
    # Until the test lets it go on, as RestartSec= does for a while.
    while os.path.exists("hold"):
        time.sleep(0.005)
    main, told, asked[:] = start(notify), 0, []
