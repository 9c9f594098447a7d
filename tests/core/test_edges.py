"""State machines: every event is offered in every status; only the edges may be taken."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from perdure_core import operations
from perdure_core.commands import (
    AlarmDue,
    Checkpoint,
    ChildEnded,
    Command,
    Complete,
    CompleteCallback,
    CompletionStatus,
    Delete,
    HandBack,
    HeartbeatCallback,
    Pause,
    Resume,
    Stop,
)
from perdure_core.events import (
    AnyOperationEvent,
    CallbackFailed,
    CallbackHeartbeat,
    CallbackStarted,
    CallbackSucceeded,
    CallbackTimedOut,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ContextFailed,
    ContextStarted,
    ContextSucceeded,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepStarted,
    StepSucceeded,
    Subject,
    WaitCancelled,
    WaitStarted,
    WaitSucceeded,
)
from perdure_core.execution import decide
from perdure_core.identity import ExecutionIdentity
from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ErrorObject,
    ExecutionStatus,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
    WaitDetails,
)
from perdure_core.operations import callback, chained_invoke, context, step, wait
from perdure_core.refusals import (
    CallbackExpired,
    Ended,
    Invalid,
    NotEnded,
    Refused,
    StaleToken,
)
from perdure_core.state import Dispatch
from tests.core.scene import Scene, snapshot, update

ID = "the-operation"
SUBJECT = Subject(ID)
ERROR = ErrorObject("boom", "ValueError")
CHILD = ExecutionIdentity("default", "child", "n", "f" * 32)

Status = OperationStatus | None
STATUSES: list[Status] = [None, *OperationStatus]
Decide = Callable[[Operation | None, OperationUpdate], object]


class Machine(msgspec.Struct, frozen=True):
    """A machine as the walk needs it: its table, and one example of each update to offer."""

    kind: OperationType
    edges: Mapping[Any, OperationStatus]
    edge_of: Callable[[Any], object]
    details: Callable[[], Details]
    decide: Decide
    offers: Mapping[OperationAction | str, AnyOperationEvent]
    events: tuple[AnyOperationEvent, ...]
    ignored: frozenset[tuple[Status, str]] = frozenset()


STEP = Machine(
    kind=OperationType.STEP,
    edges=step.EDGES,
    edge_of=step.edge_of,
    details=StepDetails,
    decide=lambda operation, offer: step.decide_update(operation, offer, SUBJECT),
    offers={
        OperationAction.START: StepStarted(SUBJECT),
        OperationAction.SUCCEED: StepSucceeded(SUBJECT, 1, "1"),
        OperationAction.FAIL: StepFailed(SUBJECT, 1, ERROR),
        "RETRY after an error": StepFailed(SUBJECT, 1, ERROR, 1_000),
        "RETRY of a poll": StepSucceeded(SUBJECT, 1, "1", 1_000),
        OperationAction.HEARTBEAT: StepHeartbeat(SUBJECT, "1"),
    },
    events=(StepReady(SUBJECT),),
)
WAIT = Machine(
    kind=OperationType.WAIT,
    edges=wait.EDGES,
    edge_of=type,
    details=lambda: WaitDetails(1_000, 2_000),
    decide=lambda operation, offer: wait.decide_update(operation, offer, SUBJECT, 1_000),
    offers={
        OperationAction.START: WaitStarted(SUBJECT, 1_000, 2_000),
        OperationAction.CANCEL: WaitCancelled(SUBJECT),
    },
    events=(WaitSucceeded(SUBJECT, 1_000),),
    ignored=frozenset(
        {(OperationStatus.SUCCEEDED, "CANCEL"), (OperationStatus.CANCELLED, "CANCEL")}
    ),
)
CONTEXT = Machine(
    kind=OperationType.CONTEXT,
    edges=context.EDGES,
    edge_of=type,
    details=ContextDetails,
    decide=lambda operation, offer: context.decide_update(operation, offer, SUBJECT),
    offers={
        OperationAction.START: ContextStarted(SUBJECT),
        OperationAction.SUCCEED: ContextSucceeded(SUBJECT, "1"),
        OperationAction.FAIL: ContextFailed(SUBJECT, ERROR),
    },
    events=(),
)
CALLBACK = Machine(
    kind=OperationType.CALLBACK,
    edges=callback.EDGES,
    edge_of=type,
    details=lambda: CallbackDetails("cb", timeout_s=9, heartbeat_timeout_s=3),
    decide=lambda operation, offer: callback.decide_update(operation, offer, SUBJECT, "cb"),
    offers={OperationAction.START: CallbackStarted(SUBJECT, "cb")},
    events=(
        CallbackHeartbeat(SUBJECT),
        CallbackSucceeded(SUBJECT, "1"),
        CallbackFailed(SUBJECT, ERROR),
        CallbackTimedOut(SUBJECT, ERROR),
    ),
)
CHAINED_INVOKE = Machine(
    kind=OperationType.CHAINED_INVOKE,
    edges=chained_invoke.EDGES,
    edge_of=type,
    details=lambda: ChainedInvokeDetails("child", "arn"),
    decide=lambda operation, offer: chained_invoke.decide_update(operation, offer, SUBJECT, CHILD)[
        0
    ],
    offers={OperationAction.START: ChainedInvokeStarted(SUBJECT, "child")},
    events=(
        ChainedInvokeSucceeded(SUBJECT, "1"),
        ChainedInvokeFailed(SUBJECT, ERROR),
        ChainedInvokeTimedOut(SUBJECT, ERROR),
        ChainedInvokeStopped(SUBJECT, ERROR),
    ),
)
MACHINES = {machine.kind: machine for machine in (STEP, WAIT, CONTEXT, CALLBACK, CHAINED_INVOKE)}


def an_operation(machine: Machine, status: Status) -> Operation | None:
    if status is None:
        return None
    return Operation(
        id=ID, type=machine.kind, status=status, started_ms=1_000, details=machine.details()
    )


def an_update(machine: Machine, offer: str) -> OperationUpdate:
    action = offer.split(maxsplit=1)[0]
    fields: dict[str, Any] = {}
    if action in ("FAIL", "RETRY") and offer != "RETRY of a poll":
        fields["error"] = ERROR
    elif action in ("SUCCEED", "RETRY", "HEARTBEAT"):
        fields["payload"] = "1"
    return update(machine.kind, action, ID, **fields)


WALK = [
    pytest.param(machine, status, str(offer), id=f"{machine.kind}-{status}-{offer}")
    for machine in MACHINES.values()
    for status in STATUSES
    for offer in (*machine.offers, *(a for a in OperationAction if a not in machine.offers))
    if (machine, offer) != (STEP, OperationAction.RETRY)  # offered in both of its forms
]


@pytest.mark.parametrize(("machine", "status", "offer"), WALK)
def test_an_action_is_accepted_exactly_where_there_is_an_edge(
    machine: Machine, status: Status, offer: str
) -> None:
    operation = an_operation(machine, status)
    expected = machine.offers.get(offer)
    if expected is not None and (status, machine.edge_of(expected)) in machine.edges:
        event = machine.decide(operation, an_update(machine, offer))
        assert type(event) is type(expected)
        assert machine.edge_of(event) == machine.edge_of(expected)
        return
    if (status, offer) in machine.ignored:
        assert machine.decide(operation, an_update(machine, offer)) is None
        return
    with pytest.raises(Invalid) as refused:
        machine.decide(operation, an_update(machine, offer))
    message = str(refused.value)
    assert ID in message
    assert offer.split(maxsplit=1)[0] in message
    # What a type can never do is refused whatever the status, and the status is not to blame.
    assert expected is None or f"it is {status or 'not started'}" in message


@pytest.mark.parametrize(
    ("machine", "status", "event"),
    [
        pytest.param(machine, status, event, id=f"{machine.kind}-{status}-{number}")
        for machine in MACHINES.values()
        for status in STATUSES
        for number, event in enumerate((*machine.offers.values(), *machine.events))
    ],
)
def test_folding_takes_the_edges_and_no_other(
    machine: Machine, status: Status, event: AnyOperationEvent
) -> None:
    operation = an_operation(machine, status)
    after = machine.edges.get((status, machine.edge_of(event)))
    if after is None:
        with pytest.raises(KeyError):
            operations.apply(operation, event, 2_000)
        return
    folded = operations.apply(operation, event, 2_000)
    assert folded.status is after
    assert operation is None or folded is operation
    has_ended = after not in (
        OperationStatus.STARTED,
        OperationStatus.PENDING,
        OperationStatus.READY,
    )
    assert (folded.ended_ms == 2_000) is has_ended


@pytest.mark.parametrize("machine", list(MACHINES.values()), ids=list(MACHINES))
def test_every_edge_of_a_table_can_be_offered(machine: Machine) -> None:
    offered = {machine.edge_of(event) for event in (*machine.offers.values(), *machine.events)}
    assert offered == {edge for _, edge in machine.edges}


@pytest.mark.parametrize("kind", list(MACHINES))
@pytest.mark.parametrize("other", [kind for kind in OperationType if kind != "EXECUTION"])
def test_an_operation_cannot_change_its_type(kind: OperationType, other: OperationType) -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update(kind, "START", ID))
    refused = scene.refusal(scene.call(update(other, "START", ID)))
    assert isinstance(refused, Invalid)
    assert ID in str(refused)
    assert kind in str(refused)


@pytest.mark.parametrize("first", ["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"])
@pytest.mark.parametrize("second", ["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"])
def test_the_first_end_of_a_child_counts(first: Any, second: Any) -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("CHAINED_INVOKE", "START", ID))
    scene.do(ChildEnded(operation_id=ID, status=first))
    assert scene.do(ChildEnded(operation_id=ID, status=second)).record is None
    assert scene.state.operations[ID].status == first


# Executions: in each status there are a wait, a callback and a child open, and a worker that holds
# the turn that was the last before that status.


def running() -> Scene:
    scene = Scene()
    scene.take()
    scene.checkpoint(
        update("WAIT", "START", "w", wait_ms=60_000),
        update("CALLBACK", "START", "cb", timeout_s=600, heartbeat_timeout_s=300),
        update("CHAINED_INVOKE", "START", "inv"),
    )
    return scene


def pausing() -> Scene:
    scene = running()
    scene.pause()
    return scene


def paused() -> Scene:
    scene = pausing()
    token = scene.held()
    scene.complete("PENDING")
    scene.token = token
    return scene


def completed(status: Any) -> Scene:
    scene = running()
    token = scene.held()
    scene.complete(status)
    scene.token = token
    return scene


def timed_out() -> Scene:
    scene = running()
    scene.wait(scene.state.timeout_s * 1_000)
    return scene


def stopped() -> Scene:
    scene = running()
    scene.do(Stop())
    return scene


def deleting() -> Scene:
    scene = stopped()
    scene.do(Delete())
    return scene


SCENES: dict[ExecutionStatus, Callable[[], Scene]] = {
    ExecutionStatus.RUNNING: running,
    ExecutionStatus.PAUSING: pausing,
    ExecutionStatus.PAUSED: paused,
    ExecutionStatus.SUCCEEDED: lambda: completed("SUCCEEDED"),
    ExecutionStatus.FAILED: lambda: completed("FAILED"),
    ExecutionStatus.TIMED_OUT: timed_out,
    ExecutionStatus.STOPPED: stopped,
    ExecutionStatus.DELETING: deleting,
}
OPEN = ("RUNNING", "PAUSING", "PAUSED")

COMMANDS: dict[str, Callable[[Scene], Command]] = {
    "checkpoint": lambda scene: scene.call(),
    # Not the end that `completed` has recorded, so it is no repeat.
    "complete": lambda scene: Complete(token=scene.held(), status=CompletionStatus.ERROR),
    "hand back": lambda scene: HandBack(scene.held()),
    "alarm": lambda scene: AlarmDue(),
    "succeed callback": lambda scene: CompleteCallback(operation_id="cb", succeeded=True),
    "fail callback": lambda scene: CompleteCallback(operation_id="cb", succeeded=False),
    "heartbeat": lambda scene: HeartbeatCallback("cb"),
    "child ended": lambda scene: ChildEnded(operation_id="inv", status="SUCCEEDED"),
    "stop": lambda scene: Stop(),
    "pause": lambda scene: Pause(running=True),
    "resume": lambda scene: Resume(),
    "delete": lambda scene: Delete(),
}

Answer = str | type[Refused]


def answers(*, running: Answer, pausing: Answer, paused: Answer, ended: Answer) -> list[Answer]:
    return [running, pausing, paused, *[ended] * 5]


TURN = answers(running="yes", pausing="yes", paused=StaleToken, ended=StaleToken)
CALLER = answers(running="yes", pausing="yes", paused="yes", ended=Ended)
EXPECTED: dict[str, list[Answer]] = {
    "checkpoint": TURN,
    "complete": TURN,
    "hand back": TURN,
    "alarm": answers(running="yes", pausing="yes", paused="yes", ended="nothing"),
    "succeed callback": CALLER,
    "fail callback": CALLER,
    "heartbeat": CALLER,
    "child ended": answers(running="yes", pausing="yes", paused="yes", ended="nothing"),
    "stop": answers(running="yes", pausing="yes", paused="yes", ended="nothing"),
    "pause": answers(running="yes", pausing="nothing", paused="nothing", ended=Ended),
    "resume": answers(running="nothing", pausing="yes", paused="yes", ended=Ended),
    "delete": answers(running=NotEnded, pausing=NotEnded, paused=NotEnded, ended="yes"),
}
EXPECTED["delete"][-1] = "nothing"
# The callback has timed out with it, which tells more than that the execution has ended.
for what in ("succeed callback", "fail callback", "heartbeat"):
    EXPECTED[what] = [*CALLER]
    EXPECTED[what][list(SCENES).index(ExecutionStatus.TIMED_OUT)] = CallbackExpired


@pytest.mark.parametrize("status", list(SCENES))
@pytest.mark.parametrize("what", list(COMMANDS))
def test_an_execution_answers_each_command_as_its_status_says(
    what: str, status: ExecutionStatus
) -> None:
    scene = SCENES[status]()
    assert scene.state.status is status
    scene.now_ms += 60_000
    expected = EXPECTED[what][list(SCENES).index(status)]
    command = COMMANDS[what](scene)
    if isinstance(expected, str):
        assert (decide(scene.state, command, scene.now_ms).record is None) is (
            expected == "nothing"
        )
        return
    before = snapshot(scene.state)
    refused = scene.refusal(command)
    assert type(refused) is expected
    assert status in str(refused)
    assert snapshot(scene.state) == before


@pytest.mark.parametrize("status", [status for status in SCENES if status not in OPEN])
def test_an_ended_execution_has_nothing_that_could_move_it(status: ExecutionStatus) -> None:
    state = SCENES[status]().state
    assert len(state.alarms) == 0
    assert state.dispatch is Dispatch.IDLE
    assert state.unseen == {}
    assert state.ended_ms is not None


def broken_twice() -> Scene:
    scene = Scene()
    scene.take()
    scene.complete("ERROR")
    token = scene.take()
    scene.complete("ERROR")
    scene.token = token
    return scene


def suspended() -> Scene:
    scene = running()
    token = scene.held()
    scene.complete("PENDING")
    scene.token = token
    return scene


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "PENDING"])
@pytest.mark.parametrize(
    ("dispatch", "scene_of"), [(Dispatch.IDLE, suspended), (Dispatch.BACKOFF, broken_twice)]
)
def test_no_turn_is_current_unless_an_invocation_is_due(
    dispatch: Dispatch, scene_of: Callable[[], Scene], status: Any
) -> None:
    scene = scene_of()
    assert scene.state.dispatch is dispatch
    guessed = msgspec.structs.replace(
        Complete(token=scene.held(), status=status), token=guess(scene)
    )
    refused = scene.refusal(guessed)
    assert isinstance(refused, StaleToken)
    assert dispatch in str(refused)
    refused = scene.refusal(Checkpoint(token=guessed.token, client_token="c", updates=()))
    assert isinstance(refused, StaleToken)


def guess(scene: Scene) -> Any:
    """Return the token that comes next, which no worker has received yet."""
    token = scene.held()
    return msgspec.structs.replace(token, invocation_id="other", number=scene.state.turn)
