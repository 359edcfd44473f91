"""The page in a real browser, with the real service behind it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.serving.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_WORTH_A_LOOK = {"error", "warning"}
NAMES = ("빨강_어쩌고저쩌고_2019_2023.jpg", "green.jpg", "blue.jpg")


@contextmanager
def page_of(
    browser: "Browser", service: Running, faults: int | None = 0, **options: Any
) -> "Iterator[Page]":
    """A page that must ask nobody else, and must log no error but those of refused photos."""
    url = f"http://127.0.0.1:{service.port}/"
    context = browser.new_context(**{"locale": "en-US", **options})
    context.set_default_timeout(10000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.extend([said.text] * (said.type in _WORTH_A_LOOK)))
    page.goto(url)
    yield page
    context.close()
    assert [where for where in asked if not where.startswith((url, "blob:" + url, "data:"))] == []
    refused = [text for text in wrong if text.startswith("Failed to load resource")]
    assert len(wrong) == len(refused), wrong
    assert faults is None or len(refused) == faults, wrong


def give(page: "Page", *photos: Path) -> None:
    page.locator("#choose").set_input_files(photos)


def wait(page: "Page", num: int, of: str = "answered") -> None:
    page.wait_for_function(
        "([num, of]) => document.querySelectorAll(`.answer.${of}`).length === num", arg=[num, of]
    )


def headlines(page: "Page") -> list[str]:
    return [re.sub(r"\s+", " ", text) for text in page.locator(".headline").all_text_contents()]


def one_of_each(photos: Path, folder: Path) -> list[Path]:
    """A photo of each class."""
    found = [next((photos / name).iterdir()) for name in ("빨강", "green", "blue")]
    return [Path(shutil.copy(old, folder / new)) for old, new in zip(found, NAMES, strict=True)]
