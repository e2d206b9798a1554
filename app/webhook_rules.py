"""Where webhooks may be sent and how they are signed: parses LAPSRN_WEBHOOK_HOSTS and LAPSRN_WEBHOOK_SECRET."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
MAX_URL = 2048
"""Maximum length of a URL, in characters."""
_HOST = re.compile(r"(?:\.?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_MAX_HOST = 253
"""Maximum length of a host name (RFC 1035 allows 255 bytes on the wire)."""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SITE_LOCAL = IPv6Network("fec0::/10")
"""Replaced by fc00::/7 (RFC 3879), but still private where it is used."""
_NAT64 = IPv6Network("64:ff9b::/96")
_SECRET_BYTES = range(24, 65)


class Refused(Exception):
    """A name resolves to no allowed address."""


@dataclass(frozen=True, slots=True)
class Rules:
    """An allow-list. A name in `hosts` may resolve to public addresses, and to those in `networks`."""

    hosts: tuple[str, ...] = ()
    """Names; .example.org stands for all names below it, * for every name."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Addresses that are allowed even if they are private, and without TLS."""

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Rules":
        """Parses names, names with a leading dot, *, addresses and networks. Raises ValueError."""
        hosts, networks = [], []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
                continue
            except ValueError:
                pass
            name = entry.lower()
            if name != "*" and not is_host_pattern(name):
                raise ValueError(
                    f"'{entry}' is neither a host such as example.org, nor .example.org for all below it, nor *, nor "
                    "an address or a network such as 10.0.0.0/8"
                )
            hosts.append(name)
        return cls(tuple(hosts), tuple(networks))

    def complaint(self, url: str) -> str:
        """Why webhooks to this URL are not allowed, or "". Names are not resolved; see `allows`."""
        if len(url) > MAX_URL or not (url.isascii() and url.isprintable()) or " " in url:
            return f"has to be an address of at most {MAX_URL} printable ASCII characters"
        parts = _split(url)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            return "has to be an address such as https://example.org/hook"
        if "@" in parts.netloc or parts.fragment:
            return "must have neither a user name nor a fragment; the signature tells that it is this service"
        if parts.scheme == "http" and not self.networks:
            return "has to begin with https://"
        return "" if self._is_listed(parts.hostname) else f"{parts.hostname} is none of the hosts that are allowed here"

    def allows(self, address: str, *, encrypted: bool) -> bool:
        """Whether a connection to this address, to which a name was resolved, is allowed."""
        found = _plain(ip_address(address.partition("%")[0]))
        if any(found in network for network in self.networks):
            return True
        special = found.is_multicast or found.is_reserved or found in _SITE_LOCAL
        return encrypted and found.is_global and not special

    def _is_listed(self, host: str) -> bool:
        host = host.rstrip(".")
        try:
            return self.allows(host, encrypted=True) and (
                "*" in self.hosts or any(_plain(ip_address(host)) in network for network in self.networks)
            )
        except ValueError:
            return _is_name(host) and is_one_of(host, self.hosts)


def is_host_pattern(name: str) -> bool:
    """Whether this is a host name in lower case, possibly with a leading dot that stands for all names below."""
    return len(name) <= _MAX_HOST and _HOST.fullmatch(name) is not None


def is_one_of(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host in lower case matches one of `patterns`, each "*" or as in `is_host_pattern`."""
    return any(each in ("*", host) or (each[0] == "." and host.endswith(each)) for each in patterns)


def secrets_in(text: str) -> tuple[bytes, ...]:
    """The keys in a setting (Standard Webhooks): each whsec_ and the base64 of 24 to 64 bytes, separated by spaces.

    Messages are signed with all of them, so that keys can be rotated. Raises ValueError.
    """
    keys = []
    for word in text.split():
        try:
            key = base64.b64decode(word.removeprefix("whsec_"), validate=True) if word.startswith("whsec_") else b""
        except binascii.Error:
            key = b""
        if len(key) not in _SECRET_BYTES:
            raise ValueError("a secret is whsec_ and the base64 of 24 to 64 random bytes; several have spaces between")
        keys.append(key)
    return tuple(keys)


def _is_name(host: str) -> bool:
    """Whether this is a host name that all URL parsers read alike.

    A last label that is a number makes it an IPv4 address in an unusual notation, such as 127.1 or 0x7f.0.0.1.
    """
    labels = host.split(".")
    return is_host_pattern(host) and all(labels) and not _NUMBER.fullmatch(labels[-1])


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """The IPv4 address embedded in an IPv6 address that leads to it; otherwise the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address
