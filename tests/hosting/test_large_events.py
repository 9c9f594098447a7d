"""Large inputs of hosted handlers: a plain handler's execution fails and says why."""

import os
from pathlib import Path

import pytest

from perdure.worker_api import Failed, FunctionSettings, Outcome, Succeeded
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.function import LambdaHost
from perdure_worker.hosting.processes.frames import FRAME_BYTES_MAX
from tests.hosting.opened import INVALID, invocation
from tests.sdk.scripted import Scripted

PLAIN = HostedDefinition(
    settings=FunctionSettings("f"),
    handler="plain_programs.echo",
    folder=str(Path(__file__).with_name("functions")),
    timeout_s=60,
    durable=False,
)


def outcome_of_input(payload: str) -> Outcome:
    with LambdaHost([PLAIN], slots=1, environment=os.environ, write=lambda _: None) as hosting:
        return hosting.run(PLAIN, invocation(payload=payload), Scripted())


def test_an_input_within_the_bound_reaches_the_handler() -> None:
    outcome = outcome_of_input('{"a": 2}')
    assert isinstance(outcome, Succeeded)
    assert outcome.result is not None
    assert outcome.result.startswith('{"event": {"a": 2}')


@pytest.mark.parametrize("bytes_", [6_291_457, FRAME_BYTES_MAX + 1])
def test_an_input_beyond_it_fails_the_execution(bytes_: int) -> None:
    outcome = outcome_of_input(f'"{"x" * (bytes_ - 2)}"')
    assert isinstance(outcome, Failed)
    assert outcome.error.type == INVALID
    assert outcome.error.message == (
        f"The input is {bytes_:,} bytes; at most 6,291,456 are allowed."
    )
