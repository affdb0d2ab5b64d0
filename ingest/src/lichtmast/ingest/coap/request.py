"""From options to a request: every option known and well formed, or the answer that says which one is not.

Critical options that we do not know are refused before anything is done (RFC 7252 section 5.4.1).
"""

from dataclasses import dataclass
from typing import Final

from lichtmast.ingest.coap import options
from lichtmast.ingest.coap.blockwise import Block, decode_block
from lichtmast.ingest.coap.exchange import Response
from lichtmast.ingest.coap.limits import BLOCK_SZX_MAX
from lichtmast.ingest.coap.message import Message, code

BAD_REQUEST: Final = code("4.00")
BAD_OPTION: Final = code("4.02")
PROXYING_NOT_SUPPORTED: Final = code("5.05")
METHOD_NOT_ALLOWED: Final = code("4.05")
_METHOD_MAX: Final = code("0.07")
"""iPATCH (RFC 8132); what lies above is not assigned."""
NO_FORMAT: Final = -1


@dataclass(frozen=True, slots=True)
class Request:
    """What the options of a request say; None where one is absent, NO_FORMAT for a Content-Format."""

    path: tuple[str, ...]
    has_query: bool
    content_format: int
    accept: int | None
    block1: Block | None
    block2: Block | None
    size1_bytes: int
    echo: bytes | None
    tag: tuple[bytes, ...]


def read_request(message: Message) -> Request | Response:
    """Read the method and options of a request, or the 4.00, 4.02, 4.05 or 5.05 that refuses them."""
    if message.code > _METHOD_MAX:
        return Response(METHOD_NOT_ALLOWED, "unknown method")
    values: dict[int, list[bytes]] = {}
    for number, value in message.options:
        if number in {options.PROXY_URI, options.PROXY_SCHEME}:
            return Response(PROXYING_NOT_SUPPORTED, f"{options.RULES[number].name}: this is no proxy")
        complaint = _complain(number, value, repeated=number in values)
        if not complaint:
            values.setdefault(number, []).append(value)
        elif options.is_critical(number) or number > options.NUMBER_MAX or number == options.CONTENT_FORMAT:
            # Content-Format is elective, but two of them leave open what the payload is.
            return Response(BAD_OPTION, complaint)
    return _request(values)


def _complain(number: int, value: bytes, *, repeated: bool) -> str:
    """Why an option counts as unrecognised (sections 5.4.1, 5.4.3 and 5.4.5); empty where it does not."""
    if number > options.NUMBER_MAX:
        return f"option {number}: numbers end at {options.NUMBER_MAX}"
    rule = options.RULES.get(number)
    if rule is None:
        return f"option {number} is critical and not supported"
    if repeated and not rule.repeatable:
        return f"{rule.name} occurs twice"
    if not rule.bytes_min <= len(value) <= rule.bytes_max:
        return f"{rule.name} has {len(value)} bytes, not {rule.bytes_min} to {rule.bytes_max}"
    return ""


def _request(values: dict[int, list[bytes]]) -> Request | Response:
    path = _path(values.get(options.URI_PATH, []))
    if isinstance(path, Response):
        return path
    block1, block2 = _block(values.get(options.BLOCK1)), _block(values.get(options.BLOCK2))
    if any(block is not None and block.szx > BLOCK_SZX_MAX for block in (block1, block2)):
        return Response(BAD_REQUEST, "Block: size exponent 7 is reserved")
    content_format = _uint(values.get(options.CONTENT_FORMAT))
    echo = values.get(options.ECHO)
    return Request(
        path=path,
        has_query=options.URI_QUERY in values,
        content_format=NO_FORMAT if content_format is None else content_format,
        accept=_uint(values.get(options.ACCEPT)),
        block1=block1,
        block2=block2,
        size1_bytes=_uint(values.get(options.SIZE1)) or 0,
        echo=echo[0] if echo else None,
        tag=tuple(values.get(options.REQUEST_TAG, ())),
    )


def _path(segments: list[bytes]) -> tuple[str, ...] | Response:
    path: list[str] = []
    for segment in segments:
        try:
            text = segment.decode()
        except UnicodeDecodeError:
            return Response(BAD_REQUEST, "Uri-Path is not UTF-8")
        if text in {".", ".."}:
            # Section 5.10.1: a Uri-Path is never one of these.
            return Response(BAD_REQUEST, "Uri-Path has a dot segment")
        path.append(text)
    return tuple(path)


def _uint(values: list[bytes] | None) -> int | None:
    return int.from_bytes(values[0], "big") if values else None


def _block(values: list[bytes] | None) -> Block | None:
    return decode_block(values[0]) if values else None
