"""Addresses as clients see them: with the prefix under which a proxy serves them (LAPSRN_ROOT_PATH)."""

from collections.abc import MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
_PREFIX = "lapsrn.prefix"
"""Key of the prefix in the scope. `root_path` has the same value at first, but mounted applications extend it."""


def below(root_path: str, scope: Scope) -> None:
    """Puts the prefix into an ASGI scope, whether or not the proxy has removed it from the path."""
    scope["root_path"] = scope[_PREFIX] = root_path
    if path_of(scope) == scope["path"]:
        scope["path"] = root_path + scope["path"]
        scope["raw_path"] = root_path.encode() + scope.get("raw_path", b"")


def without_last_slash(scope: Scope) -> None:
    """Removes a trailing slash from the path of requests other than GET and HEAD, so that they are not redirected.

    Some clients that follow such a redirect send a broken body, or none, the second time.
    """
    if scope["method"] not in ("GET", "HEAD") and path_of(scope) != "/":
        scope["path"] = scope["path"].removesuffix("/")
        scope["raw_path"] = scope.get("raw_path", b"").removesuffix(b"/")


def path_of(scope: Scope) -> str:
    """The path without the prefix."""
    prefix, path = prefix_of(scope), str(scope["path"])
    return path[len(prefix) :] if path == prefix or path.startswith(f"{prefix}/") else path


def prefix_of(scope: Scope) -> str:
    """The prefix: "", or a path such as "/sr"."""
    return str(scope.get(_PREFIX, ""))


def picture_address(prefix: str, result_id: str, level: int) -> str:
    """The address of a level of a result."""
    return f"{prefix}/upscale?level={level}&id={result_id}"


def job_address(prefix: str, job_id: str) -> str:
    """The address of a job."""
    return f"{prefix}/jobs/{job_id}"
