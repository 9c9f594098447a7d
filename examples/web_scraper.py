"""Web scraper: visits one site breadth first, four pages at a time, up to a limit.

    pip install httpx
    python -m http.server 8700 --bind 127.0.0.1 --directory examples/site
    perdure dev examples/web_scraper.py
    perdure invoke scrape --payload '{"start": "http://127.0.0.1:8700/", "pages_max": 20}'

The second line serves a site to try it on. Pages fetched before a crash are not fetched again.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

import httpx

from perdure import AsyncDurableContext, StepContext, durable_execution, durable_step
from perdure.config import CompletionConfig, Duration, MapConfig, StepConfig
from perdure.exceptions import StepTimeoutError
from perdure.retries import RetryStrategyConfig, create_retry_strategy

PAGE_CHARS_MAX = 2_000_000
LINKS_MAX = 1_000  # of one page
TLS = httpx.create_ssl_context()  # created once, because it takes a while
HEADERS = {"user-agent": "perdure-example (+https://example.com/about-it)"}
# A `Retry-After` that a busy server sends along makes these delays longer.
RETRIES = RetryStrategyConfig(4, retryable_error_types=[httpx.HTTPError, StepTimeoutError])
FETCH = StepConfig(timeout=Duration.from_minutes(1), retry_strategy=create_retry_strategy(RETRIES))
POLITE: MapConfig[str] = MapConfig(
    max_concurrency=4,
    completion_config=CompletionConfig.all_completed(),  # even if single pages fail
    item_namer=lambda url, _index: url[:256],
)


@dataclass(frozen=True)
class Request:
    """The first page, and the limits."""

    start: str
    pages_max: int = 100
    clicks_max: int = 5


class Page(NamedTuple):
    """Title and links of a page."""

    title: str
    links: list[str]


@dataclass
class Summary:
    """The titles of the pages that were read, and why others were not."""

    titles: dict[str, str] = field(default_factory=dict[str, str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    left_out: int = 0  # addresses that were too many or too far


class UnreadableError(Exception):
    """The page cannot be read, and a retry does not help."""


@durable_step
async def fetch(_step: StepContext, url: str) -> tuple[str, str]:
    """Fetch a page of HTML that is not too long; return its final address and its text."""
    async with (
        httpx.AsyncClient(verify=TLS, headers=HEADERS, follow_redirects=True) as client,
        client.stream("GET", url) as response,
    ):
        if response.status_code in {429, 502, 503, 504}:  # worth a retry
            response.raise_for_status()
        kind = response.headers.get("content-type", "text/html")
        if not response.is_success or not kind.startswith("text/html"):
            raise UnreadableError(f"the server answers {response.status_code}, {kind}")
        html = ""
        async for part in response.aiter_text():
            if len(html := html + part) > PAGE_CHARS_MAX:
                raise UnreadableError(f"it has more than {PAGE_CHARS_MAX} characters")
        return str(response.url), html


@durable_step
def parse(_step: StepContext, base: str, html: str) -> Page:
    """Parse title and links. A sync step of an async handler runs in a thread."""
    reader = Reader()
    reader.feed(html)
    links = (address(link, base) for link in reader.links[:LINKS_MAX])
    return Page(reader.title.strip(), [link for link in dict.fromkeys(links) if link])


class Reader(HTMLParser):
    """Collects the title and the targets of links."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the target of a link."""
        self.links += [value for name, value in attrs if (tag, name) == ("a", "href") and value]

    def handle_data(self, data: str) -> None:
        """Collect the text of the title."""
        if self.lasttag == "title":
            self.title += data


def address(link: str, base: str) -> str | None:
    """Return a link in normal form, so that addresses can be compared; None if not HTTP(S)."""
    with suppress(httpx.InvalidURL):
        url = httpx.URL(base).join(link).copy_with(fragment=None)
        if url.scheme in {"http", "https"} and url.host:
            return str(url.copy_with(raw_path=url.raw_path))  # with the path "/" if there is none
    return None


async def visit(context: AsyncDurableContext, url: str, _index: int, _urls: Sequence[str]) -> Page:
    """Fetch and parse one page."""
    base, html = await context.step(fetch(url), config=FETCH)
    return await context.step(parse(base, html))


@durable_execution
async def scrape(event: Request, context: AsyncDurableContext) -> Summary:
    """Visit what is one click away, then two, and so on, each address once."""
    if (start := address(event.start, event.start)) is None:
        raise ValueError(f"{event.start!r} is not an HTTP(S) address")
    site, summary, found, due, visited = httpx.URL(start).netloc, Summary(), {start}, [start], 0
    for clicks in range(event.clicks_max + 1):
        links: dict[str, None] = {}  # keeps the order, which a set does not
        batch = await context.map(due, visit, name=f"{clicks}-clicks-away", config=POLITE)
        visited += len(due)
        for url, item in zip(due, batch.all, strict=True):
            if item.result is None:
                summary.failed[url] = str(item.error and item.error.message)
                continue
            summary.titles[url] = item.result.title
            links.update(dict.fromkeys(item.result.links))
        new = [link for link in links if link not in found and httpx.URL(link).netloc == site]
        found.update(new)
        if not (due := new[: max(event.pages_max - visited, 0)]):
            break
    summary.left_out = len(found) - visited
    return summary
