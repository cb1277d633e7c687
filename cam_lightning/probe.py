"""`python -m cam_lightning.probe`: a linear classifier on the features of a frozen network, as a network of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.contracts import Results
    from cam_lightning.feature.probing import Probed
    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """Features, rows, a checkpoint that `evaluate` and `predict` take, and `results.json`."""
    from pathlib import Path

    import torch
    from omegaconf import OmegaConf

    from cam_lightning.backbone.probe import set_classifier
    from cam_lightning.build import build_data, build_draws, build_feature_network, build_method, instantiate, plain
    from cam_lightning.feature.probing import over_draws, probed
    from cam_lightning.feature.reader import FeatureReader
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.report.table import print_results
    from cam_lightning.run.checkpoint import save_network

    inherit_from_checkpoint(config, run)
    classifier = instantiate(config.classifier)
    network = build_feature_network(config)
    datas = build_draws(config) if config.draws is not None else [build_data(config)]
    backbone = str(config.backbone["_target_"]).rpartition(".")[2]
    options = {key: value for key, value in plain(config.backbone).items() if key not in ("weights", "_options_")}
    folder = Path(str(config.features)).expanduser()
    reader = FeatureReader(network, datas[0].input_size, folder, backbone, options)
    outcomes = [probed(reader, data, classifier, config.normalise) for data in datas]
    rows, data = outcomes[0].rows, datas[0]
    has_several = data.examples["test"].split.target_NC is not None
    OmegaConf.update(config, "network_part.independent_classes", has_several, force_add=True)
    network = build_feature_network(config, normalise=config.normalise)
    set_classifier(network, torch.from_numpy(rows.weight_CK), torch.from_numpy(rows.bias_C))
    method = build_method(config, network.cpu(), data)
    if run.is_writer:
        save_network(run, method)
    results = _results(config, outcomes, reader.num_computed)
    if len(outcomes) > 1:
        numbers, specs = over_draws(outcomes)
        results |= {f"test/{key}": value for key, value in numbers.items()}
        results["specs"] |= {
            f"test/{key}": spec._replace(of=f"test/{spec.of}")._asdict() for key, spec in specs.items()
        }
    if config.test and not has_several:
        results = _tested(config, run, method, data, results)
    if run.is_writer:
        run.write_json("results.json", results)
        print_results(results)


def _results(config: DictConfig, outcomes: list[Probed], num_computed: int) -> Results:
    """The numbers of the first split, and how they were made."""
    from cam_lightning.build import plain
    from cam_lightning.run.option import is_meta

    first = outcomes[0]
    options = {key: value for key, value in plain(config.classifier).items() if key != "c" and not is_meta(key)}
    return {
        **{f"test/{key}": value for key, value in first.numbers.items()},
        "protocol/classifier": config.classifier["_target_"],
        "protocol/classifier/c": first.rows.c,
        "protocol/classifier/c_of_each_split": [each.rows.c for each in outcomes],
        "protocol/classifier/cross_validation": {f"{c:g}": score for c, score in first.rows.scores.items()},
        **{f"protocol/classifier/{key}": value for key, value in options.items()},
        "protocol/features/layer": config.layer,
        "protocol/features/normalise": config.normalise,
        "protocol/features/num_computed": num_computed,
        "protocol/train_images_per_class": list(first.train_images),
        "protocol/draws": None if config.draws is None else list(config.draws),
        "protocol/checkpoint": config.checkpoint or "",
        "protocol/weights": config.backbone.get("weights", ""),
        "specs": {f"test/{key}": spec._asdict() for key, spec in first.specs.items()},
    }


def _tested(config: DictConfig, run: RunDirectory, method: Any, data: Any, results: Results) -> Results:
    """`results` with what the network that came out says of the test images: errors, and where it looks."""
    import logging

    from cam_lightning.build import build_localizer, build_trainer, plain
    from cam_lightning.run.result import collect_results, require_every_image

    trainer = build_trainer(config, run, build_localizer(config, method.network, data.input_size))
    trainer.test(method, datamodule=data, verbose=False)
    resolved = plain(config)
    tested = collect_results(trainer, method, resolved)
    require_every_image(tested, "test", data, resolved)
    if tested.get("test/num_images") != results["test/num_images"]:
        # Only some of the test images were asked for: what all of them say stays.
        return results
    key = "test/classification_error/top1"
    if round(abs(tested[key] - results[key]) * tested["test/num_images"]) > 0:
        logging.getLogger(__name__).warning(
            "%s is %.6f by the features and %.6f by the network: scores that nearly tie", key, results[key], tested[key]
        )
    return {**results, **tested, "specs": {**results["specs"], **tested["specs"]}}


main = entry_point("probe")

if __name__ == "__main__":
    main()
