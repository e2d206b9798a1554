"""The middleware that checks `Host`: only requests for the names of this service are served.

This prevents DNS rebinding: a web page can let its own name resolve to 127.0.0.1, so that browsers take the service for
a part of the page's site, and without API keys the page could use it as its visitor can. But it cannot change `Host`.
"""

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.addresses import path_of
from app.errors import UnknownHost
from app.settings import Settings, is_loopback
from app.webhook_rules import is_host_pattern, is_one_of

HEALTH = ("/healthz", "/readyz")
"""Paths that orchestrators request, under any name."""
_RESERVED = "localhost local internal home.arpa test lan home corp intranet private localdomain"
"""Domains that no public registry assigns (RFC 6761, 6762 with its appendix G, 8375; ICANN's .internal)."""
_LOCAL = tuple(f".{name}" for name in _RESERVED.split())


class KnownHosts:
    """Refuses requests for hosts other than `names`, which are entries of LAPSRN_ALLOWED_HOSTS."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on. Raises UnknownHost."""
        if scope["type"] == "http" and path_of(scope) not in HEALTH:
            headers = Headers(scope=scope)
            host = host_of(headers.get("host", ""))
            if not is_known(host, self._names, is_encrypted=_is_encrypted(headers)):
                raise UnknownHost(
                    f"{host[:100]!r} is not a name of this service. Use its address or localhost, or have the "
                    "operator add the name to LAPSRN_ALLOWED_HOSTS."
                )
        await self._app(scope, receive, send)


def names_of(settings: Settings) -> tuple[str, ...]:
    """The entries of LAPSRN_ALLOWED_HOSTS or, if it is not set, a default that suits the service.

    All names are allowed with API keys, of which a page would need one, and beyond loopback, where a service without
    keys was explicitly opened to anybody.
    """
    if settings.allowed_hosts:
        return settings.allowed_hosts
    closed = bool(settings.api_keys) or settings.allow_anonymous or not is_loopback(settings.host)
    return ("*",) if closed else ("local",)


def host_of(header: str) -> str:
    """The name or address in `Host`, in lower case, without port, brackets and trailing dot."""
    host = header.strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and (not port or (port.isascii() and port.isdigit())) and (":" not in name or name.endswith("]")):
        host = name
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host.removesuffix(".")


def is_known(host: str, names: Sequence[str], *, is_encrypted: bool) -> bool:
    """Whether one of `names` covers this host. `is_encrypted`: a proxy received the request by TLS, under its own name.

    Addresses and localhost are always known, as they are not resolved by DNS; so are clients too old to send `Host`.
    """
    if "*" in names or host in ("", "localhost") or _is_address(host):
        return True
    if not is_host_pattern(host):
        return False
    if "local" in names and (is_encrypted or "." not in host or host.endswith(_LOCAL)):
        return True
    return is_one_of(host, names)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_encrypted(headers: Headers) -> bool:
    """Whether the proxy reports TLS and Origin does not contradict it: a page can set any header except Origin.

    DNS rebinding fails with TLS: the server needs a certificate for the page's name.
    """
    forwarded, origin = headers.get("x-forwarded-proto", ""), headers.get("origin", "https:")
    return forwarded.partition(",")[0].strip().lower() == "https" and origin.startswith("https:")
