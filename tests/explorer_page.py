"""The explorer in a browser, for tests: what it shows as Python values, and what must never happen while it does."""

import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules of those that look at colours."""


class ExplorerPage:
    """An open explorer.

    When the block ends, nothing must have been written to the console, and nothing asked for but the explorer's own files.

    Args:
        browser: Chromium.
        home: the explorer's folder, or its address on a server.
        width: of the window, pixels.
        context: further options of the window.
    """

    def __init__(self, browser: Browser, home: Path | str, width: int = 1280, **context: Any):
        self.home = home.as_uri() if isinstance(home, Path) else home
        self._context = browser.new_context(viewport={"width": width, "height": 900}, **context)
        self.page: Page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.close()
        if kind is None:
            assert self.said == []
            assert [url for url in self.asked if not url.startswith((self.home, "data:"))] == []

    def open(self, address: str = "") -> Self:
        """Open the page with what comes after the # of its address, and wait until it has been drawn."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.home}/index.html#{address}")
        expect(self.page.locator("#status")).not_to_be_empty()
        return self

    def heading(self, view: int = 0) -> str:
        return self.view(view).locator("h2").inner_text()

    def expect_heading(self, text: str, view: int = 0) -> None:
        expect(self.view(view).locator("h2")).to_have_text(re.compile(re.escape(text)))

    def scale(self, view: int = 0) -> list[float]:
        """Ends of a view's scale of colours."""
        return [float(end) for end in self.view(view).locator(".legend .scale").inner_text().replace("−", "-").split()[:2]]

    def control(self, role: Any, name: str) -> Locator:
        """A control as a screen reader finds it."""
        return self.page.get_by_role(role, name=name, exact=True)

    def view(self, number: int = 0) -> Locator:
        return self.page.locator(".view").nth(number)

    def cells(self, view: int = 0) -> list[dict[str, Any]]:
        """The tokens of a view in order: text, label, whether the true class is first, whether its value is known, whether it is chosen."""
        found = (
            self.view(view)
            .locator("[data-token]")
            .evaluate_all(
                """cells => cells.map(cell => ({token: Number(cell.dataset.token), text: cell.firstChild.textContent,
                label: cell.getAttribute("aria-label"), first: cell.classList.contains("true"),
                known: !cell.classList.contains("unknown"), chosen: cell.getAttribute("aria-selected") === "true"}))"""
            )
        )
        return sorted(found, key=lambda cell: cell["token"])

    def table(self, caption: str, view: int = 0) -> list[list[str]]:
        """The rows of a table of the chosen token, by the beginning of its caption."""
        table = self.view(view).locator("table", has=self.page.locator("caption", has_text=caption))
        expect(table).to_have_count(1)
        return cells_of(table.locator("tbody tr"))

    def violations(self, rules: dict[str, Any] = RULES) -> list[str]:
        """What axe finds wrong with the page as it stands."""
        options = rules | {"resultTypes": ["violations"]}  # details of what passes take two thirds of the time
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{item['id']}: {item['help']}: {item['nodes'][0]['html']}" for item in found]


def cells_of(rows: Locator) -> list[list[str]]:
    """The texts of the cells of rows of a table."""
    return rows.evaluate_all("rows => rows.map(row => [...row.children].map(cell => cell.textContent))")


def number(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace("−", "-"))


def last_number(text: str) -> float:
    """The number that a text ends with."""
    return number(re.findall(r"[-−]?\d+\.\d+", text)[-1])
