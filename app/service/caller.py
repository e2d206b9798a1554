"""A client of the service, once it has been identified."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` identifies the client in logs, quotas and shares; results and jobs belong to `owner`.

    Clients without a key have the owner "": their results are protected by the secret id alone. `requests_per_minute`
    is 0 if it is not limited.
    """

    name: str
    owner: str
    max_concurrent: int
    requests_per_minute: int
    admin: bool
