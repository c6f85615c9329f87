"""The browser that tests and screenshots use: one that is installed, never one that is downloaded."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"None of {', '.join(NAMES)} is on PATH; on Debian: apt-get install chromium"
# As root there is no sandbox, and nothing but the page is to be asked for.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str | None:
    """Return the path of a browser that Playwright can drive, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)
