"""The page where something stands between it and an answer: a proxy, a key, a busy service."""

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from chajong.bundle import Bundle
from tests.serving.browsing import NAMES, give, headlines, page_of, wait
from tests.serving.running import Running, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route


def test_what_stands_between_and_what_takes_its_place(
    service: Running, browser: "Browser", good: list[Path]
) -> None:
    with page_of(browser, service, faults=None) as page:
        page.get_by_text("aims at 2").wait_for()
        # A proxy in front takes less than the service.
        page.route(
            "**/v1/predict*", lambda route: route.fulfill(status=413, body="<html>413</html>")
        )
        give(page, good[0])
        wait(page, 1, "failed")
        assert headlines(page) == ["The file is too large for the way here"]
        page.unroute("**/v1/predict*")
        # "Try again" goes away as it is pressed; the focus stays with the photo.
        page.locator(".again").focus()
        page.keyboard.press("Enter")
        wait(page, 1)
        assert page.evaluate("document.activeElement.className") == "headline"
        # Six at once, of which each is read out.
        page.wait_for_timeout(600)
        told: list[str] = []
        page.expose_function("hear", lambda text: told.append(text))
        page.evaluate(
            "new MutationObserver(() => hear(document.getElementById('news').textContent))"
            ".observe(document.getElementById('news'), { childList: true })"
        )
        give(page, *good, *good)
        wait(page, 7)
        page.wait_for_timeout(600)
        heard = "; ".join(told)
        assert sum(heard.count(name + ": ") for name in NAMES) == 6

        # Another bundle takes the place of this one, of which no risk is known.
        def another(route: "Route") -> None:
            reply = route.fetch()
            new = {"risk": None} if "/model" in route.request.url else {}
            route.fulfill(json={**reply.json(), **new, "bundle": "f" * 16})

        page.route("**/v1/*", another)
        give(page, good[1])
        wait(page, 8)
        why = page.locator("article").first.locator(".why").text_content() or ""
        assert why.endswith("How often such answers are wrong was not measured.")
        assert page.get_by_text("aims at 2").count() == 0


def test_a_key_is_asked_for_and_a_busy_service_asked_again(
    exported: Bundle, browser: "Browser", good: list[Path], tmp_path: Path
) -> None:
    key = "a-key-of-the-tests"
    slow = tmp_path / "slow.png"
    Image.new("RGB", (6000, 5000)).save(slow)
    enough = threading.Event()
    keys, log = {"Authorization": f"Bearer {key}"}, tmp_path / "log"
    with running(exported.folder, log, "--max-queue", "1", key=key) as service:

        def keep_busy() -> None:
            while not enough.is_set():
                service.ask("/v1/predict", slow.read_bytes(), keys)

        with page_of(browser, service, faults=None) as page:
            # One Cancel is for all that wait.
            key_field, cancel = page.get_by_role("textbox", name="Key"), page.get_by_text("Cancel")
            cancel.click()
            give(page, *good, *good)  # three are asked about at once
            key_field.wait_for()
            cancel.click()
            wait(page, 2 * len(good), "failed")
            assert not key_field.is_visible()
            page.get_by_role("button", name="Remove all").click()
            give(page, good[0])
            page.get_by_role("textbox", name="Key").fill("not the key of it")
            page.keyboard.press("Enter")
            page.get_by_text("That key was not accepted").wait_for()
            page.get_by_role("textbox", name="Key").fill(key)
            page.keyboard.press("Enter")
            page.get_by_text("tells 3 classes").wait_for()
            wait(page, 1)
            page.get_by_role("button", name="Remove all").click()
            assert page.evaluate("JSON.stringify({...localStorage}) + document.cookie") == "{}"

            # Two, so that one waits while the other comes again; not before the service is full.
            others = [threading.Thread(target=keep_busy) for _ in range(2)]
            for other in others:
                other.start()
            try:
                while service.ask("/v1/predict", good[0].read_bytes(), keys).status != 503:
                    pass
                give(page, good[0])
                page.get_by_text("The service is busy. Again in").wait_for()
            finally:
                enough.set()
                for other in others:
                    other.join()
            wait(page, 1)

            service.stop()
            give(page, good[1])
            page.get_by_role("heading", name="The service does not answer").wait_for()
            with running(exported.folder, log, "--port", str(service.port)):
                page.get_by_role("button", name=re.compile("Try")).click()
                wait(page, 2)
