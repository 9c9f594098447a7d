"""The ledger of slots: a slot is promised once, and only when it is free."""

from hypothesis import given
from hypothesis import strategies as st

from perdure_worker.invocations.slots import Slots


def test_every_slot_is_promised_once() -> None:
    slots = Slots(3)
    assert slots.take_credit() == 3
    assert slots.take_credit() == 0


def test_a_slot_is_promised_again_when_its_handler_has_ended() -> None:
    slots = Slots(2)
    slots.take_credit()
    assert slots.occupy()
    assert slots.take_credit() == 0
    slots.release()
    assert slots.take_credit() == 1


def test_after_a_break_only_free_slots_are_promised() -> None:
    slots = Slots(3)
    slots.take_credit()
    slots.occupy()
    slots.forget_promises()
    assert slots.take_credit() == 2


def test_nothing_is_occupied_without_a_promise() -> None:
    assert not Slots(1).occupy()


def test_too_many_unconfirmed_ends_hold_slots_back() -> None:
    slots = Slots(2)
    slots.unconfirmed = 3
    assert slots.take_credit() == 1


@given(st.integers(1, 5), st.lists(st.sampled_from(["credit", "occupy", "release", "break"])))
def test_never_more_is_promised_than_is_free(total: int, acts: list[str]) -> None:
    slots = Slots(total)
    for act in acts:
        match act:
            case "credit":
                slots.take_credit()
            case "occupy":
                slots.occupy()
            case "release" if slots.in_use:
                slots.release()
            case _:
                slots.forget_promises()
        assert 0 <= slots.promised + slots.in_use <= total
