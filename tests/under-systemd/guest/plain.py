"""Two services without liege, one of them a fork bomb: what this machine's kernel lets one notice of the other."""

import contextlib
import pathlib
import time

from host import Clients, answers, run, systemctl, until

PORT = 8009
ANSWERS = f"""
import socket
listener = socket.create_server(("127.0.0.1", {PORT}), backlog=100)
while True:
    client, _ = listener.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello")
    client.close()
"""
# As large as a worker: a fork takes the longer the more memory there is to share.
FORKS = """
import os
memory = bytearray(6 << 20)
for page in range(0, len(memory), 4096): memory[page] = 1
while True:
    try: os.fork()
    except OSError: pass
"""


@contextlib.contextmanager
def service(name, code, *properties):
    script = pathlib.Path(f"/run/{name}.py")
    script.write_text(code)
    limits = [word for one in ("CPUWeight=100", "User=games", *properties) for word in ("-p", one)]
    run("systemd-run", "-q", f"--unit={name}", "--slice=system-plain.slice", *limits, "python3", str(script))
    try:
        yield
    finally:
        systemctl("kill", "-s", "KILL", name, check=False)
        systemctl("stop", name, check=False)
        systemctl("reset-failed", name, check=False)


def plain_services(limits, seconds):
    """How long one took for each answer beside the bomb under these limits of systemd's; `None`: alone."""
    tasks = lambda: systemctl("show", "plain-bomb", "-pTasksCurrent").strip().partition("=")[2]
    with contextlib.ExitStack() as services:
        services.enter_context(service("plain-answers", ANSWERS))
        until("its answer", lambda: answers(PORT))
        if limits is not None:
            services.enter_context(service("plain-bomb", FORKS, *limits))
            until("the bomb", lambda: tasks().isdigit() and int(tasks()) > 90)
        with Clients(PORT, pause=0.005) as clients:
            time.sleep(seconds)
    return clients.waits
