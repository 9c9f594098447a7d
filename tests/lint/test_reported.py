"""Code that breaks a rule is reported, however it is written."""

import pytest

from tests.lint.snippets import check, handler, rules


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (["import time as t", "t.time()"], "PRD101"),
        (["from time import monotonic as m", "m()"], "PRD101"),
        (["import datetime", "datetime.datetime.now()"], "PRD101"),
        (["from datetime import datetime as d", "now = d.utcnow", "now()"], "PRD101"),
        (["import datetime as dt", "dt.date.today()"], "PRD101"),
        (["import time", "time.strftime('%Y')"], "PRD101"),
        (["import random", "random.random()"], "PRD102"),
        (["import random", "random.Random().random()"], "PRD102"),
        (["import numpy as np", "np.random.rand(3)"], "PRD102"),
        (["from uuid import uuid4", "str(uuid4())"], "PRD102"),
        (["import functools, uuid", "make = functools.partial(uuid.uuid4)", "make()"], "PRD102"),
        (["hash(event['id'])"], "PRD102"),
        (["import os", "os.environ.get('X')"], "PRD103"),
        (["from os import environ as e", "'X' in e"], "PRD103"),
        (["import os", "os.getenv('X')"], "PRD103"),
        (["open('x').read()"], "PRD104"),
        (["from pathlib import Path", "(Path('a') / 'b').read_text()"], "PRD104"),
        (["import requests", "with requests.Session() as s:", "    s.get('x')"], "PRD104"),
        (["import httpx", "client = httpx.Client()", "client.post('x')"], "PRD104"),
        (["import boto3", "s3 = boto3.client('s3')", "s3.get_object()"], "PRD104"),
        (["import boto3", "boto3.resource('s3').Bucket('b').upload_file('x')"], "PRD104"),
        (["import urllib.request", "urllib.request.urlopen('x')"], "PRD104"),
        (["import subprocess as sp", "sp.run(['ls'])"], "PRD104"),
        (["import sqlite3", "sqlite3.connect('x')"], "PRD104"),
        (["import redis", "r = redis.Redis()", "r.get('x')"], "PRD104"),
        (["sorted(event, key=lambda each: open(each).read())"], "PRD104"),
        (["[open(each) for each in event]"], "PRD104"),
        (["from time import sleep", "sleep(1)"], "PRD105"),
        (["import threading", "threading.Thread(target=print).start()"], "PRD106"),
        (["import asyncio", "asyncio.run(event)"], "PRD106"),
        (["list({each.name for each in event})"], "PRD107"),
        (["names = set(event)", "return [each for each in names]"], "PRD107"),
        (["names = set(event) - {'a'}", "for each in names:", "    print(each)"], "PRD107"),
        (["','.join(set(event))"], "PRD107"),
        (["names = frozenset(event)", "[*names]"], "PRD107"),
        (["names = set(event)", "names.pop()"], "PRD107"),
        (["context.map(set(event), lambda c, *_: None)"], "PRD107"),
        (["context.wait(1)", "context.step(lambda _: context.wait(1))"], "PRD201"),
        (["context.step(lambda own: own.wait(1))"], "PRD201"),
        (["c = context.create_callback()", "context.step(lambda _: c.result())"], "PRD201"),
        (["w = context.create_wait(1)", "context.step(lambda _: w.cancel())"], "PRD201"),
        (["context.step(lambda _: context.create_wait(1))"], "PRD201"),
        (["context.step(lambda _: context.now())"], "PRD201"),
        (["context.step(lambda _: context.race([print]))"], "PRD201"),
        (["import time", "context.race([lambda c: time.time(), print])"], "PRD101"),
        (["import time", "context.any_of([lambda c: time.time(), print])"], "PRD101"),
        (["context.all_of([lambda c: context.wait(1)])"], "PRD203"),
        (["context.step(lambda _: context.uuid())"], "PRD201"),
        (["context.step(lambda _: context.random())"], "PRD201"),
        (["mine = context", "context.step(lambda _: mine.step(print))"], "PRD201"),
        (["context.step(lambda _: with_retry(context, print, None))"], "PRD201"),
        (["context.wait_for_condition(lambda s, c: context.wait(1), None)"], "PRD201"),
        (["context.wait_for_callback(lambda i, c: context.wait(1))"], "PRD201"),
        (["context.step(func=lambda _: context.wait(1))"], "PRD201"),
        (["total = {}", "context.step(lambda _: total.update(a=1))"], "PRD202"),
        (["def body(_):", "    event['a'] = 1", "context.step(body)"], "PRD202"),
        (["n = 0", "def body(_):", "    nonlocal n", "    n += 1", "context.step(body)"], "PRD202"),
        (["d = {}", "def body(_):", "    del d['a']", "context.step(body)"], "PRD202"),
        (["d = []", "context.run_in_child_context(lambda c: d.append(1))"], "PRD202"),
        (["d = []", "context.map(event, lambda c, item, i, all: d.append(item))"], "PRD202"),
        (["d = []", "def add():", "    d.append(1)", "context.step(lambda _: add())"], "PRD202"),
        (["context.run_in_child_context(lambda _: context.wait(1))"], "PRD203"),
        (["context.parallel([lambda c: context.wait(1)])"], "PRD203"),
        (["context.parallel([lambda c: context.wait(1) for _ in event])"], "PRD203"),
        (["b = [lambda c: context.wait(1)]", "context.parallel(b)"], "PRD203"),
        (
            [
                "def nap(c):",
                "    c.wait(1)",
                "context.run_in_child_context(lambda c: nap(context))",
            ],
            "PRD203",
        ),
        (
            ["def nap():", "    context.wait(1)", "context.run_in_child_context(lambda c: nap())"],
            "PRD203",
        ),
        (["try:", "    context.wait(1)", "except BaseException:", "    pass"], "PRD204"),
        (["try:", "    context.wait(1)", "except (OSError, BaseException):", "    pass"], "PRD204"),
        (
            [
                "try:",
                "    context.wait(1)",
                "except BaseException as e:",
                "    raise OSError from e",
            ],
            "PRD204",
        ),
        (["try:", "    context.wait(1)", "finally:", "    return 1"], "PRD204"),
        (
            [
                *("def nap():", "    context.wait(1)"),
                *("try:", "    nap()", "except:", "    pass"),
            ],
            "PRD204",
        ),
        (
            [
                "import contextlib",
                "with contextlib.suppress(BaseException):",
                "    context.wait(1)",
            ],
            "PRD204",
        ),
        (["if context.is_replaying():", "    context.wait(1)"], "PRD205"),
        (["context.wait(1) if not context.is_replaying() else None"], "PRD205"),
        (["global kept", "kept = context"], "PRD206"),
    ],
)
def test_a_handler_of_these_lines_breaks_the_rule(lines: list[str], rule: str) -> None:
    assert rules(handler(*lines)) == [rule]


@pytest.mark.parametrize(
    ("before", "lines", "rule"),
    [
        ("LIMIT = 1", ["global LIMIT", "LIMIT += 1"], "PRD108"),
        ("cache = {}", ["cache['a'] = 1"], "PRD108"),
        ("cache: dict[str, int] = make()", ["cache.update(a=1)"], "PRD108"),
        ("import settings", ["settings.DEBUG = True"], "PRD108"),
        ("class Kept:\n    n = 0", ["Kept.n = 1"], "PRD108"),
        ("kept = []", ["kept.append(context)"], "PRD206"),
        ("class Kept:\n    context = None", ["Kept.context = context"], "PRD206"),
        ("import time\nBORN = time.time()", ["if BORN > 3:", "    context.wait(1)"], "PRD205"),
        (
            "import os\nMAX = int(os.environ['MAX'])",
            ["for _ in range(MAX):", "    context.wait(1)"],
            "PRD205",
        ),
        ("from os import getenv\nF = getenv('F')", ["while F:", "    context.wait(1)"], "PRD205"),
        ("import boto3\ns3 = boto3.client('s3')", ["s3.get_object()"], "PRD104"),
        (
            "import time\nclass Clock:\n    def read(self):\n        return time.time()",
            ["clock = Clock()", "clock.read()"],
            "PRD101",
        ),
        (
            "import uuid\nclass Order:\n    def __init__(self):\n        self.id = uuid.uuid4()",
            ["Order()"],
            "PRD102",
        ),
        (
            (
                "import requests\nclass Shop:\n    def __init__(self):\n"
                "        self.http = requests.Session()\n"
                "    def price(self):\n        return self.http.get('x')"
            ),
            ["Shop().price()"],
            "PRD104",
        ),
    ],
)
def test_so_does_one_in_a_module_like_this(before: str, lines: list[str], rule: str) -> None:
    assert rules(handler(*lines, before=before)) == [rule]


@pytest.mark.parametrize(
    "module",
    [
        "import perdure\n@perdure.durable_execution\ndef order(event, context): hash(event)",
        "import perdure as p\n@p.durable_execution\ndef order(event, context): hash(event)",
        "from perdure.execution import durable_execution as d\n@d\ndef order(e, c): hash(e)",
        "from perdure import durable_execution as d\n@d(plugins=[])\ndef order(e, c): hash(e)",
        "from perdure import *\n@durable_execution\ndef order(e, c): hash(e)",
        "import aws_durable_execution_sdk_python as a\n@a.durable_execution\ndef o(e, c): hash(e)",
        (
            "from aws_durable_execution_sdk_python import durable_execution\n"
            "@durable_execution\ndef order(event, context): hash(event)"
        ),
        "from .wiring import durable_execution\n@durable_execution\ndef o(e, c): hash(e)",
        "mine = durable_execution\n@mine\ndef order(event, context): hash(event)",
        (
            "from functools import partial\nmine = partial(durable_execution, plugins=[])\n"
            "@mine\ndef order(event, context): hash(event)"
        ),
        "def order(event, context): hash(event)\nhandler = durable_execution(order)",
        "handler = durable_execution(lambda event, context: hash(event))",
        "handler = durable_execution(plugins=[])(lambda event, context: hash(event))",
        "@durable_execution\nasync def order(event, context): hash(event)",
        "class App:\n    @staticmethod\n    @durable_execution\n    def run(e, c): hash(e)",
        "def make():\n    @durable_execution\n    def order(e, c): hash(e)\n    return order",
        (
            "try:\n    from perdure import durable_execution as d\nexcept ImportError:\n"
            "    d = None\n@d\ndef order(event, context): hash(event)"
        ),
        "from perdure import durable_with_child_context as d\n@d\ndef part(context): hash(context)",
        (
            "from perdure import durable_parallel_branch\n@durable_parallel_branch('a')\n"
            "def branch(context): hash(context)"
        ),
        "def library(context: DurableContext): hash(context)",
        "def library(context: 'DurableContext | None' = None): hash(context)",
        "def library(context: DurableContext | None): hash(context)",
    ],
)
def test_a_durable_function_is_found_by_every_way_to_make_one(module: str) -> None:
    assert rules(module) == ["PRD102"]


def test_a_finding_far_from_its_handler_tells_the_way_there() -> None:
    source = handler("return one()", before="def two():\n    hash(1)\ndef one():\n    two()")
    (finding,) = check(source)
    assert (finding.line, finding.column, finding.chain) == (3, 5, ("order", "one", "two"))


def test_a_helper_of_two_handlers_is_reported_once() -> None:
    before = "def key():\n    return hash(1)\n" + handler("key()")
    assert rules(handler("key()", before=before)) == ["PRD102"]


def test_a_context_kept_by_an_object_is_known() -> None:
    before = (
        "class Flow:\n    def __init__(self, context: DurableContext):\n"
        "        self.context = context\n    def run(self):\n"
        "        self.context.step(lambda _: self.context.wait(1))"
    )
    assert rules(handler("Flow(context).run()", before=before)) == ["PRD201"]
    alias = before.replace("lambda _: self.context.wait(1)", "lambda _: mine.wait(1)")
    alias = alias.replace(
        "        self.context.step", "        mine = self.context\n        mine.step"
    )
    assert rules(handler("Flow(context).run()", before=alias)) == ["PRD201"]


def test_a_thread_that_uses_the_context_is_worse_than_a_thread() -> None:
    lines = ["import threading", "threading.Thread(target=lambda: context.wait(1)).start()"]
    assert rules(handler(*lines)) == ["PRD106", "PRD206"]


def test_columns_count_characters() -> None:
    (finding,) = check(handler("x = 'äöü', hash(1)"))
    assert finding.column == 16
