"""Cases of lists of images: name: (make, words, status, message)."""

import gzip

from wrong_input.makers import IMAGES, TRAIN, link, nothing, secret, several, write

GOOD = [f"train/level{label}/{first + i}.png {label}" for label, first in enumerate((0, 8, 14)) for i in range(3)]
TEST = [f"test/level{label}/{2 * label + i}.png {label}" for label in range(3) for i in range(2)]
GIVEN = IMAGES + " --train_list train.txt --test_list test.txt"


def lists(train=GOOD, test=TEST, names=("train.txt", "test.txt")):
    """Makes a maker: lists in the data folder, beside a good tree."""
    return several(
        secret,
        *(write(f"images/{name}", "\n".join(lines)) for name, lines in zip(names, (train, test), strict=True)),
    )


# fmt: off
LISTS = {
    "list that is not there": (nothing, IMAGES + " --train_list a.txt", 1, r"train_list: there is no file a.txt, nor"),
    "list that is a folder": (nothing, IMAGES + " --train_list train", 1, r"train_list: there is no file train, nor"),
    "test list alone": (lists(), IMAGES + " --test_list test.txt", 1, r"test_list needs a train_list"),
    "list of digits": (lists(), TRAIN + "digits --train_list images/train.txt", 1, r"'digits' is none, name their fo"),
    "line without a label": (lists([*GOOD, "train/level0/3.png"]), GIVEN, 1, r"train.txt, line 10: .* is not a path"),
    "label of letters": (lists([*GOOD, "train/level0/3.png a"]), GIVEN, 1, r"train.txt, line 10: .* whole number"),
    "listed upwards": (
        lists([*GOOD, "../../outside/secret.png 1"]), GIVEN, 1, r"row 9: image .* leads to /.*outside/secret"),
    "listed by an absolute path": (
        lists([*GOOD, "/etc/hostname 1"]), GIVEN, 1, r"row 9: image /etc/hostname leads to /"),
    "list of an address": (
        lists([*GOOD, "https://x.invalid/a 1"]), GIVEN, 1, r"not where it says; expected /.*/images/https://x.inv"),
    "list through a link": (
        several(lists([*GOOD, "there/secret.png 1"]), link("images/there", "OUTSIDE")), GIVEN, 1,
        r"row 9: image .* leads to /.*outside/secret"),
    "list of what is gone": (
        lists([*GOOD, "train/level0/99.png 0"]), GIVEN, 1, r"train, row 9 \(\S*99.png\): the image file does not"),
    "nothing is there": (lists([f"a/{line}" for line in GOOD]), GIVEN, 1, r"expected /.*/images/a/train/level0/0.png"),
    "gap of classes": (
        lists([*GOOD, "train/level0/3.png 4"]), GIVEN, 1, r"train.txt: class 3 has no train image \(labels run to 4"),
    "test class without images": (
        lists(test=[*TEST, "train/level0/4.png 3"]), GIVEN, 1, r"test.txt, line 7: class '3' has no train image"),
    "listed twice": (lists([*GOOD, GOOD[0]]), GIVEN, 1, r"train.txt, line 10: .* stands in line 1 too"),
    "trained and tested": (lists(test=[*TEST, GOOD[0]]), GIVEN, 1, r"test.txt, line 7: .* is a training image too"),
    "class of one list": (lists(GOOD[:3], TEST[:2]), GIVEN, 1, r"one class|leaves nothing to tell apart"),
    "list cut off": (
        several(lists(), write("images/train.txt.gz", gzip.compress("\n".join(GOOD).encode())[:-9])),
        IMAGES + " --train_list train.txt.gz", 1, r"train.txt.gz cannot be read"),
    "binary list": (
        several(lists(), write("images/a.txt", b"\x89PNG\xff")), IMAGES + " --train_list a.txt", 1, r"is not UTF-8"),
    "two official data sets": (
        several(*(write(f"images/{name}_train.txt", "\n".join(GOOD)) for name in ("Places_LT", "ImageNet_LT"))),
        IMAGES, 1, r"lists of ImageNet-LT and Places-LT; name one by --train_list"),
    "official test list alone": (write("images/Places_LT_test.txt", "a 0"), IMAGES, 1, r"without Places_LT_train.txt"),
    "official list elsewhere": (
        several(write("../outside/list.txt", "\n".join(GOOD)), link("images/Places_LT_train.txt", "OUTSIDE/list.txt")),
        IMAGES, 1, r"Places_LT_train.txt: the list leads to /.*outside/list.txt"),
    "class_from of letters": (nothing, IMAGES + " --class_from name", 2, r"class_from must be one of path, folder"),
    "no data to check": (nothing, "check-data recipe.yaml nowhere/at/all", 1, r"there is no folder 'nowhere/at/all'"),
    "no recipe to check by": (nothing, "check-data nowhere images", 2, r"there is no recipe nowhere"),
    "parquet into a full folder": (nothing, "to-parquet recipe.yaml images model", 1, r"model is not an empty folder"),
    "parquet into a file": (nothing, "to-parquet recipe.yaml images recipe.yaml", 1, r"recipe.yaml is not an empty"),
}
# fmt: on
