"""Chained invokes of functions that succeed, fail, are plain, or do not exist."""

from typing import Any

from perdure import (
    AsyncDurableContext,
    DurableContext,
    DurableFunction,
    InvokeError,
    PlainContext,
    PlainFunction,
    StepContext,
    durable_execution,
    plain_function,
)
from tests.conformance.scenario import End, scenario


@durable_execution(name="modes-doubled")
async def doubled(event: int, context: AsyncDurableContext) -> int:
    """Double a number in a step."""

    def double(_: StepContext) -> int:
        return 2 * event

    return await context.step(double, "double")


@durable_execution(name="modes-refusing")
def refusing(event: Any, _context: DurableContext) -> None:
    """Fail."""
    raise ValueError(f"not {event}")


@plain_function(name="modes-plain")
def plain(event: Any, _context: PlainContext) -> Any:
    """Return at once."""
    return {"got": event}


TARGETS: dict[str, DurableFunction | PlainFunction] = {
    function.settings.name: function for function in (doubled, refusing, plain)
}


@scenario(
    End.succeeded([42, 84]),
    """
    1 ChainedInvokeStarted 'once' · of modes-doubled · given 21
    1 ChainedInvokeSucceeded 'once' · = 42
    2 ChainedInvokeStarted 'twice' · of modes-doubled · given 42
    2 ChainedInvokeSucceeded 'twice' · = 84
    """,
)
async def invoke_succeeds(context: AsyncDurableContext) -> list[int]:
    once: int = await context.invoke("modes-doubled", 21, "once")
    return [once, await context.invoke("modes-doubled", once, "twice")]


@scenario(
    End.succeeded("not today"),
    """
    1 ChainedInvokeStarted 'refused' · of modes-refusing · given "today"
    1 ChainedInvokeFailed 'refused' · ValueError: not today
    """,
)
async def invoke_fails(context: AsyncDurableContext) -> object:
    try:
        return await context.invoke("modes-refusing", "today", "refused")
    except InvokeError as error:
        return error.message


@scenario(
    End.succeeded({"got": ["all", "of", "it"]}),
    """
    1 ChainedInvokeStarted · of modes-plain · given ["all", "of", "it"]
    1 ChainedInvokeSucceeded · = {"got": ["all", "of", "it"]}
    """,
)
async def invoke_of_a_plain_function_succeeds(context: AsyncDurableContext) -> object:
    return await context.invoke("modes-plain", ["all", "of", "it"])


@scenario(
    End.succeeded(True),
    """
    1 ChainedInvokeStarted 'missing' · of modes-missing · given null
    1 ChainedInvokeFailed 'missing' · ResourceNotFoundException: Function not found: modes-missing
    """,
)
async def invoke_of_nothing_fails(context: AsyncDurableContext) -> object:
    try:
        return await context.invoke("modes-missing", None, "missing")
    except InvokeError as error:
        return "modes-missing" in str(error)
