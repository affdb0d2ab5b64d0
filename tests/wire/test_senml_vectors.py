"""The examples of RFC 8428, as packs and in resolved form. The vectors of a release stay green forever."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from lichtmast.wire.refusal import PackError
from lichtmast.wire.senml import Record, resolve

VECTORS: Final = sorted((Path(__file__).parents[1] / "vectors" / "senml").glob("*.json"))


def raw_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["cbor_hex"]) if "cbor_hex" in vector else str(vector["json"]).encode()


def record_of(row: dict[str, Any]) -> Record:
    value = row["value"]
    return Record(**row | {"value": bytes.fromhex(value["hex"]) if isinstance(value, dict) else value})


def test_every_example_of_the_rfc_is_there() -> None:
    assert len(VECTORS) == 15


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_example_resolves_as_the_rfc_says(path: Path) -> None:
    vector = json.loads(path.read_text())
    if "refusal" in vector:
        with pytest.raises(PackError) as caught:
            resolve(raw_of(vector), vector["content_format"], vector["received_us"])
        assert caught.value.refusal.value == vector["refusal"]
        return
    resolved = resolve(raw_of(vector), vector["content_format"], vector["received_us"])
    assert resolved == [record_of(row) for row in vector["resolved"]]


@pytest.mark.parametrize(
    "path", [path for path in VECTORS if "as-printed" not in path.stem], ids=lambda path: path.stem
)
def test_values_keep_their_type(path: Path) -> None:
    vector = json.loads(path.read_text())
    resolved = resolve(raw_of(vector), vector["content_format"], vector["received_us"])
    assert [type(record.value) for record in resolved] == [type(record_of(row).value) for row in vector["resolved"]]
