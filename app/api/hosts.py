"""The middleware that answers only to the names of this service, so that no web page makes one of its own for it.

A page may have its own name resolve to 127.0.0.1 (DNS rebinding): for a browser the service is then of the page's own
site, and without API keys the page could use it like its visitor. It cannot choose what stands in `Host`, though.
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
"""What orchestrators ask for, by whatever name."""
_RESERVED = "localhost local internal home.arpa test lan home corp intranet private localdomain"
"""Names that no public registry gives away (RFC 6761, 6762 with its appendix G, 8375; ICANN's .internal)."""
_LOCAL = tuple(f".{name}" for name in _RESERVED.split())


class KnownHosts:
    """Refuses requests for other hosts than `names`, which are entries of LAPSRN_ALLOWED_HOSTS."""

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
    """The entries of LAPSRN_ALLOWED_HOSTS or, where there are none, those that suit the service.

    With keys a page would need one of them, and whoever listens beyond loopback without keys has said that anybody may
    send work.
    """
    if settings.allowed_hosts:
        return settings.allowed_hosts
    closed = bool(settings.api_keys) or settings.allow_anonymous or not is_loopback(settings.host)
    return ("*",) if closed else ("local",)


def host_of(header: str) -> str:
    """The name or address in `Host`, in lower case, without port, brackets and the root's dot."""
    host = header.strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and (not port or (port.isascii() and port.isdigit())) and (":" not in name or name.endswith("]")):
        host = name
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host.removesuffix(".")


def is_known(host: str, names: Sequence[str], *, is_encrypted: bool) -> bool:
    """Whether one of `names` stands for this host. `is_encrypted`: a proxy has the request by TLS, for its own name.

    Addresses are not looked up in the DNS, and localhost is looked up nowhere: they are always known, and so is a
    client too old to name a host.
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
    """By what the proxy says, and the browser does not deny: a page may send any header but Origin.

    By TLS a page gets to no other server than that of its name, which has a certificate for it.
    """
    forwarded, origin = headers.get("x-forwarded-proto", ""), headers.get("origin", "https:")
    return forwarded.partition(",")[0].strip().lower() == "https" and origin.startswith("https:")
