"""The commands that make bundles and ask them, or runs and blends, about photos."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.cli_options import CatalogueOption, NearestOption, PrecisionOption, RuntimeOption
from chajong.wording import command


def export(
    source: Annotated[Path, typer.Argument(help="The folder of a run or a blend.")],
    out: Annotated[
        Path | None, typer.Option(help="The bundle's folder; SOURCE.bundle if not given.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Photos to prove it on; its own if not given.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A CSV with the columns ID and label of --photos.")
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(help="Try 8-bit graphs too: faster, left out where they lose too much."),
    ] = True,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails", help="Put small pictures of training photos in, to show the nearest."
        ),
    ] = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Export to a folder that answers without torch, once it is proven to answer alike."""
    from chajong.api_answers import export as make_bundle

    folder = out or source.resolve().with_name(f"{source.resolve().name}.bundle")
    bundle = make_bundle(
        source,
        folder,
        photos=photos,
        labels=labels,
        int8=int8,
        thumbnails=thumbnails,
        catalogue=catalogue,
    )
    for proof in bundle.facts.proofs:
        print(proof.line())
    print(f"{folder}; next: {command('predict', folder, 'PHOTOS')}")


def add_class(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle; it is left as it is.")],
    name: Annotated[str, typer.Argument(help="The new class.")],
    photos: Annotated[
        str | None, typer.Argument(help="At least five photos of it: a folder, a table, a zip.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The new bundle's folder; BUNDLE-more or BUNDLE-less if not given."),
    ] = None,
    by: Annotated[str, typer.Option(help="Who adds it, for the record.")] = "",
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the class out again; it needs no photos.")
    ] = False,
) -> None:
    """Add a class to a bundle from a few photos, without training, or take it out again."""
    from chajong.api_answers import add_class as make_bundle
    from chajong.api_answers import remove_class
    from chajong.errors import DataError

    if undo == (photos is not None):
        raise DataError("Give photos of the new class, or --undo to take it out; not both.")
    if undo and by:
        raise DataError("--by says who adds a class. With --undo leave it out.")
    folder = out or bundle.resolve().with_name(
        f"{bundle.resolve().name}-{'less' if undo else 'more'}"
    )
    if photos is None:
        made = remove_class(bundle, name, folder)
        print(f"{folder}: {len(made.labels.names):,} classes; {name} is taken out")
        return
    made = make_bundle(bundle, name, photos, folder, by=by)
    added = made.facts.added[-1]
    print(
        f"{folder}: {len(made.labels.names):,} classes; {added.name} from {len(added.photos)} "
        f"photos costs the learned classes {added.old_log_loss_gap:.4f} nats a photo"
    )
    if len(made.facts.added) > 1:
        together = sum(each.old_log_loss_gap for each in made.facts.added)
        print(
            f"all {len(made.facts.added)} added classes together cost at most {together:.4f}; "
            "training with them costs nothing"
        )
    print(f"to take it out: {command('add-class', folder, added.name, '--undo')}")


def heat(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.")],
    photos: Annotated[str, typer.Argument(help="As for predict.")],
    out: Annotated[Path, typer.Option(help="The folder of the maps.")] = Path("heat"),
    name: Annotated[
        str | None, typer.Option("--class", help="The class; each photo's likeliest if not given.")
    ] = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Draw where in photos a bundle sees a class: a PNG for each."""
    from chajong.api_answers import heat as draw

    table = draw(bundle, photos, out, name=name, runtime=runtime, precision=precision)
    num_drawn = table["map"].count()
    print(f"{out}: {num_drawn:,} maps, {len(table) - num_drawn:,} photos without; see maps.csv")


def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a run, a blend or a bundle.")],
    photos: Annotated[
        str,
        typer.Argument(
            help="A folder, a table of paths, or a photo; for a bundle also a zip, a quoted "
            "pattern such as 'photos/**/*.jpg', or - for paths on standard input."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file to write: .parquet, .csv or .jsonl.")
    ] = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    risk: Annotated[
        float | None,
        typer.Option(
            help="The share of a bundle's answers that may be wrong, above 0 and below 1; 0.02 if "
            "not given. What would be wrong too often is said less exactly, or not at all."
        ),
    ] = None,
    nearest: NearestOption = None,
) -> None:
    """Predict photos: a row and a truthful status for each."""
    from chajong.bundle import Bundle
    from chajong.errors import BundleError

    if Bundle.is_in(run):
        from chajong.photos.sources import open_source
        from chajong.serving.engine import Engine
        from chajong.serving.predict import predict as answer

        path = out or Path("predictions.parquet")
        engine = Engine.open(Bundle.load(run), runtime, precision)
        for line in answer(engine, open_source(photos), path, risk, nearest or 0).lines():
            print(line)
        return
    only = {
        "--risk": risk,
        "--runtime": runtime,
        "--precision": precision,
        "--nearest": nearest,
    }
    for name in [name for name, value in only.items() if value is not None]:
        raise BundleError(
            f"{name} needs a bundle, and there is none in {run}. Make one with: chajong export "
            "RUN|BLEND"
        )
    from chajong.api_answers import predict as look
    from chajong.serving.answers import check_out, save_predictions

    path = out or run / "predictions.parquet"
    check_out(path)
    predictions = look(run, photos)
    save_predictions(predictions, path)
    num_bad = len(predictions.ids) - int(predictions.ok.sum())
    print(f"{path}: {len(predictions.ids):,} rows, {num_bad:,} without a prediction")
