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


@durable_execution(name="ways-doubled")
async def doubled(event: int, context: AsyncDurableContext) -> int:
    """Double a number in a step."""

    def double(_: StepContext) -> int:
        return 2 * event

    return await context.step(double, "double")


@durable_execution(name="ways-refusing")
def refusing(event: Any, _context: DurableContext) -> None:
    """Fail."""
    raise ValueError(f"not {event}")


@plain_function(name="ways-plain")
def plain(event: Any, _context: PlainContext) -> Any:
    """Return at once."""
    return {"got": event}


TARGETS: dict[str, DurableFunction | PlainFunction] = {
    function.settings.name: function for function in (doubled, refusing, plain)
}


@scenario(
    End.succeeded([42, 84]),
    """
    1 ChainedInvokeStarted 'once' · of ways-doubled · given 21
    1 ChainedInvokeSucceeded 'once' · = 42
    2 ChainedInvokeStarted 'twice' · of ways-doubled · given 42
    2 ChainedInvokeSucceeded 'twice' · = 84
    """,
)
async def invoke_succeeds(context: AsyncDurableContext) -> list[int]:
    once: int = await context.invoke("ways-doubled", 21, "once")
    return [once, await context.invoke("ways-doubled", once, "twice")]


@scenario(
    End.succeeded("not today"),
    """
    1 ChainedInvokeStarted 'refused' · of ways-refusing · given "today"
    1 ChainedInvokeFailed 'refused' · ValueError: not today
    """,
)
async def invoke_fails(context: AsyncDurableContext) -> object:
    try:
        return await context.invoke("ways-refusing", "today", "refused")
    except InvokeError as error:
        return error.message


@scenario(
    End.succeeded({"got": ["all", "of", "it"]}),
    """
    1 ChainedInvokeStarted · of ways-plain · given ["all", "of", "it"]
    1 ChainedInvokeSucceeded · = {"got": ["all", "of", "it"]}
    """,
)
async def invoke_of_a_plain_function_succeeds(context: AsyncDurableContext) -> object:
    return await context.invoke("ways-plain", ["all", "of", "it"])


@scenario(
    End.succeeded(True),
    """
    1 ChainedInvokeStarted 'missing' · of ways-missing · given null
    1 ChainedInvokeFailed 'missing' · ResourceNotFoundException: Function not found: ways-missing
    """,
)
async def invoke_of_nothing_fails(context: AsyncDurableContext) -> object:
    try:
        return await context.invoke("ways-missing", None, "missing")
    except InvokeError as error:
        return "ways-missing" in str(error)
