"""Loading of teachers: timm names and folders, Hugging Face classifiers, folders of `deit-lt train-teacher`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from trainer.checkpoints import check_weights
from trainer.data import RGB, PixelFormat
from trainer.errors import CheckpointError, TeacherError
from trainer.parsing import in_one_line, shown
from trainer.safe_weights import refuse_pickles
from trainer.teachers import cifar_resnet, cosine  # noqa: F401  (register their models with timm)
from trainer.teachers.class_names import class_order

logger = logging.getLogger(__name__)

NORMALIZATIONS = ("student", "own")
NEAR = 0.02  # of the range of the values
OF_A_FILE = (
    "of weights alone build the network in Python, load them with torch.load(FILE, weights_only=True) and save it "
    "with timm.models.save_for_hf(model, FOLDER, safe_serialization=True)"
)
OWN_CODE = (
    "it brings code of its own, which is not run; if you trust it, load it in Python and give DeiTLTTrainer a "
    "trainer.teachers.Teacher of it"
)


class Teacher(nn.Module):
    """A frozen classifier that takes the student's images.

    DeiT-LT shows the teacher the student's own tensor, strongly augmented and mixed ("out-of-distribution
    distillation"), resized with bicubic interpolation without antialiasing and not normalised anew.

    Args:
        model: images to logits, or to an output with `.logits`.
        image_size: side of its input in pixels, or None for images as they come.
        mean, std: (C,) its own pixel statistics.
        normalization: "student" keeps the student's normalisation, "own" converts to the teacher's.
        order: which of the model's outputs is class 0, 1, ... of the data; None: as they come.
        pixels: the student's. Default: RGB with ImageNet's mean and deviation.
    """

    def __init__(
        self,
        model: nn.Module,
        image_size: int | None,
        mean,
        std,
        normalization: str = "student",
        order: Sequence[int] | None = None,
        pixels: PixelFormat = RGB,
    ):
        super().__init__()
        # Which convolutions are fastest on; models of transformers may view their features as if they were not.
        self.layout = torch.contiguous_format if isinstance(model, PreTrainedModel) else torch.channels_last
        self.model = model.to(memory_format=self.layout)
        self.image_size = image_size
        self.own_normalization = normalization == "own"
        student_mean, student_std = torch.tensor(pixels.mean), torch.tensor(pixels.std)
        mean, std = torch.tensor(mean), torch.tensor(std)
        self.register_buffer("scale", (student_std / std).view(-1, 1, 1))
        self.register_buffer("shift", ((student_mean - mean) / std).view(-1, 1, 1))
        self.register_buffer("order", None if order is None else torch.tensor(order))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """A teacher stays in evaluation mode: its batch statistics must not follow the student's images."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in the student's normalisation to (B, C) logits in the data's class order."""
        if self.image_size is not None and images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=False)
        if self.own_normalization:
            images = images * self.scale + self.shift
        output = self.model(images.contiguous(memory_format=self.layout))
        logits = output if isinstance(output, Tensor) else output.logits
        return logits if self.order is None else logits.index_select(-1, self.order)


class Classifier(NamedTuple):
    """A trained classifier as it was found, before it becomes the teacher of a student."""

    name: str  # folder or model name
    model: nn.Module
    num_classes: int
    class_names: list[str] | None  # in the order of its outputs, where they have names
    image_size: int  # side in pixels that it was trained with
    mean: Sequence[float]  # of its pixels, one number a channel
    std: Sequence[float]
    bits: int = 8  # of its pixels; of other channels than RGB they say which value is 1


def load_teacher(name_or_path: str, num_labels: int, *args, **kwargs) -> Teacher:
    """Load a frozen teacher, its outputs in the order of the data's classes.

    Args:
        name_or_path: as for `open_classifier`.
        num_labels: C, classes of the student's data.
        args, kwargs: as for `as_teacher`.

    Returns:
        A `Teacher`: images in the student's normalisation to logits.

    Raises:
        TeacherError, ValueError: as `open_classifier` and `as_teacher`.
    """
    return as_teacher(open_classifier(name_or_path), num_labels, *args, **kwargs)


def open_classifier(name_or_path: str) -> Classifier:
    """Find a trained classifier.

    Args:
        name_or_path: a folder written by `deit-lt train-teacher` or by timm, a folder or Hub id of a Hugging Face
            image classifier, or a timm model name ("resnet50.a1_in1k", "hf-hub:timm/...").

    Raises:
        TeacherError: nothing loadable is there.
    """
    try:
        classifier = _found(name_or_path)
    # Whatever lies there may be broken in any way; each library has errors of its own for it.
    except Exception as error:
        reason = OWN_CODE if "trust_remote_code" in str(error) else in_one_line(error)
        raise TeacherError(
            f"teacher {shown(name_or_path)}: cannot be loaded ({reason}); give a folder or a model name"
        ) from error
    try:
        check_weights(name_or_path, classifier.model)
    except CheckpointError as error:
        raise TeacherError(f"teacher {error}") from error
    return classifier


def as_teacher(
    classifier: Classifier,
    num_labels: int,
    image_size: int | None = None,
    normalization: str = "student",
    class_names: Sequence[str] | None = None,
    teacher_class_names: Sequence[str] | None = None,
    pixels: PixelFormat = RGB,
) -> Teacher:
    """Make a classifier the teacher of a student.

    Args:
        classifier: from `open_classifier`.
        num_labels: C, classes of the student's data; the classifier must have as many.
        image_size: side of the teacher's input in pixels; by default the size it was trained with.
        normalization: "student" (the paper: the student's pixels as they are, default) or "own".
        class_names: (C,) the data's classes in the data's order, to which the teacher's outputs are brought by name;
            outputs without names are taken in the order they have. Default: no comparison.
        teacher_class_names: (C,) classes of the teacher's outputs in their order, in place of those that its folder
            gives (timm's `label_names`, Hugging Face's `id2label`). Default: the folder's.
        pixels: the student's. Default: RGB with ImageNet's mean and deviation.

    Raises:
        TeacherError: another number of classes or channels, or other classes.
        ValueError: an unknown normalisation.
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"teacher normalisation must be one of {', '.join(NORMALIZATIONS)}, got {normalization!r}")
    if classifier.num_classes != num_labels:
        raise TeacherError(
            f"teacher {classifier.name}: has {classifier.num_classes} classes, the data have {num_labels}; train it "
            "on these data"
        )
    refuse_other_channels(classifier, pixels.channels)
    _compare_pixels(classifier, pixels, normalization)
    names = classifier.class_names if teacher_class_names is None else teacher_class_names
    order = None if names is None or class_names is None else class_order(classifier.name, names, class_names)
    size = image_size or classifier.image_size
    return Teacher(classifier.model, size, classifier.mean, classifier.std, normalization, order, pixels)


def _compare_pixels(classifier: Classifier, pixels: PixelFormat, normalization: str) -> None:
    """Refuse another depth; tell of another mean or deviation where the images' own are taken."""
    if classifier.bits != pixels.bits:
        raise TeacherError(
            f"teacher {classifier.name}: was trained on images of {classifier.bits} bits, these have {pixels.bits}; "
            "name a recipe, which trains one on these images"
        )
    apart = np.abs(np.array([classifier.mean, classifier.std]) - np.array([pixels.mean, pixels.std])).max()
    if pixels != RGB and normalization == "student" and apart > NEAR:
        logger.warning(
            "teacher %s was trained on pixels of another mean and deviation than these images'; "
            "--teacher_normalization own converts to its own",
            classifier.name,
        )


def refuse_other_channels(classifier: Classifier, channels: int) -> None:
    """Refuse a classifier of images with more or fewer channels than the student's.

    Raises:
        TeacherError: it says how many.
    """
    if len(classifier.mean) != channels:
        raise TeacherError(
            f"teacher {classifier.name}: takes images of {len(classifier.mean)} channels, num_channels is {channels}; "
            "name a recipe, which trains one on these images"
        )


def _found(name: str) -> Classifier:
    """A folder's, timm's or the Hub's; errors of any kind."""
    path = Path(name).expanduser()
    if path.is_dir():
        return _open_folder(name, path)
    if path.is_file():
        raise ValueError(f"it is a file; {OF_A_FILE}")
    if path.is_absolute() or name.startswith((".", "~")):
        raise FileNotFoundError("no such folder")
    return _open_timm(name, name) if ":" in name or "/" not in name else _open_transformers(name)


def _open_folder(name: str, path: Path) -> Classifier:
    config = json.loads((path / "config.json").read_text())
    if not isinstance(config, dict):
        raise ValueError("its config.json holds no settings of a model")
    if "architecture" in config:
        refuse_pickles(path, "model.safetensors")  # which timm prefers to all others
        return _open_timm(name, f"local-dir:{path}")._replace(bits=_bits(path))
    refuse_pickles(path, "*.safetensors")
    return _open_transformers(str(path))


def _bits(folder: Path) -> int:
    """Of the images that a folder of `deit-lt train-teacher` was trained on."""
    file = folder / "preprocessor_config.json"
    return json.loads(file.read_text()).get("bits", 8) if file.is_file() else 8


def _open_timm(name: str, timm_name: str) -> Classifier:
    model = timm.create_model(timm_name, pretrained=True)
    config = model.pretrained_cfg
    names = config.get("label_names") or None
    if isinstance(names, dict):  # output index to name, where timm's folder says it so
        names = [names[index] for index in sorted(names, key=int)]
    return Classifier(name, model, model.num_classes, names, config["input_size"][-1], config["mean"], config["std"])


def _open_transformers(name: str) -> Classifier:
    safe = {"trust_remote_code": False, "use_safetensors": True}
    model, info = AutoModelForImageClassification.from_pretrained(name, output_loading_info=True, **safe)
    if info["missing_keys"]:  # which would stay random
        raise ValueError(f"it lacks the weights {min(info['missing_keys'])} and perhaps more")
    processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    size = getattr(processor, "crop_size", None) or processor.size
    side = size.get("height") or size.get("shortest_edge")
    names = [name for _, name in sorted(model.config.id2label.items())]
    if names == [f"LABEL_{index}" for index in range(len(names))]:  # transformers' placeholders
        names = None
    bits = getattr(processor, "bits", 8)
    mean, std = processor.image_mean, processor.image_std
    return Classifier(name, model, model.config.num_labels, names, side, mean, std, bits)
