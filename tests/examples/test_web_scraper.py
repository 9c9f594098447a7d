"""The scraper example, on sites that are broken, busy, endless and cyclic."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from examples.web_scraper import PAGE_CHARS_MAX, scrape
from perdure.testing import Crash, DurableFunctionTestRunner, for_each_crash
from tests.examples.sites import Reply, Site, serving
from tests.ports import HeldPort

Runner = DurableFunctionTestRunner


def page(title: str, *links: str) -> Callable[[int], Reply]:
    """Return a page whose title has the number of requests for it."""
    anchors = "".join(f'<a href="{link}">there</a>' for link in links)
    return lambda requests: Reply(f"<title>{title} {requests}</title>{anchors}<p>not the title</p>")


def busy_at_first(page: Callable[[int], Reply], seconds: str) -> Callable[[int], Reply]:
    return lambda requests: (
        Reply(status=503, headers={"retry-after": seconds}) if requests == 1 else page(requests)
    )


def as_at_first(page: Callable[[int], Reply]) -> Callable[[int], Reply]:
    return lambda _requests: page(1)


@pytest.fixture
def site() -> Site:
    return Site(
        {
            "/": page(
                "home",
                "a",
                "/b#part",
                "A/../b",
                "mailto:me@example.com",
                "http://example.com:port/",
                "gone",
            ),
            "/a": page("a", "/", "deep?q=1%2F2"),
            "/b": page("b", "/a", "https://example.com/b", "deep?q=1%2F2", "picture"),
            "/deep?q=1%2F2": page("deep", "/"),
            "/picture": lambda _requests: Reply("PNG", headers={"content-type": "image/png"}),
        }
    )


@pytest.fixture
def home(site: Site) -> Iterator[str]:
    with serving(site) as url:
        yield url


def scraped(home: str, **bounds: int) -> dict[str, Any]:
    with Runner(scrape) as runner:
        summary: dict[str, Any] = runner.run({"start": home, **bounds}).value
    return summary


def test_every_page_of_the_site_is_visited_once_breadth_first(site: Site, home: str) -> None:
    summary = scraped(home)
    assert list(summary["titles"].items()) == [
        (f"{home}/", "home 1"),
        (f"{home}/a", "a 1"),
        (f"{home}/b", "b 1"),
        (f"{home}/deep?q=1%2F2", "deep 1"),
    ]
    assert set(site.requests.values()) == {1}
    assert summary["left_out"] == 0


def test_pages_that_fail_for_good_are_reported_and_not_retried(site: Site, home: str) -> None:
    summary = scraped(home)
    assert summary["failed"] == {
        f"{home}/gone": "the server answers 404, text/html",
        f"{home}/picture": "the server answers 200, image/png",
    }
    assert site.requests["/gone"] == 1


def test_a_server_that_asks_for_a_delay_gets_it(site: Site, home: str) -> None:
    site.pages["/a"] = busy_at_first(site.pages["/a"], "3600")
    with Runner(scrape) as runner:
        began = runner.now
        summary = runner.run({"start": home}).value
        took = runner.now - began
    assert timedelta(hours=1) <= took < timedelta(hours=2)
    assert summary["titles"][f"{home}/a"] == "a 2"


def test_a_page_that_stays_busy_is_given_up_after_four_times(site: Site, home: str) -> None:
    site.pages["/a"] = lambda _requests: Reply(status=503)
    summary = scraped(home)
    assert "503 Service Unavailable" in summary["failed"][f"{home}/a"]
    assert site.requests["/a"] == 4


def test_a_page_without_end_is_given_up(site: Site, home: str) -> None:
    site.pages["/a"] = lambda _requests: Reply("x" * (PAGE_CHARS_MAX + 1))
    site.pages["/b"] = lambda _requests: Reply("x" * PAGE_CHARS_MAX)
    summary = scraped(home)
    assert f"{home}/b" in summary["titles"]
    assert f"more than {PAGE_CHARS_MAX}" in summary["failed"][f"{home}/a"]


@pytest.mark.parametrize(
    ("bounds", "visited", "left_out"),
    [
        ({"pages_max": 0}, 1, 3),
        ({"pages_max": 2}, 2, 3),
        ({"clicks_max": 0}, 1, 3),
        ({"clicks_max": 1}, 4, 2),
    ],
)
def test_it_goes_no_further_than_its_limit(
    home: str, bounds: dict[str, int], visited: int, left_out: int
) -> None:
    summary = scraped(home, **bounds)
    assert len(summary["titles"]) + len(summary["failed"]) == visited
    assert summary["left_out"] == left_out


def test_a_start_that_is_nowhere_on_the_web_fails_the_execution() -> None:
    with Runner(scrape) as runner:
        result = runner.run({"start": "ftp://example.com/"})
    assert result.error is not None
    assert result.error.message == "'ftp://example.com/' is not an HTTP(S) address"


def test_an_unreachable_site_is_reported() -> None:
    with HeldPort() as port:
        away = f"http://{port}/"
        summary = scraped(away)
    assert summary["titles"] == {}
    assert list(summary["failed"]) == [away]


def test_a_scrape_comes_to_the_same_whenever_its_worker_dies(site: Site, home: str) -> None:
    for path in ("/", "/a", "/b", "/deep?q=1%2F2"):
        site.pages[path] = as_at_first(site.pages[path])
    for_each_crash(scrape, {"start": home})


def test_no_page_is_fetched_again_after_it_was_recorded(site: Site, home: str) -> None:
    def run(*crash_at: Crash) -> int:
        site.requests.clear()
        with Runner(scrape, crash_at=crash_at) as runner:
            arn = runner.run_async({"start": home})
            titles = runner.wait_for_result(arn).value["titles"]
            # Each title has the number of the request that was recorded: it was the last one.
            recorded = {url.removeprefix(home): int(title[-1]) for url, title in titles.items()}
            assert recorded == {path: site.requests[path] for path in recorded}
            return runner.checkpoints_of(arn)

    requests_repeated = 0
    checkpoints = run()
    for number in range(1, checkpoints + 1):
        for crash in (Crash(number, accepted=False), Crash(number)):
            run(crash)
            requests_repeated += site.requests.total() - len(site.requests)
    assert requests_repeated > 0  # so crashes did fall between a fetch and its record
