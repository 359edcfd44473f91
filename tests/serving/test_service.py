"""What the service answers: the photos, the page, the numbers; a real process is asked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chajong.bundle import Bundle
from chajong.serving.engine import Engine
from tests.serving.running import Reply, Running, form, running, value

VERDICT = {
    "level", "score", "abstained", "reason", "strangeness", "exact", "make", "make_ko", "model",
    "generation", "year_from", "year_to", "levels", "top",
}  # fmt: skip


def top_of(answer: dict[str, object]) -> list[tuple[str, float]]:
    top = answer["top"]
    assert isinstance(top, list)
    return [(guess["name"], round(guess["prob"], 5)) for guess in top]


def expected(bundle: Bundle, photo: bytes) -> list[tuple[str, float]]:
    engine = Engine.open(bundle)
    [probs] = np.exp(engine.answer([engine.prepare(photo)]))
    order = np.argsort(-probs)[:5]
    return [(bundle.labels.names[place], round(float(probs[place]), 5)) for place in order]


def test_a_photo_raw_or_as_multipart(service: Running, exported: Bundle, some: list[bytes]) -> None:
    raw = service.ask("/v1/predict", some[0])
    assert raw.status == 200
    assert set(raw.json) == VERDICT | {"photo", "bundle", "nearest"}
    assert raw.json["photo"] == {"format": "jpeg", "width_px": 40, "height_px": 40}
    assert raw.json["bundle"] == exported.fingerprint
    assert top_of(raw.json) == expected(exported, some[0])
    assert service.ask("/v1/predict", *form(("photo", "차.jpg", some[0]))).json == raw.json


def test_each_photo_of_a_batch_has_its_own_status(
    service: Running, exported: Bundle, some: list[bytes]
) -> None:
    cut = some[1][: len(some[1]) // 2]
    files = [("a.jpg", some[0]), ("b.txt", b"no photo at all, but text"), ("차 c.jpg", cut)]
    files.append(("d.jpg", some[2]))
    reply = service.ask("/v1/batch", *form(*(("photos", *file) for file in files)))
    assert reply.status == 200
    assert reply.json["bundle"] == exported.fingerprint
    answers = reply.json["answers"]
    assert [one["name"] for one in answers] == [name for name, _ in files]
    assert [one["status"] for one in answers] == [200, 415, 422, 200]
    for one, (_, photo) in zip(answers, files, strict=True):
        if one["status"] == 200:
            assert top_of(one["answer"]) == expected(exported, photo)
            assert one["problem"] is None
        else:
            assert one["answer"] is None
            assert one["problem"]["status"] == one["status"]
    assert "truncated JPEG" in answers[2]["problem"]["detail"]


def test_what_answers(service: Running, exported: Bundle) -> None:
    told = service.ask("/v1/model").json
    assert told["bundle"] == exported.fingerprint
    assert told["classes"] == list(exported.labels.names)
    assert told["num_classes"] == len(exported.labels.names)
    assert told["proof"]["top1_agreement"] >= 0.999
    assert told["card"] == exported.card()
    assert told["card"]["stated_risk"]
    assert "risk" in told
    assert told["refused"] is None
    assert service.ask("/healthz").json == {"status": "ok"}
    assert service.ask("/readyz").json == {"status": "ready"}


def test_metrics_count(service: Running, exported: Bundle, some: list[bytes]) -> None:
    names = (
        'chajong_requests_total{route="/v1/predict",status="200"}',
        'chajong_requests_total{route="/v1/predict",status="415"}',
        'chajong_photos_total{outcome="answered"}',
        'chajong_photos_total{outcome="unknown-format"}',
        "chajong_decode_seconds_count",
        "chajong_queue_seconds_count",
        "chajong_batch_photos_sum",
    )
    before = [value(service, name) for name in names]
    service.ask("/v1/predict", some[0])
    service.ask("/v1/predict", b"no photo")
    after = [value(service, name) for name in names]
    assert np.subtract(after, before).tolist() == [1] * len(names)
    assert value(service, "chajong_queue_photos") == 0
    assert value(service, "chajong_inference_seconds_count") > 0
    assert f'fingerprint="{exported.fingerprint}"' in service.ask("/metrics").body.decode()
    # Anybody may invent addresses.
    service.ask("/v1/invented")
    assert b"invented" not in service.ask("/metrics").body


def test_monitors_may_ask_for_the_head_alone(service: Running) -> None:
    for path in ("/healthz", "/readyz", "/"):
        reply = service.ask(path, method="HEAD")
        assert (reply.status, reply.body) == (200, b"")


def test_openapi_has_an_answer_of_this_bundle(service: Running, exported: Bundle) -> None:
    told = service.ask("/openapi.json").json
    content = told["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]
    golden = (exported.folder / "golden" / exported.golden.photos[0]).read_bytes()
    answer = service.ask("/v1/predict", golden).json
    assert content["application/json"]["example"] == answer
    assert answer["bundle"] == exported.fingerprint
    assert answer["strangeness"] is not None
    content = told["paths"]["/v1/batch"]["post"]["responses"]["200"]["content"]
    several = content["application/json"]["example"]
    cut = ("photos", "half.jpg", golden[: len(golden) // 2])
    asked = service.ask("/v1/batch", *form(("photos", "car.jpg", golden), cut)).json
    assert several == asked
    content = told["paths"]["/v1/model"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["example"] == service.ask("/v1/model").json
    assert "ValidationError" not in json.dumps(told)


def test_only_this_machine_can_ask_unless_told_otherwise(service: Running) -> None:
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        if (path := Path("/proc/net") / table).exists()
        for line in path.read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{service.port:04X}") and line.split()[3] == "0A"
    ]
    assert listening == [f"0100007F:{service.port:04X}"]


def test_photos_leave_no_trace(
    exported: Bundle, some: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "tmp", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    names = ("12가3456.jpg", "../../12가3456.jpg", str(exported.folder / "labels.json"))
    with running(exported.folder, tmp_path / "log") as service:
        for name in names:
            for photo in (some[0], some[0][: len(some[0]) // 2], b"12\xea\xb0\x803456"):
                service.ask("/v1/predict", *form(("photo", name, photo)))
                service.ask("/v1/batch", *form(("photos", name, photo), ("photos", name, photo)))
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "3456" not in log
    assert "labels.json" not in log
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "log"]


def problem(reply: Reply, status: int, kind: str) -> None:
    assert (reply.status, reply.kind) == (status, kind)


def test_mistakes_are_problems(service: Running, some: list[bytes]) -> None:
    problem(service.ask("/v1/predict", b""), 415, "unknown-format")
    problem(service.ask("/v1/predict", *form(("x", "a", some[0]))), 400, "bad-request")
    problem(service.ask("/v1/predict", *form()), 400, "bad-request")
    two = form(("photo", "a", some[0]), ("photo", "b", some[0]))
    problem(service.ask("/v1/predict", *two), 413, "too-many-photos")
    body, headers = form(("photo", "a", some[0]))
    problem(service.ask("/v1/predict", body[:-30], headers), 400, "bad-request")
    problem(service.ask("/v1/batch", some[0]), 415, "wrong-media-type")
    packed = {"Content-Encoding": "gzip"}
    problem(service.ask("/v1/predict", some[0], packed), 415, "wrong-media-type")
    problem(service.ask("/v1/predict?nearest=6", some[0]), 422, "wrong-value")
    problem(service.ask("/v1/heat?class=no", some[0]), 422, "no-such-class")
    problem(service.ask("/nothing"), 404, "not-found")
    problem(service.ask("/../../etc/passwd"), 404, "not-found")
    wrong = service.ask("/v1/predict")
    problem(wrong, 405, "wrong-method")
    assert wrong.headers["allow"] == "POST"


def test_browsers_are_told_what_is_allowed(service: Running) -> None:
    headers = service.ask("/v1/model", None, {"Origin": "https://example.com"}).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_the_service_needs_no_torch() -> None:
    code = """
import sys
for name in ("torch", "torchvision", "timm", "safetensors"):
    sys.modules[name] = None
import chajong.serving.service.server, chajong.cli_serve
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_bundle_no_service(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chajong", "serve", str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 2
    assert made.stderr.startswith("chajong: There is no bundle in")
