import os
import sys
import threading
import time

# The files of the loaded modules, as they were when the application was loaded: what changes from then on is noticed.
known = {}


def look(ignored):
    times = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and name not in ignored:
            try:
                times[path] = os.stat(path).st_mtime_ns
            except OSError:
                pass
    return times


def remember(ignored):
    known.update(look(ignored))


def watch(seconds, ignored, reload):
    """Every so many seconds: are the files of the loaded modules still those that were loaded?"""

    def run():
        while True:
            time.sleep(seconds)
            now = look(ignored)
            changed = [path for path, at in now.items() if known.get(path, at) != at]
            known.update(now)
            if changed:
                print(f"[uwsgi-python-reloader] module/file {changed[0]} has been modified", file=sys.stderr)
                reload()

    threading.Thread(target=run, name="py-autoreload", daemon=True).start()
