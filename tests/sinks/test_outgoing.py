"""Requests go where they may, whatever a name leads to or a redirect says."""

import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sinks.notifier.channels import Refused
from sinks.notifier.channels.http import Http
from sinks.outgoing import ForbiddenAddressError, Outgoing
from tests.sinks.notifier.receivers import serving


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fe80::1]", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254",
     "fd00:ec2::254"],
)  # fmt: skip
def test_what_nobody_may_reach_is_refused_without_any_setting(host: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="never asked"):
        Outgoing().check(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "[::1]", "fd12::1"])
def test_private_networks_are_reached_unless_that_is_turned_off(host: str) -> None:
    Outgoing().check(host)
    with pytest.raises(ForbiddenAddressError, match="private_networks"):
        Outgoing(private=False).check(host)


def test_a_list_of_hosts_lets_in_those_on_it_and_no_look_alikes() -> None:
    listed = Outgoing(("hooks.example.org", "*.pagerduty.com"))
    listed.check("Hooks.Example.org.")
    listed.check_url("https://events.pagerduty.com/v2/enqueue")
    for host in ("example.org", "hooks.example.org.evil.net", "pagerduty.com", "", "10.0.0.1"):
        with pytest.raises(ForbiddenAddressError, match="allowed_hosts"):
            listed.check(host)


async def test_a_name_that_leads_where_nobody_may_go_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def rebound(*_: Any, **__: Any) -> Any:
        return [{"hostname": "hook.example.org", "host": "169.254.169.254", "port": 80,
                 "family": socket.AF_INET, "proto": 0, "flags": 0}]  # fmt: skip

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", rebound)
    http = Http("the webhook", lambda: 0)
    with pytest.raises(Refused, match=r"hook\.example\.org, which leads to 169\.254\.169\.254"):
        await http.ask("POST", "http://hook.example.org/", b"{}")
    await http.close()


async def test_a_session_follows_no_redirect() -> None:
    """Also where a library asks for redirects to be followed."""
    reached: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        reached.append(request.path)
        if request.path == "/first":
            raise web.HTTPFound(f"http://localhost:{request.url.port}/second")
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path}", handle)
    async with serving(app) as base, Outgoing().session(5) as session:
        with pytest.raises(ForbiddenAddressError, match="redirects are not followed"):
            await session.get(f"{base}/first")
    assert reached == ["/first"]


async def test_what_may_not_be_asked_is_refused_for_good() -> None:
    http = Http("the webhook", lambda: 0, outgoing=Outgoing(("hooks.example.org",)))
    with pytest.raises(Refused, match=r"127\.0\.0\.1 is not in outgoing\.allowed_hosts"):
        await http.ask("GET", "http://127.0.0.1:9/")
    await http.close()
