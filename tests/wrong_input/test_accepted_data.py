"""Data that look odd and are fine: each comes as far as a training step, or is classified."""

import io
import os
import re
import tarfile

import numpy as np
import pytest
from datasets import ClassLabel, Image, Value
from PIL import Image as PILImage
from wrong_input.makers import (
    IMAGES,
    ROW,
    TRAIN,
    array_file,
    encoded,
    every_image,
    grey,
    labelled,
    link,
    listed,
    move,
    nothing,
    parquet,
    remove,
    rows,
    saved,
    secret,
    several,
    write,
)


def frames(kind):
    """The bytes of an animation: red, then blue."""
    red, blue = (PILImage.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    buffer = io.BytesIO()
    red.save(
        buffer, format=kind, save_all=True, append_images=[blue], **({"lossless": True} if kind == "WEBP" else {})
    )
    return buffer.getvalue()


def palette(transparency):
    buffer = io.BytesIO()
    PILImage.open(io.BytesIO(encoded())).convert("P").save(buffer, "PNG", transparency=transparency)
    return buffer.getvalue()


def hidden(folder):
    (folder / "images/train/.level9").mkdir()
    write("images/train/.level9/1.png", encoded())(folder)


def turned(folder):
    (folder / "images").rename(folder / "stored")
    (folder / "images").symlink_to("stored")


MODES = {
    **{
        mode: encoded("PNG" if mode != "CMYK" else "TIFF", mode=mode) for mode in ("1", "L", "LA", "P", "RGBA", "CMYK")
    },
    "palette with a transparent colour": palette(3),
    "palette with alpha": palette(bytes(range(200))),
    "LAB": encoded("TIFF", mode="LAB"),
    "1 x 1": encoded(size=(1, 1)),
    "3 x 1": encoded(size=(3, 1)),
    "100 x 1": encoded(size=(100, 1)),
    "animated GIF": frames("GIF"),
    "animated WebP": frames("WEBP"),
    "animated PNG": frames("PNG"),
    "16 bits": array_file(np.linspace(0, 65535, 64).reshape(8, 8).astype("uint16")),
    "16 bits in TIFF": array_file(np.linspace(0, 65535, 64).reshape(8, 8).astype("uint16"), "TIFF"),
    "16 bits in PGM": array_file(np.linspace(0, 65535, 64).reshape(8, 8).astype("int32"), "PPM"),
}
ACCEPTED = {
    "link to the data": (turned, IMAGES),
    "link inside": (link(ROW, "10.png"), IMAGES),
    "class that is a link inside": (
        several(move("images/train/level1", "images/train/.stored"), link("images/train/level1", ".stored")), IMAGES),
    "spaces, percent and others": (move(ROW, "images/train/level1/a b%s\n\u00e9\U0001f600'\".png"), IMAGES),
    "long name": (move(ROW, f"images/train/level1/{'a' * 240}.png"), IMAGES),
    "class of spaces and percent": (
        several(*(move(f"images/{s}/level1", f"images/{s}/a b%d \u00e9") for s in ("train", "test"))), IMAGES),
    "test without a class": (remove("images/test/level1"), IMAGES),
    "class folders alone": (nothing, TRAIN + "images/train --test_fraction 0.3"),
    "path with a slash": (nothing, TRAIN + "./images/"),
    "names of classes": (parquet(*[labelled(["a", "b", "a"], "string")] * 2), IMAGES),
    "small integers": (parquet(*[labelled([0, 1, 2], "int8")] * 2), IMAGES),
    "images with a mode": (parquet(*[rows(image_type=Image(mode="RGB"))] * 2), IMAGES),
    "bytes as images": (
        parquet(*[rows(images=[encoded()] * 9, image_type=Value("binary"))] * 2), IMAGES + " --image_column image"),
    "further columns": (
        parquet(*[rows(columns=[("fine", ClassLabel(names=["a"]), [0])])] * 2), IMAGES + " --label_column label"),
    "saved data set": (saved(), IMAGES),
    "list of all": (listed(["file_name,label", *(f"{i}.png,level{i % 2}" for i in range(4))]), IMAGES),
    "validation for test": (move("images/test", "images/validation"), IMAGES),
    "16 bits throughout": (every_image(lambda pixels: array_file(grey(pixels, 65535, "uint16"))), IMAGES),
    "images of all modes": (
        several(*(write(f"images/train/level1/{name}.png", content) for name, content in MODES.items())), IMAGES),
}  # fmt: skip
SAID = {
    "hidden class folder": (hidden, IMAGES, "hidden folders are no classes.*: .level9"),
    "classes that differ in case": (
        several(move("images/train/level2", "images/train/Level1"), move("images/test/level2", "images/test/Level1")),
        IMAGES,
        "'Level1' and 'level1' differ in case or spaces alone",
    ),
    "folder beside the splits": (move(ROW, "images/more/9.png"), IMAGES, "no split are not read: more"),
    "dark images": (
        every_image(lambda pixels: array_file((pixels // 17).astype("uint8"))),
        IMAGES,
        "no image has a value above 1[0-5] of 255",
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_trains(trains, name):
    trains(*ACCEPTED[name])


@pytest.mark.parametrize("name", SAID)
def test_it_trains_and_something_is_said(trains, caplog, name):
    make, words, message = SAID[name]
    trains(make, words)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.search(message, line), line


@pytest.mark.parametrize("name", MODES)
def test_it_is_classified_as_its_pixels_say(folder, run, name):
    """The same as of a plain PNG of the RGB pixels that numpy makes of it; of an animation, of its first image."""
    write("odd", MODES[name])(folder)
    with PILImage.open(folder / "odd") as image:
        wide = "bits" in name
        pixels = np.rint(np.asarray(image) / 257).astype("uint8") if wide else np.asarray(image.convert("RGB"))
    PILImage.fromarray(pixels).convert("RGB").save(folder / "plain.png")
    assert run("classify model odd")[:2] == (0, run("classify model plain.png")[1])
    if "animated" in name:
        assert abs(pixels.astype(int) - [255, 0, 0]).max() < 3


def test_12_bits_are_classified_and_said(folder, run, caplog):
    write("a.png", array_file(np.linspace(0, 4095, 64).reshape(8, 8).astype("uint16")))(folder)
    assert run("classify model a.png")[0] == 0
    assert "a.png: its 16 bits reach 4095 of 65535" in caplog.text


def test_what_a_camera_turned_is_turned_back(folder, run):
    with PILImage.open(io.BytesIO(encoded(size=(8, 16)))) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        image.save(folder / "exif.png", exif=exif)
        image.transpose(PILImage.Transpose.ROTATE_270).save(folder / "plain.png")
        image.save(folder / "as_stored.png")
    told = run("classify model exif.png")[1]
    assert told == run("classify model plain.png")[1] != run("classify model as_stored.png")[1]


def test_a_link_in_a_webdataset_is_not_followed(folder, trains):
    """Members of shards are read one by one; one that is a link is passed over."""

    def shards(folder):
        target = secret(folder)
        remove("images")(folder)
        (folder / "images").mkdir()
        for split in ("train", "test"):
            with tarfile.open(folder / "images" / f"{split}-0.tar", "w") as archive:
                for index in range(6):
                    for name, content in (
                        (f"{index}.png", encoded(seed=index)),
                        (f"{index}.cls", b"%d" % (index % 2)),
                    ):
                        entry = tarfile.TarInfo(name)
                        entry.size = len(content)
                        archive.addfile(entry, io.BytesIO(content))
                entry = tarfile.TarInfo("6.png")
                entry.type, entry.linkname = tarfile.SYMTYPE, str(target)
                archive.addfile(entry)

    trains(shards, IMAGES + " --label_column cls")
    assert not os.path.exists(folder / "images" / "6.png")
