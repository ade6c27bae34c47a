"""Urls: a url survives parsing and formatting, and a wrong one is refused with a hint."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perspective_broker.transports import DEFAULT_PORT, Address, parse_url

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,8}){0,3}", fullmatch=True)
hosts = st.one_of(
    st.just(""),
    names,
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ports = st.integers(0, 65535)
paths = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)

addresses = st.one_of(
    st.builds(Address, st.sampled_from(["tcp", "tls"]), hosts, ports),
    st.builds(lambda path: Address("unix", path="/" + path), paths),
    st.builds(lambda name: Address("memory", path=name), paths.filter(lambda n: n and n[0] != "/")),
)


@given(addresses)
@example(Address("unix", path="/with space/ü?query#fragment%20"))
@example(Address("memory", path="a:b//c?d#e"))
def test_an_address_is_read_from_its_own_text(address: Address) -> None:
    assert parse_url(str(address)) == address


@given(st.sampled_from(["tcp", "tls"]), hosts)
def test_the_port_may_be_left_out(scheme: str, host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    assert parse_url(f"{scheme}://{shown}") == Address(scheme, host, DEFAULT_PORT)
    assert parse_url(f"{scheme}://{shown}:") == Address(scheme, host, DEFAULT_PORT)
    assert parse_url(f"{scheme}://{shown}/") == Address(scheme, host, DEFAULT_PORT)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_url(text)
    except ValueError:
        pass
    else:
        assert address.scheme == text.partition(":")[0]
        assert parse_url(str(address)) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "8787",
        "localhost:8787",
        "http://localhost",
        "TCP://localhost",
        "tcp:localhost",
        "tcp:/localhost",
        "tcp://host:port",
        "tcp://host:-1",
        "tcp://host:65536",
        "tcp://host:1/path",
        "tcp://host:1?query",
        "tcp://host:1#fragment",
        "tcp://user@host:1",
        "tcp://user:secret@host:1",
        "tcp://[::1:80",
        "tcp://ho st:1",
        "tcp://ho\nst:1",
        "tcp://ho\tst:1",
        " tcp://host:1",
        "tcp://host:1 ",
        "unix:",
        "unix:/path",
        "unix://path",
        "unix:///nul\0byte",
        "memory:",
        "memory://name",
    ],
)
def test_what_is_no_url_of_ours_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="urls are tcp://HOST:PORT"):
        parse_url(url)


@given(addresses)
def test_local_is_what_cannot_leave_the_machine(address: Address) -> None:
    try:
        is_loopback = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        is_loopback = address.host == "localhost"
    assert address.is_local == (address.scheme in ("unix", "memory") or is_loopback)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1.example.org:1", "tcp://127.evil.example:1"])
def test_a_name_that_looks_local_is_not(url: str) -> None:
    assert not parse_url(url).is_local
