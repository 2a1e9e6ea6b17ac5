"""What torchvision does with the same photographs: ImageFolder, PIL, augmentation, ToTensor, Normalize, DataLoader.

Reads the name of an augmentation per line and answers each with a JSON line: images, seconds and the processor time of this process
and its loaders. Needs PyTorch and torchvision; installs nothing.
"""

import argparse
import json
import os
import random
import sys
import time

import torch
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional

SIZE = 224
NORMALISED = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


def shorter_side_at_random(image):
    """He et al. 2015, section 3.4. Colours are left alone, which torchvision has no transform for."""
    return functional.resize(image, random.randint(256, 480))


AUGMENTATIONS = {
    "random-resized-crop": [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()],
    "paper": [shorter_side_at_random, transforms.RandomCrop(SIZE), transforms.RandomHorizontalFlip()],
}


def processor_seconds(processes) -> float:
    ticks = 0
    for process in processes:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def loader_of(options: argparse.Namespace, augmentation: str) -> DataLoader:
    images = ImageFolder(options.folder, transforms.Compose(AUGMENTATIONS[augmentation] + NORMALISED))
    sampler = RandomSampler(images, replacement=True, num_samples=options.batch * (WARM_UP + options.batches + AHEAD * options.workers))
    return DataLoader(images, options.batch, sampler=sampler, num_workers=options.workers)


WARM_UP = 4
# Batches that a loader prepares ahead: as many of them at the end as at the start, so that time and images belong together.
AHEAD = 2


def measure(options: argparse.Namespace, augmentation: str) -> dict:
    batches = iter(loader_of(options, augmentation))
    processes = [os.getpid(), *(worker.pid for worker in batches._workers)]
    for _ in range(WARM_UP):
        next(batches)
    before, started = processor_seconds(processes), time.perf_counter()
    images = sum(len(next(batches)[1]) for _ in range(options.batches))
    return {
        "images": images,
        "seconds": time.perf_counter() - started,
        "cpuSeconds": processor_seconds(processes) - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(measure(options, line.strip())), flush=True)


if __name__ == "__main__":
    main()
