"""dlt's own log lines, brought into the task's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dlt.common import logger as dlt_logger


@contextmanager
def dlt_logs_propagate() -> Iterator[None]:
    """Let dlt's logger pass its records to the root logger while a load runs.

    dlt writes to stderr by itself, and Airflow shows what a task writes there as an error, be it an info
    line. The root logger's handler is Airflow's, which keeps the level. The level is dlt's: ``[runtime]
    log_level``.
    """
    logger = dlt_logger.LOGGER or logging.getLogger("dlt")
    handlers, propagate = list(logger.handlers), logger.propagate
    for handler in handlers:
        logger.removeHandler(handler)
    logger.propagate = True
    try:
        yield
    finally:
        logger.propagate = propagate
        for handler in handlers:
            logger.addHandler(handler)
