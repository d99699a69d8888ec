"""Trains a network for CIFAR-10 from nothing, for the tools that need a teacher: `python -m tools.train_cifar FACTORY`.

Labels alone, stochastic gradient descent with one cycle of the learning rate, images shifted and mirrored. Writes a
state dict and says what it gets right of the test file.
"""

from __future__ import annotations

import argparse
import importlib
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from deploycompress.train.accuracy import accuracy
from deploycompress.train.batches import default_augmentation
from deploycompress.train.compute import Compute, training_compute
from deploycompress.train.data import load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.generator import make_generator
from deploycompress.train.normalize import Normalization, make_normalization, normalize
from deploycompress.train.schedule import OneCycle
from deploycompress.train.views import view_batches

SHARED = Path(__file__).resolve().parents[2] / "shared"
BATCH, PEAK, WARM_UP, MOMENTUM, DECAY = 128, 0.1, 0.2, 0.9, 5e-4


def main() -> int:
    """Train, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("factory", help="package.module:function")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cifar10", help="folder of the .npz files")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fp32", action="store_true", help="faster for MobileNets, whose gradients are slow in bfloat16"
    )
    parser.add_argument("--out", type=Path, required=True, help="file for the state dict")
    options = parser.parse_args()
    module, _, name = options.factory.partition(":")
    torch.manual_seed(options.seed)
    network = getattr(importlib.import_module(module), name)()
    training = load_data(str(options.data / "train-*.npz"), input_shape=(3, 32, 32), num_classes=10)
    normalization = make_normalization("imagenet", training)
    compute = replace(training_compute(), bf16=False) if options.fp32 else training_compute()
    train(network, training, normalization, compute=compute, epochs=options.epochs, seed=options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), options.out)
    test = load_data(str(options.data / "test.npz"), input_shape=(3, 32, 32), num_classes=10)
    print(f"{options.out}: {accuracy(network, test, normalization, compute=training_compute()):.2%} of the test file")
    return 0


def train(
    network: nn.Module, data: Dataset, normalization: Normalization, *, compute: Compute, epochs: int, seed: int
) -> None:
    """Train a network in place."""
    network.to(memory_format=compute.memory_format).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=PEAK, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True)
    steps = epochs * len(data) // BATCH
    cycle = OneCycle(peak=PEAK, warm_up=WARM_UP, end_step=steps)
    batches = view_batches(
        data, batch_size=BATCH, generator=make_generator(seed), augmentation=default_augmentation(data),
        views=epochs + 1,
    )  # fmt: skip
    started = time.monotonic()
    for step, batch in zip(range(steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = cycle.rate(step)
        with compute.autocast():
            logits = network(normalize(batch.pixels, normalization, memory_format=compute.memory_format))
        if batch.labels is None:
            raise ValueError(f"{data.source} has no labels to train by")
        loss = F.cross_entropy(logits.float(), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % 100 == 0:
            speed = (step + 1) * BATCH / (time.monotonic() - started)
            print(f"step {step + 1} of {steps}, loss {loss.item():.3f}, {speed:.0f} images/s", flush=True)
    network.eval()


if __name__ == "__main__":
    raise SystemExit(main())
