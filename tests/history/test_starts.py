"""Starts of executions: names, equal starts, and their answers."""

import asyncio

import pytest

from perdure_core.refusals import Invalid, NameTaken, Unknown
from perdure_host.errors import CommitUnknown, StoreUnavailable
from perdure_host.services import StartAnswer, StartRequest, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker
from tests.history.simulation import Simulation


def request(name: str | None = "n", payload: str | None = "1") -> StartRequest:
    return StartRequest(namespace="default", function="order", name=name, input=payload)


async def test_a_named_start_repeated_runs_once_and_answers_both() -> None:
    async with Simulation() as simulation:
        first = await simulation.history.commands.start(request())
        second = await simulation.history.commands.start(request())
        assert (first.started, second.started) == (True, False)
        assert first.arn == second.arn
        assert len(simulation.rows()) == 1


async def test_equal_starts_at_the_same_moment_run_once_and_answer_all() -> None:
    async with Simulation() as simulation:
        answers = await asyncio.gather(
            *(simulation.history.commands.start(request()) for _ in range(20))
        )
        assert {answer.arn for answer in answers} == {answers[0].arn}
        assert [answer.started for answer in answers].count(True) == 1
        assert len(simulation.rows()) == 1


@pytest.mark.parametrize("payload", ["2", "", None])
async def test_a_start_with_another_input_is_refused(payload: str | None) -> None:
    async with Simulation() as simulation:
        await simulation.history.commands.start(request())
        with pytest.raises(NameTaken):
            await simulation.history.commands.start(request(payload=payload))


EQUAL = {
    "keys in another order": ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1}'),
    "blanks": ('{"a":[1,2]}', ' { "a" : [1, 2] } '),
    "escapes": ('"\\u00fc\\/"', '"ü/"'),
    "another way to write a number": ("[1, 100]", "[1.0, 1e2]"),
    "no input and an empty object": (None, " {}"),
    "blanks and no input": (" ", None),
    "a large value": (f'{{"a": 1, "b": "{"x" * 20_000}"}}', f'{{"b": "{"x" * 20_000}", "a": 1}}'),
    "a text that is no JSON": ("{", "{"),
}
OTHER = {
    "true and 1": ("[true]", "[1]"),
    "null and false": ("null", "false"),
    "null and no input": ("null", ""),
    "a text and a number": ('"1"', "1"),
    "integers that one double stands for": ("9007199254740992", "9007199254740993"),
    "items in another order": ("[1, 2]", "[2, 1]"),
    "a key more": ("{}", '{"a": null}'),
    "texts that are no JSON": ("{", "{ "),
    "NaN": ("NaN", " NaN"),
    "numbers beyond a double": ("1e400", "1e401"),
    "many levels": ("[" * 100_000 + "]" * 100_000, " " + "[" * 100_000 + "]" * 100_000),
    "values of more than 1 MiB": (f'["{"x" * 1_048_576}"]', f'[ "{"x" * 1_048_576}"]'),
}


@pytest.mark.parametrize(("first", "second"), EQUAL.values(), ids=EQUAL)
async def test_starts_of_a_name_are_equal_when_their_values_are(
    first: str | None, second: str | None
) -> None:
    async with Simulation() as simulation:
        started = await simulation.history.commands.start(request(payload=first))
        again = await simulation.history.commands.start(request(payload=second))
        assert again == StartAnswer(started.arn, started=False)


@pytest.mark.parametrize(("first", "second"), OTHER.values(), ids=OTHER)
async def test_starts_of_a_name_with_other_values_are_refused(first: str, second: str) -> None:
    async with Simulation() as simulation:
        await simulation.history.commands.start(request(payload=first))
        with pytest.raises(NameTaken):
            await simulation.history.commands.start(request(payload=second))


async def test_a_caller_who_goes_away_keeps_the_name_until_its_start_is_durable() -> None:
    async with Simulation() as simulation:
        simulation.host.link.gate.clear()
        leaving = asyncio.ensure_future(simulation.history.commands.start(request()))
        await settle()
        leaving.cancel()
        staying = asyncio.ensure_future(simulation.history.commands.start(request()))
        await settle()
        assert not staying.done()
        simulation.host.link.gate.set()
        assert not (await staying).started
        assert len(simulation.rows()) == 1


async def test_names_that_are_asked_for_together_are_read_together() -> None:
    async with Simulation() as simulation:
        taken = await simulation.start("taken")
        assert simulation.host.link.finds == 1
        first = asyncio.ensure_future(simulation.start("first"))
        await asyncio.sleep(0)
        names = ["taken", *(f"n{n}" for n in range(50))]
        answers = await asyncio.gather(*(simulation.start(name) for name in names))
        assert simulation.host.link.finds <= 3
        assert answers[0] == taken
        assert len({await first, *answers}) == len(simulation.rows()) == 52


async def test_names_that_could_not_be_read_are_read_again_when_asked_for() -> None:
    async with Simulation() as simulation:
        simulation.host.link.away = True
        failed = await asyncio.gather(
            *(simulation.start(f"n{n}") for n in range(5)), return_exceptions=True
        )
        assert {type(error) for error in failed} == {StoreUnavailable}
        simulation.host.link.away = False
        assert len({await simulation.start(f"n{n}") for n in range(5)}) == 5


async def test_a_caller_who_goes_away_while_the_name_is_read_leaves_it_free() -> None:
    async with Simulation() as simulation:
        leaving = asyncio.ensure_future(simulation.history.commands.start(request()))
        await asyncio.sleep(0)
        leaving.cancel()
        staying = asyncio.ensure_future(simulation.history.commands.start(request()))
        assert (await staying).started
        assert leaving.cancelled()
        assert len(simulation.rows()) == 1


async def test_an_unnamed_start_reads_nothing_and_never_meets_another() -> None:
    async with Simulation() as simulation:
        first = await simulation.history.commands.start(request(None))
        second = await simulation.history.commands.start(request(None))
        assert first.arn != second.arn
        assert (simulation.host.link.finds, simulation.host.link.loads) == (0, 0)


async def test_a_function_that_no_worker_registered_is_unknown() -> None:
    async with Simulation() as simulation:
        with pytest.raises(Unknown, match="no function 'nobody'"):
            await simulation.start(function="nobody")


async def test_a_malformed_name_is_refused_before_anything_is_read() -> None:
    async with Simulation() as simulation:
        with pytest.raises(Invalid):
            await simulation.start("no blanks")
        assert simulation.host.link.finds == 0


async def test_a_start_is_answered_only_once_durable() -> None:
    async with Simulation() as simulation:
        simulation.host.link.script("refused")
        with pytest.raises(StoreUnavailable):
            await simulation.history.commands.start(request())
        assert simulation.rows() == []
        assert (await simulation.history.commands.start(request())).started


@pytest.mark.parametrize("fate", ["unknown_written", "unknown_lost", "unknown_late"])
async def test_a_start_of_unknown_outcome_happens_once(fate: str) -> None:
    async with Simulation() as simulation:
        before = simulation.history.incarnation
        simulation.host.link.script(fate)  # type: ignore[arg-type]
        with pytest.raises(CommitUnknown):
            await simulation.history.commands.start(request())
        await settle()
        assert simulation.history.incarnation > before
        answer = await simulation.history.commands.start(request())
        assert answer.started is (fate == "unknown_lost")
        assert len(simulation.rows()) == 1


async def test_starts_that_meet_a_commit_of_unknown_outcome_make_one_execution() -> None:
    async with Simulation() as simulation:
        simulation.host.link.script("unknown_late")
        answers = await asyncio.gather(
            *(simulation.history.commands.start(request()) for _ in range(5)),
            return_exceptions=True,
        )
        # Some came after the node had recovered; none of them started it.
        assert isinstance(answers[0], CommitUnknown)
        answered = [answer for answer in answers if isinstance(answer, StartAnswer)]
        assert [answer for answer in answered if answer.started] == []
        assert not (await simulation.history.commands.start(request())).started
        assert simulation.history.unavailable_reason is None
        assert len(simulation.rows()) == 1


async def test_retention_sweeps_what_was_deleted_and_frees_the_name() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await (await worker.take()).complete("SUCCEEDED")
        asked_ms = await simulation.history.commands.delete(arn)
        assert await simulation.history.commands.delete(arn) == asked_ms
        await simulation.pass_ms(10_000)
        with pytest.raises(Unknown):
            await simulation.history.queries.describe(arn)
        again = await simulation.start("n")
        assert again != arn
        assert key_of(again).bucket == key_of(arn).bucket


async def test_deleting_what_is_about_to_be_swept_writes_nothing() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", retention_days=1)
        await (await worker.take()).complete("SUCCEEDED")
        simulation.clock.advance(86_400_000)
        commits = simulation.host.link.commits
        await simulation.history.commands.delete(arn)
        assert simulation.host.link.commits == commits
