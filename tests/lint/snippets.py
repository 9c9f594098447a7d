"""Handlers in a few lines, so that a test shows only what matters to it."""

from perdure.lint import Finding, check_source

IMPORTS = "from perdure import DurableContext, durable_execution, durable_step, with_retry\n"


def check(source: str) -> list[Finding]:
    """Check a module that has imported the SDK."""
    return check_source(IMPORTS + source, "app.py")


def handler(*lines: str, before: str = "") -> str:
    """Return a module with one handler of these lines."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"{before}\n@durable_execution\ndef order(event, context):\n{body}\n"


def rules(source: str) -> list[str]:
    """Return the rules that a module breaks, in the order of the places."""
    return [each.rule.value for each in check(source)]
