"""The rules of the house which linters cannot say.

A rule takes a file's path and text and returns what is wrong with it, one line per complaint.
Each rule is tried on a sample that breaks it before it judges anything, since a rule that
cannot fail is a decoration. Generated code is not judged.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LINES_PER_FILE_MAX = 500
LINES_PER_FUNCTION_MAX = 60

BANNED_NAMES = {"base", "common", "data", "helper", "helpers", "manager", "util", "utils"}
PROMISE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
BANNER = re.compile(r"^\s*#\s*(\W)\1{3,}|^\s*#.*(\W)\2{5,}\s*$")

# What core may import, besides itself and the standard library less its doors to the world.
CORE_MAY_IMPORT = {"msgspec", "perdure_core"}
DOORS = {
    *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "selectors", "signal"),
    *("http", "io", "logging", "os", "pathlib", "shutil", "socket", "sqlite3", "ssl", "subprocess"),
    *("random", "secrets", "tempfile", "threading", "time", "urllib"),
}
WORLDLY_CALLS = {"now", "today", "utcnow", "uuid1", "uuid4", "open", "input", "print"}

# Names that once were the project's own, and the field's words that took their place. Those of the
# wire, of SQL, of metrics and of public modules stayed.
OLD_NAMES = {
    # SDK
    "Turn": "InvocationState, InvocationProtocol or CheckpointToken",
    "TurnPassed": "InvocationLost or StaleToken",
    "Strand": "Fiber",
    "Crew": "TaskSupervisor",
    "Shell": "Driver",
    "Calls": "OperationFactory",
    "Nest": "RunChild",
    "Live": "ReplayEnded",
    "Settled": "Termination",
    "BodyThread": "StepThread",
    "BranchThreads": "DaemonThreadPool",
    "BatchWords": "BatchKind",
    "Delivered": "InvocationEnvironment",
    "Checkpoints": "CheckpointWriter",
    "Dropped": "Lost",
    "ServedFunction": "RegisteredFunction",
    "HandledFunction": "Handler",
    "Notebook": "ModuleAnalysis",
    "Family": "ExecutionTree",
    "real_world": "system_environment",
    # gateway
    "Attendance": "WorkerRegistry",
    "Attachment": "WorkerConnection",
    "Room": "MemoryBudget",
    "Loan": "Reservation",
    "Standing": "NodeStatus",
    "Door": "Authenticator",
    "Crowded": "ResourceExhausted",
    "WorkerSilent": "HeartbeatTimeout",
    # worker
    "Letter": "InboxMessage",
    "Tally": "InvocationCounters",
    "Ticket": "Waiter",
    "Verdict": "CallFailure or RunResult",
    "Hosting": "LambdaHost",
    "Forwarding": "LambdaProxy",
    # core, host, history, the command
    "TurnTaken": "CheckpointAccepted",
    "Kept": "ExternalPayloads",
    "Slot": "CachedExecution; a slot is room for one invocation at a worker",
    "SlotCache": "ExecutionCache",
    "Reoffers": "TaskRecovery",
    "NameReader": "NameLookup",
    "Notices": "ChangeNotifier",
    "Upkeep": "Maintenance",
    "complain": "print_error",
    "remark": "print_status",
    # anywhere: name the thing
    "World": "what it stands for",
    "world": "what it stands for",
    "told": "what was passed or sent: message, notified",
    "said": "what was sent: message",
    "shown": "what is displayed: preview",
    "given": "what it is: payload, argument, requested",
    "wanted": "what it is: requested, required",
    "kept": "what it is: stored, retained",
    "words": "what they are: kind, status, terms",
    "verdict": "what it is: result, failure, decision",
}
# The few that stay, and why.
NAMES_THAT_STAY = {
    ("core/perdure_core/completion.py", "wanted"): "as the event's field",
    (
        "core/perdure_core/events.py",
        "wanted",
    ): "InvocationCompleted: an invocation is wanted at once",
    ("core/perdure_core/model.py", "kept"): "ErrorObject: a field of stored records",
    ("tests/system/earlier/functions.py", "kept"): "recorded in the databases beside it",
    ("tests/system/earlier/values.py", "kept"): "recorded in the databases beside it",
    ("tests/system/earlier/values.py", "Letter"): "recorded in the databases beside it",
}

# Say who acts by role, and no archaic words. What stands in quotes is a value.
OLD_WORDS = re.compile(
    r"(?<![\"'])\b([Ww]hoever|[Ss]omebody|[Nn]obody|anew|lest|shall|[Tt]ell whether|as ever"
    r"|sign of life|(?:is|are|was|were|be|been) told)\b"
)
OLD_OPENERS = re.compile(r"(Tell|Say|Hear|Let|Have|Give|Take|Look|Come)\b")

Rule = Callable[[Path, str], list[str]]


def fits_one_thought(path: Path, text: str) -> list[str]:
    count = len(text.splitlines())
    if count <= LINES_PER_FILE_MAX:
        return []
    return [f"{path}: {count} lines, more than {LINES_PER_FILE_MAX}: split where the thought does"]


def functions_fit_a_screen(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{node.lineno}: {node.name} has {lines} lines, more than {LINES_PER_FUNCTION_MAX}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LINES_PER_FUNCTION_MAX
    ]


def opens_with_why(path: Path, text: str) -> list[str]:
    if ast.get_docstring(ast.parse(text)):
        return []
    return [f"{path}: opens without saying why it exists"]


def is_named_by_what_it_holds(path: Path, text: str) -> list[str]:
    del text
    names = [part.removesuffix(".py").strip("_") for part in path.parts]
    return [f"{path}: `{name}` says nothing" for name in names if name in BANNED_NAMES]


def promises_nothing(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{number}: do it now or file it: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if PROMISE.search(line)
    ]


def waves_no_banners(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{number}: a banner; a blank line is a paragraph, a file is a chapter"
        for number, line in enumerate(text.splitlines(), 1)
        if BANNER.search(line)
    ]


def core_imports_only_what_is_pure(path: Path, text: str) -> list[str]:
    allowed = (set(sys.stdlib_module_names) - DOORS) | CORE_MAY_IMPORT
    return [
        f"{path}:{line}: core may not import {module}"
        for line, module in imports(text)
        if module.split(".")[0] not in allowed
    ]


def core_asks_the_world_nothing(path: Path, text: str) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [
        f"{path}:{call.lineno}: core may not call {ast.unparse(call.func)}: it is given as argument"
        for call in calls
        if ast.unparse(call.func).rsplit(".", maxsplit=1)[-1] in WORLDLY_CALLS
    ]


def imports_no_test_module(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{line}: imports {module}: what two test modules need has a module of its own"
        for line, module in imports(text)
        if any(part.startswith("test_") for part in module.split("."))
    ]


def uses_the_words_of_the_field(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{line}: `{name}` is now {OLD_NAMES[name.strip('_')]}"
        for line, name in defined_names(text)
        if name.strip("_") in OLD_NAMES and (path.as_posix(), name) not in NAMES_THAT_STAY
    ]


def speaks_plainly(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{number}: say `{found[0]}` in plainer words: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if (found := OLD_WORDS.search(line))
    ]


def docstrings_start_with_a_plain_verb(path: Path, text: str) -> list[str]:
    functions = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [
        f"{path}:{node.lineno}: {node.name}: start with a plain verb, not `{found[0]}`"
        for node in functions
        if (found := OLD_OPENERS.match(ast.get_docstring(node) or ""))
    ]


EVERYWHERE: list[Rule] = [
    opens_with_why,
    promises_nothing,
    waves_no_banners,
    uses_the_words_of_the_field,
]
IN_PACKAGES: list[Rule] = [
    speaks_plainly,
    fits_one_thought,
    functions_fit_a_screen,
    is_named_by_what_it_holds,
    docstrings_start_with_a_plain_verb,
]
IN_CORE: list[Rule] = [core_imports_only_what_is_pure, core_asks_the_world_nothing]


def imports(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def defined_names(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case _:
                pass


def judged(*folders: str) -> list[Path]:
    files = (file for folder in folders for file in ROOT.glob(f"{folder}/**/*.py"))
    return sorted(file.relative_to(ROOT) for file in files if "_pb2" not in file.name)


def complaints(rule: Rule, files: list[Path]) -> list[str]:
    assert files != []
    return [
        line for file in files for line in rule(file, (ROOT / file).read_text(encoding="utf-8"))
    ]


# This file must name what it forbids.
READ_BY_PEOPLE = [
    file
    for file in judged("*/perdure*", "tests", "examples", "benchmarks", "proto")
    if file != Path(__file__).relative_to(ROOT)
]


@pytest.mark.parametrize("rule", EVERYWHERE)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    assert complaints(rule, READ_BY_PEOPLE) == []


@pytest.mark.parametrize("rule", IN_PACKAGES)
def test_every_package_keeps_the_rule(rule: Rule) -> None:
    assert complaints(rule, judged("*/perdure*")) == []


def test_no_test_module_imports_another() -> None:
    assert complaints(imports_no_test_module, judged("tests")) == []


def test_every_page_and_program_for_users_speaks_plainly() -> None:
    # Decisions and the changelog are records: they keep the words of their day.
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("proto/**/*.proto")]
    pages += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
    programs = judged("examples", "benchmarks", "proto")
    files = [*sorted(page.relative_to(ROOT) for page in pages), *programs]
    assert complaints(speaks_plainly, files) == []


@pytest.mark.parametrize("rule", IN_CORE)
def test_core_keeps_the_rule(rule: Rule) -> None:
    assert complaints(rule, judged("core/perdure_core")) == []


LONG_FUNCTION = "def long():\n" + "    pass\n" * LINES_PER_FUNCTION_MAX


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (fits_one_thought, "a.py", "x = 1\n" * (LINES_PER_FILE_MAX + 1)),
        (functions_fit_a_screen, "a.py", LONG_FUNCTION),
        (functions_fit_a_screen, "a.py", f"async {LONG_FUNCTION}"),
        (opens_with_why, "a.py", "import json\n"),
        (opens_with_why, "a.py", ""),
        (is_named_by_what_it_holds, "host/perdure_host/utils.py", ""),
        (is_named_by_what_it_holds, "host/perdure_host/_base.py", ""),
        (is_named_by_what_it_holds, "host/perdure_host/common/clock.py", ""),
        (promises_nothing, "a.py", "x = 1  # TODO: later\n"),
        (promises_nothing, "a.py", "# FIXME\n"),
        (waves_no_banners, "a.py", "# ------------\n"),
        (waves_no_banners, "a.py", "    # ==== storage ====\n"),
        (waves_no_banners, "a.py", "########\n"),
        (waves_no_banners, "a.py", "# storage ---------\n"),
        (core_imports_only_what_is_pure, "a.py", "import asyncio\n"),
        (core_imports_only_what_is_pure, "a.py", "from grpc import aio\n"),
        (core_imports_only_what_is_pure, "a.py", "def f():\n    import sqlalchemy.orm\n"),
        (core_imports_only_what_is_pure, "a.py", "from perdure_proto.v1 import model_pb2\n"),
        (core_imports_only_what_is_pure, "a.py", "from os import environ\n"),
        (core_imports_only_what_is_pure, "a.py", "import random\n"),
        (core_imports_only_what_is_pure, "a.py", "import time\n"),
        (core_asks_the_world_nothing, "a.py", "from datetime import datetime\ndatetime.now()\n"),
        (core_asks_the_world_nothing, "a.py", "import uuid\nx = uuid.uuid4().hex\n"),
        (core_asks_the_world_nothing, "a.py", "open('x')\n"),
        (uses_the_words_of_the_field, "a.py", "class Crew:\n    pass\n"),
        (uses_the_words_of_the_field, "a.py", "def complain() -> None:\n    pass\n"),
        (uses_the_words_of_the_field, "a.py", "_told = 1\n"),
        (uses_the_words_of_the_field, "a.py", "self.world = 1\n"),
        (uses_the_words_of_the_field, "a.py", "async def f(wanted): ...\n"),
        (speaks_plainly, "a.py", "# Whoever waits has to wait.\n"),
        (speaks_plainly, "a.md", "The worker is told.\n"),
        (docstrings_start_with_a_plain_verb, "a.py", 'def f():\n    """Tell it."""\n'),
        (imports_no_test_module, "a.py", "from tests.sdk.test_step import Flaky\n"),
        (imports_no_test_module, "a.py", "from tests.sdk import test_step as steps\n"),
    ],
)
def test_the_rule_notices_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    assert len(rule(Path(path), text)) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (fits_one_thought, "a.py", "x = 1\n" * LINES_PER_FILE_MAX),
        (functions_fit_a_screen, "a.py", LONG_FUNCTION.removesuffix("    pass\n")),
        (opens_with_why, "a.py", '"""Keep time."""\n'),
        (is_named_by_what_it_holds, "host/perdure_host/database.py", ""),
        (promises_nothing, "a.py", '"""Keep what was promised."""\n'),
        (waves_no_banners, "a.py", "# A sentence - with a dash -- or two.\n#: documented\n"),
        (core_imports_only_what_is_pure, "a.py", "import hashlib, msgspec\nfrom . import step\n"),
        (imports_no_test_module, "a.py", "from tests.sdk import hosted\n"),
        (uses_the_words_of_the_field, "a.py", "call(wanted=x.told)\n"),
        (speaks_plainly, "a.py", "# The caller waits.\n"),
        (docstrings_start_with_a_plain_verb, "a.py", 'def f():\n    """Return it."""\n'),
        (core_asks_the_world_nothing, "a.py", "def f(now_ms: int) -> int:\n    return now_ms\n"),
    ],
)
def test_the_rule_leaves_good_code_alone(rule: Rule, path: str, text: str) -> None:
    assert rule(Path(path), text) == []
