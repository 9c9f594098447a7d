"""Previews: the part of a value that people may see."""

from datetime import datetime
from typing import Any

import pytest

from perdure.preview import (
    FieldMatchMode,
    PreviewConfig,
    PreviewField,
    PreviewMode,
    build_preview,
)

VALUE = {
    "a": 1,
    "b": {"a": 2, "c": [{"a": 3, "d": 4}, 5]},
    "secret": "x",
    "none": None,
    "t": (1, 2),
}
EVERYTHING: dict[str, Any] = {
    "a": 1,
    "b": {"a": 2, "c": {"a": 3, "d": 4}},
    "secret": "x",
    "none": None,
    "t": (1, 2),
}
ALL, NOTHING = PreviewMode


def named(*names: str) -> list[PreviewField]:
    """Return fields: by path where there is a dot, anywhere otherwise."""
    return [
        PreviewField(name, FieldMatchMode.PATH if "." in name else FieldMatchMode.ANYWHERE)
        for name in names
    ]


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in EVERYTHING.items() if name not in names}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PreviewConfig(ALL), EVERYTHING),
        (PreviewConfig(NOTHING), None),
        (PreviewConfig(NOTHING, named("a")), {"a": 1, "b": {"a": 2, "c": {"a": 3}}}),
        (PreviewConfig(NOTHING, named("c")), {"b": {"c": {"a": 3, "d": 4}}}),
        (PreviewConfig(NOTHING, named("b.a")), {"b": {"a": 2}}),
        (PreviewConfig(NOTHING, named("b.c.d")), {"b": {"c": {"d": 4}}}),
        (PreviewConfig(NOTHING, named("b.c")), None),
        (PreviewConfig(NOTHING, named("a"), named("a")), None),
        (PreviewConfig(NOTHING, named("secret"), mask=named("secret")), {"secret": "***"}),
        (PreviewConfig(ALL, exclude=named("b")), without("b")),
        (PreviewConfig(ALL, exclude=named("b.c")), {**EVERYTHING, "b": {"a": 2}}),
        (PreviewConfig(ALL, mask=named("b"), mask_string="#"), {**EVERYTHING, "b": "#"}),
        (PreviewConfig(ALL, exclude=named("secret"), mask=named("secret")), without("secret")),
    ],
)
def test_fields_are_seen_masked_or_left_out(
    config: PreviewConfig, expected: dict[str, Any] | None
) -> None:
    assert build_preview(VALUE, config) == expected


@pytest.mark.parametrize("value", [[1, {"a": 1}], "text", 5, None, {}])
def test_only_dicts_have_fields(value: Any) -> None:
    assert build_preview(value, PreviewConfig(ALL)) is None


def test_a_field_with_dots_in_its_name_is_shown_and_can_be_named() -> None:
    value = {"a.b": 1, "c": 2}
    assert build_preview(value, PreviewConfig(ALL)) == value
    assert build_preview(value, PreviewConfig(ALL, exclude=named("a.b"))) == {"c": 2}


def test_a_preview_ends_before_the_field_that_does_not_fit() -> None:
    value = {"first": 1, "large": "v" * 100, "last": 2}
    assert build_preview(value, PreviewConfig(ALL, max_preview_bytes=50)) == {"first": 1}
    exact = PreviewConfig(ALL, max_preview_bytes=len('{"first": 1}'))
    assert build_preview(value, exact) == {"first": 1}
    assert build_preview(value, PreviewConfig(ALL, max_preview_bytes=11)) is None


def test_what_json_cannot_hold_is_shown_as_text() -> None:
    value = {"at": datetime(2026, 1, 2), 7: "seven"}  # noqa: DTZ001 - shown as it is
    assert build_preview(value, PreviewConfig(ALL)) == {"at": "2026-01-02 00:00:00", "7": "seven"}
