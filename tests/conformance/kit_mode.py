"""Kit mode: in the public testing kit, on its virtual clock."""

from perdure import DurableFunction
from perdure.testing import Crash, DurableFunctionTestResult, DurableFunctionTestRunner
from perdure_core.model import ErrorObject
from tests.conformance.run import Run
from tests.conformance.scenario import Act, Answer, End, Heartbeat, Refusal, Scenario
from tests.conformance.scenarios.invokes import TARGETS


def run_in_kit(
    scenario: Scenario, function: DurableFunction, *crashes: Crash, always_replay: bool = False
) -> Run:
    """Run a scenario to its end, losing the worker at each of `crashes`."""
    with DurableFunctionTestRunner(
        function, crash_at=crashes, always_replay=always_replay
    ) as runner:
        for name, target in TARGETS.items():
            if isinstance(target, DurableFunction):
                runner.register_durable_function(name, target)
            else:
                runner.register_function(name, target)
        arn = runner.run_async()
        for act in scenario.acts:
            _perform(runner, act, runner.wait_for_callback(arn, act.callback))
        result = runner.wait_for_result(arn)
        return Run(_end(result), result.history, runner.checkpoints_of(arn))


def _perform(runner: DurableFunctionTestRunner, act: Act, callback_id: str) -> None:
    match act:
        case Answer():
            runner.send_callback_success(callback_id, act.result)
        case Refusal():
            error = ErrorObject(act.message, act.error_type)
            runner.send_callback_failure(callback_id, error)
        case Heartbeat():
            runner.send_callback_heartbeat(callback_id)


def _end(result: DurableFunctionTestResult) -> End:
    if result.error is not None:
        text = f"{result.error.type}: {result.error.message}"
        return End(str(result.execution_status), text)
    return End(str(result.execution_status), result.result)
