"""The pages for people, as HTML."""

import json
import re
from urllib.parse import quote

import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator.pages import filters, views

BUILD = "Invoke dbt with `dbt build`"


def page(emu, path="/"):
    answer = requests.get(emu.url + path, timeout=5)
    return answer.status_code, answer.text


def path_of(run_id):
    return f"/deploy/1/projects/10/runs/{run_id}/"


def run_page(emu, **script):
    """Return the page of a run that pretends."""
    emu.script_job(emu.job_id, **script)
    status, text = page(emu, path_of(emu.trigger()))
    assert status == 200
    return text


def results_page(emu, content):
    """Return the page of a failed run that left this as its run_results.json."""
    text = content if isinstance(content, str) else json.dumps({"results": content})
    return run_page(emu, steps=[(BUILD, "error", "The log.")], artifacts={"run_results.json": text})


def model(name, status="success", **more):
    return {"unique_id": f"model.flights.{name}", "status": status, **more}


def listed(text):
    """Return the ids of the runs that a list shows, in order."""
    return [int(found) for found in re.findall(r'<th scope="row"><a href="[^"]*/runs/(\d+)/"', text)]


# --- the list -----------------------------------------------------------------------------------------------


def test_the_first_page_links_every_run(emu):
    """From the list one click leads to a run."""
    run_id = emu.trigger(cause="Because of me")
    status, text = page(emu)

    assert status == 200
    assert f'href="{path_of(run_id)}"' in text
    assert "Because of me" in text


def test_an_empty_account_has_a_page(emu):
    """Without runs the page says how to get one."""
    assert "No run yet" in page(emu)[1]


def test_runs_are_chosen_by_status(emu):
    """Only the runs that failed are shown, and how many there are is told."""
    emu.trigger()
    emu.script_job(emu.job_id, outcome="error")
    failed = emu.trigger()
    _, text = page(emu, "/?status=Error")

    assert listed(text) == [failed]
    assert 'aria-current="true">Error <span class="count">1</span>' in text


def test_runs_are_chosen_by_job(queued):
    """Only the runs of one job are shown; the counts of statuses are of that job alone."""
    queued.trigger(1000)
    wanted = queued.trigger(1001)
    _, text = page(queued, "/?job=1001")

    assert listed(text) == [wanted]
    assert 'aria-current="true">b <span class="count">1</span>' in text


def test_pages_lead_through_all_runs(emu, monkeypatch):
    """Older runs are on further pages, and the way back leads over the same pages."""
    monkeypatch.setattr(filters, "PAGE", 2)
    runs = [emu.trigger() for _ in range(5)][::-1]
    seen, back = [], []
    path = "/"
    while path:
        _, text = page(emu, path)
        seen.append(listed(text))
        links = dict(reversed(pair) for pair in re.findall(r'<a href="([^"]+)">(Older|Newer)</a>', text))
        back.append(links.get("Newer"))
        path = links.get("Older")

    assert seen == [runs[:2], runs[2:4], runs[4:]]
    assert back == [None, "/", f"/?before={runs[1]}"]


def test_a_page_stays_the_same_when_runs_come(emu, monkeypatch):
    """Whoever reads an older page does not lose their place."""
    monkeypatch.setattr(filters, "PAGE", 2)
    runs = [emu.trigger() for _ in range(4)]
    path = f"/?before={runs[2]}"
    before = listed(page(emu, path)[1])
    emu.trigger()

    assert listed(page(emu, path)[1]) == before == [runs[1], runs[0]]


@pytest.mark.parametrize(
    "query",
    [
        "status=Broken",
        "job=x",
        "before=-1",
        f"before={10**40}",
        "status=%00",
        "job=%F0%9F%98%80",
        "nosuch=1",
    ],
)
def test_values_that_make_no_sense_are_no_error(emu, query):
    """A person who mistypes an address sees the runs."""
    run_id = emu.trigger()
    status, text = page(emu, f"/?{query}")

    assert (status, listed(text)) == (200, [run_id])


def test_a_choice_without_runs_says_so(emu):
    """The page of a job without runs leads back to all."""
    emu.trigger()

    assert "No run is like that" in page(emu, "/?job=77")[1]


@pytest.mark.parametrize("run", [False, True])
def test_the_list_reloads_only_while_something_is_in_progress(emu, run):
    """A page that cannot change is left alone."""
    emu.script_job(emu.job_id, seconds=10 if run else 0)
    emu.trigger()

    assert ('http-equiv="refresh"' in page(emu)[1]) is run


def test_an_older_page_does_not_reload(emu):
    """Nobody's place in it changes."""
    emu.script_job(emu.job_id, seconds=10)
    run_id = emu.trigger()

    assert 'http-equiv="refresh"' not in page(emu, f"/?before={run_id + 1}")[1]


def test_reloading_can_be_stopped(emu):
    """Somebody who reads slowly turns it off, and on again."""
    emu.script_job(emu.job_id, seconds=10)
    emu.trigger()

    assert 'href="/?reload=off"' in page(emu)[1]
    assert 'http-equiv="refresh"' not in page(emu, "/?reload=off")[1]


# --- a run --------------------------------------------------------------------------------------------------


def test_a_run_shows_its_failing_step(emu):
    """The failing step is open and holds its log."""
    text = run_page(emu, steps=[(BUILD, "error", "Database Error in model x")])

    assert '<details class="step failing" open>' in text
    assert "Database Error in model x" in text


def test_the_failing_step_is_the_first(emu):
    """What went well comes later."""
    text = run_page(emu, steps=[("one", "success", ""), ("two", "error", ""), ("three", "success", "")])

    assert re.findall(r' id="step-(\d)"', text) == ["4", "1", "2", "3", "5"]


def test_a_link_leads_to_the_failure(emu):
    """It is above everything else that the page tells."""
    text = run_page(emu, steps=[(BUILD, "error", "")])

    assert 'href="#step-3">Jump to the failure</a>' in text.partition("<dl>")[0]


def test_the_failing_model_is_named_at_the_top(emu):
    """The first sentence of the page says what failed."""
    text = results_page(emu, [model("good"), model("bad", "error")])

    assert "<strong>model bad</strong>" in text.partition("<dl>")[0]


def test_many_failures_are_counted(emu):
    """A sentence does not name hundreds of models."""
    text = results_page(emu, [model(f"m{number}", "error") for number in range(50)])

    assert "<strong>model m0, model m1, model m2</strong> and 47 more" in text


def test_each_node_has_a_row(emu):
    """A row has status, name, type, seconds and message."""
    text = results_page(emu, [model("stg", "error", execution_time=1.234, message="No such table")])
    row = re.sub(r"<[^>]+>", " ", re.search(r"<tr>\s*<td>.*?</tr>", text, re.DOTALL)[0]).split()

    assert row == ["error", "stg", "model", "1.23", "s", "No", "such", "table"]


def test_thousands_of_nodes_are_cut(emu):
    """The page stays light, and says how many it leaves out."""
    text = results_page(emu, [model(f"m{number}") for number in range(views.MAX_ROWS + 4_800)])

    assert text.count('<th scope="row">') == views.MAX_ROWS
    assert "4800 more are not shown" in text


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"results": 1}', '{"results": [{"unique_id": "mo', "<script>", "[" * 100_000],
)
def test_results_that_cannot_be_read_are_told(emu, content):
    """The log is still there, and so is the file."""
    text = results_page(emu, content)

    assert "The results of this step cannot be shown." in text
    assert "The log." in text


def test_results_may_hold_what_no_encoding_has(emu):
    """Half of a surrogate pair is valid JSON."""
    assert "a?b" in results_page(emu, '{"results": [{"unique_id": "model.p.a\\ud800b"}]}')


def test_a_long_log_is_cut(emu):
    """The end is shown, and the whole is a link away."""
    log = "".join(f"line {number}.\n" for number in range(10_000))
    text = run_page(emu, steps=[(BUILD, "error", log)])

    assert "line 9999." in text
    assert "line 1." not in text
    assert "The end of 10000 lines." in text


def test_the_whole_log_is_plain_text(emu):
    """A browser shows it as it is."""
    log = "<b>first</b>\n" * 10_000
    emu.script_job(emu.job_id, steps=[(BUILD, "error", log)])
    answer = requests.get(f"{emu.url}{path_of(emu.trigger())}steps/3/output.log", timeout=5)

    assert answer.text == log
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_run_without_a_failing_step_says_so(emu):
    """A run can fail by itself."""
    assert "none of its steps did" in run_page(emu, outcome="error", steps=[(BUILD, "success", "")])


def test_a_runs_message_is_shown(emu):
    """Why a run was cancelled is told."""
    assert "Cancelled by user." in run_page(emu, outcome="cancelled")


def test_a_run_in_progress_reloads_until_it_is_stopped(emu):
    """What goes on is followed."""
    emu.script_job(emu.job_id, seconds=10)
    path = path_of(emu.trigger())

    assert 'http-equiv="refresh"' in page(emu, path)[1]
    assert 'http-equiv="refresh"' not in page(emu, f"{path}?reload=off")[1]


def test_a_retry_and_its_run_link_to_each_other(emu):
    """From either one click leads to the other."""
    emu.script_job(emu.job_id, steps=[(BUILD, "error", "")])
    first = emu.trigger()
    second = emu.engine.retry(first).id

    assert f'<dt>Retried by</dt><dd><a href="{path_of(second)}">' in page(emu, path_of(first))[1]
    assert f'<dt>Retries</dt><dd><a href="{path_of(first)}">' in page(emu, path_of(second))[1]


def test_a_waiting_run_links_what_it_waits_for(queued):
    """From a queued run one click leads to the one that blocks it."""
    first, second = queued.trigger(1000), queued.trigger(1000)

    assert f'<dt>Waits for</dt><dd><a href="{path_of(first)}">' in page(queued, path_of(second))[1]


def test_overrides_are_told(emu):
    """What this run was given on top of its job is a fact about it."""
    text = page(emu, path_of(emu.trigger(schema_override="elsewhere", threads_override=3)))[1]

    assert "<dt>Schema</dt><dd>elsewhere</dd>" in text
    assert "<dt>Threads</dt><dd>3</dd>" in text


# --- artifacts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run_results.json", "compiled/a b.sql", "a?b#c%d.txt", "ä/<b>.html"])
def test_an_artifact_is_plain_text(emu, name):
    """Each one can be opened without a token, and is never taken for a page."""
    emu.script_job(emu.job_id, artifacts={name: "<b>content</b>"})
    folder = f"{emu.url}{path_of(emu.trigger())}artifacts/3/"
    link = re.search(r'<li><a href="([^"]+)">', requests.get(folder, timeout=5).text)[1]
    answer = requests.get(folder + link, timeout=5)

    assert link == quote(name)
    assert answer.text == "<b>content</b>"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_what_people_look_for_is_linked_by_the_run(emu):
    """The files at the top of the target folder are on the run's page, the others on the list of all."""
    text = run_page(emu, artifacts={"manifest.json": "{}", "compiled/a.sql": "select 1"})

    assert '/artifacts/3/manifest.json">manifest.json</a>' in text
    assert '/artifacts/3/">All 2 files</a>' in text


@pytest.mark.parametrize(
    "path",
    [
        "3/nosuch.json",
        "3/..%2f..%2fprofiles.yml",
        "3/%2e%2e/%2e%2e/profiles.yml",
        "3//etc/passwd",
        "0/manifest.json",
        "99/manifest.json",
        f"{10**300}/manifest.json",
    ],
)
def test_only_artifacts_are_served(emu, path):
    """No path leads out of the folder of a run's artifacts."""
    emu.script_job(emu.job_id, artifacts={"manifest.json": "{}"})

    assert page(emu, f"{path_of(emu.trigger())}artifacts/{path}")[0] == 404


# --- all pages ----------------------------------------------------------------------------------------------


def test_whatever_comes_from_outside_is_escaped(emu):
    """Causes, names, logs, messages, results and paths are text, never markup."""
    evil = "<script>alert(1)</script>"
    node = {"unique_id": f"model.p.{evil}", "status": evil, "message": evil, "compiled_code": evil}
    found = json.dumps({"results": [node, {**node, "status": "error"}]})
    files = {evil: "", "run_results.json": found}
    emu.script_job(emu.job_id, steps=[(evil, "error", evil)], message=evil, artifacts=files)
    run_id = emu.trigger(cause=evil)

    for path in ("/", path_of(run_id), f"{path_of(run_id)}artifacts/3/", f"/?status={quote(evil)}"):
        _, text = page(emu, path)
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_pages_load_nothing(emu):
    """A page needs no network and runs no script, and its policy says so."""
    answer = requests.get(emu.url, timeout=5)

    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "http:" not in answer.text
    assert "https:" not in answer.text


def test_a_run_that_is_not_there_has_a_page(emu):
    """An unknown address is a page with a way back."""
    status, text = page(emu, path_of(5))

    assert (status, 'href="/"' in text) == (404, True)


@pytest.mark.parametrize(
    "rest", ["", "artifacts/3/", "artifacts/3/manifest.json", "steps/3/output.log", "steps/3/dbt.log"]
)
def test_a_run_is_found_in_its_own_project_only(emu, rest):
    """The whole address counts."""
    emu.script_job(emu.job_id, artifacts={"manifest.json": "{}"})

    assert page(emu, f"/deploy/1/projects/99/runs/{emu.trigger()}/{rest}")[0] == 404
