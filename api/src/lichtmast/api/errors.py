"""What keeps the HTTP side from starting. Refusals of requests are no errors of this kind: see `problem`.

ServerError
"""


class ServerError(RuntimeError):
    """The HTTP server cannot start, or its certificate cannot be used; the text or the log says why."""
