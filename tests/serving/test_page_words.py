"""What the page says of an answer, in both languages."""

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from chajong.serving.verdict import Guess, Said, Verdict
from tests.serving.browsing import page_of
from tests.serving.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
