"""`/.well-known/core`: what the door offers, as links (RFC 6690).

Says nothing about versions, devices or the machine.
"""

from typing import Final

from lichtmast.ingest.coap.blockwise import Block, cut
from lichtmast.ingest.coap.exchange import Response
from lichtmast.ingest.coap.limits import BLOCK_SZX_MAX
from lichtmast.ingest.coap.message import code, encode_uint
from lichtmast.ingest.coap.options import BLOCK2, CONTENT_FORMAT, LINK_FORMAT
from lichtmast.ingest.coap.request import BAD_OPTION, BAD_REQUEST, Request
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON

CORE_LINKS: Final = f'</up>;ct="{SENML_JSON} {SENML_CBOR}";rt="lichtmast.up";title="POST readings as SenML"'.encode()

_CONTENT: Final = code("2.05")
_NOT_ACCEPTABLE: Final = code("4.06")


def describe(request: Request) -> Response:
    """Answer a GET of `/.well-known/core`. The query is no filter, which RFC 6690 section 4.1 leaves open."""
    if request.block1 is not None:
        return Response(BAD_OPTION, "Block1: GET has no body")
    if request.accept not in (None, LINK_FORMAT):
        return Response(_NOT_ACCEPTABLE, f"only Content-Format {LINK_FORMAT}")
    found = cut(CORE_LINKS, request.block2 or Block(0, more=False, szx=BLOCK_SZX_MAX))
    if found is None:
        return Response(BAD_REQUEST, "Block2: behind the end")
    block, piece = found
    links: tuple[tuple[int, bytes], ...] = ((CONTENT_FORMAT, encode_uint(LINK_FORMAT)),)
    if request.block2 is not None or block.more:
        links += ((BLOCK2, block.encode()),)
    return Response(_CONTENT, options=links, content=piece)
