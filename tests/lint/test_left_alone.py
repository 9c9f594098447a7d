"""Code that is right is not reported: a false alarm costs more trust than a hint is worth."""

import pytest

from tests.lint.snippets import handler, rules


@pytest.mark.parametrize(
    "lines",
    [
        ["import time", "context.step(lambda _: time.time())"],
        ["import time", "def body(_):", "    time.sleep(1)", "context.step(body, name='a')"],
        ["import os", "context.wait_for_callback(lambda i, c: os.environ['X'])"],
        ["import os", "context.wait_for_condition(lambda s, c: os.listdir('.'), None)"],
        ["def uuid4():", "    return 1", "uuid4()"],
        ["open = event['open']", "open()"],
        ["from datetime import datetime", "datetime.fromisoformat(event['at'])"],
        ["import time", "time.strftime('%Y', event['at'])"],
        ["import random", "random.Random(event['seed']).random()"],
        ["import uuid", "uuid.uuid5(uuid.NAMESPACE_URL, 'x')", "uuid.UUID(event['id'])"],
        ["from pathlib import Path", "return str(Path('a') / 'b')"],
        [
            "import requests",
            "try:",
            "    context.wait(1)",
            "except requests.HTTPError:",
            "    pass",
        ],
        ["import boto3", "s3 = boto3.client('s3')", "context.step(lambda _: s3.get_object())"],
        ["import boto3", "table = boto3.resource('dynamodb').Table('orders')"],
        ["import os.path", "return os.path.join('a', 'b')"],
        ["context.logger.info('%s', event)", "print(event)"],
        ["sorted({each for each in event})", "len(set(event))", "'a' in set(event)"],
        ["sum(each for each in set(event))", "any(each for each in set(event))"],
        ["return sorted(list(set(event)))"],
        ["for each in sorted(set(event)):", "    context.step(print)"],
        ["for each in {1, 2, 3}:", "    context.step(print)"],
        ["seen = set()", "for each in event:", "    seen.add(each)"],
        ["names = {each for each in set(event)}"],
        ["for each in dict.fromkeys(event):", "    context.step(print)"],
        ["rows = []", "for each in event:", "    rows.append(context.step(print))"],
        ["event['a'] = 1", "d = {}", "d['b'] = 2", "d.update(c=3)"],
        [
            "def body(_):",
            "    rows = []",
            "    rows.append(1)",
            "    return rows",
            "context.step(body)",
        ],
        [
            "def body(_):",
            "    def inner():",
            "        rows.append(1)",
            "    rows = []",
            "    inner()",
            "context.step(body)",
        ],
        ["n = 0", "def add():", "    nonlocal n", "    n += 1", "add()", "context.wait(n)"],
        ["import redis", "r = redis.Redis()", "context.step(lambda _: r.update(a=1))"],
        ["table = connect()", "context.step(lambda _: table.update(a=1))"],
        [
            "def body(c):",
            "    rows = []",
            "    rows.append(c.step(print))",
            "    return rows",
            "context.run_in_child_context(body)",
        ],
        ["context.run_in_child_context(lambda context: context.wait(1))"],
        ["context.run_in_child_context(lambda c: context.logger.info('x'))"],
        ["w = context.create_wait(1)", "context.run_in_child_context(lambda _: w.cancel())"],
        ["if context.now() > event['at']:", "    context.wait(1)"],
        ["late = context.now() > event['at']", "if late:", "    context.wait(1)"],
        ["dice = context.random()", "if dice.random() < 0.5:", "    context.wait(1)"],
        ["if context.random().choice([0, 1]):", "    context.wait(1)"],
        ["key = str(context.uuid())", "if key < event['key']:", "    context.wait(1)"],
        ["c = context.create_callback()", "context.run_in_child_context(lambda _: c.result())"],
        ["context.parallel([lambda c, each=each: c.wait(each) for each in event])"],
        ["def nap(c):", "    c.wait(1)", "context.run_in_child_context(lambda c: nap(c))"],
        [
            "from perdure import WithRetryConfig",
            "c = WithRetryConfig(wrap_with_run_in_child_context=False)",
            "with_retry(context, lambda own, attempt: context.wait(1), c)",
        ],
        ["with_retry(context, lambda own, attempt: own.wait(1), None)"],
        ["try:", "    context.wait(1)", "except Exception:", "    pass"],
        ["try:", "    context.wait(1)", "except BaseException:", "    raise"],
        [
            "try:",
            "    context.wait(1)",
            "except BaseException as e:",
            "    print(e)",
            "    raise e",
        ],
        ["try:", "    print(event)", "except:", "    pass", "context.wait(1)"],
        ["try:", "    context.wait(1)", "finally:", "    print(event)"],
        ["context.step(lambda _: None)", "if context.is_replaying():", "    print(event)"],
        [
            "day = context.step(lambda _: __import__('time').time())",
            "if day:",
            "    context.wait(1)",
        ],
        [
            "import random",
            "go = context.step(lambda _: random.random())",
            "if go:",
            "    context.wait(1)",
        ],
        [
            "from perdure.retries import RetryDecision",
            "from perdure.config import StepConfig",
            "import time",
            "context.step(print, config=StepConfig(retry_strategy=lambda e, n: time.time()))",
        ],
        ["import time", "def unused():", "    return time.time()"],
        ["import time", "class Unused:", "    born = time.time()"],
    ],
)
def test_a_handler_of_these_lines_is_clean(lines: list[str]) -> None:
    assert rules(handler(*lines)) == []


@pytest.mark.parametrize(
    "module",
    [
        "import time\ntime.time()",
        "import time\n" + handler("time = event['time']", "time.time()"),
        "import time\ndef plain(event):\n    return time.time()",
        "def plain(context):\n    context.step(lambda _: context.wait(1))",
        "import time\n@durable_step\ndef now(step_context):\n    return time.time()\n"
        + handler("context.step(now())"),
        "seen = []\n@durable_step\ndef note(step_context):\n    seen.append(1)\n"
        + handler("context.step(note())"),
        "import os\ndef load():\n    return os.environ['X']\n"
        + handler("context.step(lambda _: load())"),
        "import os\ndef make(name):\n    def body(_):\n        return os.environ[name]\n"
        "    return body\n" + handler("context.step(make('X'))"),
        "import os\nfrom functools import partial\ndef load(name, _):\n"
        "    return os.environ[name]\n" + handler("context.step(partial(load, 'X'))"),
        "import os\nBUCKET = os.environ['BUCKET']\n" + handler("return BUCKET"),
        "class Shop:\n    def __init__(self):\n        self.rows = []\n    def add(self):\n"
        "        self.rows.append(1)\n" + handler("Shop().add()"),
        (
            "import time\nclass Shop:\n    def now(self, _):\n        return time.time()\n"
            "    def run(self, context: DurableContext):\n        return context.step(self.now)"
        ),
        "from perdure import durable_wait_for_callback as d\nimport requests\n@d\n"
        "def submit(callback_id, context):\n    requests.post('x')\n"
        + handler("context.wait_for_callback(submit())"),
        "from mine import durable_thing\n@durable_thing\ndef order(e, c): hash(e)",
        "",
    ],
)
def test_a_module_like_this_is_clean(module: str) -> None:
    assert rules(module) == []
