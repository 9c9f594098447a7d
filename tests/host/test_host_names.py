"""Names of HTTP ports, held against what browsers and probes send."""

import pytest

from perdure_host.access.host_names import HostNames
from perdure_host.errors import SettingsError

NAMES = HostNames(
    "10.0.0.5",
    ["perdure.internal", "*.shop.example", "192.0.2.7"],
    certified=["perdure.example", "*.perdure.example", "no name"],
)


def refused(host: str | None, origin: str | None = None, **more: bool) -> bool:
    return NAMES.problem(host, origin, reached="172.17.0.2", **more) is not None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:7601", "localhost.", "127.0.0.1:7601", "127.8.9.1", "[::1]:7601"),
        *("10.0.0.5", "10.0.0.5:80", "172.17.0.2:7601", "192.0.2.7", "perdure.internal:7601"),
        *("Perdure.Internal.", "a.shop.example", "b.a.shop.example:1", "perdure.example"),
        "x.perdure.example",
    ],
)
def test_names_that_were_given_are_accepted(host: str) -> None:
    assert not refused(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7601", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("shop.example", "evilshop.example", "xperdure.internal", "perdure.internal.evil.example"),
        *("", ":7601", "*", "localhost:x", "localhost:7601:1", "user@localhost", "localhost evil"),
        *("[::1", "[localhost]", "[::1]x", "http://localhost", "::1", "no name"),
    ],
)
def test_all_others_are_refused_whatever_is_asked_for(host: str) -> None:
    assert refused(host)
    assert refused(host, any_address=True)


@pytest.mark.parametrize("host", ["10.0.0.6", "8.8.8.8:7601", "[2001:db8::1]:7601"])
def test_further_addresses_are_for_probes_alone(host: str) -> None:
    assert refused(host)
    assert not refused(host, any_address=True)


def test_a_page_of_the_port_itself_is_no_stranger_and_every_other_is() -> None:
    assert not refused("localhost:7601", "http://localhost:7601")
    for origin in ("http://evil.example", "http://localhost:3000", "null", "", "http://[", "file:"):
        assert refused("localhost:7601", origin)
    assert refused(None, "http://localhost")
    assert not refused(None)


def test_a_star_switches_the_check_off() -> None:
    assert HostNames("127.0.0.1", ["*"]).problem("evil", "http://evil", reached="") is None
    # A certificate does not.
    assert HostNames("127.0.0.1", certified=["*"]).problem("evil", None, reached="") is not None


@pytest.mark.parametrize("name", ["", "http://a", "a:80", "a b", "*a", "a.*", "**", "-"])
def test_what_is_no_name_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match="an allowed host must be"):
        HostNames("127.0.0.1", [name])
