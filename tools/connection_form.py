"""Airflow's connection form in a browser, as a person uses it; for the tests and the screenshots."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import browser
from local_airflow import LocalAirflow
from playwright.sync_api import Locator, Page, expect, sync_playwright

TYPE_NAME = "dbt Cloud (dlt)"
PATIENCE = 180_000
"""Milliseconds; a loaded machine takes its time to draw a page."""


@contextmanager
def connections_page(airflow: LocalAirflow, executable: str, **options: Any) -> Iterator["ConnectionsPage"]:
    """Open a browser with the list of connections, signed in.

    Args:
        airflow: whose connections.
        executable: the browser's path.
        **options: of the browser's context, such as ``viewport``.
    """
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=executable, args=list(browser.OPTIONS)) as chromium:
            with chromium.new_context(**options) as context:
                page = context.new_page()
                page.set_default_timeout(PATIENCE)
                page.goto(f"{airflow.url}/connections")
                page.locator("input[name=username]").fill(airflow.username)
                page.locator("input[name=password]").fill(airflow.password)
                page.keyboard.press("Enter")
                expect(page.get_by_role("button", name="Add Connection")).to_be_visible()
                yield ConnectionsPage(page)


class ConnectionsPage:
    """The list of connections, with its buttons.

    Attributes:
        page: Playwright's page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def form(self) -> Locator:
        """The form, while it is open."""
        return self.page.get_by_role("dialog")

    def open_new(self, connection_id: str) -> None:
        """Open the form for a new connection of our type."""
        self.page.get_by_role("button", name="Add Connection").click()
        self.form.locator("input[name=connection_id]").fill(connection_id)
        self.form.locator("input[role=combobox]").fill(TYPE_NAME)
        self.page.get_by_role("option", name=TYPE_NAME, exact=True).click()

    def open_stored(self, connection_id: str) -> None:
        """Open the form of a connection that is there."""
        self._row(connection_id).get_by_role("button", name="Edit Connection").click()
        expect(self.form.locator("input[name=connection_id]")).to_have_value(connection_id)

    def section(self, name: str) -> None:
        """Unfold a part of the form; the one that was unfolded closes."""
        self.form.get_by_role("button", name=name, exact=True).click()

    def field(self, name: str) -> Locator:
        """A standard field's input, or that of a key of the extra, as `extra.job_id`."""
        key = name.removeprefix("extra.")
        return self.form.locator(f"[name={key}]" if key == name else f"[name=element_{key}]")

    def fill(self, values: Mapping[str, object]) -> None:
        """Fill fields of the part that is unfolded."""
        for name, value in values.items():
            self.field(name).fill(str(value))

    def save(self) -> None:
        """Store what the form says, and wait until it has closed."""
        self.form.get_by_role("button", name="Save").click()
        expect(self.form).to_have_count(0)

    def test(self, connection_id: str) -> tuple[bool, str]:
        """Press the button that tests a connection; return its answer."""
        with self.page.expect_response("**/api/v2/connections/test") as answered:
            self._row(connection_id).get_by_role("button", name="Test Connection").click()
        answer = answered.value.json()
        return answer.get("status", False), answer.get("message") or str(answer)

    def _row(self, connection_id: str) -> Locator:
        named = self.page.get_by_role("cell", name=connection_id, exact=True)
        return self.page.get_by_role("row").filter(has=named)
