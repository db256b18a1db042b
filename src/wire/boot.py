# Runs as `python -c` in the vassal's own interpreter: loads the liege extension, which takes over.
def _boot():
    # Modules that every interpreter has loaded, or built in: what is imported here costs every vassal of the host
    # its memory and its time (`signal` and `importlib.util` would bring `enum`, `collections`, `functools` …).
    import _frozen_importlib
    import _frozen_importlib_external
    import _imp
    import _signal
    import os
    import sys

    # Python turns SIGINT into an exception wherever the main thread happens to be; liege handles signals itself.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    path = os.environ["LIEGE_EXTENSION"]
    channel = int(os.environ.get("LIEGE_CHANNEL_FD", "0"))
    for name in [name for name in os.environ if name.startswith("LIEGE_")]:
        del os.environ[name]
    sys.argv[:] = ["uwsgi"]
    loader = _frozen_importlib_external.ExtensionFileLoader("_liege", path)
    spec = _frozen_importlib.ModuleSpec("_liege", loader, origin=path)
    extension = _imp.create_dynamic(spec)
    _imp.exec_dynamic(extension)
    return extension.zygote(channel)


raise SystemExit(_boot())
