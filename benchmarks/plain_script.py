"""Sixty lines as everybody writes them, to compare with: timm, torchvision transforms, AdamW.

python -m benchmarks.plain_script DATA OUT.npz --weights FILE --epochs N [--seed 0]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2 as T  # noqa: N812 as everybody does

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", type=Path)
parser.add_argument("out")
parser.add_argument("--weights", default="none")
parser.add_argument("--model", default="mobilenetv2_100")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--size-px", type=int, default=160)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
torch.manual_seed(asked.seed)
device, size = "cuda" if torch.cuda.is_available() else "cpu", (asked.size_px, asked.size_px)
numbers = [T.ToImage(), T.ToDtype(torch.float32, scale=True)]
norm = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
augment = [T.RandomResizedCrop(size, (0.5, 1.0)), T.RandomHorizontalFlip(), T.ColorJitter(0.2, 0.2)]
train = ImageFolder(asked.data / "train", T.Compose([*augment, *numbers, norm]))
loader = DataLoader(train, 64, True, drop_last=True, num_workers=2, multiprocessing_context="fork")
model = timm.create_model(asked.model, num_classes=len(train.classes))
if asked.weights != "none":
    state = {k: v for k, v in load_file(asked.weights).items() if "classifier" not in k}
    model.load_state_dict(state, strict=False)
model = model.to(device, memory_format=torch.channels_last)
optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, asked.epochs * len(loader))
begin = time.perf_counter()
for epoch in range(asked.epochs):
    for photos, classes in loader:
        loss = functional.cross_entropy(model.train()(photos.to(device)), classes.to(device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    seconds = time.perf_counter() - begin
    print(f"epoch {epoch + 1}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
prepare = T.Compose([T.Resize(size), *numbers, norm])
paths, probs = sorted((asked.data / "test").glob("*.jpg")), []
with torch.inference_mode():
    for path in paths:
        x = prepare(Image.open(path).convert("RGB"))[None].to(device)
        probs.append(model.eval()(x).softmax(1)[0].cpu().numpy())
ids = [path.stem for path in paths]
np.savez(asked.out, probs=np.stack(probs), classes=train.classes, ids=ids, seconds=seconds)
