"""Texts cut at their bounds: exactly there, and still valid."""

import pytest

from perdure_core.text import PREVIEW_CHARS_MAX, cut_bytes, cut_chars, preview

SURROGATE = "\ud800"


@pytest.mark.parametrize("text", ["", "x", "x" * 10, "é" * 5, "€€€x"])
def test_a_text_of_as_many_bytes_as_allowed_stays_whole(text: str) -> None:
    assert cut_bytes(text, 10) == text


@pytest.mark.parametrize(
    ("text", "beginning"),
    [("x" * 11, "x" * 7), ("é" * 6, "ééé"), ("x" + "é" * 6, "xééé"), ("€" * 4, "€€")],
)
def test_a_text_of_more_bytes_ends_with_an_ellipsis_and_no_half_letter(
    text: str, beginning: str
) -> None:
    assert cut_bytes(text, 10) == f"{beginning}…"
    assert len(f"{beginning}…".encode()) <= 10


def test_characters_are_counted_whatever_their_size() -> None:
    assert cut_chars("€" * 10, 10) == "€" * 10
    assert cut_chars("€" * 11, 10) == "€" * 9 + "…"


def test_no_text_stays_no_text() -> None:
    assert cut_bytes(None, 10) is None
    assert cut_chars(None, 10) is None


def test_what_is_cut_can_be_encoded() -> None:
    assert cut_bytes(f"a{SURROGATE}b", 10) == "a?b"
    assert cut_chars(f"a{SURROGATE}b", 10) == "a?b"


def test_a_preview_of_a_short_text_quotes_it() -> None:
    text = "x" * PREVIEW_CHARS_MAX
    assert preview(text) == f"'{text}'"
    assert preview("a\nb") == r"'a\nb'"


def test_a_preview_of_a_long_text_quotes_its_beginning_and_counts_its_characters() -> None:
    assert preview("x" * 1_234) == f"'{'x' * PREVIEW_CHARS_MAX}'… (1,234 characters)"
