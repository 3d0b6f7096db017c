"""What is measured (cases), and by whom it is trained (contestants)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Contestant:
    """One way to train the network of a case.

    Attributes:
        what: it is, in a line.
        ours: whether it is this package's Trainer, rather than a plain loop that it is compared with.
        settings: precision and compilation, as `RunArguments` has them.
    """

    what: str
    ours: bool
    settings: dict = field(default_factory=dict)


FLOAT32 = {"precision": "float32", "torch_compile": False}
CONTESTANTS = {
    "timm": Contestant("timm's TokenDistillationTask in a plain loop, float32", False, FLOAT32),
    "timm_bf16_compiled": Contestant(
        "the same in bf16, student and teacher compiled", False, {"precision": "bf16", "torch_compile": True}
    ),
    "torch": Contestant("a plain loop with torch's SGD, float32", False, FLOAT32),
    "ours": Contestant("deit-lt's training, float32", True, FLOAT32),
    "ours_as_recipes": Contestant(
        "deit-lt's training as its recipes run it, in bf16", True, {"precision": "bf16", "torch_compile": "auto"}
    ),
}
OF_STUDENTS = ("timm", "timm_bf16_compiled", "ours", "ours_as_recipes")


@dataclass(frozen=True)
class Case:
    """A network that is trained.

    Attributes:
        what: it is, in a line.
        network: timm's name of the CNN: of the student's teacher, or of the teacher that is trained.
        image_size: side of the images in pixels.
        cpu_batch, gpu_batch: images of a step.
        student: settings of `ModelArguments`; None where the teacher itself is trained.
        training: settings of `DistillationArguments` or `TeacherArguments` that differ from their defaults.
        contestants: names of those that can train it.
    """

    what: str
    network: str
    image_size: int
    cpu_batch: int
    gpu_batch: int
    student: dict | None = None
    training: dict = field(default_factory=dict)
    contestants: tuple[str, ...] = OF_STUDENTS


def _vit(preset: str, gpu_batch: int) -> Case:
    what = f"student of the preset {preset} at 224 px, teacher ResNet-50"
    return Case(what, "resnet50", 224, 16, gpu_batch, {"preset": preset})


def _teacher(what: str, *contestants: str, **training) -> Case:
    return Case(f"teacher ResNet-32 at 32 px, {what}", "resnet32_cifar", 32, 64, 128, None, training, contestants)


CASES = {
    "vit_tiny_224": _vit("tiny", 256),
    "vit_small_224": _vit("small", 256),
    "vit_base_224": _vit("base", 128),
    "student_32": Case(
        "student of 6 blocks, width 192 and patches of 4 px at 32 px, teacher ResNet-32",
        *("resnet32_cifar", 32, 64, 512),
        student={"preset": "tiny", "num_hidden_layers": 6, "patch_size": 4},
    ),
    "resnet32": _teacher("LDAM", "torch", "ours"),
    "resnet32_sam": _teacher("LDAM with SAM", "torch", "ours", sam_rho=[0.8]),
    "resnet32_paco": _teacher("PaCo", "ours", loss="paco"),  # no loop to compare with
}
ON_A_CPU = ("vit_tiny_224", "student_32")  # where none are named; the others take long there
