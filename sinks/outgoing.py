"""Where requests of ours may go: an allow-list of hosts, and networks that are never reached.

Every address comes from the configuration; this is the second lock. It is tried for each request
and for each address that a name leads to, at the moment of connecting, so that neither a redirect
nor a name that has changed its mind leads elsewhere.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_UNSPEC, AddressFamily
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from schemas.configuration import Outgoing as Settings

Address = IPv4Address | IPv6Address

METADATA = frozenset((ip_address("fd00:ec2::254"), ip_address("100.100.100.200")))
"""Clouds' metadata services outside the link-local range."""


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
    def is_listed(self) -> bool:
        """Whether there is a list of hosts."""
        return bool(self._hosts)

    def check(self, host: str) -> None:
        """Raises ForbiddenAddressError for a host that is not on the list, or an address that is
        not to be reached."""
        name = host.lower().strip("[]").rstrip(".")
        if self._hosts and not any(fnmatchcase(name, allowed) for allowed in self._hosts):
            raise ForbiddenAddressError(
                f"{host} is not in outgoing.allowed_hosts; add it there if it may be asked"
            )
        try:
            address = ip_address(name.partition("%")[0])
        except ValueError:
            return  # a name; what it leads to is seen when it is resolved
        self.check_address(host, address)

    def check_url(self, url: str) -> None:
        """The same for an address with a scheme."""
        self.check(urlsplit(url).hostname or "")

    def check_address(self, host: str, address: Address) -> None:
        """Raises ForbiddenAddressError if `host` leads to an address that is not to be reached."""
        plain = getattr(address, "ipv4_mapped", None) or address
        if plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain in METADATA:
            raise ForbiddenAddressError(f"{host}{_to(host, plain)} is never asked")
        if not self._private and not plain.is_global:
            raise ForbiddenAddressError(
                f"{host}{_to(host, plain)} is in a private network; set "
                "outgoing.private_networks to true if it may be asked"
            )

    def session(self, timeout_seconds: float) -> aiohttp.ClientSession:
        """A session that asks nobody else; proxies of the environment are not used."""

        async def guard(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            self.check(request.url.host or "")
            return await handler(request)

        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            connector=aiohttp.TCPConnector(resolver=_Resolver(self)),
            middlewares=(guard,),
        )


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
