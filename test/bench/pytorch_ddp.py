"""What PyTorch does with the same work: two processes with one thread each, DDP over gloo, channels last.

    pytorch_ddp.py [--architecture resnet20] [--batch 64] [--accumulate 1] [--precision float32|bfloat16] [--steps 150] [--warm-up 50]

resnet20 is the CIFAR form with option A; other names are torchvision's, at 224x224, with the stride in the first 1x1 as in Lockstep.
Each process computes --accumulate batches of --batch images per step and sends gradients with the last. Prints one JSON line: images per
second of both together (over all steps, and by the median step), the median step in milliseconds, peak memory of one process in MiB.
Images are random and lie in memory, so that nothing but training is measured. Needs PyTorch (and torchvision); installs nothing.
"""

import argparse
import json
import os
import resource
import statistics
import time
from contextlib import nullcontext

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.nn.functional import pad, relu
from torch.nn.parallel import DistributedDataParallel

PROCESSES = 2


class Block(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut skips pixels and pads channels with zeros (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.extra = (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.stride != 1 or self.extra:
            x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return relu(y + x, inplace=True)


def resnet20() -> nn.Module:
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for index in range(3):
            layers.append(Block(inputs, outputs, stride if index == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def torchvision_model(name: str) -> nn.Module:
    import torchvision

    model = getattr(torchvision.models, name)()
    for block in model.modules():
        if isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return model


def train(rank: int, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=rank, world_size=PROCESSES)
    torch.manual_seed(rank)
    cifar = options.architecture == "resnet20"
    side, classes = (32, 10) if cifar else (224, 1000)
    net = resnet20() if cifar else torchvision_model(options.architecture)
    model = DistributedDataParallel(net.to(memory_format=torch.channels_last), gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loss_of = nn.CrossEntropyLoss()
    batches = [
        (
            torch.randn(options.batch, 3, side, side).to(memory_format=torch.channels_last),
            torch.randint(classes, (options.batch,)),
        )
        for _ in range(8)
    ]
    half = options.precision == "bfloat16"
    seconds = []
    for step in range(options.warm_up + options.steps):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        for part in range(options.accumulate):
            images, labels = batches[(step * options.accumulate + part) % len(batches)]
            last = part == options.accumulate - 1
            with nullcontext() if last else model.no_sync():
                with torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext():
                    loss = loss_of(model(images).float(), labels) / options.accumulate
                loss.backward()
        optimizer.step()
        if step >= options.warm_up:
            seconds.append(time.perf_counter() - started)
    if rank == 0:
        images = PROCESSES * options.batch * options.accumulate
        found = {
            "imagesPerSecond": images * len(seconds) / sum(seconds),
            "medianImagesPerSecond": images / statistics.median(seconds),
            "stepMs": 1000 * statistics.median(seconds),
            "peakMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "torch": torch.__version__,
        }
        print(json.dumps(found), flush=True)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="resnet20")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--warm-up", type=int, default=50)
    parser.add_argument("--port", type=int, default=29571)
    options = parser.parse_args()
    multiprocessing.spawn(train, args=(options,), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
