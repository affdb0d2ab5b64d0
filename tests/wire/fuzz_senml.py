"""Fuzz the SenML decoder by coverage. By hand: `python tests/wire/fuzz_senml.py -max_total_time=600`.

The first byte of an input chooses JSON or CBOR, the rest is the pack. Any exception but PackError is a finding, and so
is a pack that was accepted but breaks what the rest of the system believes about packs. A finding's bytes are kept by
the fuzzer in a file beside the working directory; the smallest one belongs into test_bad_packs.py.
"""

import sys
from math import isfinite

import atheris

with atheris.instrument_imports():
    from lichtmast.wire import limits
    from lichtmast.wire.refusal import PackError
    from lichtmast.wire.senml import decode
    from lichtmast.wire.senml.labels import wrong_ranges
    from lichtmast.wire.units import UNITS

NOW_US = 1_763_757_018_000_000

SEEDS = [
    b'j[{"bn":"urn:dev:lm:gm0402:lm-0001","bt":1763757018.5,"lm-epoch":1,"lm-seq":2,"n":"/a","u":"Cel","v":-21.5e-1}]',
    b'j[{"bn":"urn:dev:lm:gm0402:lm-0001","bt":1763757018,"lm-epoch":1,"lm-seq":99,"lm-dropped":"1-9,12","lm-time-error":3.5,"n":"/a","v":1}]',
    b'j[{"bver":26,"bu":"ug/m3","bv":1,"bs":2,"n":"a","v":1,"s":2,"ut":60},{"n":"b","vs":"\\ud83d\\ude00"},{"n":"c","vd":"aGk"}]',
    b"c\x81\xa6\x20\x18\x1a\x21\x61a\x22\x00\x23\x63dBm\x02\xc4\x82\x20\x18\x0f\x07\xf9\x3c\x00",
    b"c\x82\xa2\x00\x61a\x04\xf5\xa3\x00\x61b\x08\x41a\x61x\x82\xf6\xfb\x40\x09\x21\xfb\x54\x44\x2d\x18",
]


def check_one_input(data: bytes) -> None:
    """Decode, and check what an accepted pack promises."""
    try:
        pack = decode(data[1:], 112 if data[:1] == b"c" else 110, NOW_US)
    except PackError as error:
        if not (error.detail.isprintable() and error.detail.isascii() and len(error.detail) <= 200):
            raise AssertionError(error.detail) from error
        return
    times = [record.time_us for record in pack.records]
    promises = {
        "records": 1 <= len(pack.records) <= limits.PACK_RECORDS_MAX,
        "order": times == sorted(times),
        "times": times[0] >= NOW_US - limits.TIME_PAST_MAX_S * 1_000_000
        and times[-1] < limits.TIME_BELOW_S * 1_000_000,
        "numbers": all(
            isfinite(number)
            for record in pack.records
            for number in (record.value, record.sum, record.update_time_s)
            if type(number) is float
        ),
        "kinds": all(type(record.value) in (float, bool, str, bytes, type(None)) for record in pack.records),
        "values": all(record.value is not None or record.sum is not None for record in pack.records),
        "units": all(record.unit is None or record.unit in UNITS for record in pack.records),
        "names": all(0 < len(record.name) <= limits.NAME_LENGTH_MAX for record in pack.records),
        "twins": (pack.epoch is None) == (pack.seq is None),
        "drops": not pack.dropped or (pack.seq is not None and wrong_ranges(pack.dropped, pack.seq) is None),
        "clock": pack.time_error_s is None or 0 <= pack.time_error_s <= limits.TIME_ERROR_MAX_S,
        "suffixes": pack.device is None or all(pack.suffix_of(record)[:1] == "/" for record in pack.records),
    }
    broken = [name for name, kept in promises.items() if not kept]
    if broken:
        raise AssertionError(f"accepted, but {broken}: {data!r}")


def main() -> None:
    """Check the seeds, then fuzz with the arguments of the command line."""
    for seed in SEEDS:
        check_one_input(seed)
    atheris.Setup(sys.argv, check_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
