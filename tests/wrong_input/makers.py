"""Small functions that put something wrong into a folder with good data; see conftest.py for what is there."""

import io
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

ROW = "images/train/level1/9.png"  # one of the good images
TRAIN = "finetune recipe.yaml --output_dir out --dataset "
IMAGES = TRAIN + "images"
NAMES = ["level0", "level1", "level2"]


def nothing(folder):
    """Everything is good; the words are what is wrong."""


def encoded(kind="PNG", size=(8, 8), mode="RGB", seed=0, **options):
    """The bytes of a noisy image file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).convert(mode).save(buffer, format=kind, **options)
    return buffer.getvalue()


def header_alone(width, height):
    """A PNG file that declares a size and holds next to nothing."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def array_file(pixels, kind="PNG"):
    """The bytes of an image of these very pixels: uint16, int32, float32, ..."""
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def write(name, content):
    """Makes a maker: a file of this content, which may be text or bytes."""

    def make(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def move(old, new):
    """Makes a maker: something has another name."""

    def make(folder):
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)

    return make


def remove(*names):
    """Makes a maker: files or folders are missing."""

    def make(folder):
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return make


def empty_folder(name):
    """Makes a maker: a folder with nothing in it."""
    return lambda folder: (folder / name).mkdir(parents=True)


def link(name, target):
    """Makes a maker: a link; beside the working folder lies `outside`, with a class folder and a secret image."""

    def make(folder):
        secret(folder)
        path = folder / name
        if path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        path.symlink_to(str(target).replace("OUTSIDE", str(folder.parent / "outside")))

    return make


def secret(folder):
    """A readable image outside of the data folder."""
    write("../outside/secret.png", encoded(seed=7))(folder)
    return folder.parent / "outside" / "secret.png"


def several(*makers):
    """Makes a maker of several."""

    def make(folder):
        for maker in makers:
            maker(folder)

    return make


def every_image(change):
    """Makes a maker: each image file of `images` is rewritten by `change(pixels, path)`, which returns bytes."""

    def make(folder):
        for path in (folder / "images").rglob("*.png"):
            with PILImage.open(path) as image:
                pixels = np.asarray(image)
            path.write_bytes(change(pixels))

    return make


def grey(pixels, largest, dtype):
    """Grey pixels of another type, from 0 to `largest`."""
    return (pixels.mean(axis=2) / 255 * largest).astype(dtype)


def rows(count=9, labels=None, images=None, image_type=None, label_type=None, columns=None):
    """A table of images and labels of any type."""
    labels = [i % 3 for i in range(count)] if labels is None else labels
    images = [{"bytes": encoded(seed=i), "path": None} for i in range(len(labels))] if images is None else images
    features = {"image": image_type or Image(), "label": label_type or ClassLabel(names=NAMES)}
    values = {"image": images, "label": labels}
    for name, feature, column in columns or ():
        features[name], values[name] = feature, column * len(labels)
    return Dataset.from_dict(values, Features(features))


def parquet(train=None, test=None, **more):
    """Makes a maker: `images` is a folder of parquet files; None for a good split, False for none."""

    def make(folder):
        shutil.rmtree(folder / "images")
        (folder / "images").mkdir()
        for split, table in {"train": train, "test": test, **more}.items():
            if table is not False:
                table = rows() if table is None else table
                # not by `to_parquet`, which would put files that paths name into it
                pq.write_table(table.data.table, folder / "images" / f"{split}-00000-of-00001.parquet")

    return make


def labelled(values, kind):
    """A table whose labels are these, of this arrow type."""
    return rows(labels=values, label_type=Value(kind))


def path_rows(path):
    """A table whose last image is a path."""

    def images(folder):
        good = [{"bytes": encoded(seed=i), "path": None} for i in range(8)]
        return rows(images=[*good, {"bytes": None, "path": path.replace("FOLDER", str(folder))}])

    def make(folder):
        secret(folder)
        parquet(images(folder))(folder)

    return make


def saved(**splits):
    """Makes a maker: `images` is a folder of `DatasetDict.save_to_disk`."""

    def make(folder):
        shutil.rmtree(folder / "images")
        DatasetDict(splits or {"train": rows(), "test": rows()}).save_to_disk(folder / "images")

    return make


def damaged(pattern, at=None, keep=None):
    """Makes a maker: a file is cut off, or bytes in it are others."""

    def make(folder):
        path = next(iter(sorted(folder.glob(pattern))))
        content = bytearray(path.read_bytes())
        if keep is not None:
            content = content[: int(keep * len(content))]
        if at is not None:
            start = int(at * len(content))
            content[start : start + 200] = b"\xff" * len(content[start : start + 200])
        path.write_bytes(bytes(content))

    return make


def listed(lines, name="metadata.csv", files=4):
    """Makes a maker: `images/train` and `images/test` of flat files, and a list with a header and these lines."""

    def make(folder):
        secret(folder)
        shutil.rmtree(folder / "images")
        for split in ("train", "test"):
            for index in range(files):
                write(f"images/{split}/{index}.png", encoded(seed=index))(folder)
            text = "\n".join(lines).replace("OUTSIDE", str(folder.parent / "outside"))
            write(f"images/{split}/{name}", text + "\n")(folder)

    return make


def byte_name(parent, name, content):
    """Makes a maker: a file whose name is no UTF-8."""

    def make(folder):
        Path(os.fsdecode(os.path.join(os.fsencode(folder / parent), name))).write_bytes(content)

    return make


def zip_with(member):
    """Makes a maker: the data are an archive with a hostile member."""

    def make(folder):
        remove("images")(folder)
        write("images/README.txt", "x")(folder)
        with zipfile.ZipFile(folder / "images" / "train.zip", "w") as archive:
            archive.writestr("cat/1.png", encoded())
            archive.writestr(member, encoded())

    return make


def tar_with_link(folder):
    """WebDataset shards with a link to a secret."""
    target = secret(folder)
    remove("images")(folder)
    (folder / "images").mkdir()
    with tarfile.open(folder / "images" / "train.tar", "w") as archive:
        for name in ("cat/1.png", "dog/1.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(encoded())
            archive.addfile(entry, io.BytesIO(encoded()))
        entry = tarfile.TarInfo("dog/2.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(target)
        archive.addfile(entry)


def flat_files(*names):
    """Makes a maker: `images` holds these files alone."""
    return several(remove("images"), *(write(f"images/{name}", encoded(seed=i)) for i, name in enumerate(names)))


def fifo(folder):
    """A pipe that nobody writes to."""
    (folder / ROW).unlink()
    os.mkfifo(folder / ROW)
