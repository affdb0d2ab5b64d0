"""Labels: what is on the node comes back from the phone, and every misreading is told in one sentence."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.wire import DeviceId, Label, LabelError, parse_label, pin_text, spki_pin
from lichtmast.wire.limits import LABEL_CHARACTERS_MAX

QR_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"  # ISO/IEC 18004 table 5

LABEL = Label(DeviceId("gm0402", "lamp-0001"), bytes(range(16)), bytes(range(240, 256)))
TEXT = LABEL.text

labels = st.builds(
    Label,
    st.builds(
        DeviceId,
        st.from_regex(r"gm[0-9]{4}", fullmatch=True),
        st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=3, max_size=40),
    ),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
)


def iso_7064_mod_97_10(text: str) -> int:
    """The standard's own words: the digits of all characters as one number, modulo 97."""
    body, check = text[:-2], text[-2:]
    return int("".join(f"{QR_ALPHANUMERIC.index(one):02d}" for one in body) + check) % 97


def test_a_label_is_as_it_was_printed_yesterday() -> None:
    assert TEXT == "LM1:GM0402:LAMP-0001:AAAQEAYEAUDAOCAJBIFQYDIOB4:6DY7F47U6X3PP6HZ7L57Z7P674:64"


@given(labels)
def test_any_label_is_read_back_and_fits_a_coarse_code(label: Label) -> None:
    assert parse_label(label.text) == label
    assert set(label.text) <= set(QR_ALPHANUMERIC)
    assert len(label.text) <= 108
    assert iso_7064_mod_97_10(label.text) == 1


@given(labels, st.sampled_from([" ", "\n", "\t", "\r\n", ""]))
def test_typed_in_lower_case_with_space_around_it_is_the_same(label: Label, space: str) -> None:
    assert parse_label(space + label.text.lower() + space) == label


def one_wrong(text: str) -> Iterator[str]:
    for place, right in enumerate(text):
        for wrong in QR_ALPHANUMERIC:
            if wrong != right:
                yield text[:place] + wrong + text[place + 1 :]


def swapped(text: str) -> Iterator[str]:
    for place in range(len(text) - 1):
        first, second = text[place], text[place + 1]
        if first != second:
            yield text[:place] + second + first + text[place + 2 :]


def test_every_single_wrong_character_is_found() -> None:
    # A space at either end falls off when it is read; what is left lacks a character.
    wrong = list(one_wrong(TEXT))
    assert len(wrong) == len(TEXT) * 44
    for text in wrong:
        with pytest.raises(LabelError):
            parse_label(text)


def test_every_pair_of_neighbours_swapped_is_found() -> None:
    wrong = list(swapped(TEXT))
    assert len(wrong) > 70
    for text in wrong:
        with pytest.raises(LabelError):
            parse_label(text)


def test_every_shorter_text_is_found() -> None:
    for end in range(len(TEXT)):
        with pytest.raises(LabelError):
            parse_label(TEXT[:end])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("https://other-city.example/claim?c=LM1", "address or a code of another kind"),
        ("HTTPS://OTHER-CITY.EXAMPLE/", "address or a code of another kind"),
        ("javascript:alert(1)", "address or a code of another kind"),
        ("JaVaScRiPt:alert(1)", "address or a code of another kind"),
        ("WIFI:S:lamp;T:WPA;P:secret;;", "address or a code of another kind"),
        ("MT:Y.K9042C00KA0648G00", "no Lichtmast label"),
        ("871687140000123456", "no Lichtmast label"),
        ("x" * 4096, "has 4096 characters"),
        ("LM2:GM0402:LAMP-0001:AA:BB:CC:11", "version LM2"),
        (TEXT.replace("LM1", "LM9"), "version LM9"),
        (TEXT[:-2] + "00", "check digits"),
        (TEXT[:-2] + "1Z", "check digits"),
        (TEXT.replace("0001", "0002"), "check digits"),
        (TEXT.replace("GM0402", "GM40A2"), "names no device"),
        (TEXT.replace("LAMP-0001", "L/"), "names no device"),
        (TEXT.replace("AAAQ", "0AAQ"), "0 is never in it, O may be"),
        (TEXT.replace("AAAQ", "1AAQ"), "1 is never in it, I may be"),
        (TEXT.replace("Z7P674", "8Z7P67"), "8 is never in it, B may be"),
        (TEXT.replace("AAAQEA", "AAAQE"), "25 characters came"),
        (TEXT.replace("YDIOB4", "YDIOB5"), "ends in 5"),
        (TEXT.rpartition(":")[0], "5 parts of 6"),
        (TEXT + ":" + TEXT[-2:], "7 parts of 6"),
        (f"{TEXT}\n{TEXT}", "two labels"),
        (f"{TEXT} {TEXT.replace('0001', '0002')}", "two labels"),
        (TEXT.replace(":LAMP", ": LAMP"), "no spaces inside"),
        (TEXT.replace("LAMP-0001", "LАMP-0001"), r"U\+0410"),  # noqa: RUF001 - Cyrillic A
        (TEXT.replace("LAMP-0001", "LAMP‐0001"), r"U\+2010"),  # noqa: RUF001 - hyphen
        (TEXT.replace("0402", "０402"), r"U\+FF10"),  # noqa: RUF001 - full width zero
        (TEXT.lower().replace("i", "ı"), r"U\+0131"),  # noqa: RUF001 - becomes I in upper case
        (TEXT.replace("S", "ſ") if "S" in TEXT else TEXT.replace("LAMP", "LAMſ"), r"U\+017F"),  # noqa: RUF001
        (TEXT.replace("LAMP", "LAMP\u200b"), r"U\+200B"),
        (TEXT.replace("LAMP", "LA\x00MP"), r"U\+0000"),
        (TEXT.replace("LAMP", "LA\ud800MP"), r"U\+D800"),
    ],
)
def test_what_is_no_label_is_told_in_one_plain_sentence(text: str, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence) as refused:
        parse_label(text)
    told = str(refused.value)
    assert len(told) < 160
    assert told.isprintable()


@given(st.one_of(st.text(), st.text(QR_ALPHANUMERIC), st.text(min_size=400, max_size=600)))
def test_any_text_is_no_label_and_told_so(text: str) -> None:
    with pytest.raises(LabelError) as refused:
        parse_label(text)
    assert str(refused.value).isprintable()


def test_a_code_is_looked_at_up_to_its_limit_and_not_beyond() -> None:
    assert parse_label(TEXT.ljust(LABEL_CHARACTERS_MAX)) == LABEL
    with pytest.raises(LabelError, match="characters"):
        parse_label(TEXT.ljust(LABEL_CHARACTERS_MAX + 1))


@pytest.mark.parametrize("pins", [(b"", bytes(16)), (bytes(16), bytes(15)), (bytes(17), bytes(16))])
def test_a_pin_has_sixteen_bytes(pins: tuple[bytes, bytes]) -> None:
    with pytest.raises(LabelError, match="16 bytes"):
        Label(LABEL.device, *pins)


def test_a_pin_is_the_first_half_of_sha_256() -> None:
    assert spki_pin(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223"
    assert pin_text(spki_pin(b"abc")) == "XJ4BNP4PAHH6UQKBIDPF3LRCEM"
