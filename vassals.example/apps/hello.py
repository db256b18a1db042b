"""Says hello. Change the text, `touch vassals.example/hello.ini`, and ask again."""


def application(environ, start_response):
    body = b"Hello from liege.\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
