"""The pages for people."""

import requests


def page(emu, path="/"):
    answer = requests.get(emu.url + path, timeout=5)
    return answer.status_code, answer.text


def test_the_first_page_links_every_run(emu):
    """From the list one click leads to a run."""
    run_id = emu.trigger(cause="Because of me")
    status, text = page(emu)

    assert status == 200
    assert f'href="/deploy/1/projects/10/runs/{run_id}/"' in text
    assert "Because of me" in text


def test_an_empty_account_has_a_page(emu):
    """Without runs the page says how to get one."""
    assert "No run yet" in page(emu)[1]


def test_a_run_shows_its_failing_step(emu):
    """The failing step is open and holds its log."""
    emu.script_job(emu.job_id, steps=[("Invoke dbt with `dbt build`", "error", "Database Error in model x")])
    _, text = page(emu, f"/deploy/1/projects/10/runs/{emu.trigger()}/")

    assert "<details open>" in text
    assert "Database Error in model x" in text


def test_whatever_comes_from_outside_is_escaped(emu):
    """Causes, names, logs and messages are text, never markup."""
    evil = "<script>alert(1)</script>"
    emu.script_job(emu.job_id, steps=[(evil, "error", evil)], message=evil, artifacts={evil: ""})
    run_id = emu.trigger(cause=evil)

    for path in ("/", f"/deploy/1/projects/10/runs/{run_id}/"):
        _, text = page(emu, path)
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_pages_load_nothing(emu):
    """A page needs no network and runs no script, and its policy says so."""
    answer = requests.get(emu.url, timeout=5)

    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.text


def test_a_run_that_is_not_there_has_a_page(emu):
    """An unknown address is a page with a way back."""
    status, text = page(emu, "/deploy/1/projects/10/runs/5/")

    assert (status, 'href="/"' in text) == (404, True)


def test_a_run_is_found_in_its_own_project_only(emu):
    """The whole address counts."""
    assert page(emu, f"/deploy/1/projects/99/runs/{emu.trigger()}/")[0] == 404
