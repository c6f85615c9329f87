"""The calls to Airflow's REST API that the demo and the tests make.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

import datetime as dt
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import requests
import tenacity

FINAL_STATES = frozenset({"success", "failed"})

JSON = dict[str, Any]

Found = TypeVar("Found")


class AirflowAPIError(RuntimeError):
    """Airflow refused a request, or something did not happen in time."""

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class AirflowAPI:
    """One Airflow, logged in as one user of its simple auth manager.

    Args:
        url: where the API server listens.
        username: the user's name.
        password: its password.
        check: called while something is waited for; raises what explains that it can't come any more.
    """

    def __init__(
        self, url: str, username: str, password: str, *, check: Callable[[], object] = lambda: None
    ) -> None:
        self.url = url
        self._check = check
        self._login = {"username": username, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # it is on this machine: no proxy, no .netrc

    @tenacity.retry(
        # SQLite locked, under load; Airflow has rolled the request back.
        retry=tenacity.retry_if_exception(
            lambda error: any(text in str(error) for text in ("Database error", "Database is locked"))
        ),
        wait=tenacity.wait_random(0.2, 2.0),
        stop=tenacity.stop_after_attempt(10),
        reraise=True,
    )
    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """Make a request below ``/api/v2/``; returns the decoded answer.

        Raises:
            AirflowAPIError: when the answer is no success.
        """
        if "Authorization" not in self._session.headers:
            answer = self._session.post(f"{self.url}/auth/token", json=self._login, timeout=30)
            answer.raise_for_status()
            self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        response = self._session.request(method, f"{self.url}/api/v2/{path}", timeout=60, **kwargs)
        if not response.ok:
            message = f"{method} {path}: {response.status_code} {response.text}"
            raise AirflowAPIError(message, response.status_code)
        return response.json() if response.content else None

    def health(self) -> dict[str, str | None]:
        """The state of each component: ``healthy``, ``unhealthy`` or None (not started)."""
        answer = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        return {name: part["status"] for name, part in answer.items()}

    def until(
        self, found: Callable[[], Found], what: Callable[[], str], timeout: float, interval: float = 0.5
    ) -> Found:
        """Wait until something is found, that is, until a call returns a true value; returns that.

        Args:
            found: the call.
            what: how things stand, for the message of the error.
            timeout: seconds; afterwards it is an error.
            interval: seconds between two looks.
        """
        deadline = time.monotonic() + timeout
        while not (answer := found()):
            self._check()
            if time.monotonic() > deadline:
                raise AirflowAPIError(f"{what()} after {timeout:.0f} s. Airflow's health: {self.health()}")
            time.sleep(interval)
        return answer

    def create_connection(
        self, connection_id: str, conn_type: str, *, extra: JSON | None = None, **fields: Any
    ) -> None:
        """Create a connection; ``fields`` are host, login, password, schema, port, description."""
        body = {"connection_id": connection_id, "conn_type": conn_type, **fields}
        if extra is not None:
            body["extra"] = json.dumps(extra)
        self.request("POST", "connections", json=body)

    def change_password(self, connection_id: str, password: str) -> None:
        """Put another secret into a connection, as a person would when it has been rotated."""
        path = f"connections/{connection_id}"
        body = self.request("GET", path)
        fields = {name: body[name] for name in ("connection_id", "conn_type", "host", "port", "login")}
        self.request("PATCH", path, json={**fields, "password": password})

    def wait_for_dag(self, dag_id: str, timeout: float = 60.0) -> None:
        """Wait until the DAG processor has read a DAG; a file that can't be imported ends it at once."""

        def found() -> bool:
            try:
                # Its details come of the serialized DAG, which is stored after the DAG's row.
                self.request("GET", f"dags/{dag_id}/details")
                return True
            except AirflowAPIError as error:
                if error.status_code != 404:
                    raise
            for failure in self.request("GET", "importErrors")["import_errors"]:
                raise AirflowAPIError(f"{failure['filename']} can't be imported:\n{failure['stack_trace']}")
            return False

        self.until(found, lambda: f"There is no DAG {dag_id!r}", timeout)

    def unpause(self, dag_id: str) -> None:
        self.request("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(
        self,
        dag_id: str,
        *,
        logical_date: dt.datetime | None = None,
        data_interval: tuple[dt.datetime, dt.datetime] | None = None,
        conf: JSON | None = None,
    ) -> str:
        """Start a DAG run; returns its id. Without a data interval the DAG run has none."""
        body: JSON = {"logical_date": logical_date and logical_date.isoformat(), "conf": conf or {}}
        if data_interval is not None:
            start, end = data_interval
            body |= {"data_interval_start": start.isoformat(), "data_interval_end": end.isoformat()}
        return str(self.request("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def backfill(
        self,
        dag_id: str,
        first: dt.datetime,
        last: dt.datetime,
        *,
        max_active_runs: int = 1,
        backwards: bool = False,
        again: bool = False,
    ) -> int:
        """Create the DAG runs whose logical dates lie between two times; returns the backfill's id.

        Args:
            dag_id: the DAG.
            first: the first logical date.
            last: the last one.
            max_active_runs: how many of them run at once.
            backwards: the last one first.
            again: those too that were successful before.
        """
        body = {
            "dag_id": dag_id,
            "from_date": first.isoformat(),
            "to_date": last.isoformat(),
            "max_active_runs": max_active_runs,
            "run_backwards": backwards,
            "dag_run_conf": {},
            "reprocess_behavior": "completed" if again else "none",
        }
        return int(self.request("POST", "backfills", json=body)["id"])

    def wait_for_backfill(self, backfill_id: int, *, timeout: float) -> None:
        """Wait until all DAG runs of a backfill have ended."""
        path = f"backfills/{backfill_id}"

        def how_things_stand() -> str:
            dag_id = self.request("GET", path)["dag_id"]
            return "\n".join([f"Backfill {backfill_id} goes on:", *map(self._told, self.dag_runs(dag_id))])

        self.until(lambda: self.request("GET", path)["completed_at"], how_things_stand, timeout)

    def dag_runs(self, dag_id: str) -> list[JSON]:
        return list(self.request("GET", f"dags/{dag_id}/dagRuns")["dag_runs"])

    def dag_run(self, dag_id: str, run_id: str) -> JSON:
        return dict(self.request("GET", self._run(dag_id, run_id)))

    def asset_events(self, dag_id: str) -> list[JSON]:
        """The asset events that a DAG's tasks have emitted."""
        params: JSON = {"source_dag_id": dag_id, "limit": 500}
        return list(self.request("GET", "assets/events", params=params)["asset_events"])

    def upstream_asset_events(self, dag_id: str, run_id: str) -> list[JSON]:
        """The asset events that have started a DAG run."""
        return list(self.request("GET", f"{self._run(dag_id, run_id)}/upstreamAssetEvents")["asset_events"])

    def task_instances(self, dag_id: str, run_id: str) -> list[JSON]:
        path = f"{self._run(dag_id, run_id)}/taskInstances"
        return list(self.request("GET", path, params={"limit": 500})["task_instances"])

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int | None = None) -> None:
        """Mark a task, or one of a mapped task, as a person would: ``failed`` or ``success``."""
        path = f"{self._run(dag_id, run_id)}/taskInstances/{task_id}"
        if map_index is not None:
            path += f"/{map_index}"
        self.request("PATCH", path, json={"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a DAG run as a person would: ``failed`` or ``success``."""
        self.request("PATCH", self._run(dag_id, run_id), json={"state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, so that it runs again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self.request("POST", f"dags/{dag_id}/clearTaskInstances", json=body)

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float,
        on_poll: Callable[[list[JSON]], None] | None = None,
        interval: float = 0.5,
    ) -> str:
        """Wait until a DAG run has ended; returns its state.

        Args:
            dag_id: the DAG.
            run_id: the DAG run.
            timeout: seconds; afterwards it is an error.
            on_poll: called with the task instances each time that they were read.
            interval: seconds between two looks.
        """

        def ended() -> str:
            # The tasks after the run: what on_poll sees last is then the state at the end.
            state = str(self.dag_run(dag_id, run_id)["state"])
            if on_poll is not None:
                on_poll(self.task_instances(dag_id, run_id))
            return state if state in FINAL_STATES else ""

        return self.until(ended, lambda: self._told(self.dag_run(dag_id, run_id)), timeout, interval)

    def log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """A task's log of one try, a line for each record."""
        records = self.log_records(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
        return "\n".join(_log_line(record) for record in records)

    def log_records(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> list[JSON | str]:
        """A task's log of one try, as Airflow keeps it: each record has an ``event`` and most a ``level``."""
        content = self.request(
            "GET",
            f"{self._run(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}",
            params={"full_content": "true", "map_index": map_index},
            headers={"Accept": "application/json"},
        )["content"]
        return list(content)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """The value that a task pushed, None when it has not."""
        path = f"{self._run(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            return self.request("GET", path, params={"deserialize": "false"})["value"]
        except AirflowAPIError as error:
            if error.status_code == 404:
                return None
            raise

    def xcom_time(
        self, dag_id: str, run_id: str, task_id: str, key: str, map_index: int
    ) -> dt.datetime | None:
        """When one of a mapped task has pushed a value; None when it has not."""
        path = f"{self._run(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries"
        params: JSON = {"xcom_key": key, "map_index": map_index}
        entries = self.request("GET", path, params=params)["xcom_entries"]
        return dt.datetime.fromisoformat(entries[0]["timestamp"]) if entries else None

    def pool(self, name: str = "default_pool") -> JSON:
        """A pool: its ``slots``, and those of ``running_slots``, ``queued_slots``, ``deferred_slots`` …"""
        return dict(self.request("GET", f"pools/{name}"))

    def run_page(self, dag_id: str, run_id: str) -> str:
        """The address of a DAG run in the UI."""
        return f"{self.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"

    def _told(self, dag_run: JSON) -> str:
        dag_id, run_id = dag_run["dag_id"], dag_run["dag_run_id"]
        tasks = {task["task_id"]: task["state"] for task in self.task_instances(dag_id, run_id)}
        return f"{dag_id} {run_id} is {dag_run['state']}: {tasks}"

    @staticmethod
    def _run(dag_id: str, run_id: str) -> str:
        return f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _log_line(record: JSON | str) -> str:
    if isinstance(record, str):
        return record
    lines = [str(record.get("event", ""))]
    for error in record.get("error_detail") or []:
        lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
    return "\n".join(lines)
