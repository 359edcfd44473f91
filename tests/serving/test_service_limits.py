"""What the service refuses, before it costs anything."""

import asyncio
import math
import socket
import struct
import sys
import threading
import time
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.serve_fuzz import broken, send, sound
from chajong.bundle import Bundle
from chajong.errors import DataError
from chajong.serving.engine import Engine
from chajong.serving.service.answering import Answerer
from chajong.serving.service.batcher import Batcher
from chajong.serving.service.metrics import Metrics
from chajong.serving.service.problems import Refusal
from chajong.serving.service.questions import _told  # what it does whatever the bundle
from chajong.serving.service.settings import Limits, Settings, read_keys
from chajong.serving.service.uploads import _files  # what it does with any bytes at all
from tests.serving.running import (
    KEY,
    KNOWN,
    Reply,
    Running,
    form,
    is_problem,
    value,
)

SITE = {"Origin": "https://example.com"}


def flat_png(width_px: int, height_px: int) -> bytes:
    """A white picture of one bit a pixel: large in pixels, small in bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    row, packer = b"\0" + b"\xff" * (-(-width_px // 8)), zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height_px)) + packer.flush()
    head = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def saved(kind: str, *frames: Image.Image) -> bytes:
    out = BytesIO()
    frames[0].save(out, kind, save_all=len(frames) > 1, append_images=frames[1:])
    return out.getvalue()


def test_a_gigantic_photo_costs_nothing(patient: Running, some: list[bytes]) -> None:
    gigantic = flat_png(20_000, 20_000)
    assert len(gigantic) < 100_000
    patient.ask("/v1/predict", some[0])
    before, start = patient.peak_mib(), time.monotonic()
    is_problem(patient.ask("/v1/predict", gigantic), 422, "too-many-pixels")
    assert time.monotonic() - start < 1
    assert patient.peak_mib() - before < 20  # decoded it would be 1,200


def test_one_still_picture_of_a_known_format(patient: Running) -> None:
    colours = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    for kind in ("JPEG", "PNG", "WEBP"):
        assert patient.ask("/v1/predict", saved(kind, colours[0])).status == 200
    for kind in ("PNG", "WEBP"):
        is_problem(patient.ask("/v1/predict", saved(kind, *colours)), 422, "too-many-frames")
    for kind in ("BMP", "GIF", "TIFF"):
        is_problem(patient.ask("/v1/predict", saved(kind, colours[0])), 415, "unknown-format")
    # By content, whatever the sender says.
    named = form(("photo", "photo.jpg", saved("BMP", colours[0])))
    is_problem(patient.ask("/v1/predict", *named), 415, "unknown-format")


def test_scans_without_end(patient: Running) -> None:
    image = Image.fromarray(np.zeros((64, 64, 3), np.uint8))
    out = BytesIO()
    image.save(out, "JPEG", progressive=True)
    data = out.getvalue()
    assert patient.ask("/v1/predict", data).status == 200
    many = data[:-2] + b"\xff\xda" * 40 + data[-2:]
    is_problem(patient.ask("/v1/predict", many), 422, "too-many-pixels")


def test_bytes(tight: Running) -> None:
    too_many = bytes(600_000)
    is_problem(tight.ask("/v1/predict", too_many, KNOWN), 413, "too-many-bytes")
    body, headers = form(("photo", "a.jpg", too_many))
    is_problem(tight.ask("/v1/predict", body, headers | KNOWN), 413, "too-many-bytes")
    # Of unknown length: it is hung up on, or refused, long before the end.
    with socket.create_connection(("127.0.0.1", tight.port), timeout=30) as line:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        line.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(10):
            line.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_a_photo_of_a_batch_may_be_no_larger_than_one_alone(
    patient: Running, some: list[bytes]
) -> None:
    body, headers = form(("photos", "large", bytes(600_000)), ("photos", "small", some[0]))
    large, small = patient.ask("/v1/batch", body, headers).json["answers"]
    assert (large["status"], large["problem"]["type"]) == (
        413,
        "urn:chajong:problem:too-many-bytes",
    )
    assert small["status"] == 200


def test_what_is_late_is_not_kept(exported: Bundle) -> None:
    engine = Engine.open(exported, "onnxruntime", "fp32", num_callers=1)
    batcher = Batcher(Answerer.of(engine, None), Limits(), Metrics())
    begun, free = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        free.wait()

    batcher._decoders.submit(busy)
    begun.wait()
    data = bytes(1000)
    before = sys.getrefcount(data)
    [future] = batcher.ask([data])
    assert sys.getrefcount(data) > before
    future.cancel()  # as the deadline does
    assert sys.getrefcount(data) == before
    free.set()
    batcher.close()


def test_an_answer_does_not_wait_for_photos_like_it_beyond_its_time() -> None:
    def tell(num: int) -> str:
        time.sleep(0.3 if num else 0)
        return f"with {num}"

    def told(num: int, within_s: float) -> str:
        return asyncio.run(_told(num, time.monotonic() + within_s, tell))

    assert [told(0, 9), told(3, 9), told(3, 0.05), told(3, -1)] == [
        *("with 0", "with 3", "with 0", "with 0")
    ]


def test_photos(tight: Running, some: list[bytes]) -> None:
    body, headers = form(*(("photos", "a.jpg", some[0]) for _ in range(3)))
    is_problem(tight.ask("/v1/batch", body, headers | KNOWN), 413, "too-many-photos")


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary*=utf-8''a; boundary*0*=b",
        'multipart/form-data; boundary="' + ";" * 60 + '"',
        "multipart/form-data; boundary=b; x=" + "y" * 600,
    ],
)
def test_content_types_that_are_none(patient: Running, content_type: str) -> None:
    reply = patient.ask("/v1/predict", b"--a--", {"Content-Type": content_type})
    is_problem(reply, 400, "bad-request")


def test_a_full_queue_and_a_deadline(tight: Running) -> None:
    slow = flat_png(7_000, 7_000)  # takes a while to decode
    full = 'chajong_photos_total{outcome="queue-full"}'
    before = value(tight, full, KNOWN)
    replies: list[Reply] = []
    threads = [
        threading.Thread(target=lambda: replies.append(tight.ask("/v1/predict", slow, KNOWN)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = {reply.kind for reply in replies}
    assert kinds == {"queue-full", "deadline"}
    refused = sum(reply.kind == "queue-full" for reply in replies)
    assert value(tight, full, KNOWN) - before == refused
    assert {(reply.kind, reply.status) for reply in replies} == {
        ("queue-full", 503),
        ("deadline", 504),
    }
    assert all(r.headers["retry-after"] == "1" for r in replies if r.status == 503)


def test_only_who_has_a_key(tight: Running) -> None:
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": f"Bearer {KEY}x"},
        {"X-API-Key": "열쇠".encode().decode("latin1")},
    )
    for path in ("/v1/model", "/metrics", "/v1/predict", "/v1/nothing"):
        for headers in wrong:
            reply = tight.ask(path, None, headers)
            is_problem(reply, 401, "no-key")
            assert reply.headers["www-authenticate"] == "Bearer"
    for headers in (KNOWN, {"X-API-Key": KEY}):
        assert tight.ask("/v1/model", None, headers).status == 200
    assert tight.ask("/healthz").status == tight.ask("/readyz").status == 200
    told = tight.ask("/openapi.json").json["paths"]
    kept = told["/v1/model"]["get"]["responses"]["200"]["content"]["application/json"]
    assert "example" not in kept
    security = told["/v1/predict"]["post"]["security"]
    assert security == [{"key": []}, {"header": []}]
    assert "green" not in tight.ask("/openapi.json").body.decode()  # no class of the bundle


def test_only_who_asks_for_this_machine_where_there_is_no_key(patient: Running) -> None:
    # A page's site that changes its address to this machine's is its own site to a browser.
    for path in ("/v1/model", "/metrics", "/openapi.json", "/"):
        reply = patient.ask(path, None, {"Host": f"evil.example:{patient.port}"})
        is_problem(reply, 403, "foreign-page")
        for host in (f"localhost:{patient.port}", "127.0.0.1", "127.1.2.3", "[::1]:80"):
            assert patient.ask(path, None, {"Host": host}).status == 200


def test_only_pages_of_named_sites(tight: Running) -> None:
    allowed = tight.ask("/v1/model", None, KNOWN | SITE).headers
    assert allowed["access-control-allow-origin"] == SITE["Origin"]
    other = tight.ask("/v1/model", None, KNOWN | {"Origin": "https://other.com"}).headers
    assert "access-control-allow-origin" not in other
    for where in ("cross-site", "same-site"):
        there = KNOWN | {"Sec-Fetch-Site": where}
        is_problem(tight.ask("/v1/model", None, there), 403, "foreign-page")
        is_problem(tight.ask("/v1/model", None, there | {"Origin": "null"}), 403, "foreign-page")
        assert tight.ask("/v1/model", None, there | SITE).status == 200
    assert tight.ask("/v1/model", None, KNOWN | {"Sec-Fetch-Site": "same-origin"}).status == 200
    assert tight.ask("/", None, {"Sec-Fetch-Site": "cross-site"}).status == 200  # a link leads here
    asking = SITE | {"Access-Control-Request-Method": "POST"}
    assert tight.ask("/v1/predict", None, asking, "OPTIONS").status == 200


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# two\n{KEY}\n\n {KEY}2 \n")
    monkeypatch.setenv("CHAJONG_API_KEY", KEY + "3")
    assert len(set(read_keys(file))) == 3
    for empty in ("", " \n"):
        monkeypatch.setenv("CHAJONG_API_KEY", empty)
        with pytest.raises(DataError, match="is set and empty"):
            read_keys(None)
    monkeypatch.setenv("CHAJONG_API_KEY", KEY + "3")
    file.write_text("short\n")
    with pytest.raises(DataError, match="shorter than 16"):
        read_keys(file)
    file.write_text(f"\ufeff{KEY}\n", encoding="utf-8")
    monkeypatch.setenv("CHAJONG_API_KEY", KEY + "\n")
    assert len(set(read_keys(file))) == 1
    for key in ("열쇠" * 10, "with space " * 2):
        file.write_text(key + "\n", encoding="utf-8")
        with pytest.raises(DataError, match="do not fit into a header"):
            read_keys(file)
    file.write_text("# none\n")
    with pytest.raises(DataError, match="no key"):
        read_keys(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_keys(tmp_path / "missing")
    for origin in ("example.com", "https://", "https://Example.com", "https://example.com/"):
        with pytest.raises(DataError, match="is no origin"):
            Settings(tmp_path, origins=(origin,))
    for limit in (0, math.inf, math.nan):
        with pytest.raises(DataError, match="The limits deadline_s must be greater than 0"):
            Limits(deadline_s=limit)


def test_broken_photos(patient: Running, some: list[bytes]) -> None:
    statuses, slowest = send(patient.port, broken(sound(some, 64), 400))
    assert set(statuses) <= {200, 415, 422}
    assert statuses[422] > 100
    assert slowest < 10
    assert patient.ask("/healthz").status == 200


# Imported where they are used: each process of the tests imports this file, which takes them long.


def test_any_multipart_is_read_or_refused() -> None:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    known = [b"--b", b"\r\n", b"--", b"Content-Disposition: form-data; ", b":"]
    known += [b'name="photo"', b'filename="a', b"\0\xff", b"=?utf-8?q?", b"x"]
    known += [b"filename*=utf-8''a; filename*0*=b; ", b";" * 20]
    known += [b"filename*=undefined''x; ", b"name*=utf-7''+2AA-; ", b"filename*=idna''%ff; "]

    for encoding in ("undefined", "idna", "punycode", "utf-7", "unicode_escape", "a%00b", "utf-16"):
        for text in ("x", "%5Cud800", "%2B2AA-", "%ff"):
            head = f"\r\nContent-Disposition: form-data; name=photo; filename*={encoding}''{text}"
            with suppress(Refusal):
                [found] = _files(f"--b{head}\r\n\r\nx\r\n--b--".encode(), b"b", "photo", 2)
                found.name.encode()

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(known), max_size=12))
    def read(pieces: list[bytes]) -> None:
        with suppress(Refusal):
            assert _files(b"".join(pieces), b"b", "photo", 2)

    read()


def test_what_openapi_says_is_so(patient: Running, some: list[bytes]) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi import checks

    files = st.sampled_from([*some, some[0][:50], b"no photo"])
    for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, files)
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{patient.port}/openapi.json")
    wanted = [
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.response_headers_conformance,
    ]
    num_operations = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        num_operations += 1

        @settings(
            max_examples=8,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=wanted)

        ask()
    assert num_operations == 7
