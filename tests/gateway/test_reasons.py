"""Reasons of refusals, which clients branch on."""

from perdure_core import refusals
from perdure_gateway.errors import NotServing, OnStandby
from perdure_gateway.status_codes import status_of


def test_reasons_tell_causes_of_one_status_apart() -> None:
    named = {
        refusals.CallbackClosed: "callback_completed",
        refusals.CallbackExpired: "callback_timed_out",
        refusals.Ended: "execution_ended",
        refusals.NotEnded: "execution_not_ended",
        refusals.NameTaken: "name_taken",
        refusals.UnknownFunction: "function_not_found",
        refusals.Quarantined: "execution_quarantined",
        OnStandby: "node_on_standby",
    }
    others = dict.fromkeys((refusals.Unknown, refusals.Invalid, NotServing, KeyError), "")
    expected = {**named, **others}
    assert {kind: status_of(kind("why")).reason for kind in expected} == expected
