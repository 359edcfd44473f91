"""What answers look like: their fields are those of a verdict, and what OpenAPI says of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from chajong.photos.header import read_header
from chajong.serving.service.answering import Abilities, Answerer, Near
from chajong.serving.service.problems import MEDIA_TYPE, Problem, unreadable
from chajong.serving.verdict import Verdict


@dataclass(frozen=True)
class PhotoFacts:
    """The photo as it came.

    Attributes:
        format: By its content.
        width_px: As it is stored, before it is turned upright.
        height_px: As it is stored.
    """

    format: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Answer(Verdict):
    """What is said of one photo, and by whom.

    Attributes:
        photo: The photo as it came.
        bundle: Fingerprint of the bundle that answered.
        nearest: The nearest training photos, if they were asked for and found in time.
    """

    photo: PhotoFacts
    bundle: str
    nearest: tuple[Near, ...] | None


@dataclass(frozen=True)
class Part:
    """What became of one photo of several.

    Attributes:
        name: What the sender calls it.
        status: The HTTP status that it would have got alone.
        answer: What is said of it.
        problem: Or why nothing is.
    """

    name: str
    status: int
    answer: Answer | None
    problem: Problem | None


@dataclass(frozen=True)
class Parts:
    """What became of several photos.

    Attributes:
        bundle: Fingerprint of the bundle that answered.
        answers: One for each photo, in their order.
    """

    bundle: str
    answers: tuple[Part, ...]


@dataclass(frozen=True)
class Refused:
    """A new bundle that was not taken.

    Attributes:
        when: ISO 8601.
        detail: Why.
    """

    when: str
    detail: str


@dataclass(frozen=True)
class Model:
    """What answers.

    Attributes:
        bundle: Its fingerprint.
        source: What it was made of.
        created: When, ISO 8601.
        made_by: By which version.
        num_classes: How many classes it knows.
        classes: Their names.
        runtime: What computes.
        precision: In which number format.
        risk: The share of wrong answers that is accepted; none where nothing is known of it, and
            the exact class is always said.
        proof: How it compares with the trained models.
        card: What is known of its answers.
        limits: What is refused.
        can: What else can be asked.
        loaded: Since when it answers, ISO 8601.
        refused: The last new bundle, if it was not taken.
    """

    bundle: str
    source: str
    created: str
    made_by: str
    num_classes: int
    classes: tuple[str, ...]
    runtime: str
    precision: str
    risk: float | None
    proof: dict[str, Any]
    card: dict[str, Any]
    limits: dict[str, Any]
    can: Abilities
    loaded: str
    refused: Refused | None


@dataclass(frozen=True)
class State:
    """How the service is.

    Attributes:
        status: `ok` or `ready`.
    """

    status: str


ANSWER, PARTS = TypeAdapter(Answer), TypeAdapter(Parts)

LOCKED = ("/v1/", "/metrics")
"""What needs a key, where there are keys."""

_PHOTO = {"type": "string", "format": "binary", "description": "The file of a JPEG, PNG or WebP."}
_JSON = "application/json"
_RAW = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def one_photo() -> dict[str, Any]:
    """Describe the body of one photo.

    Returns:
        What OpenAPI calls extra.
    """
    content: dict[str, Any] = {kind: {"schema": dict(_PHOTO)} for kind in _RAW}
    content["multipart/form-data"] = {"schema": _form("photo", dict(_PHOTO))}
    return {"requestBody": {"required": True, "content": content}}


def several_photos(max_photos: int) -> dict[str, Any]:
    """Describe the body of several photos.

    Args:
        max_photos: At most how many.

    Returns:
        What OpenAPI calls extra.
    """
    photos = {"type": "array", "items": dict(_PHOTO), "minItems": 1, "maxItems": max_photos}
    content = {"multipart/form-data": {"schema": _form("photos", photos)}}
    return {"requestBody": {"required": True, "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe what is answered when something is wrong.

    Args:
        *statuses: The HTTP statuses.

    Returns:
        What OpenAPI calls responses.
    """
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "A problem.", "content": content} for status in statuses}


def describe(
    plain: dict[str, Any], answer: dict[str, Any], facts: dict[str, Any], keys: Sequence[bytes]
) -> dict[str, Any]:
    """Complete what OpenAPI says: problems, the key, and examples of this very bundle.

    Args:
        plain: What the framework says of the routes; it is changed.
        answer: The answer to one of its photos.
        facts: What is told of it.
        keys: Whether any is needed.

    Returns:
        The same.
    """
    parts, paths = plain["components"], plain["paths"]
    parts["schemas"] |= {"Problem": TypeAdapter(Problem).json_schema()}
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's, never sent
        parts["schemas"].pop(name, None)
    if keys:
        parts["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path in paths:
            if path.startswith(LOCKED):
                for operation in paths[path].values():
                    operation["security"] = [{"key": []}, {"header": []}]
    problem = asdict(unreadable("truncated JPEG").problem)
    several = {
        "bundle": answer["bundle"],
        "answers": [
            {"name": "car.jpg", "status": 200, "answer": answer, "problem": None},
            {"name": "half.jpg", "status": 422, "answer": None, "problem": problem},
        ],
    }
    for path, method, status, kind, said in (
        ("/v1/predict", "post", "200", _JSON, answer),
        ("/v1/predict", "post", "422", MEDIA_TYPE, problem),
        ("/v1/batch", "post", "200", _JSON, several),
        ("/v1/model", "get", "200", _JSON, facts),
        ("/healthz", "get", "200", _JSON, {"status": "ok"}),
        ("/readyz", "get", "200", _JSON, {"status": "ready"}),
    ):
        # Who has no key may read this, and is told nothing of the bundle.
        if keys and path.startswith(LOCKED) and said is not problem:
            continue
        found = paths[path][method]["responses"][status]["content"]
        found[kind] = {**found[kind], "example": said}
    return plain


def example(answerer: Answerer) -> dict[str, Any]:
    """Answer a golden photo of a bundle.

    Args:
        answerer: Who answers.

    Returns:
        What JSON can hold.
    """
    bundle = answerer.engine.bundle
    data = (bundle.folder / "golden" / bundle.golden.photos[0]).read_bytes()
    [seen] = answerer.see([answerer.engine.prepare(data)])
    header = read_header(data)
    facts = PhotoFacts(header.format, header.width_px, header.height_px)
    answer = Answer(**vars(seen.verdict), photo=facts, bundle=bundle.fingerprint, nearest=None)
    made: dict[str, Any] = ANSWER.dump_python(answer, mode="json")
    return made


def _form(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field: schema},
        "required": [field],
        "additionalProperties": False,
    }
