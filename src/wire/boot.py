# Runs as `python -c` in the vassal's own interpreter: loads the liege extension, which takes over.
def _boot():
    import importlib.machinery
    import importlib.util
    import os
    import signal
    import sys

    # Python turns SIGINT into an exception wherever the main thread happens to be; liege handles signals itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    path = os.environ["LIEGE_EXTENSION"]
    channel = int(os.environ.get("LIEGE_CHANNEL_FD", "0"))
    for name in [name for name in os.environ if name.startswith("LIEGE_")]:
        del os.environ[name]
    sys.argv[:] = ["uwsgi"]
    loader = importlib.machinery.ExtensionFileLoader("_liege", path)
    spec = importlib.util.spec_from_file_location("_liege", path, loader=loader)
    extension = importlib.util.module_from_spec(spec)
    loader.exec_module(extension)
    return extension.zygote(channel)


raise SystemExit(_boot())
