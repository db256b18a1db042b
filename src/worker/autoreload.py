def watch(seconds, ignored, reload):
    """Every so many seconds: are the files of the loaded modules still those that were loaded?"""
    import os
    import sys
    import threading
    import time

    def look():
        times = {}
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and name not in ignored:
                try:
                    times[path] = os.stat(path).st_mtime_ns
                except OSError:
                    pass
        return times

    # Before anything is served: what changes from then on is noticed.
    known = look()

    def run():
        while True:
            time.sleep(seconds)
            now = look()
            changed = [path for path, at in now.items() if known.get(path, at) != at]
            known.update(now)
            if changed:
                print(f"[uwsgi-python-reloader] module/file {changed[0]} has been modified", file=sys.stderr)
                reload()

    threading.Thread(target=run, name="py-autoreload", daemon=True).start()
