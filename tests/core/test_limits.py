"""Limits of the core: exactly at the limit is accepted, one beyond is refused by name."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure_core import limits
from perdure_core.commands import (
    CompleteCallback,
    Pause,
    Resume,
    Stop,
)
from perdure_core.completion import backoff_ms
from perdure_core.execution import begin
from perdure_core.model import ErrorObject, OperationUpdate
from perdure_core.refusals import Invalid
from tests.core.scene import ORDER, Scene, update

PROBE = "x"
# A letter that is two bytes long.
WIDE = "é"


def started(**fields: Any) -> object:
    return begin(msgspec.structs.replace(ORDER, **fields), 0)


def checkpointed(*updates: OperationUpdate) -> object:
    scene = Scene()
    scene.take()
    return scene.checkpoint(*updates)


def identified(client_token: str) -> object:
    scene = Scene()
    scene.take()
    return scene.do(msgspec.structs.replace(scene.call(), client_token=client_token))


def with_callback(command: Any) -> object:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("CALLBACK", "START", "cb"))
    return scene.do(command)


def wide(size: int) -> str:
    """Return a text of so many bytes, most of its letters two bytes long."""
    return WIDE * (size // 2) + PROBE * (size % 2)


def batch_of(size: int) -> list[OperationUpdate]:
    """Return steps whose payloads have so many bytes in all."""
    full, rest = divmod(size, limits.PAYLOAD_BYTES_MAX)
    sizes = [limits.PAYLOAD_BYTES_MAX] * full + ([rest] if rest else [])
    return [
        update("STEP", "SUCCEED", f"s{number}", payload=PROBE * size)
        for number, size in enumerate(sizes)
    ]


MEBIBYTE = 1_048_576

Attempt = Callable[[int], object]

# What is tried at its bound, and how its refusal names the thing.
BOUNDS: list[tuple[str, int, Attempt, str]] = [
    (
        "NAMESPACE_CHARS_MAX",
        limits.NAMESPACE_CHARS_MAX,
        lambda n: started(namespace=PROBE * n),
        "namespace",
    ),
    (
        "FUNCTION_NAME_CHARS_MAX",
        limits.FUNCTION_NAME_CHARS_MAX,
        lambda n: started(function=PROBE * n),
        "function name",
    ),
    (
        "FUNCTION_NAME_CHARS_MAX of a chained invoke",
        limits.FUNCTION_NAME_CHARS_MAX,
        lambda n: checkpointed(update("CHAINED_INVOKE", "START", "inv", function=PROBE * n)),
        "function name in START of CHAINED_INVOKE 'inv'",
    ),
    (
        "FUNCTION_VERSION_CHARS_MAX",
        limits.FUNCTION_VERSION_CHARS_MAX,
        lambda n: checkpointed(update("CHAINED_INVOKE", "START", "inv", function=f"f:{PROBE * n}")),
        "version in START of CHAINED_INVOKE 'inv'",
    ),
    (
        "EXECUTION_NAME_CHARS_MAX",
        limits.EXECUTION_NAME_CHARS_MAX,
        lambda n: started(name=PROBE * n),
        "execution name",
    ),
    (
        "OPERATION_ID_CHARS_MAX",
        limits.OPERATION_ID_CHARS_MAX,
        lambda n: checkpointed(update("STEP", "START", PROBE * n)),
        "operation id",
    ),
    (
        "OPERATION_NAME_CHARS_MAX",
        limits.OPERATION_NAME_CHARS_MAX,
        lambda n: checkpointed(update("STEP", "START", "s", name=" " * n)),
        "of operation 's'",
    ),
    (
        "SUB_TYPE_CHARS_MAX",
        limits.SUB_TYPE_CHARS_MAX,
        lambda n: checkpointed(update("STEP", "START", "s", sub_type=PROBE * n)),
        "sub-type of operation 's'",
    ),
    (
        "CLIENT_TOKEN_CHARS_MAX",
        limits.CLIENT_TOKEN_CHARS_MAX,
        lambda n: identified(PROBE * n),
        "client token",
    ),
    (
        "REASON_CHARS_MAX of a pause",
        limits.REASON_CHARS_MAX,
        lambda n: Scene().do(Pause(running=False, reason=WIDE * n)),
        "reason",
    ),
    (
        "REASON_CHARS_MAX of a resumption",
        limits.REASON_CHARS_MAX,
        lambda n: Scene().do(Resume(WIDE * n)),
        "reason",
    ),
    (
        "TENANT_ID_CHARS_MAX",
        limits.TENANT_ID_CHARS_MAX,
        lambda n: started(tenant_id=PROBE * n),
        "tenant id",
    ),
    (
        "TENANT_ID_CHARS_MAX of a chained invoke",
        limits.TENANT_ID_CHARS_MAX,
        lambda n: checkpointed(update("CHAINED_INVOKE", "START", "inv", tenant_id=PROBE * n)),
        "tenant id in START of CHAINED_INVOKE 'inv'",
    ),
    (
        "TRACE_HEADER_CHARS_MAX",
        limits.TRACE_HEADER_CHARS_MAX,
        lambda n: started(trace_header=PROBE * n),
        "trace header",
    ),
    (
        "CLIENT_CONTEXT_CHARS_MAX",
        limits.CLIENT_CONTEXT_CHARS_MAX,
        lambda n: started(client_context=PROBE * n),
        "client context",
    ),
    (
        "TRACE_HEADER_CHARS_MAX of a chained invoke",
        limits.TRACE_HEADER_CHARS_MAX,
        lambda n: checkpointed(update("CHAINED_INVOKE", "START", "inv", trace_header=PROBE * n)),
        "trace header in START of CHAINED_INVOKE 'inv'",
    ),
    (
        "PAYLOAD_BYTES_MAX of an input",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: started(input=wide(n)),
        "input",
    ),
    (
        "PAYLOAD_BYTES_MAX of an outcome",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: checkpointed(update("EXECUTION", "SUCCEED", "e", payload=wide(n))),
        "payload in SUCCEED of EXECUTION 'e'",
    ),
    (
        "PAYLOAD_BYTES_MAX of a step",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: checkpointed(update("STEP", "SUCCEED", "s", payload=wide(n))),
        "payload in SUCCEED of STEP 's'",
    ),
    (
        "PAYLOAD_BYTES_MAX of a poll",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: checkpointed(update("STEP", "RETRY", "s", payload=PROBE * n)),
        "payload in RETRY of STEP 's'",
    ),
    (
        "PAYLOAD_BYTES_MAX of a context",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: checkpointed(update("CONTEXT", "SUCCEED", "c", payload=PROBE * n)),
        "payload in SUCCEED of CONTEXT 'c'",
    ),
    (
        "PAYLOAD_BYTES_MAX of a chained input",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: checkpointed(update("CHAINED_INVOKE", "START", "inv", payload=PROBE * n)),
        "payload in START of CHAINED_INVOKE 'inv'",
    ),
    (
        "PAYLOAD_BYTES_MAX of a callback",
        limits.PAYLOAD_BYTES_MAX,
        lambda n: with_callback(
            CompleteCallback(operation_id="cb", succeeded=True, result=wide(n))
        ),
        "callback result",
    ),
    (
        "ERROR_BYTES_MAX of a step",
        limits.ERROR_BYTES_MAX,
        lambda n: checkpointed(update("STEP", "FAIL", "s", error=ErrorObject(wide(n - 3), "abc"))),
        "error in FAIL of STEP 's'",
    ),
    (
        "ERROR_BYTES_MAX of a callback",
        limits.ERROR_BYTES_MAX,
        lambda n: with_callback(
            CompleteCallback(operation_id="cb", succeeded=False, error=ErrorObject(data=PROBE * n))
        ),
        "callback error",
    ),
    (
        "ERROR_BYTES_MAX of a stop",
        limits.ERROR_BYTES_MAX,
        lambda n: Scene().do(Stop(ErrorObject(stack_trace=(PROBE * (n - 1), PROBE)))),
        "stop error",
    ),
    (
        "CHECKPOINT_UPDATES_MAX",
        limits.CHECKPOINT_UPDATES_MAX,
        lambda n: checkpointed(*[update("STEP", "START", f"s{number}") for number in range(n)]),
        "a checkpoint of",
    ),
    (
        "CHECKPOINT_BYTES_MAX",
        limits.CHECKPOINT_BYTES_MAX,
        lambda n: checkpointed(*batch_of(n)),
        "a checkpoint of",
    ),
    (
        "EXECUTION_TIMEOUT_S_MAX",
        limits.EXECUTION_TIMEOUT_S_MAX,
        lambda n: started(timeout_s=n),
        "execution timeout",
    ),
    (
        "RETENTION_DAYS_MAX",
        limits.RETENTION_DAYS_MAX,
        lambda n: started(retention_days=n),
        "retention",
    ),
    (
        "WAIT_MS_MAX of a wait",
        limits.WAIT_MS_MAX,
        lambda n: checkpointed(update("WAIT", "START", "w", wait_ms=n)),
        "wait duration in START of WAIT 'w'",
    ),
    (
        "WAIT_MS_MAX of a retry",
        limits.WAIT_MS_MAX,
        lambda n: checkpointed(update("STEP", "RETRY", "s", next_attempt_delay_ms=n)),
        "next attempt delay in RETRY of STEP 's'",
    ),
    (
        "WAIT_MS_MAX of a body",
        limits.WAIT_MS_MAX,
        lambda n: checkpointed(update("STEP", "SUCCEED", "s", duration_ms=n)),
        "duration in SUCCEED of STEP 's'",
    ),
    (
        "CALLBACK_TIMEOUT_S_MAX",
        limits.CALLBACK_TIMEOUT_S_MAX,
        lambda n: checkpointed(update("CALLBACK", "START", "cb", timeout_s=n)),
        "timeout in START of CALLBACK 'cb'",
    ),
    (
        "CALLBACK_TIMEOUT_S_MAX of heartbeats",
        limits.CALLBACK_TIMEOUT_S_MAX,
        lambda n: checkpointed(update("CALLBACK", "START", "cb", heartbeat_timeout_s=n)),
        "heartbeat timeout in START of CALLBACK 'cb'",
    ),
]


@pytest.mark.parametrize(
    ("bound", "attempt", "thing"),
    [pytest.param(bound, attempt, thing, id=name) for name, bound, attempt, thing in BOUNDS],
)
def test_a_bound_may_be_reached_and_not_passed(bound: int, attempt: Attempt, thing: str) -> None:
    attempt(bound)
    with pytest.raises(Invalid) as refused:
        attempt(bound + 1)
    message = str(refused.value)
    assert thing in message
    assert str(bound) in message.replace(",", "")
    assert len(message) < 400


TOO_LITTLE: dict[str, Callable[[], object]] = {
    "execution timeout": lambda: started(timeout_s=0),
    "retention": lambda: started(retention_days=0),
    "function name": lambda: started(function=""),
    "execution name": lambda: started(name=""),
    "namespace": lambda: started(namespace=""),
    "tenant id": lambda: started(tenant_id=""),
    "trace header": lambda: started(trace_header=""),
    "client context": lambda: started(client_context=""),
    "client token": lambda: identified(""),
    "operation id": lambda: checkpointed(update("STEP", "START", "")),
    "name": lambda: checkpointed(update("STEP", "START", "s", name="")),
    "sub-type": lambda: checkpointed(update("STEP", "START", "s", sub_type="")),
    "parent id": lambda: checkpointed(update("STEP", "START", "s", parent_id="")),
    "wait duration": lambda: checkpointed(update("WAIT", "START", "w", wait_ms=0)),
    "next attempt delay": lambda: checkpointed(
        update("STEP", "RETRY", "s", next_attempt_delay_ms=0)
    ),
    "duration": lambda: checkpointed(update("STEP", "FAIL", "s", duration_ms=-1)),
    "timeout": lambda: checkpointed(update("CALLBACK", "START", "cb", timeout_s=-1)),
    "heartbeat timeout": lambda: checkpointed(
        update("CALLBACK", "START", "cb", heartbeat_timeout_s=-1)
    ),
}


@pytest.mark.parametrize("thing", list(TOO_LITTLE))
def test_too_little_is_refused_by_name(thing: str) -> None:
    with pytest.raises(Invalid, match=thing):
        TOO_LITTLE[thing]()


ILL_FORMED: dict[str, Callable[[], object]] = {
    "execution name": lambda: started(name="order 7"),
    "function name": lambda: started(function="órder"),
    "namespace": lambda: started(namespace="Default"),
    "client token": lambda: identified("a b"),
    "operation id": lambda: checkpointed(update("STEP", "START", "a.b")),
    "parent id": lambda: checkpointed(update("STEP", "START", "s", parent_id="a.b")),
    "sub-type": lambda: checkpointed(update("STEP", "START", "s", sub_type="a b")),
    "name": lambda: checkpointed(update("STEP", "START", "s", name="a\tb")),
}


@pytest.mark.parametrize("thing", list(ILL_FORMED))
def test_letters_that_do_not_belong_are_refused_by_name(thing: str) -> None:
    with pytest.raises(Invalid, match=thing):
        ILL_FORMED[thing]()


# Options and outcomes, each where it is not read.
MISPLACED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "delay of a wait": ("WAIT", "START", {"next_attempt_delay_ms": 1}),
    "delay of a success": ("STEP", "SUCCEED", {"next_attempt_delay_ms": 1}),
    "duration of a step": ("STEP", "START", {"wait_ms": 1}),
    "duration of a cancellation": ("WAIT", "CANCEL", {"wait_ms": 1}),
    "body of a start": ("STEP", "START", {"duration_ms": 1}),
    "body of a context": ("CONTEXT", "SUCCEED", {"duration_ms": 1}),
    "timeout of a step": ("STEP", "START", {"timeout_s": 1}),
    "heartbeat of a wait": ("WAIT", "START", {"heartbeat_timeout_s": 1}),
    "function of a step": ("STEP", "START", {"function": "child"}),
    "tenant of a step": ("STEP", "START", {"tenant_id": "blue"}),
    "trace header of a step": ("STEP", "START", {"trace_header": "Root=1"}),
    "children of a step": ("STEP", "SUCCEED", {"replay_children": True}),
    "children of a failure": ("CONTEXT", "FAIL", {"replay_children": True}),
    "error of a success": ("STEP", "SUCCEED", {"error": ErrorObject("boom")}),
    "payload of a failure": ("STEP", "FAIL", {"payload": "1"}),
    "both in a retry": ("STEP", "RETRY", {"payload": "1", "error": ErrorObject("boom")}),
    "no delay": ("STEP", "RETRY", {"next_attempt_delay_ms": None}),
    "no duration": ("WAIT", "START", {"wait_ms": None}),
    "no function": ("CHAINED_INVOKE", "START", {"function": None}),
}


@pytest.mark.parametrize("what", list(MISPLACED))
def test_what_does_not_belong_there_is_refused(what: str) -> None:
    kind, action, fields = MISPLACED[what]
    with pytest.raises(Invalid, match=f"{action} of {kind} 'x'"):
        checkpointed(update(kind, action, "x", **fields))


@pytest.mark.parametrize("kind", ["STEP", "CONTEXT"])
def test_an_id_may_stand_twice_as_start_and_close(kind: str) -> None:
    start, close = update(kind, "START", "x"), update(kind, "SUCCEED", "x")
    checkpointed(start, close)
    for updates in ((start, start), (close, close), (close, start), (start, close, start)):
        with pytest.raises(Invalid, match="operation 'x' appears twice"):
            checkpointed(*updates)


def test_a_wait_may_not_stand_twice() -> None:
    with pytest.raises(Invalid, match="operation 'w' appears twice"):
        checkpointed(update("WAIT", "START", "w"), update("WAIT", "CANCEL", "w"))


def test_a_result_at_the_bound_ends_the_execution_and_one_beyond_fails_it() -> None:
    at_bound, beyond = Scene(), Scene()
    for scene, size in ((at_bound, 0), (beyond, 1)):
        scene.take()
        scene.complete("SUCCEEDED", PROBE * (limits.PAYLOAD_BYTES_MAX + size))
    assert at_bound.state.status == "SUCCEEDED"
    assert beyond.state.error == ErrorObject(
        "The result is 67,108,865 bytes; at most 67,108,864 are allowed.",
        "InvalidParameterValueException",
    )


def test_the_backoff_doubles_up_to_its_bound() -> None:
    delays = [backoff_ms(failures) for failures in range(9)]
    assert delays == [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    assert backoff_ms(10**9) == limits.INVOCATION_BACKOFF_MS_MAX


def test_replaced_alarms_do_not_pile_up() -> None:
    scene = Scene()
    scene.take()
    options = {"timeout_s": limits.CALLBACK_TIMEOUT_S_MAX, "heartbeat_timeout_s": 1_000_000}
    scene.checkpoint(update("CALLBACK", "START", "cb", **options))
    alarms = scene.state.alarms
    for beat in range(1_000):
        alarms.move("cb", 2_000_000 + beat)
    assert len(alarms) == 2
    assert len(alarms._heap) < 100  # pyright: ignore[reportPrivateUsage]
    assert alarms.next_due_ms() == 2_000_999
    assert alarms.due(2_000_999) == ["cb"]


def test_an_execution_holds_as_many_operations_as_its_bound_and_not_one_more() -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("STEP", "START", "s0"))
    (only,) = scene.state.operations.values()
    others = (f"o{number}" for number in range(limits.OPERATIONS_MAX - 3))
    scene.state.operations.update(dict.fromkeys(others, only))
    with pytest.raises(Invalid, match=r"operation 's3' is one too many.*at most 100,000"):
        scene.checkpoint(*(update("STEP", "START", f"s{number}") for number in (1, 2, 3)))
    scene.checkpoint(*(update("STEP", "START", f"s{number}") for number in (1, 2)))
    assert len(scene.state.operations) == limits.OPERATIONS_MAX
    # Those that are there go on.
    scene.checkpoint(update("STEP", "SUCCEED", "s0"))
