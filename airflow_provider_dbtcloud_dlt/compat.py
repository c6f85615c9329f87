"""What differs between the supported Airflows (3.1 to 3.3): nowhere else is a version looked at.

Each name is bound once, to whatever this Airflow offers; newer Airflows warn when an old place is used.
"""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import (
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferred,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined, no-redef]
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferred,
    )

__all__ = [
    "AirflowException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "TaskDeferred",
]
