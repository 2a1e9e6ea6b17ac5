"""What PyTorch's gloo and numpy do with the same vector: an all-reduce by two processes over loopback, and one thread's addition.

Prints one JSON line with the medians in seconds. Needs PyTorch and numpy; installs nothing.
"""

import argparse
import json
import os
import statistics
import time

import numpy
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

PROCESSES = 2


def all_reduce(rank: int, options: argparse.Namespace, times) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=rank, world_size=PROCESSES)
    vector = torch.full((options.elements,), 0.001)
    for step in range(options.warm_up + options.steps):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(vector)
        if rank == 0 and step >= options.warm_up:
            times.put(time.perf_counter() - start)
    dist.destroy_process_group()


def addition(options: argparse.Namespace) -> float:
    a, b, out = (numpy.full(options.elements, 0.001, numpy.float32) for _ in range(3))
    times = []
    for _ in range(options.warm_up + options.steps):
        start = time.perf_counter()
        numpy.add(a, b, out=out)
        times.append(time.perf_counter() - start)
    return statistics.median(times[options.warm_up :])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, required=True)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--port", type=int, default=29517)
    options = parser.parse_args()
    add_seconds = addition(options)
    times = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(all_reduce, args=(options, times), nprocs=PROCESSES)
    seconds = statistics.median(times.get() for _ in range(options.steps))
    print(json.dumps({"allReduceSeconds": seconds, "addSeconds": add_seconds}))


if __name__ == "__main__":
    main()
