"""The pages for people, in a real browser: Debian's chromium."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from contrast import LOW_CONTRAST
from playwright.sync_api import Page, expect

from airflow_provider_dbtcloud_dlt.emulator.pages import routes as pages
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

pytestmark = pytest.mark.browser

BUILD = "Invoke dbt with `dbt build`"
PHONE = {"width": 360, "height": 740}
EVIL = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
# Text without a place to break it, such as a path or a name that somebody generated.
LONG = "stg_" + "x" * 300


@dataclass
class Served:
    """An emulator with runs to look at: the id of each."""

    emulator: Emulator
    failed: int
    odd: int

    def address(self, run_id: int) -> str:
        return f"{self.emulator.url}/deploy/1/projects/10/runs/{run_id}/"


@pytest.fixture(scope="module")
def served(browser, lasting_project) -> Iterator[Served]:
    """A real dbt run that failed among others, and one with text that is meant to break pages."""
    with emulator(lasting_project / "emulator.yaml", state_dir=lasting_project / "looked-at") as running:
        failed = running.trigger(1001, cause="The nightly build")
        patience = time.monotonic() + 60
        while not running.engine.run(failed).status.is_final:
            assert time.monotonic() < patience, "dbt did not end."
            time.sleep(0.05)
        running.script_job(1000)
        for _ in range(3):
            running.trigger()
        node = {"unique_id": f"model.p.{LONG}", "status": "error", "message": f"{EVIL} {LONG}"}
        results = {"results": [{**node, "compiled_code": EVIL}, {"unique_id": EVIL, "status": EVIL}]}
        running.script_job(
            1000,
            steps=[(f"{EVIL} {LONG}", "error", f"{EVIL}\n{LONG}\n")],
            artifacts={"run_results.json": json.dumps(results), f"{EVIL}{LONG}.sql": EVIL},
            message=f"{EVIL} {LONG}",
        )
        odd = running.trigger(cause=f"{EVIL} {LONG}"[:255])
        yield Served(running, failed, odd)


@pytest.fixture
def tab(browser) -> Iterator[Page]:
    """A tab of a desktop's size."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        yield context.new_page()


def expect_the_failure(tab):
    """The failing step, its model and the database's words are on the screen, without scrolling."""
    expect(tab.get_by_role("heading", name=f"3. {BUILD}")).to_be_in_viewport()
    row = tab.get_by_role("row").filter(has=tab.get_by_role("rowheader", name="bad", exact=True))
    expect(row.get_by_text('Referenced column "nosuch" not found')).to_be_in_viewport()


def enter(tab, name):
    """Move the keyboard's focus to the first link with that name, and follow it."""
    for _ in range(50):
        tab.keyboard.press("Tab")
        link = tab.locator("a:focus")
        if link.count() and name in (link.text_content() or ""):
            before = tab.url
            tab.keyboard.press("Enter")
            expect(tab).not_to_have_url(before)
            return
    pytest.fail(f"The keyboard reaches no link that is called {name}.")


def test_three_clicks_lead_to_the_failing_model(served, tab):
    """From the list of runs over the failed ones to the run, and to its failing step and model."""
    tab.goto(served.emulator.url)
    tab.get_by_role("navigation", name="Status").get_by_role("link", name="Error").click()
    tab.get_by_role("link", name=str(served.failed)).click()
    tab.get_by_role("link", name="Jump to the failure").click()

    expect_the_failure(tab)


def test_the_failure_is_on_the_screen_when_the_run_is_opened(served, tab):
    """On a desktop one click is enough: nothing has to be unfolded or scrolled."""
    tab.goto(served.emulator.url)
    tab.get_by_role("link", name=str(served.failed)).click()

    expect_the_failure(tab)


def test_the_keyboard_leads_to_the_failing_model(served, tab):
    """The same way with nothing but Tab, and Enter three times."""
    tab.goto(served.emulator.url)
    for name in ("Error", str(served.failed), "Jump to the failure"):
        enter(tab, name)

    expect_the_failure(tab)


def test_a_link_to_a_step_opens_it(served, tab):
    """A step that went well is folded up until somebody asks for it."""
    tab.goto(served.address(served.failed))
    log = tab.get_by_role("region", name="Log of step 2", exact=True)
    expect(log).to_be_hidden()
    tab.get_by_role("navigation", name="Steps").get_by_role("link", name="Step 2").click()

    expect(log).to_be_in_viewport()


def test_the_focus_is_seen(served, tab):
    """Wherever the keyboard is, there is a frame around it."""
    tab.goto(served.address(served.failed))
    for _ in range(12):
        tab.keyboard.press("Tab")
        frame = tab.evaluate("getComputedStyle(document.activeElement).outline")
        assert "solid 3px" in frame


def test_the_log_is_read_with_the_keyboard(served, tab):
    """A log that is longer than its frame is scrolled by the arrow keys; its end is what one sees first."""
    tab.goto(served.address(served.failed))
    log = tab.get_by_role("region", name="Log of step 3", exact=True)
    log.focus()
    before = log.evaluate("element => element.scrollTop")
    tab.keyboard.press("Home")
    tab.wait_for_function("before => document.activeElement.scrollTop < before", arg=before)

    assert before == 0


@pytest.mark.parametrize("path", ["list", "failed", "odd", "artifacts"])
def test_a_phone_does_not_scroll_sideways(served, browser, path):
    """At a width of 360 pixels everything fits, whatever the length of names."""
    address = {
        "list": served.emulator.url,
        "failed": served.address(served.failed),
        "odd": served.address(served.odd),
        "artifacts": f"{served.address(served.odd)}artifacts/3/",
    }[path]
    with browser.new_context(viewport=PHONE, is_mobile=True) as context:
        phone = context.new_page()
        phone.goto(address)
        phone.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")

        assert phone.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
        assert phone.evaluate("innerWidth") == PHONE["width"]


def test_a_phone_shows_the_failure_too(served, browser):
    """The table has become cards that are still a table's rows."""
    with browser.new_context(viewport=PHONE, is_mobile=True) as context:
        phone = context.new_page()
        phone.goto(served.address(served.failed))
        phone.get_by_role("link", name="Jump to the failure").click()

        expect_the_failure(phone)


def test_nothing_is_asked_of_anybody_else(served, tab):
    """All that a page needs comes from the emulator."""
    asked = []
    tab.context.on("request", lambda request: asked.append(urlsplit(request.url)))
    for address in (served.emulator.url, served.address(served.failed), served.address(served.odd)):
        tab.goto(address)

    assert len(asked) >= 3
    assert {f"{one.scheme}://{one.netloc}" for one in asked} == {served.emulator.url}


def test_the_browser_has_nothing_to_complain_of(served, tab):
    """No error in the console, and nothing that the pages' own policy forbids."""
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    run = served.address(served.failed)
    for address in (served.emulator.url, run, f"{run}artifacts/3/", f"{run}artifacts/3/manifest.json"):
        tab.goto(address)

    assert complaints == []


@pytest.mark.parametrize("path", ["", "artifacts/3/", "steps/3/output.log"])
def test_what_dbt_prints_is_not_executed(served, browser, path):
    """Even without the pages' policy, which would stop it, markup in logs and results is text."""
    with browser.new_context(bypass_csp=True) as context:
        tab = context.new_page()
        tab.goto(served.address(served.odd) + path)

        expect(tab.get_by_text("<script>window.owned").first).to_be_attached()
        assert tab.evaluate("window.owned") is None
        assert tab.locator("script, img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(served, browser, scheme):
    """4.5 to 1 at least, as WCAG asks."""
    with browser.new_context(color_scheme=scheme) as context:
        tab = context.new_page()
        found = []
        for address in (served.emulator.url, served.address(served.failed), served.address(served.odd)):
            tab.goto(address)
            found += tab.evaluate(LOW_CONTRAST)

    assert found == []


def test_reloading_keeps_the_place(served, tab, monkeypatch):
    """Whoever has scrolled down is still there after a page has loaded itself anew."""
    monkeypatch.setattr(pages, "RELOAD_SECONDS", 1)
    log = "".join(f"{number}\n" for number in range(100))
    served.emulator.script_job(1000, seconds=3600, steps=[(BUILD, "success", log)])
    run_id = served.emulator.trigger()
    tab.goto(served.address(run_id))
    tab.mouse.wheel(0, 200)
    tab.wait_for_function("scrollY > 50")
    place = tab.evaluate("scrollY")
    with tab.expect_event("load"):
        pass
    served.emulator.engine.cancel(run_id)

    tab.wait_for_function("place => scrollY === place", arg=place)
