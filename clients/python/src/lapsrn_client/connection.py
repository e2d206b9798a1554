"""Opens connections to the service, directly or through a proxy from the environment, and explains their failures."""

import ssl
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from lapsrn_client.errors import Unreachable

T = TypeVar("T")

_WRONG_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def open_client(client: Callable[..., T], url: str, **settings: Any) -> T:
    """An httpx client for the service at `url`.

    A service on this machine is reached directly, even if the environment sets a proxy. Raises Unreachable if `url`,
    or a proxy or certificate file from the environment, cannot be used.
    """
    try:
        return client(base_url=url, trust_env=not _is_here(url), **settings)
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        reason = str(error).rstrip(".")
        detail = f"{reason}; check the address, and HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE"
        raise Unreachable(title=f"no way to {url}", detail=detail, status=0) from error


def proxy_for(url: str) -> str:
    """Host and port of the proxy for requests to `url`; "" if they are sent directly."""
    address, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or _is_here(url) or proxy_bypass(address.netloc):
        return ""
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2]


def _is_here(url: str) -> bool:
    """Whether `url` is on this machine and without TLS; with TLS, SSL_CERT_FILE may be needed."""
    try:
        address = urlsplit(url)
        host = address.hostname or ""
        return address.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:  # a host name, not an address
        return False


def reason_of(error: httpx.RequestError) -> str:
    """Why there was no answer, as text for users: httpx's own is sometimes empty, or is that of OpenSSL."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _WRONG_NAME:
            return f"its certificate is not for this address ({cause.verify_message}); check the address"
        return (
            f"its certificate is not trusted ({cause.verify_message}); SSL_CERT_FILE may name the file of its authority"
        )
    if cause is not None and isinstance(error, httpx.ConnectError):
        return f"{error}; perhaps it does not speak https: try http"
    if isinstance(error, httpx.TimeoutException):
        return str(error) or "it took too long"
    return str(error) or "the connection was closed before the answer was complete"
