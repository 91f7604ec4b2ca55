"""Training of a small Vision Transformer from scratch, for data sets without a published model.

The recipe is not part of the paper. It is plain (AdamW, one-cycle learning rate, flips and crops of the cached images) and good enough for
models that classlens then analyses.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from classlens.compute.device import Compute
from classlens.compute.transfer import to_device
from classlens.data.batches import load_pixels
from classlens.data.transforms import Transform
from classlens.progress import log, progress

USUAL_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 2000, 3, 40
"""Length of a training whose number of epochs is not given: as many epochs as fit these steps, within these limits."""
WARM_UP = 0.2
LARGEST_GRADIENT = 1.0
TIMED_STEPS = 3
"""Number of steps after which the log says how long the training will take."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train.

    Args:
        epochs: passes over the images; None chooses their number by the number of images.
        batch_size: images per step.
        learning_rate: peak learning rate of the cycle.
        weight_decay: weight decay of AdamW.
    """

    epochs: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float

    def length(self, images: int) -> tuple[int, int]:
        """Return the number of epochs, and the number of steps in all of them, for a number of training images."""
        per_epoch = -(-images // self.batch_size)
        epochs = self.epochs or max(FEWEST_EPOCHS, min(MOST_EPOCHS, USUAL_STEPS // per_epoch))
        return epochs, epochs * per_epoch


def load_images(manifest: pa.Table, root: Path, transform: Transform, workers: int) -> tuple[Tensor, Tensor]:
    """Return all images of a manifest as uint8 [image, 3, height, width], and their class indices [image]."""
    rows = manifest.to_pylist()
    with ThreadPoolExecutor(workers) as pool:
        pixels = list(progress(pool.map(lambda row: load_pixels(row, root, transform), rows), len(rows), "reading training images"))
    return torch.stack(pixels), torch.tensor([row["class_index"] for row in rows])


def train(model: nn.Module, pixels: Tensor, classes: Tensor, transform: Transform, recipe: Recipe, *, compute: Compute, seed: int) -> None:
    """Train a model in place; the same seed gives the same result in every run.

    Args:
        model: model with random weights.
        pixels: training images, uint8 [image, 3, height, width].
        classes: class indices, [image].
        transform: provides the normalisation.
        recipe: how to train.
        compute: device and precision.
        seed: seed of the image order and of the augmentation.
    """
    compute.place(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    epochs, steps = recipe.length(len(pixels))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=WARM_UP)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    started, done = time.perf_counter(), 0
    for epoch in progress(range(epochs), epochs, "training", unit="epochs"):
        for chosen in torch.randperm(len(pixels), generator=generator).split(recipe.batch_size):
            images = transform.normalize(to_device(augmented(pixels[chosen], generator), compute.device))
            with compute.autocast():
                loss = functional.cross_entropy(model(images), to_device(classes[chosen], compute.device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            done += 1
            if done == min(TIMED_STEPS, steps):
                minutes = (time.perf_counter() - started) / done * steps / 60
                log.info("%d epochs of %d images, %d steps in total: about %.1f minutes", epochs, len(pixels), steps, minutes)
        log.info("epoch %d: loss %.3f", epoch + 1, sum(losses) / len(losses))
        losses.clear()
    model.cpu().eval()


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return images randomly flipped and shifted by up to an eighth of their side, with mirrored edges; uint8 [image, 3, height, width]."""
    side = min(pixels.shape[2:])
    reach = side // 8
    padded = functional.pad(pixels.float(), (reach,) * 4, mode="reflect").to(torch.uint8)
    flips = torch.rand(len(pixels), generator=generator) < 0.5
    moves = torch.randint(0, 2 * reach + 1, (len(pixels), 2), generator=generator).tolist()
    height, width = pixels.shape[2:]
    result = torch.empty_like(pixels)
    for i, (down, right) in enumerate(moves):
        moved = padded[i, :, down : down + height, right : right + width]
        result[i] = moved.flip(-1) if flips[i] else moved
    return result
