"""What a load tells in the task's log, and how often."""

import pytest

from airflow_provider_dbtcloud_dlt.loads.progress import LogProgress


class Lines:
    """A log that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, event, /, *args):
        self.lines.append(event % args)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def log():
    return Lines()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(log, clock):
    return LogProgress(log, interval=10.0, clock=clock)


def test_a_stage_tells_its_start_and_its_end(progress, log, clock):
    """The end comes with the time it took and rows per table."""
    with progress("Extract shop"):
        progress.update("orders", inc=1200)
        clock.now = 2.5
    assert log.lines == [
        "Extract shop: started",
        "Extract shop: done after 2.5 s (orders: 1,200 rows after 0.0 s)",
    ]


def test_the_end_tells_how_long_each_table_took(progress, log, clock):
    """Of two resources that are extracted by turns, the slow one can be told from the quick one."""
    with progress("Extract shop"):
        for second, table in enumerate(["orders", "customers", "orders", "orders"]):
            clock.now = float(second)
            progress.update(table, inc=5)
    assert log.lines[-1] == (
        "Extract shop: done after 3.0 s (orders: 15 rows after 3.0 s, customers: 5 rows after 1.0 s)"
    )


def test_a_long_stage_tells_where_it_is_every_interval(progress, log, clock):
    """A thousand updates make a line every ten seconds, not a thousand."""
    with progress("Extract shop"):
        for second in range(25):
            clock.now = float(second)
            progress.update("orders", inc=10)
    assert log.lines[1:3] == [
        "Extract shop: 10 s (orders: 110 rows)",
        "Extract shop: 20 s (orders: 210 rows)",
    ]
    assert len(log.lines) == 4


def test_counters_of_dlt_are_told_with_their_total(progress, log):
    """Jobs are jobs and no rows; a total that grows is followed."""
    with progress("Load shop"):
        progress.update("Jobs", inc=0, total=2)
        progress.update("Jobs", inc=3, inc_total=1)
        progress.update("Jobs", inc=1, label="Failed")
    assert log.lines[-1] == "Load shop: done after 0.0 s (jobs 3/3, jobs failed 1)"


def test_dlts_own_tables_are_not_told(progress, log):
    """Nobody who loads orders asks for rows of the pipeline's state, or for a stage that holds only it."""
    for table in ("orders", "_dlt_pipeline_state"):
        with progress("Extract shop"):
            progress.update("Resources", inc=1, total=1)
            progress.update(table)
    assert log.lines == [
        "Extract shop: started",
        "Extract shop: done after 0.0 s (resources 1/1, orders: 1 rows after 0.0 s)",
    ]


def test_a_failed_stage_is_not_called_done(progress, log):
    """The exception goes on; the line says how far the stage came."""

    def fail():
        with progress("Extract shop"):
            progress.update("orders", inc=3)
            raise OSError("closed")

    with pytest.raises(OSError, match="closed"):
        fail()
    assert log.lines[-1] == "Extract shop: failed after 0.0 s (orders: 3 rows after 0.0 s)"
