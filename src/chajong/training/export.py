"""From a run or a blend to a bundle that was proven to answer alike.

Shapes: n photos, k networks, v views, c classes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from chajong.blending.subject import Subject
from chajong.bundle import FORMAT, RISKS, Bundle
from chajong.bundle_facts import Facts, Golden, Proof
from chajong.bundle_place import put_in_place, refuse_to_lose
from chajong.choices import Precision, Runtime
from chajong.depths import Depths
from chajong.environment import num_cores, package_version
from chajong.errors import BundleError, ChajongError, RunError
from chajong.files import make_folder, write_bytes
from chajong.gallery import Gallery
from chajong.graph import Graph
from chajong.photos.drawing.album import draw_few
from chajong.photos.layout import PhotoRef
from chajong.photos.stream import good_pixels, read_batches
from chajong.pooling import Floats
from chajong.progress import Interrupted, Progress, say
from chajong.record import now
from chajong.risk import Risks
from chajong.serving.card import card_text, make_card
from chajong.serving.engine import open_unchecked, photos_per_second
from chajong.serving.proof import MIN_PHOTOS, UNJUDGED, Answers, Truth, failures, prove
from chajong.serving.runtimes import has
from chajong.training.allocator import keep_large_blocks
from chajong.training.gallery import make_gallery
from chajong.training.graph import write_graph
from chajong.training.model import evaluation_preprocess
from chajong.training.predict import open_eye
from chajong.training.quantise import quantise
from chajong.training.samples import Samples, check_enough, own_samples, samples_of
from chajong.unknown import Unknown
from chajong.wording import first_line

_NUM_GOLDEN = 8
_BATCH = 32
_CPU = torch.device("cpu")
T = TypeVar("T")
Failed = tuple[Proof, list[str]]
_WAYS: tuple[tuple[Runtime, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
)


@dataclass(frozen=True)
class Kind:
    """What is to be in a bundle.

    Attributes:
        int8: 8-bit graphs.
        thumbnails: Small pictures of training photos.
    """

    int8: bool
    thumbnails: bool


def export(
    folder: Path,
    out: Path,
    photos: Path | None = None,
    labels: Path | None = None,
    *,
    int8: bool = True,
    thumbnails: bool = False,
    catalogue: Path | None = None,
) -> Bundle:
    """Export a run or a blend, and prove that the bundle answers as it does.

    Args:
        folder: The folder of a run or a blend, all models trained.
        out: The bundle's folder; one that is there is replaced.
        photos: Photos to prove it on; those that it was trained on, if none.
        labels: A CSV with the columns ID and label of those photos.
        int8: Whether to try 8-bit graphs too: most often the fastest.
        thumbnails: Whether to put small pictures of training photos into the bundle.
        catalogue: A CSV that says which car each class is; none for the known one.

    Returns:
        The bundle.

    Raises:
        BundleError: If there are too few photos, or ONNX Runtime in fp32 does not answer as torch
            does: nothing is written then.
    """  # noqa: DOC502 raised by what it calls
    subject = _open(folder, catalogue)
    refuse_to_lose(out, subject.labels.names)  # now rather than after the work
    if labels is not None and photos is None:
        raise BundleError("--labels are of the photos that --photos gives. Give both, or neither.")
    samples = (
        own_samples(subject.runs) if photos is None else samples_of(photos, labels, subject.labels)
    )
    check_enough(len(samples.refs), "are there")
    kind = Kind(int8, thumbnails)
    return put_in_place(out, lambda draft: _make(subject, samples, draft, kind))


def _open(folder: Path, catalogue: Path | None) -> Subject:
    subject = Subject.open(folder, catalogue)
    _ = subject.catalogue  # refused now rather than after the work
    for run in subject.runs:
        if len(run.done) < len(run.models):
            raise RunError(
                f"{folder} is not done: {run.status()}. Train the rest with the same command, or "
                "export a run that is done."
            )
    return subject


def _make(subject: Subject, samples: Samples, draft: Path, kind: Kind) -> None:
    keep_large_blocks()
    graphs = _write_graphs(subject, draft)
    theirs, samples = _ask_torch(subject, samples)
    ways = [
        Proof(*way, num_photos=0, top1_agreement=0.0, max_prob_gap=1.0)
        for way in _WAYS
        if has(*way) and (kind.int8 or way[1] != "int8")
    ]
    failed: list[Failed] = []
    if (samples.classes >= 0).sum() < MIN_PHOTOS:
        failed = [(way, [UNJUDGED]) for way in ways if way.precision != "fp32"]
    elif kind.int8:
        quantised, why = _tried(partial(_quantised, graphs, samples, draft), "its 8-bit form")
        graphs = quantised or graphs
        failed = [(way, why) for way in ways if way.precision == "int8" and why]
    for way, why in failed:
        _refuse(way, why)
        ways.remove(way)
    made_by = f"chajong {package_version('chajong')}"
    source = subject.folder.resolve().name  # not that of a link, which will lead elsewhere
    facts = Facts(FORMAT, made_by, now(), source, subject.joined(), graphs, tuple(ways))
    photos = _write_golden(draft)
    bundle = _bundle(draft, facts, subject, Golden((), {}))
    bundle.save_golden_squares(
        [tuple(way(data) for way in facts.preprocesses) for data in photos.values()]
    )
    good, refused, golden = _prove_ways(bundle, samples, theirs, photos)
    failed += refused
    if not any(proof.precision == "int8" for proof in good):
        graphs = _without_int8(graphs, draft)
    good.sort(key=lambda proof: -(proof.photos_per_s or 0.0))
    risks = _risks(subject)
    facts = replace(
        facts, graphs=graphs, proofs=tuple(good), risks=None if risks is None else RISKS
    )
    gallery = _write_gallery(subject, graphs[0], draft, kind)
    made = replace(_bundle(draft, facts, subject, Golden(tuple(photos), golden)), risks=risks)
    card = make_card(
        facts,
        subject.labels,
        _licences(subject),
        subject.score,
        subject.table,
        failed,
        risks,
        None if gallery is None else Unknown.of(gallery, subject.labels),
    )
    made.save(card, card_text(card))


def _prove_ways(
    bundle: Bundle, samples: Samples, theirs: Answers, photos: dict[str, bytes]
) -> tuple[list[Proof], list[Failed], dict[str, list[list[float]]]]:
    # Of the bundle's ways those that are good enough; the others, and why; golden answers.
    blend, truth = bundle.facts.blend, _truth(samples)
    good: list[Proof] = []
    failed: list[Failed] = []
    golden: dict[str, list[list[float]]] = {}
    for proof in bundle.facts.proofs:
        said, why = _tried(partial(_ask_bundle, bundle, proof, samples, photos), proof.runtime)
        found = proof
        if said is not None:
            found = prove(proof, said[0], theirs, blend, bundle.labels, truth)
            why = list(failures(found))
        if said is None or why:
            failed.append((found, why))
            _refuse(found, why)
            continue
        engine = open_unchecked(bundle, found, num_cores())
        pace = photos_per_second(engine, [engine.prepare(data) for data in photos.values()])
        good.append(replace(found, photos_per_s=pace))
        say(good[-1].line())
        golden[f"{proof.runtime} {proof.precision}"] = said[1].tolist()
    return good, failed, golden


def _tried(what: Callable[[], T], name: str) -> tuple[T | None, list[str]]:
    # What came of it, or why nothing did.
    try:
        return what(), []
    except BundleError as error:  # such as a graph that a runtime cannot compute
        return None, [str(error)]
    except (ChajongError, Interrupted):
        raise
    except Exception as error:  # runtimes fail in ways of their own
        return None, [f"{name}: {first_line(error)}"]


def _refuse(proof: Proof, why: Sequence[str]) -> None:
    said = "; ".join(why)
    if (proof.runtime, proof.precision) == ("onnxruntime", "fp32"):
        raise BundleError(
            f"The exported networks do not answer as they do in torch: {said}. No bundle is "
            "written. Please report it with the backbone's name."
        )
    say(f"{proof.runtime} {proof.precision} is left out: {said}")


def _bundle(folder: Path, facts: Facts, subject: Subject, golden: Golden) -> Bundle:
    return Bundle(folder, facts, subject.labels, subject.catalogue, golden, "")


def _risks(subject: Subject) -> Risks | None:
    # From the out-of-fold table, which went through the calibration that the bundle answers with:
    # of a run none, of a blend the nested one.
    if subject.table is None:
        return None
    depths = Depths.of(subject.catalogue, subject.labels)
    return Risks.of(subject.table, subject.labels, depths, subject.manifest.groups())


def _write_graphs(subject: Subject, draft: Path) -> tuple[Graph, ...]:
    make_folder(draft / "members")
    graphs = []
    for place, (run, member) in enumerate(zip(subject.runs, subject.joined().members, strict=True)):
        way = evaluation_preprocess(run.recipe)
        files: dict[Literal["fp32", "int8"], str] = {"fp32": f"members/{place}.onnx"}
        say(f"exporting {len(run.done)} network(s) of {run.folder}")
        eyes = [open_eye(run, name, _CPU) for name in run.done]
        outputs, seen = write_graph(eyes, member.views, way.size_px, draft / files["fp32"])
        graphs.append(Graph(way.size_px, way.aspect, run.done, files, outputs, seen))
    return tuple(graphs)


def _quantised(graphs: Sequence[Graph], samples: Samples, draft: Path) -> tuple[Graph, ...]:
    made = []
    for place, graph in enumerate(graphs):
        name = f"members/{place}.int8.onnx"
        say(f"making the 8-bit form of member {place + 1} of {len(graphs)}")
        (batch,) = read_batches(samples.to_measure, graph.preprocess, len(samples.to_measure))
        quantise(draft / graph.files["fp32"], good_pixels(batch)[1], draft / name)
        made.append(replace(graph, files={**graph.files, "int8": name}))
    return tuple(made)


def _without_int8(graphs: Sequence[Graph], draft: Path) -> tuple[Graph, ...]:
    for path in (draft / "members").glob("*.int8.onnx"):
        path.unlink()
    return tuple(replace(graph, files={"fp32": graph.files["fp32"]}) for graph in graphs)


def _write_gallery(subject: Subject, graph: Graph, draft: Path, kind: Kind) -> Gallery | None:
    run = subject.runs[0]
    eye = replace(open_eye(run, run.done[0], _CPU), precision="fp32")
    gallery = make_gallery(run, eye, graph.seen, subject.table, draft, thumbnails=kind.thumbnails)
    if gallery is not None and not len(gallery.usual):
        say("every photo was learned: it is not known how unlike its photos a known car may be")
    return gallery


def _write_golden(draft: Path) -> dict[str, bytes]:
    folder = make_folder(draft / "golden")
    photos = {f"{place}.jpg": data for place, data in enumerate(draw_few(_NUM_GOLDEN))}
    for name, data in photos.items():
        write_bytes(folder / name, data)
    return photos


def _ask_torch(subject: Subject, samples: Samples) -> tuple[Answers, Samples]:
    # Photo by photo as `predict` does, in fp32; photos that cannot be read are no longer asked.
    said: list[Floats] = []
    good = np.ones(len(samples.refs), dtype=np.bool_)
    for run, member in zip(subject.runs, subject.joined().members, strict=True):
        eyes = [replace(open_eye(run, name, _CPU), precision="fp32") for name in run.done]
        parts, places = [], []
        with Progress(f"asking torch: {run.name}", len(samples.refs)) as progress:
            start = 0
            for batch in read_batches(samples.refs, evaluation_preprocess(run.recipe), _BATCH):
                readable, pixels = good_pixels(batch)
                if len(readable):
                    photos = torch.from_numpy(pixels)
                    parts.append(np.stack([eye.look(photos, member.views) for eye in eyes], axis=1))
                places += (start + readable).tolist()
                start += len(batch)
                progress.advance(len(batch))
        check_enough(len(places), "can be read")
        good = np.isin(np.arange(len(good)), places)
        said.append(np.concatenate(parts))
    return Answers(tuple(said)), samples.only(good)


def _ask_bundle(
    bundle: Bundle, candidate: Proof, samples: Samples, golden: dict[str, bytes]
) -> tuple[Answers, Floats]:
    # From files to answers, as a served photo goes; and what golden photos get.
    engine = open_unchecked(bundle, candidate, num_callers=1)
    parts: list[list[Floats]] = []
    title = f"asking {candidate.runtime} {candidate.precision}"
    with Progress(title, len(samples.refs)) as progress:
        for some in _batches(samples.refs):
            parts.append(engine.ask([engine.prepare(ref.path.read_bytes()) for ref in some]))
            progress.advance(len(some))
    answers = engine.answer([engine.prepare(data) for data in golden.values()])
    return Answers(tuple(np.concatenate(each) for each in zip(*parts, strict=True))), answers


def _batches(refs: Sequence[PhotoRef]) -> Iterator[Sequence[PhotoRef]]:
    for start in range(0, len(refs), _BATCH):
        yield refs[start : start + _BATCH]


def _truth(samples: Samples) -> Truth:
    # Held-out answers where enough photos, or all, have a network in each member that did not learn
    # them.
    known = samples.classes >= 0
    held_out = known & np.all([each >= 0 for each in samples.folds], axis=0)
    if samples.folds and (held_out.sum() >= MIN_PHOTOS or (held_out == known).all()):
        rows = np.flatnonzero(held_out)
        return Truth(rows, samples.classes[rows], tuple(each[rows] for each in samples.folds))
    rows = np.flatnonzero(known)
    return Truth(rows, samples.classes[rows], None)


def _licences(subject: Subject) -> list[dict[str, str]]:
    # Without the folders of the machine that trained them.
    return [
        {
            "backbone": run.recipe.model.backbone,
            "weights": re.sub(r"/.*/|\S*/", "", run.record.weights),
            "licence": run.record.licence,
        }
        for run in subject.runs
    ]
