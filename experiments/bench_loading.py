"""What loading a photo for training costs: `python -m experiments.bench_loading`.

Both pipelines read a file, decode it, take a RandomResizedCrop of 224 (area 0.08 to 1) and mirror half of the
images, in one worker of a data loader, batches of 32. The reference is Pillow and torchvision's v2 transforms, which
convert to float and normalise in the worker; ours sends uint8, and the method normalises on the device. The same
photos, in turn, warm; medians of images per second, and of the ratio pair by pair. Then the same after
`resize_data` to a short side of 256, against the reference on the original photos.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sized
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from cam_lightning.dataset.augmentation.random_resized_crop import RandomResizedCrop
from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.pipeline.examples import Examples, collate
from cam_lightning.dataset.pipeline.worker import one_thread
from cam_lightning.dataset.tool.resize import resize

BATCH = 32
AREA = (0.08, 1.0)


def main() -> None:
    """Prints one line per pair of passes, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos; else 40 are made, of 500×375 pixels")
    parser.add_argument("--images", type=int, default=320, help="images per pass")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of passes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = options.photos or _made_photos(root / "photos")
        (root / "in" / "test").mkdir(parents=True)
        (root / "in" / "test" / "photos").symlink_to(photos.absolute())
        small = root / "small"
        resize(Folder(str(root / "in")), small, 256, 90, lambda things, what, total: things, num_workers=0)
        paths = sorted(path for path in photos.iterdir() if path.is_file())
        print(f"{len(paths)} photos, {_mean_kb(paths):.0f} KB each; {_mean_kb(small.rglob('*.*')):.0f} KB resized")
        reference = _loader(Reference(paths), options.images)
        for name, ours in (("originals", root / "in"), ("short side 256", small)):
            compare(name, reference, _loader(_ours(ours), options.images), options.images, options.pairs)


def compare(name: str, reference: DataLoader[object], ours: DataLoader[object], images: int, pairs: int) -> None:
    """Times both in turn, after a pass of each that starts the workers and fills the page cache."""
    for loader in (reference, ours):
        seconds(loader)
    rates: dict[str, list[float]] = {"reference": [], "ours": []}
    ratios = []
    for pair in range(pairs):
        for key, loader in (("reference", reference), ("ours", ours)):
            rates[key].append(images / seconds(loader))
        ratios.append(rates["ours"][-1] / rates["reference"][-1])
        both = ", ".join(f"{key} {values[-1]:.1f} images/s" for key, values in rates.items())
        print(f"{name}, pair {pair + 1}: {both}, ratio {ratios[-1]:.2f}", flush=True)
    medians = ", ".join(f"{key} {statistics.median(values):.1f} images/s" for key, values in rates.items())
    print(f"{name}: {medians}; median ratio {statistics.median(ratios):.2f}", flush=True)


def seconds(loader: DataLoader[object]) -> float:
    """Wall time of one pass."""
    start = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start


class Reference(Dataset[torch.Tensor]):
    """Pillow and torchvision's v2 transforms, as torchvision's own training reference has them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(224, scale=AREA, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:
        with self.paths[key[1]].open("rb") as file:
            return self.transform(Image.open(file).convert("RGB"))


def _ours(root: Path) -> Examples:
    return Examples(Folder(str(root), test_fraction=1).read_splits().test, (224, 224), RandomResizedCrop(area=AREA))


def _loader(dataset: Dataset[object] | Sized, images: int) -> DataLoader[object]:
    """One worker, and as many batches as `images` need."""
    keys = [(n // len(dataset), n % len(dataset)) for n in range(images)]  # type: ignore[arg-type]
    batches = [keys[start : start + BATCH] for start in range(0, images, BATCH)]
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=1,
        persistent_workers=True,
        collate_fn=collate if isinstance(dataset, Examples) else torch.stack,
        worker_init_fn=one_thread,
    )


def _made_photos(folder: Path) -> Path:
    """Forty JPEGs with the detail of photos: noise that is strongest at low frequencies."""
    folder.mkdir()
    frequency_HW1 = np.hypot(np.fft.fftfreq(375)[:, None], np.fft.fftfreq(500)[None])[..., None] + 1 / 500
    for seed in range(40):
        noise_HW3 = np.random.default_rng(seed).standard_normal((375, 500, 3))
        shaped_HW3 = np.fft.ifft2(np.fft.fft2(noise_HW3, axes=(0, 1)) / frequency_HW1, axes=(0, 1)).real
        pixels_HW3 = np.clip(128 + 60 * shaped_HW3 / shaped_HW3.std(), 0, 255).astype(np.uint8)
        Image.fromarray(pixels_HW3).save(folder / f"{seed}.jpg", quality=90)
    return folder


def _mean_kb(paths: Iterable[Path]) -> float:
    return statistics.mean(path.stat().st_size for path in paths if path.suffix.lower() in (".jpg", ".jpeg")) / 1024


if __name__ == "__main__":
    main()
