"""What PyTorch does with the work of the engine benchmark: forward and backward of one batch after the other in one process.

    pytorch_engine.py [--architecture resnet152] [--batch 8] [--precision float32|bfloat16] [--threads 2] [--steps 3]

Prints one JSON line: images per second (median step, after those that warm up), peak resident memory in MiB, versions. Channels last, as PyTorch is fastest on CPUs;
bfloat16 by autocast, so parameters and batch norm stay float32 as in Lockstep. Needs torch and torchvision; installs nothing.
"""

import argparse
import json
import resource
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--architecture", default="resnet152")
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--side", type=int, default=224)
parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--warm-up", type=int, default=2)
options = parser.parse_args()

import torch  # noqa: E402
import torchvision  # noqa: E402

torch.set_num_threads(options.threads)
torch.manual_seed(1)
model = getattr(torchvision.models, options.architecture)().to(memory_format=torch.channels_last).train()
# Lockstep's net of this name takes the stride in the first 1x1 convolution.
for block in model.modules():
    if isinstance(block, torchvision.models.resnet.Bottleneck):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
images = torch.randn(options.batch, 3, options.side, options.side).to(memory_format=torch.channels_last)
labels = torch.randint(0, 1000, (options.batch,))


def step():
    begin = time.perf_counter()
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bfloat16"):
        scores = model(images)
    torch.nn.functional.cross_entropy(scores.float(), labels).backward()
    return time.perf_counter() - begin


for _ in range(options.warm_up):
    step()
seconds = statistics.median(step() for _ in range(options.steps))
print(
    json.dumps(
        {
            "architecture": options.architecture,
            "precision": options.precision,
            "threads": options.threads,
            "imagesPerSecond": round(options.batch / seconds, 2),
            "peakMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "torch": torch.__version__,
        }
    )
)
