"""The paper's own GoogLeNet-GAP, as its authors released it, through our class activation map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from cam_lightning.functional.cam import class_activation_map


def _released(folder: Path, photo: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, list[str]]:
    """Features (10, 1024, 14, 14) of the ten crops, weights (1000, 1024), scores (10, 1000), class names."""
    network = scipy.io.loadmat(folder / "cam-paper" / "data_net.mat")
    crops = scipy.io.loadmat(folder / "cam-paper" / f"data_img{photo}.mat")
    # The authors' arrays are x, y, unit, crop; ours are crop, unit, y, x.
    features = torch.from_numpy(crops["activation_lastconv"].transpose(3, 2, 1, 0).copy()).float()
    weight = torch.from_numpy(network["weights_LR"].T.copy()).float()
    names = [str(np.ravel(entry)[0]) for entry in np.ravel(network["categories"])]
    return features, weight, crops["scores"].reshape(1000, 10).T, names


@pytest.mark.reference
@pytest.mark.parametrize(("photo", "first"), [(1, "cup"), (2, "palace")])
def test_the_mean_of_a_released_map_is_its_score(reference_data: Path, photo: int, first: str) -> None:
    features, weight, scores, names = _released(reference_data, photo)
    maps = class_activation_map(features, weight.expand(10, -1, -1))
    assert maps.shape == (10, 1000, 14, 14)

    pooled = features.double().numpy().mean(axis=(2, 3))
    logits = pooled @ weight.double().numpy().T
    means = maps.double().numpy().mean(axis=(2, 3))
    np.testing.assert_allclose(means, logits, rtol=0, atol=1e-5)

    probabilities = np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)
    assert names[probabilities.mean(axis=0).argmax()].split(" ", 1)[1] == first
    assert names[scores.mean(axis=0).argmax()].split(" ", 1)[1] == first
    if photo == 1:  # Photo 2's two files are not of one network: they disagree below the first class.
        np.testing.assert_allclose(probabilities, scores, rtol=0, atol=1e-3)
