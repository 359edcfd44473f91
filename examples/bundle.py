"""Export a blend to a folder that answers without torch, and ask it."""

from pathlib import Path

from PIL import Image

import chajong


def more_photos(folder: Path, num: int = 504) -> Path:
    """A proof needs 500 photos. The demo has few, so each is shown in several sizes."""
    folder.mkdir(exist_ok=True)
    known = sorted(Path("photos/train").glob("*/*.jpg"))
    for number in range(num):
        with Image.open(known[number % len(known)]) as photo:
            side = 64 + number // len(known)
            photo.resize((side + 16, side)).save(folder / f"{number:03}.jpg")
    return folder


def main() -> None:
    # With 500 photos of your own or more, leave `photos` out.
    bundle = chajong.export("blend", "cars.bundle", photos=more_photos(Path("proof")))
    for proof in bundle.facts.proofs:
        print(proof.line())
    # This needs the extra `serve` only, on a machine without torch too (docs/serving.md).
    answers = chajong.verdicts(bundle, "photos", risk=0.1)
    print(answers["id", "status", "level", "make", "model", "exact", "score"].head())


if __name__ == "__main__":
    main()
