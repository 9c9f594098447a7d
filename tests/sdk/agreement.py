"""The ends of executions of the programs with either SDK, as comparable values.

Run as a module it prints those of the published SDK, in its own local runner: that leaves threads
and loops behind, so it has a process of its own.
"""

import json
import logging
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tests.sdk.agreement_programs import PROGRAMS, Program, Sdk

# Their runner polls; so many side by side take little longer than one.
SIDE_BY_SIDE: Final = 8

# Each SDK records its own classes under the name of its own module.
MODULES: Final = re.compile(
    r"(aws_durable_execution_sdk_python\.(concurrency\.models|exceptions)"
    r"|perdure\.(batch_result|exceptions))\."
)
# Ours records where in the user's code an error was raised; the other one records nothing of it.
STACK_TRACES: Final = re.compile(
    r',\\"StackTrace\\":\{\\"t\\":\\"l\\",\\"v\\":\[.*?\]\}(?=\})', re.DOTALL
)


def handler(sdk: Sdk, program: Program) -> Any:
    def body(_: Any, context: Any) -> Any:
        return program(sdk, context)

    return sdk.root.durable_execution(body)


def comparable(result: Any) -> Any:
    """Return the end of an execution, and its record, without the names of modules."""
    described = [result.status.name, result.result, _error(result), _operations(result.operations)]
    return json.loads(STACK_TRACES.sub("", MODULES.sub("", json.dumps(described))))


def _operations(views: Any, *, side_by_side: bool = False) -> list[Any]:
    """Return the records of operations, those inside others below them.

    Branches that run side by side begin in no order of their own.
    """
    facts = [
        [
            *(type(each).__name__, each.sub_type, each.name, each.status.name),
            *(getattr(each, name, None) for name in ("attempt", "result")),
            _error(each),
            _operations(
                getattr(each, "child_operations", ()),
                side_by_side=each.sub_type in {"Map", "Parallel"},
            ),
        ]
        for each in views
    ]
    return sorted(facts, key=json.dumps) if side_by_side else facts


def _error(view: Any) -> list[str | None] | None:
    error = getattr(view, "error", None)
    return error and [error.type, error.message, error.data]


def theirs() -> dict[str, Any]:
    """Return the ends of all programs with the published SDK."""
    from aws_durable_execution_sdk_python_testing import (  # noqa: PLC0415 - here alone
        DurableFunctionTestRunner,
    )

    sdk = Sdk("aws_durable_execution_sdk_python")

    def end(program: Program) -> Any:
        with DurableFunctionTestRunner(handler(sdk, program), poll_interval=0.02) as runner:
            return comparable(runner.run(input="{}", execution_timeout=600))

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return dict(zip(PROGRAMS, pool.map(end, PROGRAMS.values()), strict=True))


if __name__ == "__main__":
    logging.disable()
    json.dump(theirs(), sys.stdout)
