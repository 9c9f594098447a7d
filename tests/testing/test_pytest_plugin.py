"""The pytest plugin, tried on test suites like those of users."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

# Whether the plugin is found by its entry point depends on when perdure was installed.
PLUGIN = ("-p", "no:perdure", "-p", "perdure.testing.pytest_plugin", "-p", "no:cacheprovider")

SUITE = """
import pytest
from perdure.config import Duration

entered = []

def handler(event, context):
    entered.append(1)
    first = context.step(lambda _: event["number"], name="first")
    context.wait(Duration(60), name="rest")
    return first + context.step(lambda _: 1, name="second")
"""


def run(pytester: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(SUITE + tests)
    return pytester.runpytest_inprocess(*PLUGIN, "--strict-markers", *arguments)


def test_the_fixture_makes_runners(pytester: pytest.Pytester) -> None:
    tests = """
def test_it(durable_runner):
    assert durable_runner(handler).run({"number": 1}).value == 2
    assert len(entered) == 2
"""
    run(pytester, tests).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("decorator", "arguments"),
    [("", ["--perdure-always-replay"]), ("@pytest.mark.perdure_always_replay", [])],
)
def test_the_option_and_the_marker_replay_after_every_checkpoint(
    pytester: pytest.Pytester, decorator: str, arguments: list[str]
) -> None:
    tests = f"""
{decorator}
def test_it(durable_runner):
    assert durable_runner(handler).run({{"number": 1}}).value == 2
    assert len(entered) == 5
"""
    run(pytester, tests, *arguments).assert_outcomes(passed=1)


def test_a_failing_test_tells_what_its_executions_did(pytester: pytest.Pytester) -> None:
    tests = """
def test_it(durable_runner):
    assert durable_runner(handler).run({"number": 1}).value == 3
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*durable executions*",
            "*SUCCEEDED",
            "*+0 ms*StepSucceeded*first*= 1",
            "*+1 min 00 s*second*",
        ]
    )


def test_a_passing_test_tells_nothing(pytester: pytest.Pytester) -> None:
    tests = """
def test_it(durable_runner):
    durable_runner(handler).run({"number": 1})
"""
    result = run(pytester, tests, "-rA")
    result.stdout.no_fnmatch_line("*durable executions*")


def test_the_kit_needs_neither_pytest_nor_a_server() -> None:
    code = (
        "import sys, perdure.testing;"
        "heavy = {'pytest', '_pytest', 'grpc', 'google', 'sqlalchemy', 'rich', 'typer'};"
        "sys.exit(bool(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
