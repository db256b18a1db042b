"""Keeps the last notes that were posted to it. Each worker has its own memory, so each shows its own."""

import collections
import os
import threading

LIMIT_BYTES = 1000
NOTES = collections.deque(maxlen=10)
LOCK = threading.Lock()


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        note = environ["wsgi.input"].read(LIMIT_BYTES).decode("utf-8", "replace")
        with LOCK:
            NOTES.append(note)
    with LOCK:
        lines = [os.environ["NOTES_TITLE"], f"(worker process {os.getpid()})", *NOTES]
    body = "\n".join([*lines, ""]).encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
