"""The checkpoint rules of AWS' emulator, and ours: each update of each operation in each state.

The emulator is the one of the published testing package; it runs in process. Both receive the same
updates, one call after the other, and must accept or refuse alike, and then show the same
operation. Where they differ on purpose, `INTENDED` says why.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from aws_durable_execution_sdk_python.lambda_service import OperationUpdate
from aws_durable_execution_sdk_python_testing.checkpoint.processor import CheckpointProcessor
from aws_durable_execution_sdk_python_testing.exceptions import InvalidParameterValueException
from aws_durable_execution_sdk_python_testing.execution import Execution
from aws_durable_execution_sdk_python_testing.model import StartDurableExecutionInput
from aws_durable_execution_sdk_python_testing.stores.memory import InMemoryExecutionStore
from botocore.exceptions import ClientError

from tests.gateway.serving import run
from tests.lambda_api.calls import HeldInvocation
from tests.lambda_api.serving import lambda_serving, worker

Update = dict[str, Any]
Operation = dict[str, Any]
CallSequence = tuple[tuple[Update, ...], ...]

ERROR: Final = {"ErrorMessage": "boom", "ErrorType": "ValueError"}
DELAY: Final = {"NextAttemptDelaySeconds": 5}
OPTIONS: Final[dict[str, Update]] = {
    "STEP": {},
    "CONTEXT": {},
    "WAIT": {"WaitOptions": {"WaitSeconds": 60}},
    "CALLBACK": {"CallbackOptions": {"TimeoutSeconds": 60, "HeartbeatTimeoutSeconds": 30}},
    "CHAINED_INVOKE": {"ChainedInvokeOptions": {"FunctionName": "f:$LATEST"}, "Payload": "{}"},
}
UNEQUAL: Final = {
    *("StartTimestamp", "EndTimestamp", "NextAttemptTimestamp", "ScheduledEndTimestamp"),
    "CallbackId",
}
ACTIONS: Final = ("START", "SUCCEED", "FAIL", "RETRY", "CANCEL")
CONTENTS: Final[dict[str, Update]] = {
    "": {},
    "payload": {"Payload": "1"},
    "error": {"Error": ERROR},
    "both": {"Payload": "1", "Error": ERROR},
}


class Case(NamedTuple):
    """Calls, one after the other; the last one is in question."""

    title: str
    calls: CallSequence


def update(kind: str, action: str, **more: Any) -> Update:
    options = OPTIONS[kind] if action == "START" else {}
    return {
        "Id": "it",
        "Type": kind,
        "SubType": "Sub",
        "Name": "n",
        "Action": action,
        **options,
        **more,
    }


def again(**more: Any) -> Update:
    return update("STEP", "RETRY", StepOptions=DELAY, **more)


BEFORE: Final[dict[str, dict[str, tuple[Update, ...]]]] = {
    "STEP": {
        "absent": (),
        "started": (update("STEP", "START"),),
        "pending": (update("STEP", "START"), again(Error=ERROR)),
        "succeeded": (update("STEP", "START"), update("STEP", "SUCCEED", Payload="0")),
        "failed": (update("STEP", "FAIL", Error=ERROR),),
    },
    "CONTEXT": {
        "absent": (),
        "started": (update("CONTEXT", "START"),),
        "succeeded": (update("CONTEXT", "SUCCEED", Payload="0"),),
        "failed": (update("CONTEXT", "START"), update("CONTEXT", "FAIL", Error=ERROR)),
    },
    "WAIT": {
        "absent": (),
        "started": (update("WAIT", "START"),),
        "cancelled": (update("WAIT", "START"), update("WAIT", "CANCEL")),
    },
    "CALLBACK": {"absent": (), "started": (update("CALLBACK", "START"),)},
    "CHAINED_INVOKE": {"absent": (), "started": (update("CHAINED_INVOKE", "START"),)},
}


def transitions() -> Iterator[Case]:
    """Yield every action on every operation, in each state, by itself and in the same call."""
    for kind, states in BEFORE.items():
        for (state, before), action, (content, more) in itertools.product(
            states.items(), ACTIONS, CONTENTS.items()
        ):
            options = {"StepOptions": DELAY} if action == "RETRY" else {}
            last = update(kind, action, **more, **options)
            title = f"{kind} {state} {action} {content}".rstrip()
            yield Case(title, (*((each,) for each in before), (last,)))
            if before:
                yield Case(f"{title}, in one call", ((*before, last),))


def others() -> Iterator[Case]:
    """Yield updates with errors other than the action."""
    start = update("STEP", "START")
    for field, value in (("Type", "CONTEXT"), ("SubType", "Other"), ("Name", "m")):
        changed = {**update("STEP", "SUCCEED", Payload="1"), field: value}
        yield Case(f"another {field}", ((start,), (changed,)))
        yield Case(f"another {field}, in one call", ((start, changed),))
        absent = {name: each for name, each in changed.items() if name != field}
        if field != "Type":
            yield Case(f"no {field}", ((start,), (absent,)))
    yield Case("RETRY without options", ((start,), (update("STEP", "RETRY", Error=ERROR),)))
    yield Case("RETRY with nothing", ((start,), (again(),)))
    yield Case("RETRY of an absent one without options", ((update("STEP", "RETRY", Error=ERROR),),))
    yield Case("RETRY of an absent one with both", ((again(Payload="1", Error=ERROR),),))
    context = {**update("CONTEXT", "START"), "Id": "above"}
    inside = update("STEP", "START", ParentId="above")
    yield Case("inside a context", ((context,), (inside,)))
    yield Case("inside a context, in one call", ((context, inside),))
    yield Case("inside one that comes later", ((inside, context),))
    yield Case("inside nothing", ((inside,),))
    yield Case("inside a step", (({**start, "Id": "above"},), (inside,)))
    yield Case("inside itself", ((update("CONTEXT", "START", ParentId="it"),),))
    closed = {**update("CONTEXT", "SUCCEED", Payload="1"), "Id": "above"}
    yield Case("inside a context that has ended", ((context,), (closed,), (inside,)))
    moved = update("STEP", "SUCCEED", Payload="1", ParentId="above")
    yield Case("moved into a context", ((context, start), (moved,)))
    yield Case(
        "moved out of a context", ((context, inside), (update("STEP", "SUCCEED", Payload="1"),))
    )
    replay = {"ContextOptions": {"ReplayChildren": True}}
    yield Case("made again from children", ((update("CONTEXT", "SUCCEED", Payload="", **replay),),))
    yield Case("nothing at all", ((),))
    for name in (
        "f",
        "f:$LATEST",
        "nobody",
        "arn:aws:lambda:us-east-1:1:function:f",
        "f:7:8",
        "a b",
    ):
        options = {"ChainedInvokeOptions": {"FunctionName": name}}
        yield Case(f"invokes {name}", ((update("CHAINED_INVOKE", "START", **options),),))
    tenant = {"ChainedInvokeOptions": {"FunctionName": "f", "TenantId": "a\tb"}}
    yield Case("an odd tenant", ((update("CHAINED_INVOKE", "START", **tenant),),))


CASES: Final = (*transitions(), *others())

# What ours is right about, or has to be lenient with; each pattern of titles explains one kind.
INTENDED: Final = {
    r"STEP absent (SUCCEED|FAIL|RETRY) (payload|error|both)": (
        "what an outcome may carry is checked of a step that was not announced, too"
    ),
    r"STEP started (SUCCEED|FAIL|RETRY) (payload|error|both), in one call": (
        "and of one that was announced in the same call"
    ),
    r"RETRY of an absent one .*": "and so is what a retry needs",
    r"another (Type|SubType|Name), in one call": "an operation is one thing within a call, too",
    r"no (SubType|Name)|moved out of a context": (
        "an update need not repeat what is recorded; there it is forgotten, here it is kept"
    ),
    r"(STEP|CONTEXT|CALLBACK) absent START (payload|error|both)": (
        "what has begun has no outcome yet"
    ),
    r"WAIT started CANCEL.*": "when a cancelled wait would have ended is still told",
    r"WAIT cancelled CANCEL.*": "who cancels cannot know that the wait ends just then",
    r"invokes nobody": "it has no function to look for here, and its runner fails the invoke later",
}


class Emulator:
    """One execution of the emulator."""

    def __init__(self) -> None:
        store = InMemoryExecutionStore()
        start = StartDurableExecutionInput(
            "123456789012", "f", "$LATEST", "name", 300, 1, invocation_id="inv"
        )
        self.execution = Execution.new(start)
        self.execution.start()
        store.save(self.execution)
        unused: Any = None  # it takes a scheduler, and says that it does not use it
        self.processor = CheckpointProcessor(store, unused)

    def checkpoint(self, updates: Sequence[Update]) -> list[Operation] | None:
        """Return the changed operations, or None if the call is refused."""
        token = self.execution.get_new_checkpoint_token()
        read = [OperationUpdate.from_dict(each) for each in updates]
        try:
            answer = self.processor.process_checkpoint(token, read, None)
        except InvalidParameterValueException:
            return None
        return [dict(each.to_dict()) for each in answer.new_execution_state.operations]


def with_ids(calls: CallSequence, number: int) -> CallSequence:
    """Return the calls with ids that no other case has."""

    def renamed(each: Update) -> Update:
        ids: Update = {
            name: f"{each[name]}-{number}" for name in ("Id", "ParentId") if name in each
        }
        return {**each, **ids}

    return tuple(tuple(map(renamed, call)) for call in calls)


async def ours(held: HeldInvocation, updates: Sequence[Update]) -> list[Operation] | None:
    """Return the changed operations, or None if the call is refused with the emulator's code."""
    try:
        return await held.checkpoint(*updates)
    except ClientError as error:
        response: Any = error.response
        assert response["Error"]["Code"] == "InvalidParameterValueException"
        return None


def comparable(operations: Sequence[Operation] | None, updates: Sequence[Update]) -> object:
    """Return the operations that the updates name, without values that do not matter.

    Left out are times, ids of callbacks, empty errors, and that children are not run again.
    """
    if operations is None:
        return "refused"
    ids = {each["Id"] for each in updates}
    named = [_plain(each) for each in operations if each["Id"] in ids]
    return sorted(named, key=lambda each: str(each["Id"]))


def _plain(value: Operation) -> Operation:
    plain: Operation = {}
    for name, each in value.items():
        if name in UNEQUAL:
            plain[name] = "some"
        elif isinstance(each, dict):
            plain[name] = _plain(cast("Operation", each))
        elif each not in (None, False):
            plain[name] = each
    return {name: each for name, each in plain.items() if name != "Error" or each}


async def disagreements() -> dict[str, tuple[object, object]]:
    """Run all cases on both; return the answers of the emulator and ours where they differ."""
    found: dict[str, tuple[object, object]] = {}
    emulator = Emulator()
    async with lambda_serving() as api:
        held = await HeldInvocation.begin(api, await worker(api))
        for number, case in enumerate(CASES):
            answers: tuple[object, object] = (None, None)
            for call in with_ids(case.calls, number):
                theirs = comparable(emulator.checkpoint(call), call)
                answers = (theirs, comparable(await ours(held, call), call))
            if answers[0] != answers[1]:
                found[case.title] = answers
    return found


def test_updates_are_accepted_refused_and_shown_as_by_the_emulator_of_aws() -> None:
    async def main() -> None:
        found = await disagreements()
        explained: dict[str, list[str]] = {
            pattern: [title for title in found if re.fullmatch(pattern, title)]
            for pattern in INTENDED
        }
        titles = set(itertools.chain.from_iterable(explained.values()))
        assert {title: found[title] for title in found if title not in titles} == {}
        assert [pattern for pattern, known in explained.items() if not known] == []

    run(main)


def test_an_update_that_does_not_repeat_what_is_recorded_keeps_it() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api))
            above = {**update("CONTEXT", "START"), "Id": "above"}
            await held.checkpoint(above, update("STEP", "START", ParentId="above"))
            bare = {"Id": "it", "Type": "STEP", "Action": "SUCCEED", "Payload": "1"}
            (step,) = await held.checkpoint(bare)
            named = {name: step[name] for name in ("Name", "SubType", "ParentId", "Status")}
            assert named == {
                "Name": "n",
                "SubType": "Sub",
                "ParentId": "above",
                "Status": "SUCCEEDED",
            }

    run(main)


def test_every_case_has_a_title_of_its_own() -> None:
    titles = [case.title for case in CASES]
    assert sorted(set(titles)) == sorted(titles)
