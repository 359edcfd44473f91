import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chajong.errors import ResourceError, RunError
from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, Manifest
from chajong.photos.audit import Audit, full_audit
from chajong.photos.measures import MEASURE_COLUMNS, MEASURES, Measures
from chajong.photos.shift import Shift, find_shift
from chajong.reporting import audit_page as module
from chajong.reporting.advice import ADVICE, advice_on
from chajong.reporting.audit_page import audit_page, save_audit
from tests.manifests import manifest_of, photo_rows
from tests.photos.pictures import encoded, put, scene

HOSTILE = "<b onclick=\"x('&amp;')\">기아"


@dataclass
class Part:
    """What a section of the page holds."""

    text: str = ""
    images: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A page by its sections, which are named by the id of their heading."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections: dict[str, Part] = {"": Part()}
        self.place, self.tags, self.sources = "", set[str](), list[str]()
        self.attributes = set[str]()
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()

    @property
    def now(self) -> Part:
        return self.sections[self.place]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes.update(given)
        self.sources += [given[name] or "" for name in ("src", "href") if name in given]
        if tag == "h2":
            self.place = given.get("id") or "summary"
            self.sections[self.place] = Part()
        if tag == "img":
            self.now.images.append(given["src"] or "")
        if tag == "figure":
            self.now.titles.append(given["title"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag != "code":
            self.now.text += " "  # what ends is a block

    def handle_data(self, data: str) -> None:
        self.now.text += data

    def words(self, place: str) -> str:
        return " ".join(self.sections[place].text.split())


def planted(root: Path) -> Path:
    """A data set with faults of several kinds, and a class whose name is markup."""
    for number in range(6):
        put(root / f"train/현대_아반떼/{number}.jpg", scene(number))
        put(root / f"train/K5/{number}.jpg", scene(10 + number))
        put(root / f"test/{number}.jpg", scene(50 + number))
    put(root / f"train/{HOSTILE.replace('/', '')}/a'b.jpg", scene(30))
    put(root / "train/K5/other.jpg", encoded(scene(0), quality=70))
    put(root / "train/K5/broken.jpg", b"no photo")
    put(root / "train/K5/tiny.jpg", scene(20, (60, 40)))
    put(root / "test/leak.jpg", scene(11))
    return root


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    folder = tmp_path_factory.mktemp("audited")
    return full_audit(planted(folder / "<i>&data"), cache_folder=folder / "cache")


@pytest.fixture(scope="module")
def page(found: Audit) -> Page:
    out = found.manifest.root.parent / "audit.html"
    assert audit_page(found.manifest, out, found.shift, found.measures) == out
    return Page(out)


def test_each_issue_has_its_photos_advice_and_count(found: Audit, page: Page) -> None:
    counts = dict(found.manifest.issues.group_by("issue").len().iter_rows())
    assert set(counts) >= {
        "duplicate_train_test",
        "duplicate_other_label",
        "unreadable",
        "tiny",
        "small_class",
        "near_duplicate",
        "exact_duplicate",
    }
    order = [place for place in page.sections if place in counts]
    assert order == [advice.issue for advice in ADVICE if advice.issue in counts]
    for issue, num in counts.items():
        advice, words = advice_on(issue), page.words(issue)
        assert f"{num} photo" in words
        assert advice.remedy in words
        assert advice.meaning in words
        assert f"#{issue}" in page.sources
        assert f"{advice.heading} {num}" in page.words("summary")
        ids = found.manifest.issues.filter(pl.col("issue") == issue)["id"].to_list()
        shown = page.sections[issue].titles
        assert all(any(title.startswith(id_) for title in shown) for id_ in ids)
        assert len(page.sections[issue].images) == (0 if issue == "unreadable" else len(ids))
    assert "no photo to show" in page.words("unreadable")
    assert "Looked for, and not found: unlike" not in page.words("summary")
    assert "Not looked for: photos that are no whole car" in page.words("summary")


def test_duplicates_say_what_is_wrong_among_them(page: Page) -> None:
    assert "labels differ" in page.words("duplicate_other_label")
    assert "train and test" not in page.words("duplicate_other_label")
    # In the heading, and at the one group.
    assert page.words("duplicate_train_test").count("train and test") == 2
    assert "labels differ" not in page.words("duplicate_train_test")


def test_equal_classes_do_not_differ(tmp_path: Path) -> None:
    one, other = "718_박스터_2017_2024", "박스터_718_2017_2024"
    for name in (one, other):
        for number in range(4):
            put(tmp_path / f"data/{name}/{number}.jpg", scene(10 * (name == one) + number))
    put(tmp_path / f"data/{other}/copy.jpg", scene(10))
    found = full_audit(tmp_path / "data", cache_folder=tmp_path / "cache")
    words = Page(audit_page(found.manifest, tmp_path / "audit.html")).words("exact_duplicate")
    assert "copy.jpg" in words
    assert "labels differ" not in words


def test_nothing_is_fetched_from_outside(page: Page) -> None:
    assert page.sources
    assert {re.split("[:#]", source)[0] for source in page.sources} == {"data", ""}
    assert not re.search(r"https?://|@import|url\(", page.html)
    assert "default-src 'none'" in page.html


def test_hostile_names_stay_text(page: Page) -> None:
    shown = HOSTILE.replace("/", "")
    assert "onclick" not in page.attributes
    assert "i" not in page.tags
    assert shown in page.words("small_class")
    assert f"{shown}: 1 different photo" in page.words("small_class")
    assert shown in page.words("classes")
    assert "<i>&data" in page.words("")


def test_a_photo_that_is_gone_leaves_an_empty_tile(tmp_path: Path, found: Audit) -> None:
    moved = replace(found.manifest, root=tmp_path / "elsewhere")
    page = Page(audit_page(moved, tmp_path / "new/audit.html"))
    assert page.sections["tiny"].images == []
    assert "no photo to show" in page.words("tiny")


def test_a_name_that_is_no_text_costs_nothing(tmp_path: Path, found: Audit) -> None:
    moved = replace(found.manifest, root=Path("/\udcff/x"))
    assert "/?/x" in Page(audit_page(moved, tmp_path / "audit.html")).words("")


def many(num: int, issue: str, groups: bool = False) -> Manifest:
    numbers = [place // 2 for place in range(num)] if groups else None
    manifest = manifest_of(photo_rows(["a"] * num, groups=numbers))
    rows = [(id_, issue, place / num, "d") for place, id_ in enumerate(manifest.table["id"])]
    return replace(manifest, issues=pl.DataFrame(rows, ISSUE_COLUMNS, orient="row"))


def test_the_worst_come_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    for issue, worst in (("tiny", "p00000.jpg"), ("huge", "p00029.jpg")):
        page = Page(audit_page(many(30, issue), tmp_path / "a.html"))
        assert page.sections[issue].titles[0] == f"{worst}: d"
        assert len(page.sections[issue].titles) == 24
        assert "and 6 more photos, see issues.parquet" in page.words(issue)
    page = Page(audit_page(many(36, "near_duplicate", groups=True), tmp_path / "a.html"))
    assert page.sections["near_duplicate"].titles[:2] == ["p00035.jpg: d", "p00034.jpg: d"]
    assert "and 2 more groups, see issues.parquet" in page.words("near_duplicate")


def test_the_table_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Audit, page: Page
) -> None:
    assert f"All {found.manifest.issues.height} rows" in page.words("all")
    monkeypatch.setattr(module, "MOST_ROWS", 10)
    shortened = Page(audit_page(many(30, "tiny"), tmp_path / "a.html"))
    assert "The first 10 of 30 rows" in shortened.words("all")
    assert shortened.words("all").count(".jpg") == 10


def test_a_kind_of_issue_that_is_not_known_is_shown(tmp_path: Path) -> None:
    page = Page(audit_page(many(2, "odd_sound"), tmp_path / "a.html"))
    assert "Odd sound 2 photos" in page.words("odd_sound")


def test_photos_without_issues(tmp_path: Path) -> None:
    page = Page(audit_page(manifest_of(photo_rows(["a", "b"])), tmp_path / "a.html", looked=True))
    assert "No issues." in page.words("summary")
    assert "perhaps no whole car" in page.words("summary")
    assert "Not looked for" not in page.words("summary")
    assert "all" not in page.sections


def test_classes_from_the_largest_to_the_smallest(tmp_path: Path) -> None:
    manifest = manifest_of(photo_rows(["b"] * 6 + ["a"] * 2 + [None]))
    manifest = replace(manifest, labels=Labels(("a", "b", "c")))
    page = Page(audit_page(manifest, tmp_path / "a.html"))
    assert "From 0 to 6 photos a class." in page.words("classes")
    assert re.search(r"b 6 6 a 2 2 c 0 0", page.words("classes"))
    heights = re.findall(r'height="([\d.]+)" class="one"><title>(\w): (\d)', page.html)
    assert "2 photos in each." in Page(
        audit_page(manifest_of(photo_rows(["a", "b"] * 2)), tmp_path / "b.html")
    ).words("classes")
    assert heights == [("120.0", "b", "6"), ("40.0", "a", "2"), ("0.0", "c", "0")]


def test_names_that_look_equal_stand_side_by_side(tmp_path: Path) -> None:
    names = ["RAV4_5세대_2019_2024", "라브4_5세대_2019_2024", "K5_2019_2024"]
    rows = photo_rows([names[0]] * 5 + [names[1]] * 2 + [names[2]])
    page = Page(audit_page(manifest_of(rows), tmp_path / "a.html"))
    assert f"{names[0]} 5 photos" in page.words("names")
    assert f"{names[1]} 2 photos" in page.words("names")
    assert names[2] not in page.words("names")
    assert len(page.sections["names"].titles) == 5


def shifted() -> Iterator[tuple[Manifest, Shift | None]]:
    labels = ["a"] * 40 + [None] * 40
    manifest = manifest_of(photo_rows(labels))
    rng = np.random.default_rng(0)
    for test_light in (120.0, 40.0):
        light = np.where(np.arange(80) < 40, 120, test_light) + rng.normal(0, 5, 80)
        table = pl.DataFrame(
            {"id": manifest.table["id"], **dict.fromkeys(MEASURES, light)}, MEASURE_COLUMNS
        )
        yield (
            manifest,
            find_shift(manifest, Measures(table), rng.normal(size=(80, 3)) + light[:, None]),
        )


def test_the_shift_is_told_with_what_helps(tmp_path: Path) -> None:
    told = [Page(audit_page(manifest, tmp_path / "a.html", shift)) for manifest, shift in shifted()]
    assert "large difference" not in told[0].words("shift")
    assert "neither darker nor brighter" in told[0].words("shift")
    words = told[1].words("shift")
    assert "Brightness large difference" in words
    assert "--recipe cars-fast --set 'augment=[" in words
    assert "kind: light" in words
    assert "area under the ROC curve of 1.000" in words
    assert len(told[1].sections["shift"].titles) == 48
    assert "too few test photos" in Page(
        audit_page(manifest_of(photo_rows(["a"])), tmp_path / "b.html")
    ).words("shift")


def test_an_audit_is_saved_with_its_page(tmp_path: Path, found: Audit) -> None:
    lines = save_audit(found, tmp_path)
    assert [line.split(":")[0] for line in lines][0::2] == [
        "tables",
        "page, to be opened in a browser",
    ]
    assert "tiny" in Page(tmp_path / "audit.html").sections
    assert Manifest.load(tmp_path).fingerprint == found.manifest.fingerprint


def test_a_run_gives_no_way_to_an_audit(tmp_path: Path, found: Audit) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="holds a run, which an audit would overwrite"):
        save_audit(found, tmp_path)
    assert not (tmp_path / "manifest.parquet").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    put(tmp_path / "file", b"")
    with pytest.raises(ResourceError, match="Could not write"):
        audit_page(many(1, "tiny"), tmp_path / "file/audit.html")
