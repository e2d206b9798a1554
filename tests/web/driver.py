"""What the drivers of browsers other than Chromium have in common."""

import time
from abc import ABC, abstractmethod
from typing import Any

SECONDS = 60
"""The longest that anything may take."""


class Driver(ABC):
    """One page in a browser."""

    @property
    @abstractmethod
    def complaints(self) -> list[str]:
        """What the page has complained about since it was opened."""

    @abstractmethod
    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression: anything that JSON can hold."""

    def until(self, expression: str) -> None:
        """Wait for a JavaScript expression to hold."""
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}; {self.complaints}"
            time.sleep(0.05)
