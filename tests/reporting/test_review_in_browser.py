"""The review in a real browser, where there is one."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chajong.corrections import Corrections
from chajong.run import Run
from tests.reporting.reviewing import NAMES, NUM, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def page_of(browser: "Browser", **options: Any) -> "Iterator[Page]":
    context = browser.new_context(**options)
    context.set_default_timeout(8000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


def test_deciding_by_keyboard(run: Run, tmp_path: Path, browser: "Browser") -> None:
    path = tmp_path / "corrections.csv"

    def decided() -> list[tuple[str, str | None]]:
        return [(d.action, d.label) for d in Corrections.load_or_empty(path).decisions]

    with page_of(browser, locale="en-US") as page:
        with serving(run, path) as server:
            page.goto(server.url)
            page.get_by_text(f"0 of {NUM} decided").wait_for()
            assert page.evaluate("location.search") == "", "the token leaves the address"
            suggested = page.locator("#suggested").text_content()
            page.keyboard.press("z")
            page.keyboard.press("k")  # goes back, and decides nothing
            assert page.locator("dialog[open]").count() == 0
            assert decided() == []
            press(page, "k", "saved")
            press(page, "ㄱ", "saved", code="KeyR")  # as a Korean keyboard types it
            assert [action for action, _ in decided()] == ["keep", "relabel"]
            assert decided()[1][1] != suggested, "the second photo's, not the first's"

            page.keyboard.press("/")
            page.keyboard.type("2018 다별")
            assert page.locator("#options li").all_text_contents() == [NAMES[2]]
            page.keyboard.press("Enter")
            page.get_by_text(f"3 of {NUM} decided").wait_for()
            assert decided()[2] in {("relabel", NAMES[2]), ("keep", None)}
            press(page, "x", "saved")
            assert decided()[3] == ("exclude", None)
            press(page, "u", "taken back")
            assert len(decided()) == 3
            assert page.locator("#place").text_content() == f"Suspect 4 of {NUM}"
            press(page, "x", "saved")
            page.keyboard.press("ArrowLeft")
            assert page.locator("#verdict").text_content() == "Excluded"
            page.keyboard.press("l")
            before = decided()
            server.kill()
            press(page, "k", "not saved")
            assert page.locator("#place").text_content() == f"Suspect 5 of {NUM}"
            assert "Start chajong review again" in (page.locator("#failure").text_content() or "")
        with serving(run, path) as server:
            page.goto(server.url)
            page.get_by_text(f"4 of {NUM} decided").wait_for()
            assert page.locator("#place").text_content() == f"Suspect 5 of {NUM}"
            assert decided() == before
            press(page, "u", "taken back")
            assert decided() == before[:3]


def press(page: "Page", key: str, status: str, code: str | None = None) -> None:
    """Press a key and wait for what the page says then."""
    if code is None:
        page.keyboard.press(key)
    else:
        event = f"new KeyboardEvent('keydown', {{key: '{key}', code: '{code}', bubbles: true}})"
        page.evaluate(f"document.body.dispatchEvent({event})")
    expect: Callable[..., Any] = page.wait_for_function
    expect("text => document.getElementById('status').textContent === text", arg=status)


def test_on_a_phone_in_korean(run: Run, tmp_path: Path, browser: "Browser") -> None:
    path = tmp_path / "corrections.csv"
    phone = {"width": 390, "height": 844}
    with (
        serving(run, path) as server,
        page_of(browser, locale="ko-KR", viewport=phone, color_scheme="dark") as page,
    ):
        page.goto(server.url)
        page.get_by_text(f"{NUM}장 중 0장 결정").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.documentElement.lang") == "ko"
        page.wait_for_function("() => document.getElementById('photo').naturalWidth === 96")
        for button in page.get_by_role("button").all():
            assert button.evaluate("b => (b.ariaLabel || b.textContent).trim()")

        # A full disk: the page says so and stays where it is.
        pid = server.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        page.get_by_role("button", name="유지").click()
        page.get_by_text("저장 안 됨").wait_for()
        assert not path.exists()
        assert page.locator("#place").text_content() == f"의심 사진 1 / {NUM}"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        page.get_by_role("button", name="유지").click()
        page.get_by_text("저장됨", exact=True).wait_for()
        assert Corrections.load(path).decisions[0].who == "나"
        page.get_by_role("button", name="English").click()
        page.get_by_text(f"1 of {NUM} decided").wait_for()
        page.reload()
        page.get_by_text(f"1 of {NUM} decided").wait_for()
