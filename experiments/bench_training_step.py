"""What Lightning and our callbacks add to a training step: `python -m experiments.bench_training_step`.

googlenet_gap at 224, batch 32: a step of `cam_lightning.train`, with its callbacks and metrics.csv, against a step of a
bare PyTorch loop with the same network, images, optimizer and precision; in turn, in one process, warm; medians, and
the ratio pair by pair. Then the same step in two CPU processes against one. On a machine with a GPU, instead:
googlenet_gap, vgg16_gap and resnet50_gap in bf16, channels-last, compiled and not, as images per second, beside the
bare loop and the share of the device's peak that the operations counted imply.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cam_lightning.build import build_data, build_localizer, build_method, build_network, build_trainer
from cam_lightning.contracts import Batch
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.sampler import Key
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

CALLBACKS = "callback=[localization,checkpoint]"
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}
"""Dense bf16 operations per second, from NVIDIA's data sheets (SXM)."""


class Remembered:
    """A split of a few images, drawn beforehand, again and again: neither loop waits for images."""

    def __init__(self, examples: Any, count: int) -> None:
        self.ids, self.sizes = examples.ids, examples.sizes
        self.drawn = [examples[Key(0, index)] for index in range(count)]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Key) -> Any:
        return self.drawn[key.image % len(self.drawn)]


class BareLoop:
    """The same training without Lightning: what anybody would write."""

    def __init__(self, method: Any, data: LocalizationDataModule, mixed: bool, compiled: bool) -> None:
        self.method = method
        self.network = copy.deepcopy(method.network).train()
        if compiled:
            self.network.compile()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.data = data
        self.mixed = mixed
        self.batches: Iterator[Batch] = iter(())

    def step(self) -> None:
        device = next(self.network.parameters()).device
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.data.train_dataloader())
            batch = next(self.batches)
        mean_3, std_3 = (torch.tensor(value, device=device).view(3, 1, 1) * 255 for value in self.network.normalization)
        image_B3HW = ((batch.image_B3HW.to(device, non_blocking=True).float() - mean_3) / std_3).contiguous(
            memory_format=self.method.memory_format
        )
        label_B = batch.truth.label_B.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.mixed):
            loss = F.cross_entropy(self.network(image_B3HW).logits_BC, label_B)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class InTurn(Callback):
    """After every `block` steps of the Trainer, as many of the bare loop; the seconds of both, after `warm` blocks."""

    def __init__(self, bare: BareLoop | None, block: int, warm: int) -> None:
        self.bare, self.block, self.warm = bare, block, warm
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = _now()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.fit_loop.total_batch_idx + 1) % self.block:
            return
        ended = _now()
        self.ours.append(ended - self.began)
        if self.bare is not None:
            for _ in range(self.block):
                self.bare.step()
            self.theirs.append(_now() - ended)
        self.began = _now()

    def seconds(self) -> tuple[list[float], list[float]]:
        return self.ours[self.warm :], self.theirs[self.warm :]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(
    overrides: list[str], blocks: int, block: int, warm: int, with_bare: bool
) -> tuple[list[float], list[float], float, int]:
    """Seconds per block of ours and of the bare loop, operations of one step, and images of one."""
    register_resolvers()
    with initialize_config_dir(str(CONF), **VERSION_BASE), tempfile.TemporaryDirectory() as folder:
        # One epoch of all steps: what comes at an epoch's end is not a step's.
        steps = (blocks + warm) * block
        epoch = ["trainer.max_epochs=1", "trainer.limit_val_batches=0", f"trainer.limit_train_batches={steps}"]
        config = compose("train", [*overrides, *epoch, "dataset=shapes", f"run_dir={folder}", CALLBACKS])
        data = build_data(config)
        data.examples["train"] = Remembered(data.examples["train"], 2 * data.batch_size)  # type: ignore[assignment]
        network = build_network(config, data.num_classes)
        localizer = build_localizer(config, network, data.input_size)
        method = build_method(config, network, data)
        trainer = build_trainer(config, RunDirectory(Path(folder)), localizer)
        mixed = "bf16" in str(config.trainer.precision)
        if with_bare and config.trainer.accelerator == "gpu":
            method.cuda()
        bare = BareLoop(method, data, mixed, config.method.compile) if with_bare else None
        clock = InTurn(bare, block, warm)
        trainer.callbacks.insert(0, clock)  # type: ignore[attr-defined]
        trainer.fit(method, datamodule=data)
        operations = _operations(bare) if bare is not None else 0.0
        return *clock.seconds(), operations, int(config.dataset.batch_size)


def _operations(bare: BareLoop) -> float:
    """Floating-point operations of one forward and backward pass (a multiplication and an addition are two)."""
    # The compiler's kernels are not counted.
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        bare.step()
    return float(counter.get_total_flops())


def report(name: str, ours: list[float], theirs: list[float], block: int, images: int, operations: float) -> None:
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    mine, bare = (statistics.median(values) / block for values in (ours, theirs))
    peak = next(
        (p for key, p in PEAK.items() if torch.cuda.is_available() and key in torch.cuda.get_device_name()), None
    )
    share = f", {operations / mine / peak:.1%} of the device's peak" if peak else ""
    print(
        f"{name}: a step {mine * 1e3:.1f} ms, bare {bare * 1e3:.1f} ms, ratio {ratio:.4f} "
        f"({min(a / b for a, b in zip(ours, theirs, strict=True)):.3f} to "
        f"{max(a / b for a, b in zip(ours, theirs, strict=True)):.3f}, {len(ours)} pairs); "
        f"{images / mine:.1f} images/s, {operations / mine / 1e9:.1f} GFLOP/s{share}",
        flush=True,
    )


def processes(count: int, options: argparse.Namespace) -> float:
    """Images per second of `count` CPU processes of one thread each, in processes of their own."""
    command = [sys.executable, "-m", "experiments.bench_training_step", "--processes", str(count)]
    command += ["--size", str(options.size), "--batch", str(options.batch), "--pairs", str(options.pairs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r"images per second: ([\d.]+)", output)[0])


def main() -> None:
    """Prints one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7, help="pairs of steps (of blocks of 50 on a GPU)")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--processes", type=int, help="only measure that many CPU processes")
    parser.add_argument("--without-ddp", action="store_true", help="leave two processes out")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    shape = [f"dataset.image_size={options.size}", f"dataset.batch_size={options.batch}", "dataset.num_workers=0"]
    shape += [f"dataset.augmentation.crop={options.size}", f"dataset.augmentation.resize={options.size * 8 // 7}"]
    shape += ["dataset.train_size=null", "dataset.num_train=100000", "dataset.val_fraction=0.01"]
    if options.processes:
        cpu = [*shape, "backbone=googlenet_gap", "trainer=cpu", f"trainer.devices={options.processes}"]
        ours, _, _, images = measure(cpu, options.pairs, 1, 1, with_bare=False)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"images per second: {images * options.processes / statistics.median(ours):.3f}")
        return
    if torch.cuda.is_available():
        for backbone in ("googlenet_gap", "vgg16_gap", "resnet50_gap"):
            for compiled in (False, True):
                gpu = [*shape, f"backbone={backbone}", "trainer=gpu", f"method.compile={compiled}"]
                ours, theirs, operations, images = measure(gpu, options.pairs, 50, 1, with_bare=True)
                name = f"{backbone}, bf16, channels-last{', compiled' if compiled else ''}"
                report(name, ours, theirs, 50, images, operations)
        return
    ours, theirs, operations, images = measure(
        [*shape, "backbone=googlenet_gap", "trainer=cpu"], options.pairs, 1, 1, with_bare=True
    )
    report(f"googlenet_gap, {options.size}, batch {options.batch}, float32", ours, theirs, 1, images, operations)
    if not options.without_ddp:
        one, two = processes(1, options), processes(2, options)
        print(f"one process {one:.2f} images/s, two {two:.2f}: efficiency {two / one / 2:.2f}")


if __name__ == "__main__":
    main()
