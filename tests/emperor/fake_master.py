"""A master for tests of the emperor: speaks its channel, and behaves as the vassal's file says.

The file holds one word per line: `listen` (bind a port), `hang` (never ready), `exit N`, `deaf` (ignores stop and
SIGTERM), `orphan` (starts a child that outlives it), `stray` (the same in a session of its own), `broken` (a reload
rolls back), `replace` (a reload asks for a replacement), `print` (says a line), `flood` (prints for ever).
"""

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys


def main():
    channel = socket.socket(fileno=os.dup(0))
    channel.setblocking(True)
    start, fds = receive(channel)
    start = start["Start"]
    words = os.read(fds[0], 65536).decode().split("\n")
    os.close(fds[0])
    log(f"start {start['name']} {os.getpid()} in {os.getcwd()}")
    for word in words:
        if word.startswith("exit"):
            failure = {"message": "it fails as told"}
            send(channel, {"Failed": failure})
            sys.exit(int(word.split()[1]))
    if "deaf" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "orphan" in words:
        log(f"orphan {subprocess.Popen(['sleep', '600']).pid}")
    if "stray" in words:
        log(f"stray {subprocess.Popen(['sleep', '600'], start_new_session=True).pid}")
    if "flood" in words:
        # Lines that a pipe takes whole, until the emperor is gone.
        while not select.select([channel], [1], [])[0]:
            os.write(1, b"flood " * 600 + b"\n")
        sys.exit(0)
    listeners = [socket.socket(fileno=fd) for fd in fds[1:]]
    listens = start["listeners"]
    if "listen" in words and not listeners:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners = [listener]
        listens = [{"address": {"Tcp": {"host": "127.0.0.1", "port": listener.getsockname()[1]}}, "protocol": "http"}]
    for listener in listeners:
        log(f"port {listener.getsockname()[1]}")
    send(channel, {"Hello": {"protocol": 1, "version": "0.1.0", "pid": os.getpid()}})
    if listeners:
        send(channel, {"Listeners": {"listeners": listens}}, [listener.fileno() for listener in listeners])
    send(channel, {"State": "Starting"})
    if "hang" not in words:
        send(channel, {"State": "Ready"})
    if "print" in words:
        os.write(1, b"printed \x1b[31m here\n")
    while True:
        message, fds = receive(channel)
        if message is None:
            sys.exit(0)
        if "Stop" in message and "deaf" not in words:
            send(channel, {"State": "Stopping"})
            sys.exit(0)
        if "Reload" in message:
            words = os.read(fds[0], 65536).decode().split("\n")
            outcome = "Swapped"
            if "broken" in words:
                outcome = {"RolledBack": {"message": "it is broken"}}
            if "replace" in words:
                outcome = {"NeedsReplace": {"reason": "uid changed"}}
            log(f"reload {start['name']} {outcome if isinstance(outcome, str) else list(outcome)[0]}")
            send(channel, {"Ended": {"operation": message["Reload"]["operation"], "outcome": outcome}})
        if "Reexec" in message:
            send(channel, {"Ended": {"operation": message["Reexec"]["operation"], "outcome": "Swapped"}})
        for fd in fds:
            os.close(fd)


def log(line):
    with open(os.environ["FAKE_LOG"], "a") as file:
        file.write(line + "\n")


def send(channel, message, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([b"i" + json.dumps(message).encode()], rights)


def receive(channel):
    data, ancillary, _, _ = channel.recvmsg(1 << 20, socket.CMSG_SPACE(250 * 4))
    fds = array.array("i")
    for _, _, rights in ancillary:
        fds.frombytes(rights)
    return (json.loads(data[1:]) if data else None), list(fds)


main()
