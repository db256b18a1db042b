# Runs as `python -c` in the vassal's own interpreter: loads the liege extension, which takes over.
def _boot():
    # Modules that every interpreter has loaded, or built in: what is imported here costs every vassal of the host
    # its memory and its time (`signal` and `importlib.util` would bring `enum`, `collections`, `functools` and more).
    import os
    import sys

    path = os.environ["LIEGE_EXTENSION"]
    channel = int(os.environ.get("LIEGE_CHANNEL_FD", "0"))
    # Python 2 does not name its implementation.
    name = getattr(getattr(sys, "implementation", None), "name", "python")
    if name != "cpython" or sys.version_info < (3, 10):
        version = ".".join(map(str, sys.version_info[:3]))
        return _refuse(channel, "the interpreter is %s %s: liege needs CPython 3.10 or later" % (name, version))
    import _frozen_importlib
    import _frozen_importlib_external
    import _imp
    import _signal

    # Python turns SIGINT into an exception wherever the main thread happens to be; liege handles signals itself.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    for name in [name for name in os.environ if name.startswith("LIEGE_")]:
        del os.environ[name]
    sys.argv[:] = ["uwsgi"]
    loader = _frozen_importlib_external.ExtensionFileLoader("_liege", path)
    spec = _frozen_importlib.ModuleSpec("_liege", loader, origin=path)
    try:
        extension = _imp.create_dynamic(spec)
    except ImportError as error:
        return _refuse(channel, "the interpreter cannot load the extension: %s" % error)
    _imp.exec_dynamic(extension)
    return extension.zygote(channel)


def _refuse(channel, text):
    # The message `FromZygote::LoadFailed`, without the module `json`.
    import os

    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "\\u%04x" % min(ord(c), 0xFFFD) for c in text)
    os.write(channel, ('i{"LoadFailed":{"message":"%s"}}' % plain).encode())
    return 1


raise SystemExit(_boot())
