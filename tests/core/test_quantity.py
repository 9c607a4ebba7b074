"""Quantities are exact, and come back as they went."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core import quantity
from webhook.errors import QuantityError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", Fraction(1, 4)),
        ("1", 1),
        ("1Gi", 2**30),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12E", 12 * 10**18),
        ("1Ei", 2**60),
        ("123456789n", Fraction(123456789, 10**9)),
        ("3u", Fraction(3, 10**6)),
        ("0.1", Fraction(1, 10)),
        (".5Ki", 512),
        ("5.", 5),
        ("-1.5G", -1_500_000_000),
        ("+2k", 2000),
        ("1e-3", Fraction(1, 1000)),
        ("0", 0),
        ("00012", 12),
    ],
)
def test_a_quantity_has_one_exact_value(text, value):
    assert quantity.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 Gi",
        "m",
        "1K",
        "1mi",
        "1gi",
        "1e",
        "e3",
        "1.2.3",
        "--1",
        "0x10",
        "1_000",
        "1Gib",
        "NaN",
        "inf",
        "\u0661",
        "1e99999",
        "9" * 65,
        "1\n",
    ],
)
def test_what_is_no_quantity_is_refused_with_examples(text):
    with pytest.raises(QuantityError, match="250m"):
        quantity.parse(text)


@given(st.integers(-(10**30), 10**30), st.booleans())
def test_every_number_of_nanos_comes_back(nanos, binary):
    value = Fraction(nanos, 10**9)
    assert quantity.parse(quantity.render(value, binary=binary)) == value


@given(st.integers(0, 2**62), st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi", "m", "u", "n"]))
def test_rendering_is_canonical(number, suffix):
    """Two spellings of one value are rendered alike, and rendering twice changes nothing."""
    value = quantity.parse(f"{number}{suffix}")
    text = quantity.render(value)
    assert quantity.parse(text) == value
    assert quantity.render(quantity.parse(text)) == text
    assert len(text) <= len(f"{number}{suffix}") + 9


@given(st.fractions(min_value=0, max_value=10**6))
def test_what_is_finer_than_a_nano_is_rounded_up(value):
    """As Kubernetes does: a request is never rendered smaller than it is."""
    rendered = quantity.parse(quantity.render(value))
    assert value <= rendered < value + Fraction(1, 10**9)


@pytest.mark.parametrize(("value", "text"), [(2**30, "1Gi"), (1536 * 2**20, "1536Mi"), (1000, "1k"), (0, "0")])
def test_memory_is_written_as_people_write_it(value, text):
    assert quantity.render(Fraction(value), binary=True) == text


def test_a_number_larger_than_any_float_is_refused_where_floats_are_asked_for():
    with pytest.raises(QuantityError):
        quantity.to_float("1e9999")
    assert quantity.to_float("250m") == 0.25


@pytest.mark.parametrize("text", ["1e9999", "-1e9999", "9e401", ".1e500"])
def test_a_number_beyond_floats_is_refused_without_being_worked_out(text, monkeypatch):
    monkeypatch.setattr(quantity, "parse", pytest.fail)
    with pytest.raises(QuantityError):
        quantity.to_float(text)


@pytest.mark.parametrize("text", ["1e-9999", "-1e-9999", "0e9999", "0.0e9999", "9e-401"])
def test_nothing_to_speak_of_is_nothing_without_being_worked_out(text, monkeypatch):
    monkeypatch.setattr(quantity, "parse", pytest.fail)
    assert quantity.to_float(text) == 0


@given(st.integers(0, 10**50), st.integers(-420, 420))
def test_the_nearest_float_is_that_of_the_exact_value(number, exponent):
    text = f"{number}e{exponent}"
    exact = quantity.parse(text)
    try:
        expected = float(exact)
    except OverflowError:
        with pytest.raises(QuantityError):
            quantity.to_float(text)
    else:
        assert quantity.to_float(text) == expected


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1000m", "1"),
        ("0.25", "250m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("0.5Ki", "512"),
        ("2.9296875Ki", "3000"),
        ("0.1Gi", "107374182400m"),
        ("1e3", "1e3"),
        ("1E4", "10e3"),
        ("1500e0", "1500"),
        ("1e-3", "1e-3"),
        ("0e9", "0"),
        ("0Ki", "0"),
        ("-0.5", "-500m"),
        ("12E", "12E"),
        ("123456789n", "123456789n"),
        ("0.1n", "1n"),
        ("-51.3105u", "-51311n"),
    ],
)
def test_the_canonical_form_is_the_api_servers(text, written):
    assert quantity.canonical(text) == written


@given(
    st.sampled_from(["", "-"]),
    st.integers(0, 10**12),
    st.sampled_from(["", "n", "u", "m", "k", "M", "E", "Ki", "Gi", "Ei", "e3", "E-6", "e0", "e7"]),
)
def test_the_canonical_form_keeps_value_and_form_and_is_its_own(sign, number, suffix):
    text = f"{sign}{number}{suffix}"
    written = quantity.canonical(text)
    assert quantity.parse(written) == quantity.parse(text)
    assert quantity.canonical(written) == written
