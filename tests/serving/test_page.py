"""The page, used as a person would: in a real browser, with the real service behind it."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from chajong.bundle import Bundle
from chajong.serving.verdict import Guess, Said, Verdict
from tests.serving.running import Running, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

_WORTH_A_LOOK = {"error", "warning"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}
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


@pytest.fixture(scope="module")
def service(exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that nobody stops or changes."""
    with running(exported.folder, tmp_path_factory.mktemp("page") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def good(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A photo of each class."""
    folder = tmp_path_factory.mktemp("good")
    found = [next((photos / name).iterdir()) for name in ("빨강", "green", "blue")]
    return [Path(shutil.copy(old, folder / new)) for old, new in zip(found, NAMES, strict=True)]


def asked(service: Running, photo: Path) -> dict[str, Any]:
    """What the service says without a page."""
    found: dict[str, Any] = service.ask("/v1/predict?nearest=4", photo.read_bytes()).json
    return found


def give(page: "Page", *photos: Path) -> None:
    page.locator("#choose").set_input_files(photos)


def wait(page: "Page", num: int, of: str = "answered") -> None:
    page.wait_for_function(
        "([num, of]) => document.querySelectorAll(`.answer.${of}`).length === num", arg=[num, of]
    )


def copied(page: "Page") -> Any:
    return json.loads(page.evaluate("navigator.clipboard.readText()"))


def headlines(page: "Page") -> list[str]:
    return [re.sub(r"\s+", " ", text) for text in page.locator(".headline").all_text_contents()]


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


GRANDEUR = Guess("디_올뉴그랜저_2023_2025", "Hyundai", "현대", "그랜저", "7세대", 2022, None, 0.71)
EXACT = Verdict(
    level="exact",
    score=0.93,
    abstained=False,
    reason="sure",
    strangeness=0.1,
    exact=GRANDEUR.name,
    make="Hyundai",
    make_ko="현대",
    model="그랜저",
    generation="7세대",
    year_from=2022,
    year_to=None,
    levels={
        "maker": Said("Hyundai", 0.9991),
        "model": Said("Hyundai 그랜저", 0.97),
        "generation": Said("Hyundai 그랜저 7세대", 0.95),
        "exact": Said(GRANDEUR.name, 0.93),
    },
    top=(GRANDEUR,),
)
GENERATION = replace(EXACT, level="generation", score=0.95, reason="unsure", exact=None)
MODEL = replace(GENERATION, level="model", score=0.97, generation=None, year_from=2005)
MAKER = replace(MODEL, level="maker", score=0.999, model=None)
NONE = replace(
    MAKER, level="none", score=0.3, abstained=True, make=None, make_ko=None, year_from=None
)
STRANGE = replace(NONE, reason="strange", strangeness=0.9987)
# A class of one's own that no catalogue knows.
SOFA = replace(NONE, levels={"model": Said("sofa", 0.995), "exact": Said("sofa", 0.995)})


def test_every_level_in_words(service: Running, browser: "Browser") -> None:
    say = """async ([answer, language]) => {
      const { headline, why, levels } = await import("/words.js");
      return [headline(answer, language), why(answer, language), why(answer, language, false),
        levels(answer, language).filter((each) => each.isSure).map((each) => each.short)];
    }"""
    with page_of(browser, service) as page:

        def words(verdict: Verdict, language: str) -> list[Any]:
            answer = json.loads(json.dumps(asdict(verdict)))
            text = json.dumps(page.evaluate(say, [answer, language]), ensure_ascii=False)
            found: list[Any] = json.loads(text.replace("\u00a0", " "))
            return found

        ko = [words(verdict, "ko") for verdict in (EXACT, GENERATION, MODEL, MAKER, NONE, STRANGE)]
        en = [words(verdict, "en") for verdict in (EXACT, GENERATION, MODEL, MAKER, NONE, STRANGE)]
        sofa = [words(SOFA, language)[1] for language in ("ko", "en")]
    assert [said[0] for said in ko] == [
        *("현대 그랜저, 7세대, 2022 이후", "현대 그랜저, 7세대, 2022 이후", "현대 그랜저", "현대"),
        *("모르겠습니다", "모르겠습니다"),
    ]
    assert en[0][0] == "Hyundai 그랜저, 7th generation, from 2022"
    assert [said[0] for said in en[2:]] == ["Hyundai 그랜저", "Hyundai"] + 2 * ["I don’t know"]
    assert en[0][1] == "Sure of the exact class."
    assert en[1][1].startswith("Sure of the generation, but not of the class: the likeliest is 디_")
    assert en[3][1].endswith("not of the model: the likeliest is Hyundai 그랜저 with 97 %.")
    assert "the likeliest is Hyundai with > 99 %" in en[4][1]
    assert "unlike the photos that were learned" in en[5][1]
    assert "stranger than 99.8 % of" in en[5][1]
    assert [said[2] for said in en[:5]] == 5 * [
        "How often such answers are wrong was not measured."
    ]
    assert en[5][2] == en[5][1]
    assert ko[0][2] == "이런 답이 얼마나 자주 틀리는지는 측정되지 않았습니다."
    assert ko[1][1].startswith("세대까지는 확실하지만 정확한 클래스는 확실하지 않습니다.")
    assert "낯섭니다" in ko[5][1]
    assert sofa[0].startswith(
        "클래스가 확실하지 않습니다. 가장 가능성이 높은 것은 sofa(> 99 %)입니다."
    )
    assert sofa[1].startswith("The class is not sure: the likeliest is sofa with > 99 %.")
    assert ko[4][1].startswith("제조사도 확실하지 않습니다.")
    assert [said[3] for said in ko[:5]] == [
        ["현대", "그랜저", "7세대", GRANDEUR.name],
        ["현대", "그랜저", "7세대"],
        ["현대", "그랜저"],
        ["현대"],
        [],
    ]
