"""A master for tests of the emperor: speaks its channel, and behaves as the vassal's file says.

The file holds one word per line: `listen` (bind a port), `hang` (never ready), `exit N`, `deaf` (ignores stop and
SIGTERM), `orphan` (starts a child that outlives it), `stray` (the same in a session of its own), `broken` (a reload
rolls back), `replace` (a reload asks for a replacement), `print` (says a line), `flood` (prints for ever),
`hostile` (serves, then sends whatever could harm who reads it, and never reads itself), `rubbish` (sends things that
are not what it says).
"""

import array
import errno
import fcntl
import json
import os
import random
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
    if "hostile" in words:
        attack(channel)
    if "rubbish" in words:
        send_rubbish(channel)
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


def attack(channel):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    null, zero = os.open("/dev/null", os.O_RDWR), os.open("/dev/zero", os.O_RDONLY)
    silent, _held = os.pipe()
    memories = []
    for size, seals in [(0, 0), (1 << 33, 0), (1 << 33, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)]:
        memory = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
        os.ftruncate(memory, size)
        if seals:
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
        memories.append(memory)
    listen = {"address": {"Tcp": {"host": "::", "port": 1}}, "protocol": "http"}
    long = "x" * 30000
    packets = [(os.urandom(length), []) for length in (1, 2, 100, 60000)]
    packets += [
        (b"i" + json.dumps(message).encode(), fds)
        for message, fds in [
            ({"Hello": {"protocol": 4294967295, "version": long, "pid": 0}}, [null]),
            ({"Hello": {"protocol": -1, "version": "", "pid": 1e300}}, []),
            ({"Event": {"message": long}}, []),
            ({"Event": {"message": "\x1b[2J\x00\n" * 1000}}, []),
            ({"Failed": {"message": long, "hint": long}}, []),
            ({"Doing": long}, []),
            ({"Began": {"operation": 18446744073709551615, "reason": long}}, []),
            ({"Ended": {"operation": 1, "outcome": "Swapped"}}, []),
            ({"Listeners": {"listeners": [listen] * 250}}, [null] * 250),
            ({"Listeners": {"listeners": [listen]}}, [null] * 253),
            ("Scoreboard", [null]),
            ("Scoreboard", [memories[2]]),
            ("Output", [zero]),
            ("Output", [silent]),
            ({"State": "Loyal"}, [silent] * 253),
            ({"State": {"Loyal": []}}, []),
        ]
    ]
    packets += [(b"i" + b"[" * 30000, []), (b'i{"Event":{"mess', []), (b"i", []), (b"m", [])]
    packets += [(b"m", [file]) for file in memories + [null, zero, silent, channel.fileno()]]
    channel.setblocking(False)
    log("attacks")
    while True:
        data, fds = random.choice(packets)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            channel.sendmsg([data], rights)
        except (BlockingIOError, OSError) as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                signal.pause()
            select.select([], [channel], [], 0.1)


def memory(words):
    file = os.memfd_create("memory", os.MFD_ALLOW_SEALING)
    os.write(file, b"".join(word.to_bytes(8, "little") for word in words))
    fcntl.fcntl(file, 1033, 6)  # F_ADD_SEALS: it neither shrinks nor grows
    return file


def send_rubbish(channel):
    null, pipe = os.open("/dev/null", os.O_RDWR), os.pipe()[0]
    unsealed = os.memfd_create("unsealed")
    most = 2**64 - 1
    board = [int.from_bytes(b"liegeSB1", "little"), 1, 1] + [most] * 400
    for fds in [[], [null], [pipe], [unsealed], [memory([most] * 9)], [memory(board)] * 200]:
        send(channel, {"Scoreboard": None} if len(fds) == 1 else "Scoreboard", fds)
    send(channel, "Scoreboard", [memory(board), null])

    def cache(name):
        numbers = ["items", "key_bytes", "blocks", "block_bytes", "buckets"]
        words = ["bitmap", "purge_lru", "clear_on_full", "ignore_full", "no_expire"]
        return {"name": name, "math_initial": 0, **dict.fromkeys(numbers, most), **dict.fromkeys(words, False)}

    full = memory([most] * 16)
    for names, fds in [
        (["a", "b"], [full]),
        ([], [null, pipe]),
        (["a"], [null]),
        (["a", "b", "c"], [pipe, unsealed, memory([1])]),
        (["\x1b[2J\n\"}"] * 200, [full] * 200),
        (["x" * 100_000] + [str(number) for number in range(199)], [full] * 200),
    ]:
        message = {"Caches": {"caches": [cache(name) for name in names]}}
        if len(json.dumps(message)) < 32_000:
            send(channel, message, fds)
            continue
        spilled = os.memfd_create("message", os.MFD_ALLOW_SEALING)
        os.write(spilled, json.dumps(message).encode())
        fcntl.fcntl(spilled, 1033, 15)
        channel.sendmsg([b"m"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*fds, spilled]))])
    channel.send(b'i{"Caches": {"caches": 7}}')
    channel.send(b"i\xff")


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
