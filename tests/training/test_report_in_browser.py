"""The pages about a run, a blend and a comparison in a real browser: small, dark and on paper."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chajong.blending.make import make_blend
from chajong.blending.subject import Subject
from chajong.comparison import compare
from chajong.pairs import open_side, pair
from chajong.reporting.report_page import comparison_page, report_page
from chajong.run import Run
from chajong.training.look_again import look_again

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("run", "blend", "comparison")
MEDIA: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "paper": {"color_scheme": "dark", "media": "print"},
}


@pytest.fixture(scope="module")
def pages(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    make_blend([finished], [look_again(finished, ("plain", "flip"))], 2, folder / "blend")
    sides = open_side([finished.folder]), open_side([folder / "blend"])
    found = compare(pair(*sides), ("run", "blend"))
    return {
        "run": report_page(Subject.open(finished.folder), folder / "run.html"),
        "blend": report_page(Subject.open(folder / "blend"), folder / "blend.html"),
        "comparison": comparison_page(found, folder / "comparison.html"),
    }


@contextmanager
def shown(browser: "Browser", path: Path, width: int = 1280, **media: Any) -> "Iterator[Page]":
    """A page that complains of nothing."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.emulate_media(**media)
    page.goto(path.as_uri())
    yield page
    page.close()
    assert wrong == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_screen(
    pages: dict[str, Path], browser: "Browser", name: str, width: int
) -> None:
    with shown(browser, pages[name], width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.locator("h2").count() >= 3
        assert (page.locator("svg").count() >= 5) == (name != "comparison")
        for line in page.locator("path.line").all():
            assert line.evaluate("each => getComputedStyle(each).fill") == "none"


# The least contrast (WCAG 2) of a text with what is behind it, and that text.
CONTRAST = """() => {
  const light = color => {
    const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = each => {
    for (; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return "rgb(255, 255, 255)";
  };
  const own = each => each.tagName !== "title"
    && [...each.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  return [...document.body.querySelectorAll("*")].filter(own).map(each => {
    const style = getComputedStyle(each), svg = each.namespaceURI.endsWith("svg");
    const a = light(svg ? style.fill : style.color), b = light(behind(each));
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.trim()];
  }).sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("name", PAGES)
def test_every_text_can_be_read(
    pages: dict[str, Path], browser: "Browser", name: str, media: str
) -> None:
    with shown(browser, pages[name], **MEDIA[media]) as page:
        contrast, text = page.evaluate(CONTRAST)
        assert contrast >= 4.5, text
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        wanted = {"light": "rgb(247, 248, 250)", "dark": "rgb(20, 24, 30)"}
        assert paper == wanted.get(media, "rgb(255, 255, 255)")


def test_on_paper_all_is_open_and_keys_keep_their_colours(
    pages: dict[str, Path], browser: "Browser"
) -> None:
    with shown(browser, pages["run"]) as page:
        recipe = page.get_by_text("backbone: test_resnet")
        assert recipe.evaluate("each => each.checkVisibility()") is False
        page.emulate_media(media="print")
        assert recipe.evaluate("each => each.checkVisibility()") is True
        height = page.locator("details").last.evaluate("each => each.offsetHeight")
        assert height > recipe.evaluate("each => each.offsetHeight") > 100
        assert page.locator(".key.for").count() == 1
        coloured = [
            *page.locator(".key").all(),
            *page.locator(".badge").all(),
            *page.locator(".frame").all(),
        ]
        for each in coloured:
            adjust = each.evaluate("each => getComputedStyle(each, '::before').printColorAdjust")
            assert adjust == "exact"
        assert page.locator("header a").first.is_hidden()
