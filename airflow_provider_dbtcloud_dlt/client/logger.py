"""What is asked of a logger: a task's is structlog's, elsewhere it is the standard library's."""

from __future__ import annotations

from typing import Any, Protocol


class Logger(Protocol):
    """Anything that logs in the manner of ``logging.Logger``."""

    def info(self, event: str, /, *args: Any) -> Any:
        """Tell of what happened."""

    def warning(self, event: str, /, *args: Any) -> Any:
        """Tell of what may need somebody."""

    def error(self, event: str, /, *args: Any) -> Any:
        """Tell of what failed."""
