"""What localization adds to a validation epoch: `python -m experiments.bench_localization`.

A network (googlenet_gap) at 224, batch 32, float32 on the CPU, the embedded dataset: the same epoch with and without
the localization callback, warm, in turn; medians, and the ratio pair by pair. `--metrics all` takes every metric there
is, at their defaults, with masks of each image for the pixel metric. CPU time adds up both threads, so it counts
boxing as if it ran after the forward, and a busy machine hardly disturbs it.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings

from hydra import compose, initialize_config_dir
from lightning import Callback, Trainer
from omegaconf import DictConfig

from cam_lightning.build import build_data, build_localizer, build_method, build_network, instantiate
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.method.base import Method
from cam_lightning.run.place import CONF, VERSION_BASE


def main() -> None:
    """Prints one line per pair of epochs, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="images per epoch")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of epochs")
    parser.add_argument("--backbone", default="googlenet_gap")
    parser.add_argument("--metrics", choices=("default", "all"), default="default")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    register_resolvers()
    overrides = ["dataset.image_size=224", f"dataset.num_test={options.images}", "dataset.num_train=100"]
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        if options.metrics == "all":
            names = sorted(path.stem for path in (CONF / "metric").glob("*.yaml"))
            overrides.append(f"metric=[{','.join(names)}]")
        config = compose("train", [*overrides, "dataset=shapes", f"backbone={options.backbone}", "trainer=cpu"])
    data = build_data(config)
    method = build_method(config, build_network(config, data.num_classes), data)

    for with_localization in (True, False):
        seconds(config, method, data, with_localization)  # compiles, fills caches
    ratios, cpu_ratios, plain, localized = [], [], [], []
    for pair in range(options.pairs):
        wall, cpu = seconds(config, method, data, False)
        with_wall, with_cpu = seconds(config, method, data, True)
        plain.append(wall)
        localized.append(with_wall)
        ratios.append(with_wall / wall)
        cpu_ratios.append(with_cpu / cpu)
        print(
            f"pair {pair + 1}: without {plain[-1]:6.2f} s, with {localized[-1]:6.2f} s, ratio {ratios[-1]:.3f}; "
            f"CPU {cpu:6.2f} s, {with_cpu:6.2f} s, ratio {cpu_ratios[-1]:.3f}",
            flush=True,
        )
    print(
        f"validation epoch of {options.backbone}, 224, batch 32, {options.images} images, {options.metrics} metrics: "
        f"without {statistics.median(plain):.2f} s, with localization {statistics.median(localized):.2f} s; "
        f"median ratio {statistics.median(ratios):.3f}, of CPU time {statistics.median(cpu_ratios):.3f} "
        "(aim: at most 1.05)"
    )


def seconds(config: DictConfig, method: Method, data: LocalizationDataModule, localized: bool) -> tuple[float, float]:
    """Wall and CPU time of one epoch over the test split."""
    callbacks: list[Callback] = []
    if localized:
        localizer = build_localizer(config, method.network, data.input_size)
        assert localizer is not None
        callbacks.append(
            LocalizationCallback(
                localizer,
                {name: instantiate(metric) for name, metric in config.metric.items()},
                baselines=dict(config.callback.localization.baselines),
            )
        )
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )
    start, cpu_start = time.perf_counter(), time.process_time()
    trainer.test(method, datamodule=data, verbose=False)
    return time.perf_counter() - start, time.process_time() - cpu_start


if __name__ == "__main__":
    main()
