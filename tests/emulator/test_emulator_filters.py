"""What the address of the list of runs says."""

import pytest

from airflow_provider_dbtcloud_dlt.emulator.pages.filters import Filter
from airflow_provider_dbtcloud_dlt.emulator.store import Status


@pytest.mark.parametrize(
    "chosen",
    [
        Filter(),
        Filter(Status.ERROR),
        Filter(Status.RUNNING, job_id=1000, reload=False),
        Filter(job_id=5, before=70_403_110_000_001),
    ],
)
def test_a_link_says_what_was_chosen(chosen):
    """An address is read as it was written."""
    query = chosen.link(before=chosen.before).partition("?")[2]
    params = dict(pair.split("=") for pair in query.split("&") if pair)

    assert Filter.of(params) == (chosen, [])


def test_another_choice_begins_with_the_newest_run():
    """The page of one choice means nothing in another."""
    assert Filter(job_id=5, before=7).link(status=Status.ERROR) == "/?status=Error&job=5"


@pytest.mark.parametrize("text", ["Error", "error", "ERROR"])
def test_case_does_not_matter(text):
    """A person types it as they like."""
    assert Filter.of({"status": text}) == (Filter(Status.ERROR), [])


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"status": "Broken"}, "“Broken” is not a status. A run is one of: Queued,"),
        ({"job": "nightly"}, "“nightly” is not the id of a job."),
        ({"before": "-1"}, "“-1” is not the id of a run."),
        ({"before": "9" * 30}, "is not the id of a run."),
        ({"job": "²"}, "“²” is not the id of a job."),
    ],
)
def test_what_makes_no_sense_is_told_and_passed_over(params, sentence):
    """There is a sentence for each value that is not used."""
    chosen, (problem,) = Filter.of(params)

    assert chosen == Filter()
    assert sentence in problem


def test_an_empty_value_is_none():
    """`/?status=` is what a person leaves who deletes the value."""
    assert Filter.of({"status": "", "job": "", "before": ""}) == (Filter(), [])
