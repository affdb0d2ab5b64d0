"""A reader beside the run: follows `/live` as a browser does and remembers every value that it was shown (I8).

Comes back by itself when the server dies, with the id of the last event. Runs in a thread; will not judge.
"""

import json
import threading
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from types import TracebackType
from typing import Final, Self

from lichtmast.firmware_sim.checker.evidence import Row
from lichtmast.firmware_sim.checker.sources import moment_us

RETRY_S: Final = 0.1
READ_TIMEOUT_S: Final = 20.0
"""Above the 15 s between two comments of a quiet stream."""
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(slots=True)
class Watcher:
    """`with Watcher(url) as watcher: ...`; then `watcher.shown` is every reading that it saw.

    `breaks` counts streams that ended, or could not be opened, while it watched; `events` what came, by kind.
    """

    url: str
    shown: set[Row] = field(default_factory=set)
    breaks: int = 0
    events: Counter[str] = field(default_factory=Counter)
    _last_id: str = ""
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="watch-live", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(READ_TIMEOUT_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError, HTTPException):  # the server is down, or ended the stream: come back
                self._follow()
            if not self._ended.wait(RETRY_S):
                self.breaks += 1

    def _follow(self) -> None:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        request = urllib.request.Request(f"{self.url.rstrip('/')}/live", headers=headers)  # noqa: S310 - the caller's own server
        with _DIRECT.open(request, timeout=READ_TIMEOUT_S) as stream:
            kind, identity = "", ""
            for raw in stream:
                if self._ended.is_set():
                    return
                name, _, value = raw.decode().rstrip("\r\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    identity = value
                elif name == "data":
                    self._take(kind, value)
                    self._last_id = identity

    def _take(self, kind: str, data: str) -> None:
        self.events[kind] += 1
        for one in json.loads(data)["readings"]:
            if one["value"] is not None:
                self.shown.add(Row(one["datastream"], moment_us(one["t"]), one["value"]))
