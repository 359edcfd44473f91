"""The page, used as a person would: in a real browser, with the real service behind it."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.serving.browsing import NAMES, give, headlines, page_of, wait
from tests.serving.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}


def asked(service: Running, photo: Path) -> dict[str, Any]:
    """What the service says without a page."""
    found: dict[str, Any] = service.ask("/v1/predict?nearest=4", photo.read_bytes()).json
    return found


def copied(page: "Page") -> Any:
    return json.loads(page.evaluate("navigator.clipboard.readText()"))


def said_of(found: dict[str, Any]) -> str:
    share = f" · {100 * found['score']:.0f} %"
    return "I don’t know" if found["abstained"] else found["model"] + share


def test_choosing_photos(service: Running, browser: "Browser", good: list[Path]) -> None:
    with page_of(browser, service) as page:
        page.get_by_text("tells 3 classes apart").wait_for()
        give(page, *good)
        wait(page, 3)
        found = [asked(service, photo) for photo in good]
        assert headlines(page) == [said_of(one) for one in found]
        assert page.locator(".name").all_text_contents() == list(NAMES)

        first = page.locator("article").first
        shares = first.locator(".top li").all_text_contents()
        assert [text.split()[0] for text in shares] == [guess["name"] for guess in found[0]["top"]]
        widths = first.locator(".top i").evaluate_all("bars => bars.map((b) => b.style.width)")
        probs = [guess["prob"] for guess in found[0]["top"]]
        assert [float(width[:-1]) / 100 for width in widths] == pytest.approx(probs, abs=1e-4)
        assert first.locator(".badge.fine").count() == (0 if found[0]["abstained"] else 1)
        # What a screen reader is told last: the last answer.
        page.wait_for_function("() => document.getElementById('news').textContent")
        told = (page.get_by_role("status").text_content() or "").split("; ")[-1]
        told_name, _, told_answer = re.sub(r"\s", " ", told).partition(": ")
        assert told_answer == said_of(found[NAMES.index(told_name)])

        near = first.locator(".nearest li")
        assert near.count() == 4 == len(found[0]["nearest"])
        for place, one in enumerate(found[0]["nearest"]):
            assert one["name"] in near.nth(place).inner_text()
        first.get_by_role("button", name="What decided it").click()
        first.get_by_text("What decided whether it is").wait_for()
        drawn = "image => image.complete && image.naturalWidth > 0 && image.src"
        heat = first.locator("img").first.evaluate(drawn)
        first.get_by_role("button", name=f"Show the photo, {NAMES[0]}").click()
        assert heat
        assert heat != first.locator("img").first.evaluate(drawn)

        first.get_by_role("button", name="Copy JSON").click()
        page.locator("button", has_text="Copied").wait_for()
        assert copied(page) == {"name": NAMES[0], "answer": found[0], "problem": None}
        page.get_by_role("button", name="Copy all as JSON").click()
        page.wait_for_function(
            "() => navigator.clipboard.readText().then((text) => text.startsWith('['))"
        )
        assert [one["answer"] for one in copied(page)] == found

        page.get_by_role("button", name="Remove all").click()
        assert page.locator("article").count() == 0
        give(page, good[0])  # the same file again
        wait(page, 1)


def test_dropping_and_pasting(service: Running, browser: "Browser", good: list[Path]) -> None:
    drop = """(files) => {
      const transfer = new DataTransfer();
      for (const [name, bytes] of files) {
        transfer.items.add(new File([new Uint8Array(bytes)], name));
      }
      const event = (kind) => new DragEvent(kind, {
        dataTransfer: transfer, bubbles: true, cancelable: true });
      document.querySelector("main").dispatchEvent(event("dragover"));
      const isShown = document.body.classList.contains("dragging");
      document.querySelector("main").dispatchEvent(event("drop"));
      return isShown && !document.body.classList.contains("dragging");
    }"""
    paste = """async (bytes) => {
      const blob = new Blob([new Uint8Array(bytes)], { type: "image/png" });
      await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    }"""
    png = good[1].with_suffix(".png")
    Image.open(good[1]).save(png)
    with page_of(browser, service) as page:
        files = [[photo.name, list(photo.read_bytes())] for photo in good[:2]]
        assert page.evaluate(drop, files)
        wait(page, 2)
        page.evaluate(paste, list(png.read_bytes()))
        page.keyboard.press("Control+V")
        wait(page, 3)
        assert page.locator(".name").first.text_content() == "Pasted photo 1"
        assert headlines(page)[0] == said_of(asked(service, png))
        assert page.evaluate(drop, [])
        page.get_by_role("alert").get_by_text("no photo in that").wait_for()


def test_broken_files_are_told_one_by_one(
    service: Running, browser: "Browser", good: list[Path], tmp_path: Path
) -> None:
    text, cut, vast, heavy = (tmp_path / name for name in ("a.txt", "b.jpg", "c.png", "d.jpg"))
    text.write_text("no photo", encoding="utf-8")
    cut.write_bytes(good[0].read_bytes()[:-300])
    Image.new("1", (12000, 9000)).save(vast)
    heavy.write_bytes(good[0].read_bytes() + b"\0" * 21_000_000)
    with page_of(browser, service, faults=3) as page:
        give(page, text, good[0], cut, good[1], vast, heavy)
        wait(page, 2)
        wait(page, 4, "failed")
        told = [
            ("This is no photo that can be read", "Send it as JPEG, PNG or WebP."),
            ("The photo is damaged", "Copy it again"),
            ("The photo has too many pixels", "At most 50 megapixels"),
            ("The file is too large", "At most 20 MB are taken."),
        ]
        failed = page.locator("article.failed")
        for place, (what, to_do) in enumerate(told):
            assert failed.nth(place).locator(".headline").text_content() == what
            assert to_do in (failed.nth(place).locator(".why").text_content() or "")
            assert failed.nth(place).get_by_role("button", name="Try").is_visible()
        failed.first.get_by_role("button", name="Copy JSON").click()
        page.locator("button", has_text="Copied").wait_for()
        assert copied(page)["problem"]["status"] == 415


def test_by_keyboard_alone(service: Running, browser: "Browser", good: list[Path]) -> None:
    with page_of(browser, service) as page:
        # The browser tells of choosers some moments after it was asked to.
        page.on("filechooser", lambda _: None)
        page.get_by_text("tells 3 classes").wait_for()
        focus = "document.activeElement.id || document.activeElement.className"
        page.keyboard.press("Tab")
        assert page.evaluate(focus) == "language"
        page.keyboard.press("Tab")
        assert page.evaluate(focus) == "choose"
        ring = "getComputedStyle(document.getElementById('choose').parentNode).outlineStyle"
        assert page.evaluate(ring) == "solid"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(good[:2])
        wait(page, 2)
        seen = []
        for _ in range(8):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focus))
        assert seen == ["copy_all", "clear", *2 * ["heat", "copy quiet", "remove quiet"]]
        page.keyboard.press("Enter")
        assert page.locator("article").count() == 1
        assert page.evaluate(focus) == "headline"
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.locator("button", has_text="Copied").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate(focus) == "choose"


def test_on_a_phone_in_korean(service: Running, browser: "Browser", good: list[Path]) -> None:
    with page_of(browser, service, **PHONE, locale="ko-KR", color_scheme="dark") as page:
        page.get_by_text("3개 차종 구별").wait_for()
        assert page.evaluate("document.documentElement.lang") == "ko"
        assert page.locator("#camera").get_attribute("capture") == "environment"
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="사진 찍기").click()
        chooser.value.set_files(good[0])
        wait(page, 1)
        give(page, good[1])
        wait(page, 2)
        found = [asked(service, photo) for photo in (good[1], good[0])]
        # The newest comes first.
        expected = [said_of(one).replace("I don’t know", "모르겠습니다") for one in found]
        assert headlines(page) == expected
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        for button in page.locator("button:visible, .button:visible").all():
            assert (button.bounding_box() or {"height": 0})["height"] >= 44
        page.get_by_role("button", name="English").click()
        assert headlines(page) == [said_of(one) for one in found]
        page.reload()
        page.get_by_text("tells 3 classes").wait_for()
        assert page.evaluate("document.documentElement.lang") == "en"


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    const colour = getComputedStyle(node).backgroundColor;
    const isClear = (numbers(colour)[3] ?? 1) === 0;
    return isClear && node.parentElement ? behind(node.parentElement) : colour;
  };
  const isText = (node) => [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
  return [...document.querySelectorAll("body *")].filter((n) => isText(n) && n.checkVisibility())
    .map((node) => {
      const two = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
      return [node.textContent.trim(), (two[0] + 0.05) / (two[1] + 0.05)];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(
    service: Running, browser: "Browser", good: list[Path], tmp_path: Path, scheme: str
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8")
    still: Any = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with page_of(browser, service, faults=1, **still) as page:
        give(page, *good, broken)
        wait(page, 3)
        wait(page, 1, "failed")
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 30
        assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []
        backdrop = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", backdrop))) < 200) == (scheme == "dark")
        assert page.evaluate("document.getAnimations().length") == 0

        # Every control has a name of its own, and every photo a text.
        named = "n => (n.ariaLabel || n.alt || n.labels?.[0]?.textContent || n.textContent).trim()"
        for role in ("button", "textbox", "img"):
            names = [node.evaluate(named) for node in page.get_by_role(role).all()]
            assert all(names)
            assert len(set(names)) == len(names)
        assert page.locator("h1").count() == 1
        assert page.get_by_role("heading", level=2).count() == 1 + 4
