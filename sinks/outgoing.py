"""Where requests of ours may go: an allow-list of hosts, and networks that are never reached.

Every address comes from the configuration; this is the second lock. It is tried for each request
and for each address that a name leads to, at the moment of connecting, so that neither a redirect
nor a name that has changed its mind leads elsewhere.
"""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AF_UNSPEC, AddressFamily
from types import SimpleNamespace
from typing import Final
from unicodedata import normalize
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from schemas.configuration import Outgoing as Settings

Address = IPv4Address | IPv6Address

METADATA: Final = frozenset((ip_address("fd00:ec2::254"), ip_address("100.100.100.200")))
"""Clouds' metadata services outside the link-local range."""

TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""NAT64 (RFC 6052): the last four bytes are the IPv4 address that is reached."""

_LAST_4_BYTES: Final = 0xFFFF_FFFF


class ForbiddenAddressError(OSError):
    """A request would go where none may; says the host, never the whole address."""


class Outgoing:
    """The hosts that may be asked, and the sessions that ask no others.

    Parameters
    ----------
    hosts
        Names or addresses, `*.example.org` for all below one; any host if empty.
    private
        Whether names may lead into private networks and to this machine. Link-local addresses,
        behind which clouds keep credentials, and multicast are never reached.
    """

    def __init__(self, hosts: Iterable[str] = (), *, private: bool = True) -> None:
        self._hosts = tuple(host.lower().rstrip(".") for host in hosts)
        self._private = private

    @classmethod
    def of(cls, settings: Settings) -> "Outgoing":
        """As the configuration says."""
        return cls(settings.allowed_hosts, private=settings.private_networks)

    @property
    def is_restricted(self) -> bool:
        """Whether there are hosts, beside those that nobody may ask, that must not be asked."""
        return bool(self._hosts) or not self._private

    def check(self, host: str) -> None:
        """Raises ForbiddenAddressError for a host that is not on the list, or an address that is
        not to be reached."""
        name = host.lower().strip("[]").rstrip(".")
        if self._hosts and not any(fnmatchcase(name, allowed) for allowed in self._hosts):
            raise ForbiddenAddressError(
                f"{host} is not in outgoing.allowed_hosts; add it there if it may be asked"
            )
        address = _address_in(name)
        if address is not None:  # what a name leads to is seen when it is resolved
            self.check_address(host, address)

    def check_url(self, url: str) -> None:
        """The same for an address with a scheme."""
        self.check(urlsplit(url).hostname or "")

    def check_address(self, host: str, address: Address) -> None:
        """Raises ForbiddenAddressError if `host` leads to an address that is not to be reached."""
        for each in _reached_by(address):
            if each.is_link_local or each.is_multicast or each.is_unspecified or each in METADATA:
                raise ForbiddenAddressError(f"{host}{_to(host, each)} is never asked")
            if not self._private and not each.is_global:
                raise ForbiddenAddressError(
                    f"{host}{_to(host, each)} is in a private network; set "
                    "outgoing.private_networks to true if it may be asked"
                )

    def session(self, timeout_seconds: float) -> aiohttp.ClientSession:
        """A session that asks nobody else, follows no redirect, even if it is asked to, and uses no
        proxy of the environment."""

        async def guard(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            self.check(request.url.host or "")
            return await handler(request)

        redirects = aiohttp.TraceConfig()
        redirects.on_request_redirect.append(_refuse_redirect)
        return aiohttp.ClientSession(
            trace_configs=[redirects],
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            connector=aiohttp.TCPConnector(resolver=_Resolver(self)),
            middlewares=(guard,),
        )

    async def connect(self, host: str, port: int, timeout_seconds: float) -> socket.socket:
        """A connection for what is not asked by HTTP. Raises OSError, `ForbiddenAddressError` for
        a host that may not be asked or leads where nobody may go."""
        self.check(host)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_seconds):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            for *_, place in found:
                self.check_address(host, ip_address(str(place[0]).partition("%")[0]))
            failed: OSError = ConnectionError(f"{host} has no address")
            for family, kind, protocol, _, place in found:
                made = socket.socket(family, kind, protocol)
                made.setblocking(False)
                try:
                    await loop.sock_connect(made, place)
                except OSError as error:
                    made.close()
                    failed = error
                except BaseException:
                    made.close()
                    raise
                else:
                    return made
        raise failed


async def _refuse_redirect(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    asked: aiohttp.TraceRequestRedirectParams,
) -> None:
    raise ForbiddenAddressError(f"{asked.url.host} sends elsewhere; redirects are not followed")


def _address_in(host: str) -> Address | None:
    """The address that a host is, in any way of writing one; None for a name.

    Systems read `2852039166`, `0xa9.0376.43518` and the like as addresses. aiohttp refuses those of
    digits and dots by itself, as no valid URLs; here they are refused by name, and before.
    """
    host = normalize("NFKC", host)
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _reached_by(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that it stands for where networks are translated."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    else:
        yield address
        is_compatible = 1 < int(address) <= _LAST_4_BYTES  # ::a.b.c.d, RFC 4291
        if is_compatible or address in TRANSLATED:
            yield IPv4Address(int(address) & _LAST_4_BYTES)
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield address.teredo[1]


def _to(host: str, address: Address) -> str:
    return "" if host == str(address) else f", which leads to {address},"


class _Resolver(AbstractResolver):
    """The system's resolver, whose answers are looked at before anything connects to them."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        for each in found:
            self._outgoing.check_address(host, ip_address(each["host"].partition("%")[0]))
        return found

    async def close(self) -> None:
        await self._system.close()
