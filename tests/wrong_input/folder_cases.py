"""Cases of folders, links, lists and image files: name: (make, words, status, message)."""

import numpy as np
from wrong_input.makers import (
    IMAGES,
    ROW,
    TRAIN,
    array_file,
    byte_name,
    empty_folder,
    encoded,
    every_image,
    fifo,
    flat_files,
    grey,
    header_alone,
    link,
    listed,
    move,
    nothing,
    parquet,
    path_rows,
    remove,
    several,
    tar_with_link,
    write,
    zip_with,
)

HEADER = "file_name,label"
GOOD = [f"{i}.png,level{i % 2}" for i in range(4)]

# fmt: off
FOLDERS = {
    "missing folder": (nothing, TRAIN + "./nowhere", 1, r"there is no folder './nowhere'"),
    "a file": (nothing, TRAIN + "./recipe.yaml", 1, r"recipe.yaml' is a file; give the folder"),
    "no name": (nothing, TRAIN + "''", 1, r"there is no folder ''"),
    "very long name": (nothing, TRAIN + "./" + "a" * 5000, 1, r"there is no folder"),
    "null byte": (nothing, TRAIN + "'./a%\n b'", 1, r"there is no folder"),
    "empty folder": (empty_folder("none"), TRAIN + "none", 1, r"none"),
    "only text": (write("texts/a.txt", "hello"), TRAIN + "texts", 1, r"holds no class folders"),
    "one class": (remove("images/train/level1", "images/train/level2"), IMAGES, 1, r"one class folder \(level0\)"),
    "one class without splits": (flat_files("a/1.png", "a/2.png"), IMAGES, 1, r"one class folder \(a\)"),
    "empty class folder": (empty_folder("images/train/level3"), IMAGES, 1, r"level3: class 'level3' has no train im"),
    "Train for train": (
        several(move("images/train", "images/Train"), move("images/test", "images/Test")),
        IMAGES,
        1,
        r"Test: the folder of this split is called 'test'; rename it|'train'; rename it",
    ),
    "Test beside train": (move("images/test", "images/Test"), IMAGES, 1, r"Test: .*is called 'test'; rename it"),
    "nested class folder": (move(ROW, "images/train/level1/more/9.png"), IMAGES, 1, r"more: a folder inside a class"),
    "training for train": (
        several(move("images/train", "images/training"), move("images/test", "images/testing")),
        IMAGES,
        1,
        r"testing: a folder of class folders; if it is a split, call it 'test', beside 'train'",
    ),
    "text among images": (write("images/train/level1/notes.txt", "x"), IMAGES, 1, r"notes.txt: not an image file"),
    "image outside the classes": (write("images/train/a.png", encoded()), IMAGES, 1, r"a.png: an image outside the"),
    "class in test alone": (move("images/train/level1", "spare"), IMAGES, 1, r"test has class 'level1', train has"),
    "no test": (remove("images/test"), IMAGES, 1, r"has no test split .*--test_fraction"),
    "no train": (remove("images/train"), IMAGES, 1, r"has no split 'train'; splits present: test"),
    "empty test": (
        several(*(remove(f"images/test/level{i}") for i in range(3))),
        IMAGES,
        1,
        r"test: the split has no images",
    ),
    "flat images without labels": (
        flat_files("train/1.png", "test/1.png"), IMAGES, 1, r"1.png: an image outside the class folders"),
    "name not UTF-8": (byte_name("images/train/level1", b"caf\xe9.png", encoded()), IMAGES, 1, r"xe9.*not UTF-8"),
    "line break in a class": (
        several(*(move(f"images/{s}/level1", f"images/{s}/a\nb") for s in ("train", "test"))), IMAGES, 1,
        r"class 0 is called 'a"),
    "pipe": (fifo, IMAGES, 1, r"9.png: not an image file"),
}

LINKS = {
    "broken link": (link(ROW, "nowhere.png"), IMAGES, 1, r"9.png: the link leads nowhere"),
    "link to a secret": (link(ROW, "OUTSIDE/secret.png"), IMAGES, 1, r"9.png: the link leads to /.*outside/secret"),
    "class elsewhere": (link("images/train/level2", "OUTSIDE"), IMAGES, 1, r"level2: the link leads to /.*outside"),
    "train elsewhere": (link("images/train", "OUTSIDE"), IMAGES, 1, r"train: the link leads to /.*outside"),
    "broken class": (link("images/train/level2", "gone"), IMAGES, 1, r"level2: the link leads nowhere"),
    "loop": (link("images/train/level1/loop", ".."), IMAGES, 1, r"loop: a folder inside a class folder"),
    "link to itself": (link("images/train/level2", "level2"), IMAGES, 1, r"level2: the link leads nowhere"),
    "row to a secret": (path_rows("FOLDER/../outside/secret.png"), IMAGES, 1, r"row 8: image .*leads to /.*outside/s"),
    "row upwards": (
        path_rows("../outside/secret.png"), IMAGES, 1, r"train, row 8: image \.\./.* leads to /.*outside/"),
    "row to the system": (path_rows("/etc/hostname"), IMAGES, 1, r"row 8: image /etc/hostname leads to /"),
    "row to an address": (path_rows("https://x.invalid/a.png"), IMAGES, 1, r"row 8: .*a.png is no file of the data"),
    "row to an archive": (path_rows("zip://a.png::FOLDER/b.zip"), IMAGES, 1, r"row 8: .* is no file of the data"),
    "row with a null byte": (path_rows("FOLDER/images/a\0.png"), IMAGES, 1, r"row 8: .* is no file of the data"),
    "list upwards": (listed([HEADER, *GOOD[:3], "../../../outside/secret.png,level1"]), IMAGES, 1, r"secret.png"),
    "list absolute": (listed([HEADER, *GOOD[:3], "OUTSIDE/secret.png,level1"]), IMAGES, 1, r"secret.png"),
    "json list upwards": (
        listed([f'{{"file_name": "{name}", "label": "a"}}' for name in ("0.png", "../../../outside/secret.png")],
               "metadata.jsonl", files=1),
        IMAGES, 1, r"secret.png",
    ),
    "list of what is absent": (listed([HEADER, *GOOD, "9.png,level1"]), IMAGES, 1, r"9.png"),
    "list that leaves out": (listed([HEADER, *GOOD[:3]]), IMAGES, 1, r"3.png: no row names this image.*\(2 such\)"),
    "list without names": (listed(["name,label", *GOOD]), IMAGES, 1, r"file_name"),
    "empty list": (listed([]), IMAGES, 1, r"cannot load 'images'"),
    "files elsewhere": (
        several(parquet(), move("images/test-00000-of-00001.parquet", "other.parquet"),
                write("images/README.md", "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
                      "    path: '*.parquet'\n  - split: test\n    path: ../other.parquet\n---\n")),
        IMAGES, 1, r"other.parquet",
    ),
    "parquet elsewhere": (
        several(
            parquet(),
            move("images/test-00000-of-00001.parquet", "../outside/test.parquet"),
            link("images/test-00000-of-00001.parquet", "OUTSIDE/test.parquet"),
        ),
        IMAGES, 1, r"test-00000-of-00001.parquet leads to /.*outside/test.parquet"),
    "archive": (zip_with("../../evil.png"), IMAGES, 1, r"train.zip: archives are not opened"),
    "archive with an absolute name": (zip_with("/etc/evil.png"), IMAGES, 1, r"train.zip: archives are not opened"),
    "archive with a link": (
        tar_with_link, IMAGES, 1, r"train.tar: archives are not opened|no (label|image) column|no test split"),
    "loading script": (write("script/script.py", "open('ran', 'w')"), TRAIN + "script", 1, r"script"),
    "README that runs code": (
        several(parquet(), write("images/README.md", "---\na: !!python/object/apply:os.system ['touch ran']\n---\n")),
        IMAGES, 1, r"cannot load 'images'",
    ),
}

FILES = {
    "zero bytes": (write(ROW, b""), IMAGES, 1, r"train, row \d+ \(\S*9.png\): the file is not an image"),
    "text with .png": (write(ROW, "no image"), IMAGES, 1, r"train, row \d+ \(\S*9.png\): the file is not an image"),
    "truncated PNG": (write(ROW, encoded(size=(64, 64))[:3000]), IMAGES, 1, r"9.png\): the image cannot be decoded"),
    "truncated JPEG": (write(ROW, encoded("JPEG")[:-80]), IMAGES, 1, r"9.png\): the image cannot be decoded.*runcat"),
    "truncated WebP": (write(ROW, encoded("WEBP")[:-80]), IMAGES, 1, r"9.png\): the (file is not an im|image cannot)"),
    "truncated in test": (
        write("images/test/level1/2.png", encoded("JPEG")[:-80]), IMAGES, 1, r"test, row 2 \(\S*2.png\)"),
    "folder called x.png": (empty_folder("images/train/level1/x.png"), IMAGES, 1, r"x.png: a folder inside a class"),
    "decompression bomb": (write(ROW, header_alone(60000, 60000)), IMAGES, 1, r"9.png\): .*pixels"),
    "bomb below Pillow's error": (write(ROW, header_alone(13000, 13000)), IMAGES, 1, r"13000 x 13000 pixels are too"),
    "strip": (write(ROW, encoded(size=(1, 20000))), IMAGES, 1, r"1 x 20000 pixels: longer than 100 times"),
    "PostScript": (write(ROW, encoded("EPS")), IMAGES, 1, r"9.png\): it is PostScript"),
    "floats": (
        every_image(lambda pixels: array_file(grey(pixels, 1, "float32"), "TIFF")), IMAGES, 1,
        r"train, row 0 \(\S*0.png\): its pixels are floating-point numbers, whose range is not known; save"),
    "one of floats": (
        write(ROW, array_file(np.ones((8, 8), "float32"), "TIFF")), IMAGES, 1, r"9.png\): its pixels are floating"),
    "32-bit integers": (
        write(ROW, array_file(np.ones((8, 8), "int32"), "TIFF")), IMAGES, 1, r"9.png\): its pixels are 32-bit"),
    "12 bits in 16": (
        every_image(lambda pixels: array_file(grey(pixels, 4095, "uint16"))), IMAGES, 1,
        r"grey images of 16 bits have values up to \d+ of 65535, so 1\d of 256 grey levels"),
}
# fmt: on
