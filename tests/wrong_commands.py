"""Four hundred command lines that are wrong, each as somebody may type it, by what is wrong with them.

A line begins with the command. `{run}` and the like are places of a world that `test_wrong_commands.py` makes, of
which nothing may change. What a line does not say is as in `COMMON`, so that one that is taken after all ends soon.
"""

from __future__ import annotations

from itertools import product

SHAPES = "dataset.num_train=24 dataset.num_test=12 dataset.image_size=32 dataset.batch_size=4 dataset.val_fraction=0.2"
TRAIN = (
    f"train {SHAPES} dataset.train_size=32 backbone=squeezenet_gap trainer=cpu trainer.max_epochs=1 "
    "dataset.augmentation.resize=40 dataset.augmentation.crop=32"
)
FOLDER = (
    "train dataset=folder backbone=squeezenet_gap trainer=cpu trainer.max_epochs=1 dataset.image_size=32 "
    "dataset.batch_size=2"
)
EVALUATE = "evaluate checkpoint={run} trainer=cpu"
WEIGHTS = f"evaluate {SHAPES} backbone=squeezenet_gap trainer=cpu"
PREDICT = "predict images={photos}/images checkpoint={run} device=cpu"
CHECK = "check_data dataset=folder"
RESIZE = f"resize_data {SHAPES}"
MAPS = "evaluate_maps maps={maps} metadata={metadata}"
SCORE = "score_submission predictions={submission} labels={labels} boxes={boxes}"
SUBMIT = "write_submission predictions={run}/predictions.csv classes={classes}"
SWEEP = TRAIN.replace("train ", "train -m ", 1)


def _each(base: str, text: str) -> list[str]:
    """One command for each line of a text: `base` and what the line adds."""
    return [f"{base} {line.strip()}" for line in text.strip().splitlines()]


def _values(base: str, options: str, values: str) -> list[str]:
    """One command for each option with each value."""
    return [f"{base} {option}={value}" for option, value in product(options.split(), values.split())]


WRONG: dict[str, list[str]] = {
    "words that there are not": [
        *_each(
            TRAIN,
            """
            backbone=googlenets
            backbone=resnet
            dataset=imagenetta
            method=clasification
            cam=gradcam
            cam=[cam,gradcam]
            box=biggest
            metric=[accuracy]
            evaluator=[deletion]
            logger=wandB
            experiment=quick
            method/schedule=cosine
            method/optimizer=adam
            dataset/augmentation=crop
            hydra/sweeper=grid2
            trainer.device=2
            dataset.root=/x
            learning_rate=0.1
            method.lr=0.1
            backbone.pooling=max
            box.treshold=0.2
            callback.checkpoint.every=1
            resum={run}
            checkpoint={run}
            """,
        ),
        "evaluate chekpoint={run}",
        "evaluate resume={run}",
        "evaluate checkpoint={run} metric=[accuracy]",
        "evaluate checkpoint={run} dataset.rot=/x",
        "predict image={photo}",
        "predict images={photo} batchsize=2",
        "check_data dataset=folder dataset.roots={photos}",
        "check_data dataset=folders",
        "resize_data too=x",
        "resize_data size=64 to=x",
        "evaluate_maps map={maps}",
        "score_submission prediction={submission}",
        "write_submission class={classes}",
        "report {runs} --sort test/gt_known_error",
        "report",
    ],
    "what no command line is": [
        *_each(
            TRAIN,
            """
            seed
            =1
            seed=[1
            dataset.classes=[a,
            seed=1,2
            trainer.max_epochs=1,2
            backbone=googlenet_gap,vgg16_gap
            seed=range(1,3)
            ~nothing
            +seed=1
            +trainer.devices=2
            ~trainer.devises
            --nothing
            --config-name=nothing
            --config-dir=/nowhere/at/all
            dataset.augmentation.crop.size=3
            seed.value=1
            backbone.weights.file=x
            trainer=[cpu,gpu]
            dataset=[shapes,folder]
            dataset=3
            trainer=null
            backbone=null
            method=null
            """,
        ),
    ],
    "kinds of values": [
        *_values(TRAIN, "dataset.batch_size trainer.max_epochs trainer.devices seed", "abc 1.5 []"),
        *_values(TRAIN, "dataset.image_size dataset.train_size", "abc 0 -32 [32,32,32] [32,a] true"),
        *_values(TRAIN, "method.learning_rate method.weight_decay dataset.val_fraction", "abc []"),
        *_values(TRAIN, "dataset.num_train dataset.num_test dataset.num_workers", "abc -1 1.5"),
        *_values(TRAIN, "trainer.log_every_n_steps trainer.accumulate_grad_batches trainer.num_nodes", "abc"),
        *_values(TRAIN, "hit_iou box.threshold", "abc [0.5]"),
        *_values(TRAIN, "backbone.weights", "/nowhere.pth {text}"),
        *_values(EVALUATE, "select_threshold", "maybe 2 []"),
        *_values(PREDICT, "batch_size image_size overlays", "abc -1 []"),
        *_values(CHECK + " dataset.root={photos}", "deep samples num_workers seed", "abc -1"),
        *_values(RESIZE + " to={scratch}/copy", "short_side quality num_workers", "abc -1 1.5"),
        *_values(MAPS, "interval map_size iou_thresholds threads", "abc -1 []"),
        *_values(MAPS, "mode corners", "abc 1"),
    ],
    "choices of an option": [
        *_values(
            TRAIN,
            "box.normalise box.frame box.upsample dataset.on_bad_image test_checkpoint method.evaluation_precision "
            "trainer.precision callback.checkpoint.mode callback.localization.sinks.overlays.colour_map",
            "maybe",
        ),
        f"{TRAIN} box=distance_transform box.which=tightest",
        f"{TRAIN} box=distance_transform box.rectify=maybe",
        f"{TRAIN} box=distance_transform box.levels=[1,2,300]",
        f"{TRAIN} box=top5_heuristic box.rectify=maybe",
        f"{TRAIN} backbone=googlenet_gap backbone.variant=v3",
        f"{TRAIN} backbone=googlenet_gap backbone.pool=min",
        f"{TRAIN} backbone=googlenet_gap backbone.stride=5",
        f"{TRAIN} backbone=timm_gap backbone.trunk=resnet1",
        f"{TRAIN} cam=ten_crop cam.crop_size=64",
        f"{TRAIN} cam=ten_crop cam.merge=median cam.crop_size=24",
        f"{TRAIN} cam=grad_cam cam.layer=trunk.nothing",
        f"{TRAIN} metric=[max_box_accuracy] metric.max_box_accuracy.mode=exact",
        f"{TRAIN} metric=[max_box_accuracy] metric.max_box_accuracy.corners=open",
        f"{TRAIN} evaluator=[deletion_insertion] evaluator.deletion_insertion.of=best",
        f"{TRAIN} backbone=vgg16 cam=cam",
        f"{TRAIN} callback.checkpoint.monitor=val/nothing",
        f"{TRAIN} test_checkpoint=best callback.checkpoint.monitor=null",
        f"{TRAIN} test_checkpoint=best trainer.limit_val_batches=0",
        f"{TRAIN} metric.gt_known_error.iou_threshold=0.7",
        f"{TRAIN} dataset.classes=[basket,unicorn]",
        f"{TRAIN} dataset.classes=11",
        f"{TRAIN} dataset.classes=0",
        f"{TRAIN} dataset.classes=[]",
        f"{TRAIN} dataset.classes=unicorn",
        f"{TRAIN} dataset.images_per_class=0",
        f"{TRAIN} dataset.images_per_class=many",
        f"{TRAIN} dataset.val_fraction=1",
        f"{TRAIN} dataset.val_fraction=0",
        f"{TRAIN} dataset.train_size=[[1,32]]",
        f"{TRAIN} dataset.train_size=[[0,32],[a,32]]",
        f"{TRAIN} seed=-1",
        f"{TRAIN} seed=99999999999999",
        f"{TRAIN} dataset.num_workers=100000",
        f"{TRAIN} dataset.num_test=0",
        f"{TRAIN} method.learning_rate=1e30",
    ],
    "machines that are not there": [
        *_each(
            TRAIN,
            """
            trainer=gpu
            trainer=gpu trainer.devices=64
            trainer.devices=99
            trainer.devices=0
            trainer.devices=-1
            trainer.devices=8 dataset.num_test=10 dataset.num_train=12 dataset.classes=5
            trainer.accelerator=tpu
            trainer.num_nodes=3
            trainer.timeout_minutes=soon trainer.devices=2
            """,
        ),
        "predict images={photo} checkpoint={run} device=cuda",
        "predict images={photo} checkpoint={run} device=cuda:7",
        "predict images={photo} checkpoint={run} device=gpu0",
    ],
    "places that are not there": [
        *_each(
            FOLDER,
            """
            dataset.root=/nowhere/at/all
            dataset.root={empty}
            dataset.root={text}
            dataset.root={photos} dataset.images=nothing
            dataset.root={photos} dataset.format=voc dataset.annotations=nothing
            dataset.root={photos} dataset.format=coco
            dataset.root={photos} dataset.splits={{train:nothing,test:test}}
            dataset.root={photos} dataset.splits=maybe
            dataset.root={photos} dataset.format=yolo
            dataset.root={photos} dataset.exif=maybe
            dataset.root={photos} dataset.first_pixel=2
            dataset.root={photos} dataset.test_fraction=2
            dataset.root={photos} dataset.classes=[cat,unicorn]
            dataset.root={photos} dataset.class_index=/nowhere.json
            """,
        ),
        *[
            f"train dataset={name} dataset.root=/nowhere/at/all backbone=squeezenet_gap trainer=cpu {more}"
            for name, more in (
                ("tiny_imagenet", ""),
                ("cub200", ""),
                ("ilsvrc", ""),
                ("openimages30k", "dataset.metadata=/nowhere"),
            )
        ],
        *[
            f"train dataset={name} dataset.root={{text}} backbone=squeezenet_gap trainer=cpu {more}"
            for name, more in (
                ("tiny_imagenet", ""),
                ("cub200", ""),
                ("ilsvrc", ""),
                ("openimages30k", "dataset.metadata={{text}}".replace("{{", "{").replace("}}", "}")),
            )
        ],
        *_each(
            "check_data",
            """
            dataset=folder dataset.root=/nowhere/at/all
            dataset=folder dataset.root={empty}
            dataset=folder dataset.root={text}
            dataset=tiny_imagenet dataset.root={photos}
            dataset=cub200 dataset.root={photos}
            dataset=ilsvrc dataset.root={photos}
            dataset=openimages30k dataset.root={photos} dataset.metadata={photos}
            dataset=tiny_imagenet dataset.root={text}
            """,
        ),
        *_each(
            "evaluate trainer=cpu",
            """
            checkpoint=/nowhere/at/all
            checkpoint={empty}
            checkpoint={text}
            checkpoint={photo}
            checkpoint={weights}
            checkpoint={half}
            checkpoint={pickled}
            checkpoint={run}/config.yaml
            checkpoint={run} backbone=vgg16_gap
            checkpoint={run} dataset=folder dataset.root={photos}
            checkpoint={run} dataset=folder dataset.root=/nowhere
            checkpoint={run} dataset.num_test=0
            checkpoint={run} dataset.classes=[unicorn]
            checkpoint=null
            """,
        ),
        *_each(
            WEIGHTS,
            """
            backbone.weights=/nowhere.pth
            backbone.weights={text}
            backbone.weights={half}
            backbone.weights={pickled}
            backbone.weights=none
            backbone.weights={weights} dataset.class_index={{a:1}}
            backbone.weights={weights} dataset.class_index=/nowhere.json
            backbone.weights={weights} dataset.class_index={text}
            backbone.weights={weights} backbone=vgg16_gap
            backbone.weights={weights} method=acol
            """,
        ),
        *_each(
            "predict device=cpu",
            """
            images=/nowhere.jpg checkpoint={run}
            images=/nowhere/*.jpg checkpoint={run}
            images= checkpoint={run}
            images=[] checkpoint={run}
            images={empty} checkpoint={run}
            images={text} checkpoint={run}
            images={broken} checkpoint={run}
            images=[{photo},/nowhere.jpg] checkpoint={run}
            images={photo} checkpoint=/nowhere
            images={photo} checkpoint={weights}
            images={photo} backbone.weights=none
            images={photo} backbone.weights=/nowhere.pth
            images={photo} backbone=vgg16 cam=cam checkpoint={run}
            images={photo} checkpoint={run} cam=grad_cam cam.layer=nothing
            images={photo} checkpoint={run} colour_map=grey
            """,
        ),
        *_each(
            "evaluate_maps",
            """
            maps={maps}
            metadata={metadata}
            maps=/nowhere metadata={metadata}
            maps={maps} metadata=/nowhere
            maps={text} metadata={metadata}
            maps={empty} metadata={metadata}
            maps={maps} metadata={empty}
            maps={maps} metadata={photos}
            maps={maps} metadata={metadata} masks=/nowhere
            maps={maps} metadata={metadata} map_size=[0,0]
            maps={maps} metadata={metadata} interval=0
            """,
        ),
        *_each(
            "score_submission",
            """
            predictions={submission}
            predictions=/nowhere labels={labels} boxes={boxes}
            predictions={submission} labels=/nowhere boxes={boxes}
            predictions={submission} labels={labels} boxes=/nowhere
            predictions={text} labels={labels} boxes={boxes}
            predictions={submission} labels={text} boxes={boxes}
            predictions={submission} labels={labels} boxes={text}
            predictions={submission} labels={labels} boxes={boxes} blacklist=/nowhere
            predictions={submission} labels={labels} boxes={boxes} blacklist={text}
            predictions={empty} labels={labels} boxes={boxes}
            """,
        ),
        *_each(
            "write_submission",
            """
            predictions={run}/predictions.csv
            classes={classes}
            predictions=/nowhere classes={classes}
            predictions={text} classes={classes}
            predictions={run}/predictions.csv classes=/nowhere
            predictions={run}/predictions.csv classes={text}
            predictions={run}/predictions.csv classes={classes}
            """,
        ),
        *_each(
            "report",
            """
            /nowhere/at/all
            {empty}
            {photos}
            {runs} --by test/nothing
            {runs} --keys test/nothing
            {runs} --format html
            {runs} --output {text}
            {runs} /nowhere
            """,
        ),
    ],
    "places where something is": [
        *_each(
            TRAIN,
            """
            run_dir={run}
            run_dir={photos}
            run_dir={text}
            run_dir={run}/checkpoints/inside
            run_dir={text}/below
            run_dir=/proc/nothing
            paths.runs={text}
            paths.runs={run}
            paths.runs=/proc
            paths.runs={text}/below
            """,
        ),
        *_each(
            RESIZE,
            """
            to={photos}
            to={run}
            to={text}
            to=null
            to={copy}
            to={scratch}/copy quality=96
            to={scratch}/copy num_workers=100000
            """,
        ),
        "resize_data dataset=folder dataset.root={unsplit} dataset.split_seed=1 to={unsplit_copy}",
        "resize_data dataset=folder dataset.root={photos} short_side=33 to={photo_copy}",
        "resize_data dataset=folder dataset.root=/nowhere to={scratch}/copy",
        "check_data dataset=folder dataset.root={photos} run_dir={run}",
        "evaluate checkpoint={run} trainer=cpu run_dir={run}",
        "predict images={photo} checkpoint={run} device=cpu run_dir={photos}",
    ],
    "runs that do not go on": _each(
        "train",
        """
        resume={run}
        resume=/nowhere/at/all
        resume={empty}
        resume={text}
        resume={run}/checkpoints/last.ckpt
        resume={run} trainer.max_epochs=9
        resume={run} seed=3
        resume={run} dataset.batch_size=9
        resume={run} method.learning_rate=1
        resume={run} run_dir={scratch}/elsewhere
        resume={run} dataset=folder dataset.root={photos}
        resume={unfinished} seed=3
        resume={unfinished} dataset.num_test=40
        resume={no_config}
        resume={bad_config}
        resume={bad_checkpoint}
        """,
    ),
    "sweeps": _each(
        SWEEP,
        """
        seed=1,2 run_dir={scratch}/one
        seed=1,2 run_dir={scratch}/a,b
        seed=1,2 on_error=ignore
        seed=1,2 sweep=../outside
        seed=1,2 sweep=/outside
        seed=1,2 sweep=nested/../..
        seed=1,2 paths.runs={text}
        seed=1,2 trainer.device=2
        seed=1,2 backbone=vgg17
        backbone=googlenet_gap,vgg17
        seed=1,2 method.learning_rate=interval(0.1,0.2)
        hydra/sweeper=optuna seed=1
        hydra/sweeper=optuna seed=1,2 hydra.sweeper.direction=up
        hydra/sweeper=optuna seed=1,2 hydra.sweeper.sampler=grid
        hydra/sweeper=optuna seed=1,2 hydra.sweeper.num_trials=many
        hydra/launcher=nothing seed=1,2
        """,
    ),
    "folders that are not what they should be": [
        *[
            f"{base} dataset.root={{{tree}}} {options}"
            for base in (FOLDER, CHECK)
            for tree, options in (
                ("too_high", ""),
                ("split_beside_classes", ""),
                ("one_class_lost", ""),
                ("photos", "dataset.format=voc dataset.annotations=broken_voc"),
                ("photos", "dataset.format=voc dataset.annotations=other_names"),
                ("photos", "dataset.format=coco dataset.annotations=broken.json"),
                ("photos", "dataset.format=coco dataset.annotations=odd_ids.json"),
                ("photos", "dataset.format=coco dataset.annotations=other_names.json"),
                ("photos", "dataset.format=csv dataset.annotations=no_columns.csv"),
                ("photos", "dataset.format=csv dataset.annotations=fractions.csv"),
                ("photos", "dataset.format=csv dataset.annotations=outside.csv"),
                ("photos", "dataset.format=csv dataset.annotations=words.csv"),
                ("photos", "dataset.format=csv dataset.annotations=long.csv"),
                ("truncated", ""),
            )
        ],
    ],
}
