"""The page in a real browser: it renders, hover, keyboard and filter work, nothing is logged and nothing is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kregistry.report.page import page
from kregistry.report.page_contents import PageContents

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def file(contents: PageContents, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(page(contents), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_works_in_a_browser(browser: Any, file: Path, width: int, scheme: str) -> None:
    shown = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    complaints: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: complaints.append(request.url) if request.url != file.as_uri() else None)
    shown.goto(file.as_uri())
    assert shown.locator(".verdict").inner_text() == "1 of 4 kernels ready"
    assert shown.evaluate("document.documentElement.scrollWidth") <= width

    tip = shown.locator("#tip")
    assert not tip.is_visible()
    segment = shown.locator("rect.s").nth(1)
    segment.scroll_into_view_if_needed()
    segment.hover()
    assert "m 17..32" in tip.inner_text() and "BLOCK_M" in tip.inner_text()
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    shown.mouse.move(0, 0)
    assert not tip.is_visible()

    shown.locator("svg.map").first.focus()
    assert "m 1..16" in tip.inner_text()
    shown.keyboard.press("ArrowRight")
    assert "m 17..32" in tip.inner_text()
    shown.keyboard.press("Escape")
    assert not tip.is_visible()

    shown.locator("rect.t").nth(4).hover(force=True)
    assert (
        "generate gemm, 2 kernels" in tip.inner_text()
        and "waited for parse gemm: the parsed headers" in tip.inner_text()
    )

    shown.locator("#filter").fill("n=16")
    assert shown.locator("#count").inner_text() == "1 of 2 entries"
    assert shown.locator(".row[data-e]:visible").count() == 1
    shown.locator("#filter").fill("")
    shown.locator("#model").select_option("model")
    assert shown.locator(".row[data-e]:visible").count() == 2
    assert complaints == []


def test_the_verdict_needs_no_script(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(file.as_uri())
    assert shown.locator(".verdict").inner_text() == "1 of 4 kernels ready"
    assert shown.locator("svg.map").count() == 2
    assert not shown.locator(".tools").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Any, file: Path, scheme: str) -> None:
    """WCAG AA: at least 4.5 to 1."""
    shown = browser.new_page(color_scheme=scheme)
    shown.goto(file.as_uri())
    ratios = shown.evaluate(
        """() => {
          const light = (colour) => {
            const [r, g, b] = colour.match(/\\d+/g).map((each) => {
              const part = each / 255;
              return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = light(getComputedStyle(document.body).backgroundColor);
          const texts = document.querySelectorAll(".verdict, .dim, .caption, small, .n, a, summary, h2, th");
          return [...texts].map((each) => {
            const [low, high] = [ground, light(getComputedStyle(each).color)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
          });
        }"""
    )
    assert len(ratios) > 10 and min(ratios) >= 4.5
