"""Training on a GPU: the loop against the same step on resident data, and timm's own script.

    python -m benchmarks.gpu_speed DATA [--recipe convnext] [--backbone convnext_base]
        [--weights none] [--batch 64] [--compile] [--timm-train TRAIN.PY] [--any-device]

Prints, measured in one run:
1. photos a second of the loop at steady state (reading, augmenting and mixing included) and of the
   same step on one batch that stays on the GPU, their ratio (target: at least 0.95), and the share
   of the time that the loop waits for photos;
2. with --timm-train, photos a second that timm's training script reports for its last epoch of
   two, with the same model, size, batch, bf16 and channels_last. The script is not in timm's
   wheel: take `train.py` from the sources of the installed version, which is printed. It reads
   JPEGs with worker processes (--workers), as its users do; DATA/train must be class folders.

Without a GPU nothing is measured and that is said, unless --any-device asks for a trial on the CPU.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch

from benchmarks.training_speed import make_fit, whole_against_bare
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.training.world import pick_device


def recipe_of(asked: argparse.Namespace) -> Recipe:
    """The recipe, on the backbone that was asked for."""
    changes = [f"model.weights={asked.weights}", f"train.batch_size={asked.batch}"]
    if asked.backbone:
        changes.append(f"model.backbone={asked.backbone}")
    if asked.compile:
        changes.append("train.compile=true")
    return load_recipe(asked.recipe, [*changes, *asked.set])


def timms_rate(text: str) -> float:
    """Photos a second as timm's script says at the end: its mean over the last epoch."""
    found = re.findall(r"\(\s*[\d.]+s,\s*([\d.]+)/s\)", text)
    if not found:
        raise SystemExit(f"timm's script told no pace. It ended with:\n{text[-2000:]}")
    return float(found[-1])


def timms_own(asked: argparse.Namespace, recipe: Recipe, out: Path) -> float:
    """Run timm's training script."""
    size = str(recipe.data.size_px)
    command = [sys.executable, str(asked.timm_train), "--data-dir", str(asked.data)]
    command += ["--train-split", "train", "--val-split", "train", "--model", recipe.model.backbone]
    command += ["--img-size", size, "--batch-size", str(asked.batch), "--epochs", "2"]
    command += ["--num-classes", str(len(list((asked.data / "train").iterdir())))]
    command += ["--channels-last", "--workers", str(asked.workers), "--opt", "adamw"]
    command += ["--amp", "--amp-dtype", "bfloat16", "--val-interval", "100", "--output", str(out)]
    if asked.compile:
        command += ["--torchcompile", "inductor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return timms_rate(done.stdout + done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="convnext")
    parser.add_argument("--backbone")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--set", nargs="+", default=[], help="More changes to the recipe.")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--timm-train", type=Path)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--any-device", action="store_true")
    asked = parser.parse_args()
    if pick_device().type != "cuda" and not asked.any_device:
        raise SystemExit("There is no GPU here, so nothing was measured.")
    recipe = recipe_of(asked)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU: no GPU here"
    print(f"{name}; torch {torch.__version__}, timm {timm.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        fit = make_fit(asked.data, recipe, Path(folder))
        print(f"{recipe.model.backbone}, {fit.precision}, batch {fit.batches.rows}")
        for size_px in dict.fromkeys(
            [recipe.data.size_px, *(step.size_px for step in recipe.data.grow)]
        ):
            whole_against_bare(fit, size_px, asked.rounds, asked.steps)
        if asked.timm_train is not None:
            rate = timms_own(asked, recipe, Path(folder))
            print(f"timm's train.py: {rate:.1f} photos/s at {recipe.data.size_px} px")


if __name__ == "__main__":
    main()
