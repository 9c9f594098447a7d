"""A hundred handlers as people write them, all of them right: the check has nothing against any.

They use the standard library as its documentation does. Each is the body of a handler; those that
await are async.
"""

from pathlib import Path
from textwrap import indent

import pytest

from tests.lint.snippets import rules

BODIES = (Path(__file__).parent / "right_handlers.txt").read_text().rstrip().split("\n---\n")

BEFORE = """
import asyncio, base64, collections, contextlib, contextvars, copy, csv, dataclasses, decimal
import functools, gzip, hashlib, heapq, hmac, io, itertools, json, logging, math, multiprocessing
import operator, os, pathlib, random, re, secrets, statistics, string, struct, sys, tarfile
import textwrap, time, types, urllib.parse, urllib.request, uuid, warnings, zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas
import requests
import shop
from perdure.config import Duration

current_tenant = contextvars.ContextVar("tenant")
logger = logging.getLogger(__name__)


class Order:
    def __init__(self, id):
        self.id, self.total, self.lines = id, 0, []


@dataclasses.dataclass
class Point:
    x: int
    y: int


async def source(event):
    for each in event:
        yield each


@durable_step
def price(step, item): return requests.get(item).json()


@durable_step
def charge(step, item): return time.time()


@durable_step
def refund(step, item, reason): os.remove(item)
"""


def test_there_are_a_hundred_of_them() -> None:
    assert len(BODIES) >= 100


@pytest.mark.parametrize("body", BODIES)
def test_a_right_handler_is_left_alone(body: str) -> None:
    begin = "async def" if "await " in body or "async " in body else "def"
    function = f"@durable_execution\n{begin} order(event, context):\n{indent(body, '    ')}\n"
    assert rules(f"{BEFORE}\n\n{function}") == []
