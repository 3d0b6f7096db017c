"""Small ImageNet-LT, iNaturalist-2018 and Places-LT: their lists, folders and file names, with generated images."""

import gzip
import json

from helpers import picture_dataset

COUNTS = (12, 8, 6)
TESTED = 3
WORDNET = ("n01440764", "n01443537", "n01484850")
ROOMS = ("airfield", "arena-rodeo", "church-outdoor")
KINGDOMS = ("Plantae", "Insecta", "Aves")


def imagenet_lt(root, base="", flat_val=False, packed=False):
    """Images as ImageNet unpacks below `base`, `val` sorted into class folders or as it comes; three lists."""
    lists = {"train": [], "val": [], "test": []}
    for number, (label, image) in enumerate(pictures(COUNTS)):
        place = f"train/{WORDNET[label]}/{WORDNET[label]}_{100 + number}.JPEG"
        lists["train"].append(f"{place} {label}")
        save(image, root / base / place)
    for number, (label, image) in enumerate(pictures((TESTED,) * 3)):
        name = f"ILSVRC2012_val_{number + 1:08}.JPEG"
        lists["test"].append(f"val/{WORDNET[label]}/{name} {label}")
        save(image, root / base / "val" / ("" if flat_val else WORDNET[label]) / name)
        place = f"train/{WORDNET[label]}/{WORDNET[label]}_{900 + number}.JPEG"
        lists["val"].append(f"{place} {label}")
        save(image, root / base / place)
    for split, lines in lists.items():
        write_list(root / f"ImageNet_LT_{split}.txt", lines, packed)
    return root


def inaturalist_2018(root, inside=True, annotations=False, packed=False):
    """Images below `train_val2018` or, where that is the data folder, directly; lists or the authors' annotations."""
    for split, counts in (("train", COUNTS), ("val", (TESTED,) * 3)):
        lines, images, categories_of = [], [], []
        for number, (label, image) in enumerate(pictures(counts)):
            name = f"{KINGDOMS[label]}/{label}/{split}{number:028x}.jpg"
            save(image, root / ("train_val2018" if inside else "") / name)
            lines.append(f"train_val2018/{name} {label}")
            images.append({"id": 1000 + number, "file_name": f"train_val2018/{name}", "license": 3, "width": 8})
            categories_of.append({"id": number, "image_id": 1000 + number, "category_id": label})
        if annotations:
            categories = [{"id": i, "name": f"Species {kingdom}"} for i, kingdom in enumerate(KINGDOMS)]
            content = {"info": {"year": 2018}, "images": images, "annotations": categories_of[::-1]}
            (root / f"{split}2018.json").write_text(json.dumps({**content, "categories": categories}))
        else:
            write_list(root / f"iNaturalist18_{split}.txt", lines, packed)
    return root


def places_lt(root, lists=1, folders="train", packed=False):
    """Either version of the lists over the folders of an archive: train, places365_standard/train or data_256."""
    lines = {"train": [], "val": [], "test": []}
    for number, (label, image) in enumerate(pictures(COUNTS)):
        room, name = ROOMS[label], f"{number:08}.jpg"
        old = f"data_256/{room[0]}/{room.replace('-', '/')}/{name}"
        lines["train"].append(f"{f'train/{room}/{name}' if lists == 1 else old} {label}")
        save(image, root / (old if folders == "data_256" else f"{folders}/{room}/{name}"))
    for number, (label, image) in enumerate(pictures((TESTED,) * 3)):
        room, name = ROOMS[label], f"Places365_val_{number:08}.jpg"
        lines["test"].append(f"{f'val/{room}/{name}' if lists == 1 else f'val_256/{name}'} {label}")
        val = folders.replace("train", "val")
        save(image, root / (f"val_256/{name}" if folders == "data_256" else f"{val}/{room}/{name}"))
    for split in ("train", "test"):
        write_list(root / f"Places_LT_{split}.txt", lines[split], packed)
    return root


LAYOUTS = {
    "ImageNet-LT": imagenet_lt,
    "ImageNet-LT, packed lists": lambda root: imagenet_lt(root, packed=True),
    "ImageNet-LT, flat val": lambda root: imagenet_lt(root, flat_val=True),
    "ImageNet-LT, the challenge's folders": lambda root: imagenet_lt(root, "ILSVRC/Data/CLS-LOC", flat_val=True),
    "ImageNet-LT, Data/CLS-LOC": lambda root: imagenet_lt(root, "Data/CLS-LOC"),
    "iNaturalist-2018": inaturalist_2018,
    "iNaturalist-2018, packed lists": lambda root: inaturalist_2018(root, packed=True),
    "iNaturalist-2018, inside its folder": lambda root: inaturalist_2018(root, inside=False),
    "iNaturalist-2018, annotations": lambda root: inaturalist_2018(root, annotations=True),
    **{
        f"Places-LT, lists {version} over {folders}": lambda root, v=version, f=folders: places_lt(root, v, f)
        for version in (1, 2)
        for folders in ("train", "places365_standard/train", "data_256")
    },
}


def pictures(counts):
    """Label and image of each row, classes in turn as in a shuffled list."""
    rows = list(picture_dataset(counts))
    return [(row["label"], row["image"]) for row in rows[::2] + rows[1::2]]


def save(image, path):
    """As a JPEG file of the best quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=100)


def write_list(path, lines, packed=False):
    """Plain, or packed by gzip."""
    content = "".join(f"{line}\n" for line in lines).encode()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)
