"""The trigger's event, as the resumed task takes it: checked, and then only believed in part.

Events are delivered at least once, and time has passed since they were made: the run itself is read again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError, NotFoundError, Run
from airflow_provider_dbtcloud_dlt.client.waiting import EndingStatus
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunEvent:
    """What the trigger said: see `DbtCloudRunJobTrigger`."""

    status: EndingStatus
    run_id: int
    message: str

    @classmethod
    def read(cls, event: Mapping[str, Any] | None) -> RunEvent:
        """Check an event; a missing or unknown one fails loudly, and is never taken for a success."""
        if (
            not isinstance(event, Mapping)
            or event.get("status") not in get_args(EndingStatus)
            or not isinstance(event.get("run_id"), int)
        ):
            raise DbtCloudJobRunException(f"The trigger sent an event that is not one of its own: {event!r}.")
        return cls(event["status"], event["run_id"], str(event.get("message", "")))

    def read_run(self, client: DBTCloudClientV2) -> Run | None:
        """Read the run again; ``None`` when it could not be read now but may be later.

        Raises:
            DbtCloudJobRunException: there is no such run, or the trigger too got no answer.
        """
        try:
            return client.get_run(self.run_id)
        except NotFoundError as error:
            raise DbtCloudJobRunException(str(error)) from None
        except DbtCloudError as error:
            if self.status == "unreachable":
                raise DbtCloudJobRunException(f"{self.message} Asked again: {error}") from None
            log.warning("Job run %s could not be read again. %s", self.run_id, error)
            return None
