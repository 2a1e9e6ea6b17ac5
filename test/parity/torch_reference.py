"""The other side of the parity tests: torchvision's own models on the weights and pixels that a test hands over.

    torch_reference.py pass ARCHITECTURE ACTIVATION FOLDER     one training pass: reads model.safetensors and batch.safetensors (images
        in NHWC, labels), writes float32.safetensors, float64.safetensors and bfloat16.safetensors (autocast): loss, gradients by parameter,
        running statistics
    torch_reference.py load ARCHITECTURE FILE IMAGES OUT   loads a checkpoint with strict=True and writes its logits
    torch_reference.py save ARCHITECTURE IMAGES FILE OUT   writes torchvision's state_dict of fresh weights, and their logits

An architecture is Lockstep's name; those without "-v1.5" take the stride in the first 1x1 convolution, as in the paper. Needs torch and
torchvision, reads and writes the safetensors format by itself. No gradient of Lockstep's ever comes here.
"""

import json
import struct
import sys

import torch
import torchvision
from torch import nn

TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
NAMES = {dtype: name for name, dtype in TYPES.items()}


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(data[begin:end], dtype=TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def write(path, tensors):
    header, offset, parts = {}, 0, []
    for name, tensor in tensors.items():
        values = tensor.detach().contiguous()
        data = values.numpy().tobytes()
        header[name] = {"dtype": NAMES[values.dtype], "shape": list(values.shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for data in parts:
            file.write(data)


def build(architecture):
    base, _, variant = architecture.partition("-")
    model = getattr(torchvision.models, base)()
    if variant != "v1.5":
        for block in model.modules():
            if isinstance(block, torchvision.models.resnet.Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return model


def load(architecture, tensors):
    """strict=True: every name and shape of torchvision's must be there and no other; the step counters alone are torch's own."""
    model = build(architecture)
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**counters, **tensors}, strict=True)
    return model


def channels_first(images):
    return images.permute(0, 3, 1, 2).contiguous()


def training_pass(architecture, activation, folder):
    weights, batch = read(f"{folder}/model.safetensors"), read(f"{folder}/batch.safetensors")
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64), ("bfloat16", torch.float32)):
        model = load(architecture, weights).to(dtype).train()
        for module in model.modules():
            if activation == "tanh" and hasattr(module, "relu"):
                module.relu = nn.Tanh()
        images, labels = channels_first(batch["images"]).to(dtype), batch["labels"].long()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "bfloat16"):
            scores = model(images)
        loss = nn.functional.cross_entropy(scores.to(dtype), labels)
        loss.backward()
        results = {"loss": loss.reshape(1)}
        results.update((key, parameter.grad) for key, parameter in model.named_parameters())
        results.update((key, value) for key, value in model.named_buffers() if not key.endswith("num_batches_tracked"))
        write(f"{folder}/{name}.safetensors", {key: value.to(dtype) for key, value in results.items()})


def logits(model, images):
    with torch.no_grad():
        return {"logits": model.eval()(channels_first(read(images)["images"]))}


def main(command, architecture, *paths):
    torch.manual_seed(1)
    if command == "pass":
        training_pass(architecture, *paths)
    elif command == "load":
        checkpoint, images, out = paths
        write(out, logits(load(architecture, read(checkpoint)), images))
    elif command == "save":
        images, checkpoint, out = paths
        model = build(architecture)
        for name, buffer in model.named_buffers():
            # What a training would have left: neither 0 nor 1.
            if buffer.dtype.is_floating_point:
                buffer.copy_(torch.rand_like(buffer) * 0.5 + (0.75 if name.endswith("var") else -0.25))
        write(checkpoint, model.state_dict())
        write(out, logits(model, images))
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
