"""How a command reaches the Lichtmast that is running on the same data folder, if one is."""

import json
from typing import Any, Final

import httpx2 as httpx

from lichtmast.suite.errors import OperatorError
from lichtmast.suite.folder import Folder

_TIMEOUT: Final = httpx.Timeout(600.0, connect=2.0)


class Remote:
    """A running Lichtmast. `Remote.find` gives None where none answers."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    def find(cls, folder: Folder) -> "Remote | None":
        """The Lichtmast that runs on this folder."""
        try:
            told = json.loads(folder.operator.read_text())
            remote = cls(told["url"], told["token"])
            remote.get("/status")
        except (OSError, ValueError, KeyError, OperatorError):
            return None  # no file, or one that a killed process left behind
        return remote

    def get(self, path: str) -> dict[str, Any]:
        """Ask. Raises OperatorError."""
        return self._call("GET", path, None)

    def post(self, path: str, order: dict[str, Any]) -> dict[str, Any]:
        """Order. Raises OperatorError."""
        return self._call("POST", path, order)

    def _call(self, method: str, path: str, order: dict[str, Any] | None) -> dict[str, Any]:
        # trust_env: a proxy of the environment has no part in this.
        with httpx.Client(headers=self._headers, timeout=_TIMEOUT, trust_env=False) as client:
            try:
                response = client.request(method, self._url + path, json=order)
            except httpx.HTTPError as error:
                raise OperatorError("the running Lichtmast does not answer; is it stopping?") from error
            body: dict[str, Any] = response.json()
            if response.is_error:
                raise OperatorError(str(body.get("detail", response.status_code)))
            return body
