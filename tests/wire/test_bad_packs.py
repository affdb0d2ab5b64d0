"""Groups 61 to 79 of the bad-input catalogue, as a table: bytes and the reason they are refused with.

Each row is an id that begins with its group, the bytes, and the expected Refusal. What the catalogue wants accepted and
flagged stands in the second table. JSON or CBOR is told by `sniff`, as on MQTT.
"""

import gzip
import re
from typing import Any, Final

import cbor2
import pytest

from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml import decode, sniff

NOW_S: Final = 1_763_757_018
NOW_US: Final = NOW_S * 1_000_000
BASE: Final = b'"bn":"urn:dev:lm:gm0402:lm-0001","bt":%d' % NOW_S
NAME: Final = "urn:dev:lm:gm0402:lm-0001/a"


def record(fields: bytes) -> bytes:
    """A pack of one record whose name and time are sound; `fields` is the rest."""
    return b"[{%s,%s}]" % (BASE, fields)


def value(text: bytes) -> bytes:
    return record(b'"n":"/a","v":' + text)


def text(content: bytes) -> bytes:
    return record(b'"n":"/a","vs":' + content)


def time(own: bytes) -> bytes:
    return b'[{"n":"%s","v":1,"t":%s}]' % (NAME.encode(), own)


def cbor(*extra: bytes, count: int | None = None) -> bytes:
    """A sound CBOR record of n and v, followed by raw key and value items."""
    head = bytes([0x81, 0xA0 + (2 + len(extra) // 2 if count is None else count)])
    return head + cbor2.dumps(0) + cbor2.dumps(NAME) + cbor2.dumps(2) + cbor2.dumps(21.5) + b"".join(extra)


def cbor_value(item: bytes) -> bytes:
    return b"\x81\xa2" + cbor2.dumps(0) + cbor2.dumps(NAME) + cbor2.dumps(2) + item


def cbor_pack(*records: dict[Any, Any]) -> bytes:
    return cbor2.dumps(list(records))


SOUND: Final = value(b"21.5")

BAD: Final[list[tuple[str, bytes, Refusal]]] = [
    ("61-no-bytes", b"", Refusal.EMPTY),
    ("61-empty-array", b"[]", Refusal.NOT_A_PACK),
    ("61-object", b"{}", Refusal.NOT_A_PACK),
    ("61-null", b"null", Refusal.NOT_A_PACK),
    ("61-number", b"21.5", Refusal.NOT_A_PACK),
    ("61-string", b'"21.5"', Refusal.NOT_A_PACK),
    ("61-plain-text", b"temperature is 21.5", Refusal.UNDECODABLE),
    ("61-white-space", b" \n", Refusal.UNDECODABLE),
    ("61-array-of-null", b"[null]", Refusal.NOT_A_PACK),
    ("61-array-of-array", b"[[]]", Refusal.NOT_A_PACK),
    ("61-record-then-number", SOUND[:-1] + b",1]", Refusal.NOT_A_PACK),
    ("61-gzip", gzip.compress(SOUND), Refusal.UNDECODABLE),
    ("61-two-packs", SOUND + SOUND, Refusal.UNDECODABLE),
    ("61-trailing-comma", SOUND[:-1] + b",]", Refusal.UNDECODABLE),
    ("61-comment", b"/* pack */" + SOUND, Refusal.UNDECODABLE),
    ("61-cut-off", SOUND[:-2], Refusal.UNDECODABLE),
    ("61-cbor-empty-array", b"\x80", Refusal.NOT_A_PACK),
    ("61-cbor-array-of-number", b"\x81\x01", Refusal.NOT_A_PACK),
    ("62-nan", value(b"NaN"), Refusal.BAD_VALUE),
    ("62-infinity", value(b"Infinity"), Refusal.BAD_VALUE),
    ("62-minus-infinity", value(b"-Infinity"), Refusal.BAD_VALUE),
    ("62-1e999", value(b"1e999"), Refusal.BAD_VALUE),
    ("62-minus-1e999", value(b"-1e999"), Refusal.BAD_VALUE),
    ("62-1e999-in-an-unknown-label", record(b'"n":"/a","v":1,"x":1e999'), Refusal.BAD_VALUE),
    ("62-sum-of-two-beyond-double", record(b'"n":"/a","bv":1.7e308,"v":1.7e308'), Refusal.BAD_VALUE),
    ("62-cbor-half-nan", cbor_value(b"\xf9\x7e\x00"), Refusal.BAD_VALUE),
    ("62-cbor-single-infinity", cbor_value(b"\xfa\x7f\x80\x00\x00"), Refusal.BAD_VALUE),
    ("62-cbor-double-nan", cbor_value(b"\xfb\x7f\xf8" + bytes(6)), Refusal.BAD_VALUE),
    ("62-cbor-decimal-1e309", cbor_value(b"\xc4\x82\x19\x01\x35\x01"), Refusal.BAD_VALUE),
    ("62-cbor-decimal-exponent-2-to-63", cbor_value(b"\xc4\x82\x1b" + b"\x7f" + bytes(7) + b"\x01"), Refusal.BAD_VALUE),
    ("63-number-as-string", value(b'"21.5"'), Refusal.BAD_FIELD),
    ("63-true-as-number", value(b"true"), Refusal.BAD_FIELD),
    ("63-null-as-number", value(b"null"), Refusal.BAD_FIELD),
    ("63-list-as-number", value(b"[1]"), Refusal.BAD_FIELD),
    ("63-one-as-boolean", record(b'"n":"/a","vb":1'), Refusal.BAD_FIELD),
    ("63-number-as-text", text(b"21.5"), Refusal.BAD_FIELD),
    ("63-number-as-data", record(b'"n":"/a","vd":1'), Refusal.BAD_FIELD),
    ("63-time-as-string", time(b'"now"'), Refusal.BAD_FIELD),
    ("63-time-as-boolean", time(b"true"), Refusal.BAD_FIELD),
    ("63-unit-as-number", record(b'"n":"/a","v":1,"u":1'), Refusal.BAD_FIELD),
    ("63-name-as-number", record(b'"n":1,"v":1'), Refusal.BAD_FIELD),
    ("63-base-name-null", b'[{"bn":null,"n":"a","v":1}]', Refusal.BAD_FIELD),
    ("63-sum-as-string", record(b'"n":"/a","s":"1"'), Refusal.BAD_FIELD),
    ("63-update-time-as-string", record(b'"n":"/a","v":1,"ut":"60"'), Refusal.BAD_FIELD),
    ("63-cbor-value-as-text", cbor_value(b"\x6421.5"), Refusal.BAD_FIELD),
    ("63-cbor-value-as-bytes", cbor_value(b"\x4421.5"), Refusal.BAD_FIELD),
    ("63-cbor-name-as-bytes", cbor_pack({0: NAME.encode(), 2: 1}), Refusal.BAD_FIELD),
    ("63-cbor-data-as-text", cbor_pack({0: NAME, 8: "aGkgCg"}), Refusal.BAD_FIELD),
    ("63-cbor-map-key-float", cbor(b"\xf9\x3e\x00", b"\x01"), Refusal.BAD_FIELD),
    ("63-cbor-map-key-bytes", cbor(b"\x41a", b"\x01"), Refusal.BAD_FIELD),
    ("63-cbor-map-key-true", cbor(b"\xf5", b"\x01"), Refusal.BAD_FIELD),
    ("63-cbor-map-key-array", cbor(b"\x80", b"\x01"), Refusal.BAD_FIELD),
    ("64-no-value", record(b'"n":"/a"'), Refusal.BAD_VALUE),
    ("64-base-name-only", b'[{"bn":"urn:dev:lm:gm0402:lm-0001/"},{"n":"a","v":1}]', Refusal.BAD_VALUE),
    ("64-base-value-only", record(b'"n":"/a","bv":1'), Refusal.BAD_VALUE),
    ("64-base-sum-only", record(b'"n":"/a","bs":1'), Refusal.BAD_VALUE),
    ("64-v-and-vb", record(b'"n":"/a","v":1,"vb":true'), Refusal.BAD_VALUE),
    ("64-v-and-vs", record(b'"n":"/a","v":1,"vs":"x"'), Refusal.BAD_VALUE),
    ("64-vs-and-vd", record(b'"n":"/a","vs":"x","vd":"aGk"'), Refusal.BAD_VALUE),
    ("64-two-values-and-a-sum", record(b'"n":"/a","v":1,"vb":true,"s":1'), Refusal.BAD_VALUE),
    ("64-cbor-no-value", cbor_pack({0: NAME}), Refusal.BAD_VALUE),
    ("64-cbor-value-in-text-label", cbor_pack({0: NAME, "v": 1}), Refusal.BAD_VALUE),
    ("64-base64-padding", record(b'"n":"/a","vd":"aGk="'), Refusal.BAD_VALUE),
    ("64-base64-classic-alphabet", record(b'"n":"/a","vd":"+/+/"'), Refusal.BAD_VALUE),
    ("64-base64-impossible-length", record(b'"n":"/a","vd":"aGkgC"'), Refusal.BAD_VALUE),
    ("64-base64-bits-left-over", record(b'"n":"/a","vd":"aGl"'), Refusal.BAD_VALUE),
    ("64-base64-new-line", record(b'"n":"/a","vd":"aGk\\n"'), Refusal.BAD_VALUE),
    ("64-negative-update-time", record(b'"n":"/a","v":1,"ut":-1'), Refusal.BAD_VALUE),
    ("65-must-understand", record(b'"n":"/a","v":1,"foo_":1'), Refusal.MUST_UNDERSTAND),
    ("65-must-understand-null", record(b'"n":"/a","v":1,"foo_":null'), Refusal.MUST_UNDERSTAND),
    ("65-must-understand-in-the-second", record(b'"n":"/a","v":1},{"n":"/b","v":1,"_":1'), Refusal.MUST_UNDERSTAND),
    ("65-cbor-must-understand", cbor(b"\x64foo_", b"\x01"), Refusal.MUST_UNDERSTAND),
    ("67-no-name", b'[{"v":1}]', Refusal.BAD_NAME),
    ("67-empty-name", b'[{"bn":"","n":"","v":1}]', Refusal.BAD_NAME),
    ("67-begins-with-slash", b'[{"n":"/3/0/1","v":1}]', Refusal.BAD_NAME),
    ("67-begins-with-dash", b'[{"n":"-a","v":1}]', Refusal.BAD_NAME),
    ("67-begins-with-underscore", b'[{"n":"_a","v":1}]', Refusal.BAD_NAME),
    ("67-space", record(b'"n":"/a b","v":1'), Refusal.BAD_NAME),
    ("67-line-break-at-the-end", record(b'"n":"/a\\n","v":1'), Refusal.BAD_NAME),
    ("67-letter-beyond-ascii", record('"n":"/é","v":1'.encode()), Refusal.BAD_NAME),
    ("67-digit-beyond-ascii", record('"n":"/٣","v":1'.encode()), Refusal.BAD_NAME),
    ("67-wildcards", record(b'"n":"/#/+","v":1'), Refusal.BAD_NAME),
    ("67-traversal-percent", record(b'"n":"/%2e%2e","v":1'), Refusal.BAD_NAME),
    ("67-256-characters", record(b'"n":"/%s","v":1' % (b"a" * (256 - 26))), Refusal.BAD_NAME),
    ("67-lone-surrogate", record(b'"n":"/\\ud800","v":1'), Refusal.BAD_NAME),
    ("67-our-urn-without-suffix", b'[{"n":"urn:dev:lm:gm0402:lm-0001","v":1}]', Refusal.BAD_NAME),
    ("67-our-urn-with-bare-slash", b'[{"n":"urn:dev:lm:gm0402:lm-0001/","v":1}]', Refusal.BAD_NAME),
    (
        "67-our-urn-with-bare-slash-in-the-second",
        b'[{"n":"urn:dev:lm:gm0402:lm-0001/a","v":1},{"n":"urn:dev:lm:gm0402:lm-0001/","v":1}]',
        Refusal.BAD_NAME,
    ),
    ("67-our-urn-with-bad-tenant", b'[{"n":"urn:dev:lm:hilversum:lm-0001/a","v":1}]', Refusal.BAD_NAME),
    ("67-our-urn-with-upper-case", b'[{"n":"urn:dev:lm:gm0402:LM-0001/a","v":1}]', Refusal.BAD_NAME),
    ("67-cbor-no-name", cbor_pack({2: 1}), Refusal.BAD_NAME),
    (
        "68-two-devices",
        b'[{"n":"urn:dev:lm:gm0402:lm-0001/a","v":1},{"n":"urn:dev:lm:gm0402:lm-0002/a","v":1}]',
        Refusal.IDENTITY_MISMATCH,
    ),
    (
        "68-one-device-is-a-prefix-of-the-other",
        b'[{"n":"urn:dev:lm:gm0402:lm-0001/a","v":1},{"n":"urn:dev:lm:gm0402:lm-00012/a","v":1}]',
        Refusal.IDENTITY_MISMATCH,
    ),
    (
        "68-ours-and-a-stranger",
        b'[{"n":"urn:dev:lm:gm0402:lm-0001/a","v":1},{"n":"urn:dev:ow:10e2/a","v":1}]',
        Refusal.IDENTITY_MISMATCH,
    ),
    (
        "68-a-stranger-and-ours",
        b'[{"n":"urn:dev:ow:10e2/a","v":1},{"n":"urn:dev:lm:gm0402:lm-0001/a","v":1}]',
        Refusal.IDENTITY_MISMATCH,
    ),
    *(
        (f"69-version-{version.decode()}", record(b'"n":"/a","v":1,"bver":' + version), Refusal.BAD_VERSION)
        for version in (b"11", b"5", b"1", b"0", b"-10", b"8", b"2", b"27", b"42", b"4294967306", b"10.5")
    ),
    ("69-version-text", record(b'"n":"/a","v":1,"bver":"10"'), Refusal.BAD_VERSION),
    ("69-version-true", record(b'"n":"/a","v":1,"bver":true'), Refusal.BAD_VERSION),
    ("69-version-null", record(b'"n":"/a","v":1,"bver":null'), Refusal.BAD_VERSION),
    ("69-version-changes", record(b'"n":"/a","v":1,"bver":10},{"bver":26,"n":"/b","v":1'), Refusal.BAD_VERSION),
    ("69-version-comes-late", record(b'"n":"/a","v":1},{"bver":26,"n":"/b","v":1'), Refusal.BAD_VERSION),
    ("69-cbor-version-11", cbor(b"\x20", b"\x0b"), Refusal.BAD_VERSION),
    ("69-cbor-version-float", cbor(b"\x20", b"\xf9\x49\x00"), Refusal.BAD_VERSION),
    ("70-minus-1e18", time(b"-1e18"), Refusal.BAD_TIME),
    ("70-plus-1e18", time(b"1e18"), Refusal.BAD_TIME),
    ("70-1e308", time(b"1e308"), Refusal.BAD_TIME),
    ("70-whole-number-of-60-digits", time(b"9" * 60), Refusal.BAD_TIME),
    ("70-year-2100", time(b"4102444800"), Refusal.BAD_TIME),
    ("70-31-days-old", time(b"%d" % (NOW_S - 31 * 86400)), Refusal.BAD_TIME),
    ("70-31-days-old-relative", time(b"-%d" % (31 * 86400)), Refusal.BAD_TIME),
    ("70-year-1978", time(b"%d" % 2**28), Refusal.BAD_TIME),
    ("70-milliseconds-instead-of-seconds", time(b"%d" % (NOW_S * 1000)), Refusal.BAD_TIME),
    ("70-one-old-record-among-new", record(b'"n":"/a","v":1},{"n":"/a","v":2,"t":-3000000'), Refusal.BAD_TIME),
    ("70-base-time-absurd-own-time-set", b'[{"bt":1e300,"n":"%s","v":1,"t":-5}]' % NAME.encode(), Refusal.BAD_TIME),
    ("70-cbor-1e18", cbor(b"\x06", cbor2.dumps(1e18)), Refusal.BAD_TIME),
    ("70-cbor-minus-2-to-63", cbor(b"\x06", b"\x3b\x7f" + b"\xff" * 7), Refusal.BAD_TIME),
    ("71-unknown-unit", record(b'"n":"/a","v":1,"u":"furlong"'), Refusal.UNKNOWN_UNIT),
    ("71-unit-in-wrong-case", record(b'"n":"/a","v":1,"u":"cel"'), Refusal.UNKNOWN_UNIT),
    ("71-empty-unit", record(b'"n":"/a","v":1,"u":""'), Refusal.UNKNOWN_UNIT),
    ("71-unit-with-a-space", record(b'"n":"/a","v":1,"u":"Cel "'), Refusal.UNKNOWN_UNIT),
    ("71-secondary-under-version-10", record(b'"n":"/a","v":1,"u":"ug/m3"'), Refusal.UNKNOWN_UNIT),
    ("71-secondary-base-unit-under-version-10", record(b'"bu":"kWh","n":"/a","v":1'), Refusal.UNKNOWN_UNIT),
    ("71-unknown-unit-under-version-26", record(b'"bver":26,"n":"/a","v":1,"u":"mph"'), Refusal.UNKNOWN_UNIT),
    ("71-unknown-base-unit", record(b'"bu":"degF","n":"/a","v":1'), Refusal.UNKNOWN_UNIT),
    ("71-sum-in-a-unit-with-offset", record(b'"bver":26,"n":"/a","u":"dBm","s":1'), Refusal.BAD_VALUE),
    ("71-cbor-unknown-unit", cbor(b"\x01", b"\x63mph"), Refusal.UNKNOWN_UNIT),
    ("73-10001-records", b"[" + b'{"v":1},' * 5_000 + b'{"v":1}]', Refusal.TOO_MANY_RECORDS),
    ("73-10001-records-over-64-kib", b"[" + b'{"v":1},' * 10_000 + b'{"v":1}]', Refusal.TOO_LARGE),
    ("73-cbor-10001-records", b"\x99\x27\x11" + b"\xa0" * 10_001, Refusal.TOO_MANY_RECORDS),
    ("73-cbor-claims-10001-records", b"\x99\x27\x11\xa0", Refusal.TOO_MANY_RECORDS),
    ("74-60000-arrays", b"[" * 60_000, Refusal.TOO_DEEP),
    ("74-100000-arrays", b"[" * 100_000, Refusal.TOO_LARGE),
    ("74-objects", b'[{"a":' * 10_000, Refusal.TOO_DEEP),
    ("74-five-levels", value(b"[[[1]]]"), Refusal.TOO_DEEP),
    ("74-five-levels-of-objects", record(b'"n":"/a","v":1,"x":{"x":{"x":{}}}'), Refusal.TOO_DEEP),
    ("74-brackets-hidden-behind-strings", b'[{"}":{"}":{"}":{"}":{"}":1', Refusal.TOO_DEEP),
    ("74-brackets-after-an-escaped-quote", rb'[{"\"":[[[1]]]', Refusal.TOO_DEEP),
    ("74-cbor-arrays", b"\x81\xa1\x00" + b"\x81" * 60_000, Refusal.TOO_DEEP),
    ("74-cbor-maps", b"\x81" + b"\xa1\x00" * 30_000, Refusal.TOO_DEEP),
    ("74-cbor-tags", cbor_value(b"\xc4" * 60_000), Refusal.UNDECODABLE),
    ("75-duplicate-value", record(b'"n":"/a","v":1,"v":2'), Refusal.DUPLICATE_KEY),
    ("75-duplicate-by-escape", record(b'"n":"/a","v":1,"\\u0076":2'), Refusal.DUPLICATE_KEY),
    ("75-duplicate-unknown", record(b'"n":"/a","v":1,"x":1,"x":1'), Refusal.DUPLICATE_KEY),
    ("75-duplicate-inside-an-unknown", record(b'"n":"/a","v":1,"x":{"y":1,"y":1}'), Refusal.DUPLICATE_KEY),
    ("75-cbor-duplicate-label", cbor(b"\x02", b"\x01"), Refusal.DUPLICATE_KEY),
    ("75-cbor-duplicate-in-a-longer-form", cbor(b"\x18\x02", b"\x01"), Refusal.DUPLICATE_KEY),
    ("75-cbor-duplicate-text", cbor(b"\x61x", b"\x01", b"\x61x", b"\x01"), Refusal.DUPLICATE_KEY),
    ("76-trailing-byte", cbor() + b"\x00", Refusal.UNDECODABLE),
    ("76-second-pack", cbor() + cbor(), Refusal.UNDECODABLE),
    ("76-indefinite-array", b"\x9f" + cbor()[1:] + b"\xff", Refusal.NOT_A_PACK),
    ("76-indefinite-array-unclosed", b"\x9f" + cbor()[1:], Refusal.NOT_A_PACK),
    ("76-indefinite-map", b"\x81\xbf" + cbor()[2:] + b"\xff", Refusal.UNDECODABLE),
    ("76-indefinite-text", b"\x81\xa2\x00\x7f\x61a\xff\x02\x01", Refusal.UNDECODABLE),
    ("76-indefinite-bytes", cbor(b"\x61x", b"\x5f\x41a\xff"), Refusal.UNDECODABLE),
    ("76-break-alone", cbor_value(b"\xff"), Refusal.UNDECODABLE),
    ("76-array-of-2-to-62", b"\x9b\x40" + bytes(7), Refusal.TOO_MANY_RECORDS),
    ("76-inner-array-of-2-to-62", cbor(b"\x61x", b"\x9b\x40" + bytes(7)), Refusal.UNDECODABLE),
    ("76-inner-map-of-2-to-62", cbor(b"\x61x", b"\xbb\x40" + bytes(7)), Refusal.UNDECODABLE),
    ("76-text-of-2-to-62", cbor(b"\x61x", b"\x7b\x40" + bytes(7)), Refusal.UNDECODABLE),
    ("76-bytes-of-2-to-62", cbor(b"\x61x", b"\x5b\x40" + bytes(7)), Refusal.UNDECODABLE),
    *(
        (f"76-tag-{tag}", cbor_value(cbor2.dumps(cbor2.CBORTag(tag, item))), Refusal.UNDECODABLE)
        for tag, item in (
            (0, "2025-11-21T20:30:18Z"),
            (1, 1),
            (2, b"\x01"),
            (3, b"\x01"),
            (5, [1, 1]),
            (21, b"a"),
            (24, b"\x01"),
            (28, 1),
            (29, 0),
            (30, [1, 2]),
            (35, "(a+)+$"),
            (36, "MIME-Version: 1.0"),
            (37, b"a" * 16),
            (258, [1]),
            (43000, 1),
            (55799, 1),
            (2**64 - 1, 1),
        )
    ),
    ("76-self-described", b"\xd9\xd9\xf7" + cbor(), Refusal.UNDECODABLE),
    ("76-tag-in-an-unknown-label", cbor(b"\x61x", b"\xc2\x41\x01"), Refusal.UNDECODABLE),
    ("76-tag-2-inside-tag-4", cbor_value(b"\xc4\x82\x01\xc2\x41\x01"), Refusal.UNDECODABLE),
    ("76-tag-4-of-one", cbor_value(b"\xc4\x81\x01"), Refusal.UNDECODABLE),
    ("76-tag-4-of-floats", cbor_value(b"\xc4\x82\xf9\x3c\x00\x01"), Refusal.UNDECODABLE),
    ("76-tag-4-of-text", cbor_value(b"\xc4\x61a"), Refusal.UNDECODABLE),
    ("76-tag-4-indefinite", cbor_value(b"\xc4\x9f\x01\x01\xff"), Refusal.UNDECODABLE),
    ("76-tag-4-cut-off", cbor_value(b"\xc4\x82\x01"), Refusal.UNDECODABLE),
    ("76-tag-without-item", cbor_value(b"\xc4"), Refusal.UNDECODABLE),
    ("76-undefined", cbor_value(b"\xf7"), Refusal.UNDECODABLE),
    ("76-simple-value-16", cbor_value(b"\xf0"), Refusal.UNDECODABLE),
    ("76-simple-value-255", cbor_value(b"\xf8\xff"), Refusal.UNDECODABLE),
    ("76-reserved-information-28", cbor_value(b"\x1c"), Refusal.UNDECODABLE),
    ("76-reserved-information-30-at-the-top", b"\x9e\xa0", Refusal.UNDECODABLE),
    ("76-text-not-utf-8", cbor(b"\x03", b"\x62\xc3\x28"), Refusal.UNDECODABLE),
    ("76-surrogate-in-utf-8", cbor(b"\x03", b"\x63\xed\xa0\x80"), Refusal.UNDECODABLE),
    ("76-head-cut-off", b"\x81\xa1\x19\x01", Refusal.UNDECODABLE),
    ("77-5000-digits", value(b"1" * 5_000), Refusal.BAD_VALUE),
    ("77-5000-decimals", value(b"0." + b"1" * 5_000), Refusal.BAD_VALUE),
    ("77-5000-digits-in-an-unknown-label", record(b'"n":"/a","v":1,"x":' + b"1" * 5_000), Refusal.BAD_VALUE),
    ("77-5000-digits-as-version", record(b'"n":"/a","v":1,"bver":' + b"1" * 5_000), Refusal.BAD_VALUE),
    ("77-65-digits", value(b"1" * 65), Refusal.BAD_VALUE),
    ("77-leading-zero", value(b"007"), Refusal.UNDECODABLE),
    ("77-hexadecimal", value(b"0x10"), Refusal.UNDECODABLE),
    ("77-plus-sign", value(b"+1"), Refusal.UNDECODABLE),
    ("77-no-digit-after-the-point", value(b"1."), Refusal.UNDECODABLE),
    ("78-lone-surrogate", text(b'"\\ud800"'), Refusal.BAD_VALUE),
    ("78-lone-low-surrogate", text(b'"a\\udc00b"'), Refusal.BAD_VALUE),
    ("78-nul", text(b'"a\\u0000b"'), Refusal.BAD_VALUE),
    ("78-escape", text(b'"\\u001b[31m"'), Refusal.BAD_VALUE),
    ("78-line-break", text(b'"a\\nb"'), Refusal.BAD_VALUE),
    ("78-c1-control", text(b'"a\\u0085b"'), Refusal.BAD_VALUE),
    ("78-right-to-left-override", text(b'"a\\u202eb"'), Refusal.BAD_VALUE),
    ("78-right-to-left-override-plain", text('"a\u202eb"'.encode()), Refusal.BAD_VALUE),
    ("78-isolate", text(b'"a\\u2066b"'), Refusal.BAD_VALUE),
    ("78-right-to-left-mark", text(b'"a\\u200fb"'), Refusal.BAD_VALUE),
    ("78-raw-nul", text(b'"a\x00b"'), Refusal.UNDECODABLE),
    ("78-1-mib", text(b'"%s"' % (b"a" * 2**20)), Refusal.TOO_LARGE),
    ("78-60-kib", text(b'"%s"' % (b"a" * 60_000)), Refusal.BAD_VALUE),
    ("78-cbor-nul", cbor_pack({0: NAME, 3: "a\x00b"}), Refusal.BAD_VALUE),
    ("78-cbor-override", cbor_pack({0: NAME, 3: "a\u202eb"}), Refusal.BAD_VALUE),
    ("78-cbor-60-kib", cbor_pack({0: NAME, 3: "a" * 60_000}), Refusal.BAD_VALUE),
    ("79-byte-order-mark", b"\xef\xbb\xbf" + SOUND, Refusal.UNDECODABLE),
    ("79-utf-16", SOUND.decode().encode("utf-16"), Refusal.UNDECODABLE),
    ("79-utf-16-without-mark", SOUND.decode().encode("utf-16-le"), Refusal.UNDECODABLE),
    ("79-utf-32", SOUND.decode().encode("utf-32"), Refusal.UNDECODABLE),
    ("79-latin-1", text(b'"caf\xe9"'), Refusal.UNDECODABLE),
    ("79-overlong-utf-8", text(b'"\xc0\xaf"'), Refusal.UNDECODABLE),
    ("seq-without-epoch", record(b'"n":"/a","v":1,"lm-seq":1'), Refusal.BAD_SEQUENCE),
    ("seq-epoch-without-seq", record(b'"n":"/a","v":1,"lm-epoch":1'), Refusal.BAD_SEQUENCE),
    ("seq-zero", record(b'"n":"/a","v":1,"lm-epoch":1,"lm-seq":0'), Refusal.BAD_SEQUENCE),
    ("seq-negative-epoch", record(b'"n":"/a","v":1,"lm-epoch":-1,"lm-seq":1'), Refusal.BAD_SEQUENCE),
    ("seq-fraction", record(b'"n":"/a","v":1,"lm-epoch":1,"lm-seq":1.0'), Refusal.BAD_SEQUENCE),
    ("seq-true", record(b'"n":"/a","v":1,"lm-epoch":1,"lm-seq":true'), Refusal.BAD_SEQUENCE),
    ("seq-text", record(b'"n":"/a","v":1,"lm-epoch":"1","lm-seq":1'), Refusal.BAD_SEQUENCE),
    ("seq-null", record(b'"n":"/a","v":1,"lm-epoch":null,"lm-seq":null'), Refusal.BAD_SEQUENCE),
    ("seq-2-to-53", record(b'"n":"/a","v":1,"lm-epoch":1,"lm-seq":%d' % 2**53), Refusal.BAD_SEQUENCE),
    ("seq-epoch-2-to-53", record(b'"n":"/a","v":1,"lm-epoch":%d,"lm-seq":1' % 2**53), Refusal.BAD_SEQUENCE),
    ("seq-in-the-second", record(b'"n":"/a","v":1},{"n":"/b","v":1,"lm-epoch":1,"lm-seq":1'), Refusal.BAD_SEQUENCE),
]

GOOD: Final[list[tuple[str, bytes, Quality]]] = [
    ("66-unknown-fields", record(b'"n":"/a","v":1,"x":1,"ct":"50","foo":{"a":[null]}'), Quality.GOOD),
    ("66-unknown-label-with-inner-underscore", record(b'"n":"/a","v":1,"foo_bar":1'), Quality.GOOD),
    ("66-cbor-unknown-number", cbor(b"\x18\x63", b"\x01"), Quality.TIME_FROM_SERVER),
    ("66-cbor-text-that-spells-a-numbered-label", cbor(b"\x61v", b"\x01"), Quality.TIME_FROM_SERVER),
    ("70-no-time-is-now", time(b"0"), Quality.TIME_FROM_SERVER),
    ("70-relative", time(b"-3600"), Quality.TIME_FROM_SERVER),
    ("70-relative-future", time(b"3600"), Quality.TIME_FROM_SERVER | Quality.TIME_IN_FUTURE),
    ("70-five-minutes-ahead", time(b"%d" % (NOW_S + 300)), Quality.GOOD),
    ("70-more-than-five-minutes-ahead", time(b"%d.000001" % (NOW_S + 300)), Quality.TIME_IN_FUTURE),
    ("70-last-second-of-2099", time(b"4102444799"), Quality.TIME_IN_FUTURE),
    ("71-secondary-under-version-26", record(b'"bver":26,"n":"/a","v":1,"u":"ug/m3"'), Quality.UNIT_CONVERTED),
    ("71-asterisked", record(b'"n":"/a","v":1,"u":"Bspl"'), Quality.UNIT_NOT_RECOMMENDED),
    ("72-900-degrees", record(b'"n":"/a","v":900,"u":"Cel"'), Quality.GOOD),
    ("75-same-label-in-two-objects", record(b'"n":"/a","v":1,"x":{"v":1}'), Quality.GOOD),
    ("77-64-digits", value(b"1" * 64), Quality.GOOD),
    ("77-tiny-exponent-is-zero", value(b"1e-999999999999"), Quality.GOOD),
    ("78-emoji", text('"café \U0001f4a1"'.encode()), Quality.GOOD),
    ("78-emoji-as-surrogate-pair", text(b'"\\ud83d\\ude00"'), Quality.GOOD),
]


@pytest.mark.parametrize(("raw", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_pack_is_refused_with_its_reason(raw: bytes, expected: Refusal) -> None:
    with pytest.raises(PackError) as caught:
        decode(raw, sniff(raw), NOW_US)
    assert caught.value.refusal is expected
    assert 0 < len(caught.value.detail) <= 200
    assert caught.value.detail.isascii()
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize(("raw", "expected"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_doubtful_pack_is_kept_and_flagged(raw: bytes, expected: Quality) -> None:
    pack = decode(raw, sniff(raw), NOW_US)
    assert str(pack.device) == "gm0402/lm-0001"
    assert [Quality(record.quality) for record in pack.records] == [expected]


def test_every_group_of_the_catalogue_has_rows() -> None:
    groups = {int(match[0]) for row in [*BAD, *GOOD] if (match := re.match(r"\d+", row[0]))}
    assert groups == set(range(61, 80))


def test_ids_are_unique() -> None:
    ids = [row[0] for row in [*BAD, *GOOD]]
    assert len(ids) == len(set(ids))


def test_a_byte_order_mark_is_called_by_its_name() -> None:
    with pytest.raises(PackError, match="byte order mark"):
        decode(b"\xef\xbb\xbf" + SOUND, 110, NOW_US)


@pytest.mark.parametrize("content_format", [-1, 0, 50, 60, 111, 113, 11543])
def test_other_content_format_is_refused(content_format: int) -> None:
    with pytest.raises(PackError) as caught:
        decode(SOUND, content_format, NOW_US)
    assert caught.value.refusal is Refusal.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("raw", [SOUND, cbor()], ids=["json", "cbor"])
def test_every_truncation_is_refused(raw: bytes) -> None:
    for length in range(len(raw)):
        with pytest.raises(PackError) as caught:
            decode(raw[:length], sniff(raw), NOW_US)
        assert caught.value.refusal in {Refusal.EMPTY, Refusal.UNDECODABLE}


def test_json_told_as_cbor_and_the_reverse_are_refused() -> None:
    for raw, content_format in ((SOUND, 112), (cbor(), 110)):
        with pytest.raises(PackError):
            decode(raw, content_format, NOW_US)
