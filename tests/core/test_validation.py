"""Validation of names: one rule each, exactly at its bounds."""

import pytest

from perdure_core.limits import FUNCTION_NAME_CHARS_MAX, WORKER_ID_CHARS_MAX
from perdure_core.validation import is_function_name, is_worker_id


@pytest.mark.parametrize("name", ["a", "Z-9_", "x" * FUNCTION_NAME_CHARS_MAX])
def test_a_function_name_is_of_letters_digits_dashes_and_underscores(name: str) -> None:
    assert is_function_name(name)


@pytest.mark.parametrize(
    "name", ["", "a.b", "a b", "é", "a\n", "x" * (FUNCTION_NAME_CHARS_MAX + 1)]
)
def test_anything_else_names_no_function(name: str) -> None:
    assert not is_function_name(name)


@pytest.mark.parametrize("worker_id", ["a", "host.name:12@zone-1_2", "x" * WORKER_ID_CHARS_MAX])
def test_a_worker_id_may_hold_a_host_and_a_process(worker_id: str) -> None:
    assert is_worker_id(worker_id)


@pytest.mark.parametrize(
    "worker_id", ["", "a/b", "a b", "é", "a\n", "x" * (WORKER_ID_CHARS_MAX + 1)]
)
def test_anything_else_names_no_worker(worker_id: str) -> None:
    assert not is_worker_id(worker_id)
