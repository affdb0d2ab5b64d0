"""The unit registry: RFC 8428 section 12.1, RFC 8798, and what IANA added."""

from fractions import Fraction

import pytest

from lichtmast.wire.units import SECONDARY_UNITS, UNITS, SecondaryUnit


def test_all_units_of_the_registry_are_there() -> None:
    rfc_8428 = (
        "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s "
        "W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m"
    )
    rfc_8798 = "B VA VAs var vars J/m kg/m3 deg"
    assert list(UNITS) == [*rfc_8428.split(), *rfc_8798.split(), "NTU"]


def test_all_secondary_units_of_the_registry_are_there() -> None:
    rfc_8798 = (
        "ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s mV mA dBm ug/m3 mm/h m/h ppm "
        "/100 /1000 hPa mm cm km km/h"
    )
    assert list(SECONDARY_UNITS) == [*rfc_8798.split(), "ppb", "ppt", "VAh", "mg/l", "ug/l", "g/l"]


def test_asterisked_units_are_not_recommended() -> None:
    asterisked = {symbol for symbol, unit in UNITS.items() if not unit.recommended}
    assert asterisked == {"g", "l", "l/s", "Bspl", "%", "1/min", "beat/min", "beats", "deg"}


def test_no_unit_is_both_primary_and_secondary() -> None:
    assert not set(UNITS) & set(SECONDARY_UNITS)


def test_every_secondary_unit_converts_into_a_primary_one() -> None:
    assert {unit.primary for unit in SECONDARY_UNITS.values()} <= set(UNITS)
    assert all(unit.scale > 0 for unit in SECONDARY_UNITS.values())
    assert {symbol for symbol, unit in SECONDARY_UNITS.items() if unit.offset} == {"dBm"}


@pytest.mark.parametrize("units", [UNITS, SECONDARY_UNITS])
def test_every_unit_knows_its_symbol_and_has_a_name(units: dict[str, SecondaryUnit]) -> None:
    assert [unit.symbol for unit in units.values()] == list(units)
    assert all(unit.name for unit in units.values())


@pytest.mark.parametrize(
    ("symbol", "value", "expected", "primary"),
    [
        ("ms", 1500, Fraction(3, 2), "s"),
        ("min", 2, 120, "s"),
        ("h", 1, 3600, "s"),
        ("MHz", 1, 1_000_000, "Hz"),
        ("kW", 1, 1_000, "W"),
        ("kVA", 1, 1_000, "VA"),
        ("kvar", 1, 1_000, "var"),
        ("Ah", 1, 3_600, "C"),
        ("Wh", 1, 3_600, "J"),
        ("kWh", 1, 3_600_000, "J"),
        ("varh", 1, 3_600, "vars"),
        ("kvarh", 1, 3_600_000, "vars"),
        ("kVAh", 1, 3_600_000, "VAs"),
        ("Wh/km", 5, 18, "J/m"),
        ("KiB", 1, 1_024, "B"),
        ("GB", 1, 10**9, "B"),
        ("Mbit/s", 1, 1_000_000, "bit/s"),
        ("B/s", 1, 8, "bit/s"),
        ("MB/s", 1, 8_000_000, "bit/s"),
        ("mV", 1, Fraction(1, 1000), "V"),
        ("mA", 1, Fraction(1, 1000), "A"),
        ("dBm", 30, 0, "dBW"),
        ("ug/m3", 25, Fraction(25, 10**9), "kg/m3"),
        ("mm/h", 3_600, Fraction(1, 1000), "m/s"),
        ("m/h", 3_600, 1, "m/s"),
        ("ppm", 1, Fraction(1, 10**6), "/"),
        ("/100", 50, Fraction(1, 2), "/"),
        ("/1000", 500, Fraction(1, 2), "/"),
        ("hPa", 1_013, 101_300, "Pa"),
        ("mm", 1, Fraction(1, 1000), "m"),
        ("cm", 1, Fraction(1, 100), "m"),
        ("km", 1, 1_000, "m"),
        ("km/h", 18, 5, "m/s"),
        ("ppb", 1, Fraction(1, 10**9), "/"),
        ("ppt", 1, Fraction(1, 10**12), "/"),
        ("VAh", 1, 3_600, "VAs"),
        ("mg/l", 1, Fraction(1, 1000), "kg/m3"),
        ("ug/l", 1, Fraction(1, 10**6), "kg/m3"),
        ("g/l", 1, 1, "kg/m3"),
    ],
)
def test_secondary_value_becomes_the_exact_primary_one(
    symbol: str, value: int, expected: Fraction, primary: str
) -> None:
    unit = SECONDARY_UNITS[symbol]
    assert (unit.to_primary(Fraction(value)), unit.primary) == (expected, primary)
