"""Cases of labels, columns and stored tables: name: (make, words, status, message)."""

import numpy as np
from datasets import ClassLabel, Image, Value
from wrong_input.makers import (
    IMAGES,
    NAMES,
    TRAIN,
    array_file,
    damaged,
    encoded,
    labelled,
    nothing,
    parquet,
    rows,
    saved,
    several,
    write,
)

NAMES_TURNED = NAMES[::-1]

# fmt: off
LABELS = {
    "label -1": (parquet(labelled([0, 1, -1], "int64")), IMAGES, 1, r"train, row 2: label -1 is negative"),
    "class -1": (parquet(test=rows(labels=[0, 1, -1])), IMAGES, 1, r"test, row 2: label -1 is out of range"),
    "gap": (parquet(labelled([0, 1, 5], "int64")), IMAGES, 1, r"class 2 has no train image"),
    "label too large in test": (
        parquet(labelled([0, 1, 2], "int64"), labelled([0, 3], "int64")), IMAGES, 1, r"test, row 1: class 3 has no"),
    "null label": (parquet(rows(labels=[0, 1, 2, None])), IMAGES, 1, r"train, row 3: label missing"),
    "null name": (parquet(labelled(["a", "b", None], "string")), IMAGES, 1, r"train, row 2: label missing"),
    "float labels": (parquet(labelled([0.0, 1.0], "float64")), IMAGES, 1, r"label column 'label' holds double"),
    "NaN labels": (parquet(labelled([0.0, float("nan")], "float32")), IMAGES, 1, r"column 'label' holds float"),
    "bool labels": (parquet(labelled([True, False], "bool")), IMAGES, 1, r"label column 'label' holds bool"),
    "list labels": (
        parquet(*[rows(labels=[[0], [1]], label_type=[Value("int64")])] * 2), IMAGES, 1,
        r"label column 'label' holds list"),
    "names and numbers": (
        parquet(labelled(["a", "b"], "string"), labelled([0, 1], "int64")), IMAGES, 1, r"label|class '0'"),
    "numbers and names": (
        parquet(labelled([0, 1], "int64"), labelled(["a", "b"], "string")), IMAGES, 1, r"cannot load|label"),
    "huge numbers": (parquet(labelled([0, 2**63 - 1], "uint64")), IMAGES, 1, r"class 1 has no train image"),
    "one class in rows": (parquet(labelled(["a"] * 3, "string")), IMAGES, 1, r"one class|class 'a'|has no train"),
    "empty name": (parquet(labelled(["a", "", "b"], "string"), labelled(["a"], "string")), IMAGES, 1, r"called ''"),
    "no image of a class": (parquet(rows(labels=[0, 2])), IMAGES, 1, r"1 of 3 classes have no image \(level1\)"),
    "label column in one split": (
        parquet(rows().remove_columns("label")), IMAGES, 1, r"has the columns image, label where .* has image"),
    "no label column": (
        parquet(*[rows().remove_columns("label")] * 2), IMAGES, 1, r"no label column; columns present: im"),
    "two label columns": (
        parquet(*[rows(columns=[("fine", ClassLabel(names=["a"]), [0])]).rename_column("label", "coarse")] * 2),
        IMAGES, 1, r"several label columns \(.*fine.*\).*--label_column"),
    "label column named that is not": (nothing, IMAGES + " --label_column kind", 1, r"no column 'kind'; columns pres"),
    "label column of images": (nothing, IMAGES + " --label_column image", 1, r"'image' cannot be both"),
    "no image column": (
        parquet(*[rows().remove_columns("image")] * 2), IMAGES, 1, r"no image column; columns present: label"),
    "two image columns": (
        parquet(*[rows(columns=[("mask", Image(), [{"bytes": encoded(), "path": None}])])] * 2),
        IMAGES, 1, r"several image columns \(image, mask\).*--image_column"),
    "images as bytes": (
        parquet(*[rows(images=[encoded()] * 9, image_type=Value("binary"))] * 2), IMAGES, 1, r"no image column"),
    "images as names": (
        parquet(*[rows(images=["a.png"] * 9, image_type=Value("string"))] * 2), IMAGES, 1, r"no image column"),
    "image column of names": (
        parquet(*[rows(images=["a.png"] * 9, image_type=Value("string"))] * 2),
        IMAGES + " --image_column image", 1, r"train, row 0: image a.png leads to /"),
    "image column of numbers": (parquet(), IMAGES + " --image_column label", 1, r"cannot be both image and label"),
    "null image": (
        parquet(rows(images=[None] + [{"bytes": encoded(), "path": None}] * 8)), IMAGES, 1,
        r"train, row 0: the image is missing"),
    "broken image in a row": (
        parquet(rows(images=[{"bytes": b"x", "path": "a.png"}] * 9)), IMAGES, 1, r"train, row 0 \(a.png\): the file"),
    "float images in rows": (
        parquet(rows(images=[{"bytes": array_file(np.ones((4, 4), "float32"), "TIFF"), "path": None}] * 9)), IMAGES,
        1, r"train, row 0: its pixels are floating-point"),
    "other order in test": (
        parquet(test=rows(label_type=ClassLabel(names=["level0", "level2", "level1"]))), IMAGES, 1,
        r"the classes of column 'label', or their order, differ.*level[12] where"),
    "other names in test": (
        parquet(test=rows(label_type=ClassLabel(names=["a", "b", "c"]))), IMAGES, 1, r"differ from those of"),
    "fewer classes in test": (
        parquet(test=rows(labels=[0, 1], label_type=ClassLabel(names=["level0", "level1"]))), IMAGES, 1, r"differ fr"),
    "parquet cut off": (several(parquet(), damaged("images/train*", keep=0.5)), IMAGES, 1, r"cannot load.*[Pp]arquet"),
    "parquet damaged": (several(parquet(), damaged("images/train*", at=0.95)), IMAGES, 1, r"cannot load 'images'"),
    "rows without test": (parquet(test=False), IMAGES, 1, r"no test split \(splits present: train\)"),
    "rows without train": (parquet(train=False), IMAGES, 1, r"no split 'train'; splits present: test"),
    "no rows in test": (parquet(test=rows(0)), IMAGES, 1, r"test: the split has no images|cannot load"),
    "no rows in train": (parquet(rows(0)), IMAGES, 1, r"train: the split has no images|cannot load"),
    "saved with one split": (saved(train=rows()), IMAGES, 1, r"no test split \(splits present: train\)"),
    "saved without splits": (
        lambda folder: rows().save_to_disk(folder / "one"), TRAIN + "one", 1, r"without splits; save a DatasetDict"),
    "saved in another order": (
        saved(train=rows(), test=rows(label_type=ClassLabel(names=NAMES_TURNED))), IMAGES, 1, r"differ from those of"),
    "arrow cut off": (several(saved(), damaged("images/train/*.arrow", keep=0.5)), IMAGES, 1, r"cannot load 'images'"),
    "arrow damaged": (several(saved(), damaged("images/train/*.arrow", at=0.1)), IMAGES, 1, r"cannot load|label|imag"),
    "arrow of text": (several(saved(), write("images/train/a.arrow", "text")), IMAGES, 1, r"cannot load 'images'"),
}
# fmt: on
