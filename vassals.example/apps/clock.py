"""Tells the time: at once, or on /slow a second at a time, sending each line as it is made."""

import time


def clock(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    ticks = 5 if environ["PATH_INFO"] == "/slow" else 1
    return tell(ticks)


def tell(ticks):
    for number in range(ticks):
        if number:
            time.sleep(1)
        yield time.strftime("%H:%M:%S\n").encode()
