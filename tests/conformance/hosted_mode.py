"""Hosted mode: on the real core in this process, with `tests.sdk.hosted` as service and worker."""

from perdure import DurableFunction
from perdure.testing import ExecutionHistory
from perdure.testing.event_documents import event_documents
from perdure_core import commands
from perdure_core.commands import CompleteCallback
from perdure_core.events import ChainedInvokeStarted
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import ErrorObject, ExecutionStatus, Operation
from perdure_core.payload import text_of
from perdure_core.state import is_open, waiting_for
from tests.conformance.run import Run
from tests.conformance.scenario import Act, Answer, End, Heartbeat, Refusal, Scenario
from tests.conformance.scenarios.invokes import TARGETS
from tests.sdk.hosted import Crash, Hosted


def run_hosted(scenario: Scenario, function: DurableFunction, *crashes: Crash) -> Run:
    """Run a scenario to its end, losing the worker at each of `crashes`."""
    host = Hosted(function, None, crashes, TARGETS, PAYLOAD_BYTES_MAX)
    acts = list(scenario.acts)
    host.run()
    while is_open(host.state):
        moves = waiting_for(host.state)
        callback = _open_callback(host, acts[0].callback) if acts and moves == "callback" else None
        if callback is not None:
            host.command(_command(acts.pop(0), callback))
        elif moves == "child":
            _run_child(host)
        else:
            host.pass_time()
        host.run()
    assert not acts, f"nobody asked for {acts}"
    return Run(_end(host), history_of(host), len(host.calls))


def _open_callback(host: Hosted, name: str) -> str | None:
    callback: Operation = host.open_callback()
    return callback.id if callback.name == name else None


def _command(act: Act, callback: str) -> commands.Command:
    match act:
        case Answer():
            return CompleteCallback(operation_id=callback, succeeded=True, result=act.result)
        case Refusal():
            error = ErrorObject(act.message, act.error_type)
            return CompleteCallback(operation_id=callback, succeeded=False, error=error)
        case Heartbeat():
            return commands.HeartbeatCallback(callback)


def _run_child(host: Hosted) -> None:
    id_ = host.open_invoke().id
    start = next(
        event
        for event in host.events
        if isinstance(event, ChainedInvokeStarted) and event.subject.id == id_
    )
    child = Hosted(TARGETS[start.function], text_of(start.input))
    child.finish()
    succeeded = child.state.status is ExecutionStatus.SUCCEEDED
    host.end_invoke(
        "SUCCEEDED" if succeeded else "FAILED", text_of(child.state.result), child.state.error
    )


def _end(host: Hosted) -> End:
    state = host.state
    if state.error is not None:
        return End(str(state.status), f"{state.error.type}: {state.error.message}")
    return End(str(state.status), text_of(state.result))


def history_of(host: Hosted) -> ExecutionHistory:
    """Return the public history of an execution."""
    return ExecutionHistory(
        execution_arn=host.arn,
        function_name=host.function.settings.name,
        status=host.state.status,
        events=event_documents(host.records),
    )
