"""Invoking another function: an execution of its own, whose end is recorded in this one."""

from typing import Any, Literal

import pytest

from perdure import DurableContext, InvokeError
from perdure.config import Duration, InvokeConfig
from perdure.serdes import ExtendedTypeSerDes, PassThroughSerDes
from perdure.worker_api import Failed, Outcome, Pending, Succeeded
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import ErrorObject, OperationAction
from tests.sdk.hosted import Hosted, handler


def invoking(
    config: InvokeConfig[Any, Any] | None = None, payload: Any = None, target: str = "other"
) -> Hosted:
    def body(_: Any, context: DurableContext) -> Any:
        try:
            result = context.invoke(target, payload or {"p": 1}, "call", config)
        except InvokeError as error:
            result = [error.message, error.error_type, str(error.__cause__)]
        context.wait(Duration(5))
        return result

    return Hosted(handler(body), targets=["other"])


def test_it_starts_durably_and_suspends_until_the_other_has_ended() -> None:
    host = invoking(InvokeConfig(tenant_id="acme"))
    assert host.run() == Pending()
    ((update,),) = host.calls
    assert (update.action, update.sub_type, update.name) == (
        OperationAction.START,
        "ChainedInvoke",
        "call",
    )
    assert (update.function, update.payload, update.tenant_id) == ("other", '{"p": 1}', "acme")
    host.end_invoke("SUCCEEDED", '{"echo": [1]}')
    assert host.finish() == Succeeded('{"echo": [1]}')


@pytest.mark.parametrize(
    "target",
    [
        "other:$LATEST",
        "function:other",
        "arn:perdure:lambda:default:000000000000:function:other",
        "arn:aws:lambda:eu-west-1:123456789012:function:other:$LATEST",
    ],
)
def test_the_other_is_named_qualified_or_by_an_arn_as_well(target: str) -> None:
    host = invoking(target=target)
    assert host.run() == Pending()
    ((update,),) = host.calls
    assert update.function == "other"


@pytest.mark.parametrize("version", ["7", "live", "$LATEST.PUBLISHED"])
def test_a_version_that_there_is_none_of_fails_as_an_operation(version: str) -> None:
    host = invoking(target=f"arn:aws:lambda:eu-west-1:123456789012:function:other:{version}")
    host.run()
    assert host.calls[0][0].function == f"other:{version}"
    outcome = host.finish()
    assert isinstance(outcome, Succeeded)
    assert "ResourceNotFoundException" in (outcome.result or "")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("other:7:8", "malformed function name 'other:7:8'"),
        ("a b", "malformed function name 'a b'"),
        ("arn:perdure:lambda:elsewhere:000000000000:function:other", "in the namespace 'default'"),
    ],
)
def test_a_name_that_can_be_no_functions_is_refused_before_anything_is_recorded(
    target: str, problem: str
) -> None:
    host = invoking(target=target)
    outcome = host.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.ValidationError"
    assert problem in (outcome.error.message or "")
    assert host.calls == []


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "STOPPED"])
def test_every_other_end_is_an_invoke_error(
    status: Literal["FAILED", "TIMED_OUT", "STOPPED"],
) -> None:
    host = invoking()
    host.run()
    host.end_invoke(status, error=ErrorObject("no", "Trouble"))
    assert host.finish() == Succeeded('["no", "Trouble", "no"]')


def test_a_missing_function_is_reported_at_once() -> None:
    host = invoking()
    host.targets = {}
    outcome: Outcome = host.finish()
    assert outcome == Succeeded(
        '["Function not found: other", "ResourceNotFoundException", "Function not found: other"]'
    )
    assert len(host.outcomes) == 2


def test_payload_and_result_are_written_as_configured() -> None:
    config = InvokeConfig[Any, Any](ExtendedTypeSerDes(), ExtendedTypeSerDes())
    host = invoking(config, (1, 2))
    host.run()
    assert host.calls[0][0].payload == '{"t":"t","v":[{"t":"i","v":1},{"t":"i","v":2}]}'
    host.end_invoke("SUCCEEDED", '{"t":"t","v":[{"t":"i","v":3}]}')
    assert host.finish() == Succeeded("[3]")


def test_a_function_that_returned_nothing_returns_none() -> None:
    host = invoking()
    host.run()
    host.end_invoke("SUCCEEDED")
    assert host.finish() == Succeeded("null")


@pytest.mark.parametrize(
    ("size", "fits"), [(PAYLOAD_BYTES_MAX, True), (PAYLOAD_BYTES_MAX + 1, False)]
)
def test_an_input_above_the_bound_fails_the_execution_before_anything_is_recorded(
    size: int, fits: bool
) -> None:
    config = InvokeConfig[Any, Any](serdes_payload=PassThroughSerDes())
    host = invoking(config, payload="x" * size)
    outcome = host.run()
    if fits:
        assert outcome == Pending()
    else:
        assert isinstance(outcome, Failed)
        assert outcome.error.message == (
            "The input of CHAINED_INVOKE (ChainedInvoke) 'call' is 67,108,865 bytes;"
            " at most 67,108,864 can be recorded."
        )
        assert host.calls == []
