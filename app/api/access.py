"""Identifies the caller: by its API key if keys are configured, otherwise by its network."""

import hashlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request

from app.api_keys import ApiKey
from app.errors import Forbidden, Unauthorized
from app.service.caller import Caller

_HOW = "Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."


class Access:
    """Identifies callers by the digests of their keys, and assigns their limits."""

    def __init__(
        self, read_keys: Callable[[], Sequence[ApiKey]], max_concurrent: int, requests_per_minute: int
    ) -> None:
        """`read_keys` is called here, and again by `reload`.

        Without keys, everybody may call, and is identified by `network_of` the address.
        """
        self._read_keys = read_keys
        self._keys = _by_digest(read_keys())
        self._max_concurrent = max_concurrent
        self._requests_per_minute = requests_per_minute

    def reload(self) -> int:
        """Reads the keys again; returns their number.

        Raises SettingsRefused, in which case the old keys are kept.
        """
        self._keys = _by_digest(self._read_keys())
        return len(self._keys)

    def identify(self, request: Request) -> Caller:
        """The caller. Raises Unauthorized if keys are configured and none of them was sent."""
        if not self._keys:
            return Caller(
                name=network_of(request.client.host if request.client else ""),
                owner="",
                max_concurrent=self._max_concurrent,
                requests_per_minute=self._requests_per_minute,
                admin=False,
            )
        key = self._match(_sent_key(request))
        return Caller(
            name=key.name,
            owner=key.name,
            max_concurrent=key.max_concurrent or self._max_concurrent,
            requests_per_minute=key.requests_per_minute or self._requests_per_minute,
            admin=key.admin,
        )

    def identify_admin(self, request: Request) -> Caller:
        """The caller, an administrator. Raises Unauthorized or Forbidden; without keys, nobody is."""
        if not self._keys:
            raise Forbidden(
                "No API key is configured, so this call is disabled. Set LAPSRN_API_KEYS, or send SIGHUP instead."
            )
        caller = self.identify(request)
        if not caller.admin:
            raise Forbidden("This API key has no administrator rights.")
        return caller

    def _match(self, sent: str) -> ApiKey:
        """The key that was sent. Raises Unauthorized.

        It is looked up by its digest: timing may depend on the digests, but they reveal nothing about the keys.
        """
        if not sent:
            raise Unauthorized(f"An API key is required. {_HOW}")
        key = self._keys.get(hashlib.sha256(sent.encode()).hexdigest())
        if key is None:
            raise Unauthorized(f"This API key is invalid. {_HOW}")
        return key


def _by_digest(keys: Sequence[ApiKey]) -> Mapping[str, ApiKey]:
    return {key.sha256: key for key in keys}


def network_of(address: str) -> str:
    """The name of a client without a key: its address, or the /64 network of an IPv6 address.

    One subscriber usually has a whole /64, and could otherwise appear as 2^64 clients. IPv4-mapped addresses are IPv4.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"  # arbitrary text that a proxy passed on; each variation of it would be another client
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _sent_key(request: Request) -> str:
    """The key in the request's headers, or "". Either header may be present but empty."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key", "").strip()
