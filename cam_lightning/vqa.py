"""`python -m cam_lightning.vqa`: answers to questions about images, and where each looks (section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """Features of all images once, a linear classifier on them and the words, its answers, and a page of some."""
    from pathlib import Path

    from cam_lightning.build import build_data, build_feature_network, instantiate, plain
    from cam_lightning.dataset.vqa import Vqa
    from cam_lightning.feature.answering import answered, fit_answers, vocabulary
    from cam_lightning.feature.probing import lengths_one
    from cam_lightning.feature.reader import FeatureReader
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.report.answer_page import write_answers
    from cam_lightning.report.answer_results import answer_results, result_file
    from cam_lightning.report.table import print_results

    inherit_from_checkpoint(config, run)
    network = build_feature_network(config)
    data = build_data(config)
    if not isinstance(data, Vqa):
        raise ValueError("vqa needs data with questions: dataset=vqa")
    recipe = instantiate(config.answers)
    known = vocabulary(data.questions["train"], recipe)
    backbone = str(config.backbone["_target_"]).rpartition(".")[2]
    options = {key: value for key, value in plain(config.backbone).items() if key not in ("weights", "_options_")}
    reader = FeatureReader(network, data.input_size, Path(str(config.features)).expanduser(), backbone, options)
    features = {}
    for part in ("train", "test"):
        features_NK = reader.read(data.examples[part].split, data.batches_of, part)
        features_NK = lengths_one(features_NK) if config.normalise else features_NK
        features[part] = features_NK[data.positions[part]]
    model = fit_answers(data.questions["train"], features["train"], known, recipe)
    found = answered(model, data.questions["test"], features["test"], known)
    run.write_json("vqa_results.json", result_file(data.questions["test"], found, known))
    results = answer_results(data.questions["train"], data.questions["test"], found, known)
    results |= {f"protocol/answers/{key}": value for key, value in recipe._asdict().items()}
    results["protocol/task"] = data.task
    results |= {"protocol/features/normalise": config.normalise, "protocol/weights": config.backbone.get("weights", "")}
    run.write_json("results.json", results)
    print_results(results)
    page = write_answers(run.path, network, model, data, found, known, config.num_shown, config.normalise)
    print(f"{'answers':<12} {page}")


main = entry_point("vqa")

if __name__ == "__main__":
    main()
