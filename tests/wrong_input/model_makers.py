"""Makers of wrong and hostile models, and of what a comparison finds; see makers.py for those of data."""

import json
import os
import pickle
import shutil
import zipfile

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from wrong_input.makers import write

from trainer.augmentation import image_processor

NAMES = ["level0", "level1", "level2"]


class Payload:
    """A pickle that makes a folder `ran` when it is read."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def cnn(folder, names=NAMES, outputs=3):
    """A teacher's folder as `deit-lt train-teacher` writes it, with random weights."""
    model = timm.create_model("resnet8_cifar", num_classes=outputs)
    told = {"label_names": names} if names else {}
    data = {"input_size": (3, 8, 8)}
    save_for_hf(model, str(folder / "cnn"), model_config=told, safe_serialization=True, data_config=data)
    config = json.loads((folder / "cnn" / "config.json").read_text())
    config["model_args"].pop("num_classes", None)
    (folder / "cnn" / "config.json").write_text(json.dumps(config))
    image_processor(8).save_pretrained(folder / "cnn")


def other_cnn(**kwargs):
    """Makes a maker: a teacher with other classes."""
    return lambda folder: cnn(folder, **kwargs)


def pickled(name, way="torch"):
    """Makes a maker: a file with the payload, as torch writes it now or did before, or beside real weights."""

    def make(folder):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        content = {"state_dict": {"fc.weight": torch.zeros(3, 64)}, "epoch": 200, "arch": "resnet32", "x": Payload()}
        if way == "pickle":
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=way == "torch")

    return make


def weights(change, name="model"):
    """Makes a maker: the weights of a model are others."""

    def make(folder):
        file = folder / name / "model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})

    return make


def without(part):
    return lambda found: {name: weight for name, weight in found.items() if part not in name}


def not_finite(found):
    return {name: w * float("nan") if w.is_floating_point() else w for name, w in found.items()}


def config(name="model/config.json", **changes):
    """Makes a maker: a JSON file says something else."""

    def make(folder):
        content = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        (folder / name).write_text(json.dumps({**content, **changes}))

    return make


def own_code(folder):
    """A Hugging Face folder whose model is its own Python file."""
    write(
        "cnn/config.json",
        json.dumps(
            {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForImageClassification": "mine.M"}}
        ),
    )(folder)
    write("cnn/mine.py", "import os\nos.mkdir('ran')\n")(folder)
    write("cnn/model.safetensors", b"")(folder)


def hugging_face(folder):
    """A Hugging Face folder with its weights as a pickle alone."""
    write("cnn/config.json", json.dumps({"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}))(
        folder
    )
    pickled("cnn/pytorch_model.bin")(folder)


def comparison(**metrics):
    """Makes a maker: a run of a comparison is there, with these metrics."""

    def make(folder):
        write("runs/full_seed0/metrics.json", json.dumps(metrics))(folder)

    return make


def both_files(folder):
    """A teacher with good weights beside a pickle, which timm and transformers would take in another order."""
    cnn(folder)
    pickled("cnn/pytorch_model.bin")(folder)
    shutil.copy(folder / "cnn" / "pytorch_model.bin", folder / "model" / "pytorch_model.bin")
    with zipfile.ZipFile(folder / "cnn" / "pytorch_model.bin") as archive:
        assert any(b"mkdir" in archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def a_pipe(folder):
    """What is neither file nor folder, as /dev/null."""
    os.mkfifo(folder / "pipe")
