"""How a command reaches the Lichtmast that is running on the same data folder, if one is."""

import json
from typing import Any, Final

import httpx2 as httpx

from lichtmast.suite.errors import OperatorError
from lichtmast.suite.folder import Folder

TIMEOUT_S: Final = 600.0
CONNECT_TIMEOUT_S: Final = 2.0


class Remote:
    """A running Lichtmast. `Remote.find` gives None where none answers."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=False,  # a proxy of the environment has no part in this
        )

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
        return self._answer(lambda: self._client.get(path))

    def post(self, path: str, order: dict[str, Any]) -> dict[str, Any]:
        """Order. Raises OperatorError."""
        return self._answer(lambda: self._client.post(path, json=order))

    def _answer(self, call: Any) -> dict[str, Any]:  # noqa: ANN401 - makes a response
        try:
            response = call()
        except httpx.HTTPError as error:
            raise OperatorError("the running Lichtmast does not answer; is it stopping?") from error
        body: dict[str, Any] = response.json()
        if response.is_error:
            raise OperatorError(str(body.get("detail", response.status_code)))
        return body
