"""What a history says is what the checker reads; a half line is counted, any other wrong one is named."""

import asyncio
from pathlib import Path

import pytest

from lichtmast.firmware_sim.checker import BooksError, PackKey, read_books
from lichtmast.firmware_sim.history import Entry, History, digest
from lichtmast.wire import DeviceId

DEVICE = DeviceId("gm0402", "lm-1")
KEY = PackKey("gm0402/lm-1", 3, 1)


def entry(op: str, t_us: int, payload: bytes = b"") -> Entry:
    return Entry(op, DEVICE, 3, 1, digest(b"pack"), t_us, payload)


def write(path: Path, *entries: Entry) -> None:
    async def noted() -> None:
        async with History(path) as history:
            for one in entries:
                history.note(one)
            history.mark("kill broker", 99)

    asyncio.run(noted())


def test_a_history_reads_back_as_it_was_noted(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, entry("attempt", 1, b"pack"), entry("attempt", 2), entry("ack", 3), entry("ack", 4))
    books = read_books([path])
    account = books.packs[KEY]
    assert (account.attempts, account.payload, account.attempted_us, account.acked_us) == (2, b"pack", 1, 3)
    assert (books.clashes, books.half_lines, books.repeated) == ([], 0, 1)
    assert [tuple(one) for one in books.marks] == [("kill broker", 99)]
    assert books.devices == {"gm0402/lm-1"}


def test_several_histories_are_one_set_of_books(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", entry("attempt", 1, b"pack"))
    write(tmp_path / "b.jsonl", entry("dropped", 2))
    account = read_books([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]).packs[KEY]
    assert (account.attempts, account.dropped_us, account.answered) == (1, 2, False)


def test_a_payload_that_is_not_its_digest_is_a_clash(tmp_path: Path) -> None:
    write(tmp_path / "run.jsonl", entry("attempt", 1, b"another pack"))
    assert read_books([tmp_path / "run.jsonl"]).clashes == [KEY]


def test_a_half_line_of_a_killed_process_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, entry("attempt", 1))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert read_books([path]).half_lines == (cut > 0 and whole[cut - 1 : cut] != b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON\n",
        b"[1]\n",
        b'{"op":"attempt"}\n',
        b'{"op":"guess","device":"a","epoch":1,"seq":1,"digest":"","t_us":1}\n',
        b'{"op":"attempt","device":"a","epoch":1,"seq":1,"digest":"","t_us":1,"payload":"?"}\n',
        b"\xff\n",
    ],
)
def test_a_wrong_line_is_named_by_its_place(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "run.jsonl"
    write(path, entry("attempt", 1))
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(BooksError, match=r"run\.jsonl:3 is no line of a history"):
        read_books([path])
