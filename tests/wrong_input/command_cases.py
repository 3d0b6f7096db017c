"""Cases of settings about data and of images for `classify` and `evaluate`: name: (make, words, status, message)."""

import numpy as np
from wrong_input.makers import (
    IMAGES,
    TRAIN,
    array_file,
    empty_folder,
    encoded,
    header_alone,
    labelled,
    move,
    nothing,
    parquet,
    remove,
    rows,
    saved,
    several,
    write,
)

DIGITS = TRAIN + "digits"
CLASSIFY = "classify model "
EVALUATE = "evaluate model images --use_cpu"

# fmt: off
SETTINGS = {
    "rho too large": (nothing, DIGITS + " --rho 1000", 1, r"rho 1000 leaves class '7' without images"),
    "rho of 300 digits": (nothing, IMAGES + " --rho 1e300", 1, r"rho 1e\+300 leaves class"),
    "rho 0": (nothing, IMAGES + " --rho 0", 1, r"rho is the size of the largest class over the smallest"),
    "negative rho": (nothing, IMAGES + " --rho -3", 1, r"rho"),
    "rho nan": (nothing, IMAGES + " --rho nan", 1, r"rho"),
    "rho inf": (nothing, IMAGES + " --rho inf", 1, r"rho"),
    "rho of letters": (nothing, IMAGES + " --rho many", 2, r"rho"),
    "test_fraction beside test": (nothing, IMAGES + " --test_fraction 0.2", 1, r"leave out --test_fraction"),
    "test_fraction 1": (remove("images/test"), IMAGES + " --test_fraction 1", 2, r"test_fraction must lie in"),
    "negative test_fraction": (nothing, IMAGES + " --test_fraction -0.5", 2, r"test_fraction must lie in"),
    "test_fraction nan": (nothing, IMAGES + " --test_fraction nan", 2, r"test_fraction"),
    "test_fraction of letters": (nothing, IMAGES + " --test_fraction half", 2, r"test_fraction"),
    "one image a class to be split": (
        parquet(rows(3), test=False), IMAGES + " --test_fraction 0.2", 1, r"no class has two images"),
    "max_per_class without rho": (nothing, IMAGES + " --max_per_class 3", 1, r"max_per_class is used with rho only"),
    "max_per_class 0": (nothing, IMAGES + " --rho 2 --max_per_class 0", 1, r"max_per_class is 1 or more"),
    "max_per_class too large": (nothing, IMAGES + " --rho 2 --max_per_class 99", 1, r"needs 99 for max_per_class"),
    "groups outside the classes": (nothing, IMAGES + " --group_boundaries 2 9", 1, r"boundar"),
    "groups turned round": (nothing, IMAGES + " --group_boundaries 2 1", 1, r"boundar"),
    "groups of another data set": (nothing, IMAGES + " --group_boundaries cifar100_lt", 1, r"boundar|classes"),
    "configuration of a folder": (nothing, IMAGES + " --config_name plain", 1, r"has no configurations"),
    "configuration of parquet": (parquet(), IMAGES + " --config_name plain", 1, r"cannot load 'images': .*plain"),
    "Hub offline": (nothing, TRAIN + "nobody/nothing", 1, r"cannot load 'nobody/nothing': .*give a local folder"),
    "Hub name alone": (nothing, TRAIN + "image", 1, r"cannot load 'image'"),
    "name of a format": (nothing, TRAIN + "imagefolder", 1, r"'imagefolder' is a format"),
    "negative split_seed": (nothing, IMAGES + " --rho 2 --split_seed -1", 1, r"seed"),
    "unknown profile": (nothing, IMAGES + " --rho 2 --profile steep", 2, r"profile"),
    "teacher alone": (
        write("images/train/level1/9.png", b""), "train-teacher teacher.yaml --output_dir out --dataset images", 1,
        r"train, row \d+ \(\S*9.png\)"),
}

CLASSIFIED = {
    "no such image": (nothing, CLASSIFY + "nowhere.png", 1, r"there is no image nowhere.png"),
    "second image missing": (nothing, CLASSIFY + "images/test/level0/0.png nowhere.png", 1, r"no image nowhere.png"),
    "no image name": (nothing, CLASSIFY + "''", 1, r"there is no image"),
    "base64": (nothing, CLASSIFY + "iVBORw0KGgo=", 1, r"there is no image iVBOR"),
    "folder for an image": (nothing, CLASSIFY + "images", 1, r"images is a folder; name image files"),
    "text for an image": (nothing, CLASSIFY + "recipe.yaml", 1, r"recipe.yaml cannot be read as an image"),
    "empty image": (write("a.png", b""), CLASSIFY + "a.png", 1, r"a.png cannot be read as an image"),
    "truncated image": (write("a.jpg", encoded("JPEG")[:-80]), CLASSIFY + "a.jpg", 1, r"a.jpg cannot be read.*runc"),
    "address offline": (nothing, CLASSIFY + "http://x.invalid/a.png", 1, r"a.png cannot be read as an image"),
    "address of a file": (nothing, CLASSIFY + "file:///etc/hostname", 1, r"there is no image file:///etc/hostname"),
    "bomb for an image": (write("a.png", header_alone(60000, 60000)), CLASSIFY + "a.png", 1, r"a.png.*pixels"),
    "smaller bomb": (write("a.png", header_alone(13000, 13000)), CLASSIFY + "a.png", 1, r"a.png: 13000 x 13000 pix"),
    "strip for an image": (write("a.png", encoded(size=(1, 20000))), CLASSIFY + "a.png", 1, r"a.png: 1 x 20000"),
    "float image": (
        write("a.tif", array_file(np.ones((8, 8), "float32"), "TIFF")), CLASSIFY + "a.tif", 1, r"a.tif: its pixels"),
    "integer image": (
        write("a.tif", array_file(np.ones((8, 8), "int32"), "TIFF")), CLASSIFY + "a.tif", 1, r"a.tif: its pixels are"),
    "PostScript for an image": (write("a.png", encoded("EPS")), CLASSIFY + "a.png", 1, r"a.png: it is PostScript"),
}

EVALUATED = {
    "no data": (remove("images"), EVALUATE.replace("images", "./nowhere"), 1, r"there is no folder './nowhere'"),
    "other classes": (
        several(move("images/train/level2", "images/train/other"), move("images/test/level2", "images/test/other")),
        EVALUATE, 1, r"other classes than the model, or another order: other where the model has level2"),
    "a class fewer": (
        remove("images/train/level2", "images/test/level2"), EVALUATE, 1, r"other classes than the model.*2 for 3"),
    "another order": (
        saved(**{split: rows(label_type=rows().features["label"].__class__(names=["level1", "level0", "level2"]))
                 for split in ("train", "test")}),
        EVALUATE, 1, r"another order: level1 where the model has level0"),
    "another order in test alone": (
        parquet(test=rows(label_type=rows().features["label"].__class__(names=["level1", "level0", "level2"]))),
        EVALUATE, 1, r"differ from those of"),
    "numbers for names": (
        parquet(*[labelled([0, 1, 2], "int64")] * 2), EVALUATE, 1, r"other classes than the model.*0 where"),
    "truncated test image": (
        write("images/test/level1/2.png", encoded("JPEG")[:-80]), EVALUATE, 1, r"test, row 2 \(\S*2.png\)"),
    "float test image": (
        write("images/test/level1/2.png", array_file(np.ones((8, 8), "float32"), "TIFF")), EVALUATE, 1,
        r"test, row 2 \(\S*2.png\): its pixels are floating"),
    "no test to evaluate": (remove("images/test"), EVALUATE, 1, r"no test split"),
    "empty test to evaluate": (
        several(*(several(remove(f"images/test/level{i}"), empty_folder(f"images/test/level{i}")) for i in range(3))),
        EVALUATE, 1, r"test: the split has no images"),
    "boundaries to evaluate by": (nothing, EVALUATE + " --group_boundaries 2 9", 1, r"group_boundaries"),
}
# fmt: on
