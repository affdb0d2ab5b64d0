"""Labels on paper: one as SVG, many as PDF sheets of A4 with 24 labels of 70 by 37 mm, cut or self-adhesive.

Draws squares and plain text and nothing else, so the PDF needs no library and no font of its own. A label holds only
capitals, digits, colons and dashes: there is nothing to escape.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import segno

from lichtmast.registry.limits import LABELS_MAX, LABELS_PER_SHEET
from lichtmast.wire.label import Label, pin_text

WIDTH_MM: Final = 70.0
HEIGHT_MM: Final = 37.0
COLUMNS: Final = 3
_A4_MM: Final = (210.0, 297.0)
_CODE_MM: Final = 33.0
"""With the light modules around it: one module is 0.8 mm for most names."""
_QUIET_MODULES: Final = 4
"""ISO/IEC 18004 asks for so many light modules on each side."""
_TEXT_X_MM: Final = 33.5
_NAME_MM: Final = 2.7
_SMALL_MM: Final = 2.1
_LINE_MM: Final = 3.4
_LINE_CHARACTERS: Final = 26
_POINTS_PER_MM: Final = 72 / 25.4


def label_svg(label: Label) -> str:
    """One label as an SVG of its printed size."""
    path = "".join(f"M{x:.3f} {y:.3f}h{side:.3f}v{side:.3f}h-{side:.3f}z" for x, y, side in _squares(label))
    texts = "".join(
        f'<text x="{_TEXT_X_MM}" y="{y:.2f}" font-family="monospace" font-size="{size}">{text}</text>'
        for text, y, size in _texts(label)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_MM}mm" height="{HEIGHT_MM}mm" '
        f'viewBox="0 0 {WIDTH_MM} {HEIGHT_MM}"><title>{label.device}</title>'
        f'<rect width="{WIDTH_MM}" height="{HEIGHT_MM}" fill="#fff"/><path d="{path}"/>{texts}</svg>\n'
    )


def labels_pdf(labels: Sequence[Label]) -> bytes:
    """Sheets of A4, filled row by row. Raises ValueError for none, or too many."""
    if not 1 <= len(labels) <= LABELS_MAX:
        raise ValueError(f"a file holds 1 to {LABELS_MAX} labels, not {len(labels)}")
    pages = [zlib.compress(_page(sheet).encode("ascii")) for sheet in _sheets(labels)]
    width, height = (side * _POINTS_PER_MM for side in _A4_MM)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    ]
    for number, content in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>".encode()
        )
        head = f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + content + b"\nendstream")
    return _file(objects)


def _sheets(labels: Sequence[Label]) -> Iterator[Sequence[Label]]:
    return (labels[first : first + LABELS_PER_SHEET] for first in range(0, len(labels), LABELS_PER_SHEET))


def _page(labels: Sequence[Label]) -> str:
    """The drawing of one sheet, in millimetres; PDF counts from the bottom."""
    drawn = [f"{_POINTS_PER_MM:.6f} 0 0 {_POINTS_PER_MM:.6f} 0 0 cm"]
    for number, label in enumerate(labels):
        left = number % COLUMNS * WIDTH_MM
        top = _A4_MM[1] - number // COLUMNS * HEIGHT_MM
        drawn += [f"{left + x:.3f} {top - y - side:.3f} {side:.3f} {side:.3f} re" for x, y, side in _squares(label)]
        drawn.append("f")
        drawn += [
            f"BT /F1 {size} Tf {left + _TEXT_X_MM:.2f} {top - y:.2f} Td ({text}) Tj ET"
            for text, y, size in _texts(label)
        ]
    return "\n".join(drawn)


def _squares(label: Label) -> Iterator[tuple[float, float, float]]:
    """The dark modules of the code: left, top and side in millimetres."""
    matrix = segno.make(label.text, error="m", mode="alphanumeric", micro=False).matrix
    side = _CODE_MM / (len(matrix) + 2 * _QUIET_MODULES)
    left = _QUIET_MODULES * side
    top = (HEIGHT_MM - _CODE_MM) / 2 + left
    for row, modules in enumerate(matrix):
        for column, is_dark in enumerate(modules):
            if is_dark:
                yield left + column * side, top + row * side, side


def _texts(label: Label) -> Iterator[tuple[str, float, float]]:
    """What stands beside the code: text, baseline and size in millimetres. Typed in, it is the label again."""
    y = 7.0
    name = label.device.device.upper()
    *_, check = label.text.split(":")
    lines = [(f"LM1:{label.device.tenant.upper()}:", _SMALL_MM)]
    lines += [(name[at : at + _LINE_CHARACTERS - 4], _NAME_MM) for at in range(0, len(name), _LINE_CHARACTERS - 4)]
    lines += [(f":{pin_text(label.key_pin)}", _SMALL_MM), (f":{pin_text(label.root_pin)}", _SMALL_MM)]
    lines += [(f":{check}", _SMALL_MM)]
    for text, size in lines:
        yield text, y, size
        y += _LINE_MM


def _file(objects: Sequence[bytes]) -> bytes:
    """Objects with their table of places (ISO 32000 section 7.5)."""
    written = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    written += b"".join(b"%010d 00000 n \n" % place for place in places)
    written += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(written)
