"""The one handler that runs all programs: the event names the program."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import batch_programs
import callback_programs
import invoke_programs
import step_programs
from aws_durable_execution_sdk_python import DurableContext, durable_execution

PROGRAMS: Final[dict[str, Callable[[Any, DurableContext], Any]]] = {
    name: program
    for module in (batch_programs, callback_programs, invoke_programs, step_programs)
    for name, program in vars(module).items()
    if callable(program) and getattr(program, "__module__", None) == module.__name__
}


@durable_execution
def program(event: Any, context: DurableContext) -> Any:
    return PROGRAMS[event["program"]](event, context)


def sdk_version(event: Any, context: Any) -> str:
    return version("aws-durable-execution-sdk-python")
