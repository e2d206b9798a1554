"""Writing a result, whole or not at all."""

import os
import secrets
import sys
from pathlib import Path


def write(target: Path | None, body: bytes) -> None:
    """Writes a file, making its folder, or to standard output for None. Raises OSError.

    The file appears under its name when it is complete and on the disk: it is written beside it first, then renamed.
    """
    if target is None:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
