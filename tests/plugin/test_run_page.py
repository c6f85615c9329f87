"""The page with the picture of a run in a real browser, beside a stand-in for Airflow's REST API."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from contrast import LOW_CONTRAST
from fake_airflow import DAG, RUN, FakeAirflow, fake_airflow
from picture_runs import drawn, five, project, ran_node
from playwright.sync_api import Browser, Error, FloatRect, Page, expect

from airflow_provider_dbtcloud_dlt.results.picture import VERSION

pytestmark = pytest.mark.browser

EVIL = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
SIGNED_OUT = "You are signed out."

# The colour in the middle of a bar, by its place in time and its lane, of so many of both.
COLOUR_AT = """([moment, whole, lane, lanes]) => {
    const canvas = document.querySelector("#chart");
    const scale = devicePixelRatio;
    const [top, high] = [22, (canvas.clientHeight - 26) / lanes];
    const x = 78 + (moment / whole) * (canvas.clientWidth - 88);
    const y = top + (lane + 0.8) * high;
    return [...canvas.getContext("2d").getImageData(x * scale, y * scale, 1, 1).data].slice(0, 3);
}"""
# How much of the picture is drawn in a colour of the style sheet's.
SHARE_OF = """name => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(--${name})`;
    const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    probe.remove();
    const canvas = document.querySelector("#chart");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
        if (wanted.every((value, place) => data[at + place] === value)) found += 1;
    }
    return found / (data.length / 4);
}"""


@pytest.fixture(scope="module")
def airflow() -> Iterator[FakeAirflow]:
    """Airflow, and the page."""
    with fake_airflow() as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(airflow: FakeAirflow) -> None:
    airflow.xcoms, airflow.refusal, airflow.token = {}, None, "session"
    airflow.task = {"state": "success", "operator_name": "DbtCloudRunJobOperator"}
    airflow.asked.clear()


@pytest.fixture
def tab(browser: Browser, airflow: FakeAirflow) -> Iterator[Page]:
    """A tab of somebody who is signed in; what goes wrong on the page fails the test."""
    with browser.new_context(viewport={"width": 1200, "height": 800}) as context:
        context.add_cookies([{"name": "_token", "value": "session", "url": airflow.base}])
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
        yield page
        assert not errors


@pytest.fixture
def open_page(tab: Page, airflow: FakeAirflow) -> Callable[..., Page]:
    """Open the page, after the task has left a picture."""

    def open_it(picture: dict[str, Any] | None = None) -> Page:
        if picture is not None:
            airflow.leave(picture)
        tab.goto(airflow.page())
        return tab

    return open_it


def eventually(check: Callable[[], bool]) -> None:
    """The canvas is drawn with the next frame; the page's policy lets nothing wait for that in the page."""
    patience = time.monotonic() + 10
    while not check():
        assert time.monotonic() < patience
        time.sleep(0.02)


def box_of(tab: Page, selector: str) -> FloatRect:
    """Where something is that is shown once the picture has arrived."""
    tab.wait_for_selector(selector)
    box = tab.locator(selector).bounding_box()
    assert box
    return box


def legend(tab: Page) -> list[str]:
    return [" ".join(one.split()) for one in tab.locator("#legend li").all_inner_texts()]


def listed(tab: Page) -> list[str]:
    """The names in the list."""
    return tab.locator("#rows th").all_inner_texts()


# --- the picture --------------------------------------------------------------------------------------


def test_five_nodes(open_page: Callable[..., Page]) -> None:
    """How the run ended, what there is in the picture, and what failed."""
    tab = open_page(five())
    expect(tab.get_by_role("heading")).to_have_text("Job run 70403110000002: Error after 41 s")
    expect(tab.locator("#facts")).to_contain_text("5 nodes within 9.6 s on 2 threads.")
    expect(tab.locator("#facts")).to_contain_text(
        "The critical path, 4 nodes that waited for one another, took 9.3 s"
    )
    assert legend(tab) == ["failed 1", "warning 1", "success 3", "critical path"]
    assert listed(tab) == ["model.shop.revenue", "test.shop.unique_stg_orders_id"]
    expect(tab.locator("#rows tr").first).to_contain_text(
        'error: Database Error: column "amount_eur" does not exist'
    )


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (7140, "1 h 59 min"),
        (7170, "2 h 0 min"),
    ],
)
def test_spans_are_rounded_before_they_are_split(
    open_page: Callable[..., Page], seconds: float, told: str
) -> None:
    """No minute has 60 seconds, and no hour 60 minutes."""
    tab = open_page(drawn([ran_node("model.shop.revenue", 0.0, seconds, 1, "error")]))
    expect(tab.locator("#rows tr").first).to_contain_text(told)


def test_bars_are_where_their_nodes_ran(open_page: Callable[..., Page]) -> None:
    """In the lane of their thread, in the colour of their status."""
    tab = open_page(five())
    made = [31, 95, 159]
    eventually(lambda: tab.evaluate(COLOUR_AT, [3000, 9600, 0, 2]) == made)
    assert tab.evaluate(COLOUR_AT, [1500, 9600, 1, 2]) == made
    assert tab.evaluate(COLOUR_AT, [4500, 9600, 1, 2]) != made
    assert tab.evaluate(SHARE_OF, "failed") > 0.02
    assert tab.evaluate(SHARE_OF, "critical") > 0.005


def test_pointing_at_a_bar(open_page: Callable[..., Page]) -> None:
    """Tells node, status, seconds, rows, thread and error."""
    tab = open_page(five())
    box = box_of(tab, "#chart")
    tab.mouse.move(box["x"] + 78 + (box["width"] - 88) * 0.8, box["y"] + 40)
    tip = tab.locator("#tip")
    expect(tip).to_contain_text("model.shop.revenue")
    expect(tip).to_contain_text("error · 3.4 s from 0:06.2 · Thread-1 · on the critical path")
    expect(tip).to_contain_text('column "amount_eur" does not exist')
    tab.mouse.move(box["x"] + 78 + (box["width"] - 88) * 0.3, box["y"] + 40)
    expect(tip).to_contain_text("success · 4.1 s from 0:01.3 · 1,200 rows · Thread-1")


def test_keyboard_alone(open_page: Callable[..., Page]) -> None:
    """The picture is reached by Tab; arrows go from node to node, what is picked is told, and zoomed to."""
    tab = open_page(five())
    for _ in range(20):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == "chart":
            break
    told = tab.locator("#told strong")
    for key, name in {
        "ArrowRight": "seed.shop.orders",
        "End": "model.shop.revenue",
        "ArrowLeft": "model.shop.stg_orders",
        "ArrowDown": "model.shop.customers",
        "Home": "seed.shop.orders",
    }.items():
        tab.keyboard.press(key)
        expect(told).to_have_text(name)
    expect(tab.locator("#span")).to_have_text("0:00.0 to 0:09.6")
    tab.keyboard.press("+")
    expect(tab.locator("#span")).to_have_text("0:00.3 to 0:05.1")  # about what is picked
    tab.keyboard.press("0")
    expect(tab.locator("#span")).to_have_text("0:00.0 to 0:09.6")


def test_tabs_by_keyboard(open_page: Callable[..., Page]) -> None:
    """Arrows go from list to list."""
    tab = open_page(five())
    tab.get_by_role("tab", name="Failed and warned (2)").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_role("tab", name="Slowest")).to_be_focused()
    assert listed(tab)[:2] == ["model.shop.stg_orders", "model.shop.revenue"]
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_role("tab", name="Critical path (4)")).to_have_attribute("aria-selected", "true")
    assert listed(tab)[0] == "seed.shop.orders"


def test_dragging_zooms(open_page: Callable[..., Page]) -> None:
    """Into the time that is dragged over; a double click shows all again; the strip below moves it."""
    tab = open_page(five())
    box = box_of(tab, "#chart")
    wide = box["width"] - 88
    tab.mouse.move(box["x"] + 78 + wide * 0.25, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 78 + wide * 0.5, box["y"] + 40, steps=3)
    tab.mouse.up()
    expect(tab.locator("#span")).to_have_text("0:02.4 to 0:04.8")
    strip = box_of(tab, "#overview")
    tab.mouse.click(strip["x"] + 78 + wide * 0.875, strip["y"] + 10)
    expect(tab.locator("#span")).to_have_text("0:07.2 to 0:09.6")
    tab.mouse.dblclick(box["x"] + 78 + wide * 0.9, box["y"] + box["height"] - 10)
    expect(tab.locator("#span")).to_have_text("0:00.0 to 0:09.6")


def test_two_thousand_nodes(open_page: Callable[..., Page]) -> None:
    """All are in the picture; one is found by its name, and shown large when it is picked."""
    tab = open_page(project(2000))
    expect(tab.locator("#facts")).to_contain_text("2,000 nodes within")
    assert "failed 2" in legend(tab)
    expect(tab.locator("#rest")).to_have_text("")
    tab.get_by_role("tab", name="Slowest").click()
    expect(tab.locator("#rows tr")).to_have_count(50)
    expect(tab.locator("#rest")).to_contain_text("more nodes: find them by name.")
    tab.get_by_label("Find").fill("unique_stg_orders_007")
    assert listed(tab) == ["test.shop.unique_stg_orders_007_id"]
    tab.get_by_role("button", name="unique_stg_orders_007").click()
    expect(tab.locator("#told")).to_contain_text("test.shop.unique_stg_orders_007_id")
    eventually(lambda: tab.evaluate(SHARE_OF, "select") > 0.001)
    begin, end = tab.locator("#span").inner_text().split(" to ")
    assert begin[:2] == end[:2]  # of nearly four minutes a part of one is shown


def test_legend_dims_the_others(open_page: Callable[..., Page]) -> None:
    """A press on a status leaves only its bars in full colour."""
    tab = open_page(project(300))
    eventually(lambda: tab.evaluate(SHARE_OF, "made") > 0.05)
    tab.get_by_role("button", name="failed").click()
    eventually(lambda: tab.evaluate(SHARE_OF, "made") < 0.01)
    assert tab.evaluate(SHARE_OF, "failed") > 0


def test_folded_nodes(open_page: Callable[..., Page]) -> None:
    """The page says that the shortest are drawn together."""
    picture = project(300)
    for name, column in {"lane": "0", "start": "0", "length": "4000", "count": "40", "failed": "0"}.items():
        picture["folded"][name] = column
    picture["left_out"] = 40
    tab = open_page(picture)
    expect(tab.locator("#facts")).to_contain_text("340 nodes")
    expect(tab.locator("#facts")).to_contain_text("40 of the shortest are not told one by one")
    assert "short nodes 40" in legend(tab)


def test_steps(open_page: Callable[..., Page]) -> None:
    """Of a job with several; one can be chosen."""
    tab = open_page(drawn([ran_node("seed.shop.a", 0, 2, 1)], [ran_node("model.shop.b", 10, 4, 1)]))
    tab.get_by_label("Step", exact=True).select_option(label="4. dbt build")
    expect(tab.locator("#span")).to_have_text("0:10.0 to 0:14.0")


def test_no_manifest(open_page: Callable[..., Page]) -> None:
    """It is said that there is no critical path."""
    tab = open_page(drawn([ran_node("model.shop.a", 0, 1, 1)]))
    expect(tab.locator("#facts")).to_contain_text("The critical path is not known: the manifest")


def test_no_times(open_page: Callable[..., Page]) -> None:
    """Of an engine that does not tell them there is the list alone."""
    tab = open_page(drawn([{"unique_id": "model.shop.a", "status": "success", "execution_time": 2.5}]))
    expect(tab.locator("#facts")).to_have_text("1 node. When they ran, dbt has not told. " + NO_PATH)
    expect(tab.locator("#chart")).to_be_hidden()
    assert listed(tab) == ["model.shop.a"]


NO_PATH = "The critical path is not known: the manifest, which has the dependencies, was not read."


def test_names_that_are_meant_to_break_the_page(open_page: Callable[..., Page]) -> None:
    """They are text, wherever they stand."""
    results = [
        {**ran_node(f"model.{EVIL}.{EVIL}", 0, 1, 1), "status": "error", "message": EVIL, "thread_id": EVIL},
        {**ran_node(f"test.shop.{'x' * 400}", 1, 1, 1), "status": EVIL, "thread_id": EVIL},
    ]
    tab = open_page(drawn(results))
    tab.locator("#rows button").first.click()
    expect(tab.locator("#told")).to_contain_text("<script>window.owned = 1</script>")
    box = box_of(tab, "#chart")
    tab.mouse.move(box["x"] + 200, box["y"] + 40)
    expect(tab.locator("#tip")).to_contain_text("<img src=x")
    assert tab.evaluate("window.owned") is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- how it looks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read(open_page: Callable[..., Page], tab: Page, theme: str) -> None:
    """Their contrast is that of WCAG AA."""
    tab.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    open_page(project(300))
    expect(tab.locator("html")).to_have_attribute("data-theme", theme)
    assert tab.evaluate(LOW_CONTRAST) == []


def test_theme_is_airflows(open_page: Callable[..., Page], tab: Page) -> None:
    """Where a person has chosen one there, and as soon as they choose another."""
    tab.add_init_script("localStorage.getItem('theme') || localStorage.setItem('theme', 'dark')")
    open_page(five())
    expect(tab.locator("html")).to_have_attribute("data-theme", "dark")
    other = tab.context.new_page()
    other.goto(tab.url)
    other.evaluate("localStorage.setItem('theme', 'light')")
    expect(tab.locator("html")).to_have_attribute("data-theme", "light")


def test_narrow_screen(open_page: Callable[..., Page], tab: Page) -> None:
    """Nothing is cut off on a phone."""
    tab.set_viewport_size({"width": 360, "height": 740})
    open_page(project(300))
    expect(tab.get_by_role("heading")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- what it asks for ---------------------------------------------------------------------------------


def test_nothing_else_is_asked_for(open_page: Callable[..., Page], tab: Page, airflow: FakeAirflow) -> None:
    """One XCom of Airflow, besides the page's own files; nor could anything else be."""
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    open_page(five())
    expect(tab.get_by_role("heading")).to_be_visible()
    assert [url for url in asked if not url.startswith(f"{airflow.base}/")] == []
    assert len(airflow.asked) == 1
    assert airflow.asked[0].endswith("/xcomEntries/dbt_cloud_run_picture")
    answer = tab.request.get(airflow.page())
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    other = tab.context.new_page()
    other.goto(tab.url)
    with pytest.raises(Error, match="Failed to fetch"):
        other.evaluate("fetch('http://127.0.0.1:9/')")


@pytest.mark.parametrize(
    ("run_id", "given", "meant"), [(RUN, "{MAP_INDEX}", -1), (RUN, "3", 3), (quote(RUN), "-1", -1)]
)
def test_which_task_instance(tab: Page, airflow: FakeAirflow, run_id: str, given: str, meant: int) -> None:
    """Airflow 3.1 puts its values there as they are; of a task that is not mapped it puts no index."""
    airflow.leave(five(), map_index=meant)
    tab.goto(airflow.page(run_id, given))
    expect(tab.get_by_role("heading")).to_be_visible()


def test_airflow_below_a_path(browser: Browser) -> None:
    """It need not have a host for itself."""
    with fake_airflow("/team-a") as airflow, browser.new_context() as context:
        context.add_cookies([{"name": "_token", "value": "session", "url": airflow.base}])
        airflow.leave(five())
        page = context.new_page()
        page.goto(airflow.page())
        expect(page.get_by_role("heading")).to_be_visible()


def test_value_that_a_trigger_has_left(open_page: Callable[..., Page]) -> None:
    """Airflow shows values as they are stored: as JSON, and from a trigger as JSON of that."""
    value = json.dumps(json.dumps(five()))
    expect(open_page(value).get_by_role("heading")).to_be_visible()


# --- where there is no picture ------------------------------------------------------------------------


def says(tab: Page, sentence: str) -> None:
    expect(tab.get_by_role("status")).to_contain_text(sentence)
    expect(tab.locator("main")).to_be_hidden()


def test_task_that_goes_on(open_page: Callable[..., Page], tab: Page, airflow: FakeAirflow) -> None:
    """It is looked at again, and drawn once it has ended."""
    tab.clock.install()
    airflow.task["state"] = "deferred"
    says(open_page(), "The task is deferred. The picture is there once its dbt run has ended.")
    airflow.leave(five())
    tab.clock.run_for(16_000)
    expect(tab.get_by_role("heading")).to_be_visible()


def test_task_of_another_kind(open_page: Callable[..., Page], airflow: FakeAirflow) -> None:
    """Airflow shows the page beside every task."""
    airflow.task["operator_name"] = "BashOperator"
    says(open_page(), "transform (BashOperator) is no task of dbt Cloud: there is no dbt run to show.")


def test_subclass_of_an_operator(open_page: Callable[..., Page], airflow: FakeAirflow) -> None:
    """It is known by the run that it has left."""
    airflow.task["operator_name"] = "OurDbtOperator"
    airflow.xcoms[("job_run_id", -1)] = 7
    says(open_page(), "Job run 7 has left no picture.")


def test_run_without_a_picture(open_page: Callable[..., Page], airflow: FakeAirflow) -> None:
    """What may be the reason is said."""
    airflow.xcoms[("job_run_id", -1)] = 7
    says(open_page(), "start_in_triggerer=False draws all")


def test_task_without_a_run(open_page: Callable[..., Page], airflow: FakeAirflow) -> None:
    """It has failed before it had one, say."""
    airflow.task["state"] = "failed"
    says(open_page(), "The task has ended (failed) without a dbt Cloud run.")


def test_run_without_results(open_page: Callable[..., Page]) -> None:
    """dbt has ended before it ran a node."""
    says(
        open_page(drawn([])), "Job run 70403110000002 has ended (Success) and left no results of dbt's nodes"
    )


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, SIGNED_OUT),
        (403, "You may not see this task's XComs."),
        (404, "Airflow knows no such task instance."),
        (500, "Airflow can't tell of the run: it has answered 500."),
    ],
)
def test_refusals(open_page: Callable[..., Page], airflow: FakeAirflow, status: int, sentence: str) -> None:
    """Airflow decides who may see what."""
    airflow.refusal = status
    says(open_page(five()), sentence)


def test_signed_out(open_page: Callable[..., Page], tab: Page) -> None:
    """Without Airflow's cookie nothing is shown."""
    tab.context.clear_cookies()
    says(open_page(five()), SIGNED_OUT)


def test_session_of_airflow_3_1_0(open_page: Callable[..., Page], tab: Page, airflow: FakeAirflow) -> None:
    """Its web interface keeps the token elsewhere than in a cookie."""
    airflow.token = "theirs"
    tab.add_init_script("localStorage.setItem('token', 'theirs')")
    expect(open_page(five()).get_by_role("heading")).to_be_visible()


def test_token_that_an_earlier_airflow_has_left(open_page: Callable[..., Page], tab: Page) -> None:
    """The cookie is what counts."""
    tab.add_init_script("localStorage.setItem('token', 'expired')")
    expect(open_page(five()).get_by_role("heading")).to_be_visible()


def test_airflow_that_is_away(open_page: Callable[..., Page], tab: Page) -> None:
    """It is asked again later."""
    tab.route("**/api/**", lambda route: route.abort())
    says(open_page(five()), "Airflow can't be reached at the moment.")


@pytest.mark.parametrize("value", ["s3://bucket/xcom/1.json", None])
def test_value_kept_elsewhere(open_page: Callable[..., Page], airflow: FakeAirflow, value: Any) -> None:
    """By an XCom backend: Airflow shows only where."""
    airflow.xcoms[("dbt_cloud_run_picture", -1)] = value
    says(open_page(), "this Airflow's XCom backend keeps values elsewhere")


def test_picture_of_a_newer_version(open_page: Callable[..., Page]) -> None:
    """Workers may be upgraded before the API server."""
    says(open_page({"version": VERSION + 1}), "restart Airflow's API server")


def test_address_that_names_no_task(tab: Page, airflow: FakeAirflow) -> None:
    """It was opened by itself."""
    tab.goto(airflow.page().partition("?")[0] + f"?dag_id={DAG}")
    says(tab, "This page belongs beside a task instance in Airflow.")
