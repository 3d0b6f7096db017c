"""Measure the memory of a student's training by size, batch and precision: `python .../memory.py [--device cuda]`.

On a GPU: the peak of `torch.cuda.max_memory_allocated` over one real step. On a CPU: a count of tensors, not a GPU's
peak: weights, gradients, AdamW's two moments, the weight average, and the bytes that autograd keeps for the backward
pass, each storage once, measured at two batches and thus known for any. What a GPU needs besides (workspaces, what a
kernel holds for a moment, fragments, its context) is not in the count. The teacher's forward pass is apart.
Prints Markdown and writes scripts/results/memory_<device>.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import trainer.teachers  # noqa: F401  (registers resnet32_cifar with timm)
from modeling_deit_lt import DeiTLTForImageClassification
from trainer.arguments import DistillationArguments, ModelArguments
from trainer.machine import device_in_words, free_memory
from trainer.run.files import write_json
from trainer.students import build_student, checkpoint_layers

RESULTS = Path(__file__).parents[1] / "results"
CLASSES = 10
BATCHES = (32, 64, 128, 256, 512, 1024)
FEW = (2, 3)  # images of the two batches that a count is made of
OF_TEACHERS = (32, 64)  # of fewer the most is there at the end of the network, where its bf16 weights are
MIB = 2**20
STUDENTS = {
    "ViT-Ti, 224 px": ModelArguments(preset="tiny"),
    "ViT-S, 224 px": ModelArguments(preset="small"),
    "ViT-B, 224 px": ModelArguments(preset="base"),
    "6 x 192, 32 px": ModelArguments(preset="tiny", image_size=32, patch_size=4, num_hidden_layers=6),
}
TEACHERS = {"ResNet-32, 32 px": ("resnet32_cifar", 32), "ResNet-50, 224 px": ("resnet50", 224)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    parser.add_argument("--students", nargs="+", default=list(STUDENTS), help=f"of {', '.join(STUDENTS)}")
    parser.add_argument("--results", type=Path, help="result file; scripts/results/memory_<device>.json if not given")
    args = parser.parse_args()
    device = torch.device(args.device)
    on_cpu = device.type == "cpu"
    measure_student, measure_teacher = (counted, teacher_counted) if on_cpu else (on_gpu, teacher_on_gpu)
    students, teachers = [], []
    for name in args.students:
        for precision in ("float32", "bf16"):
            for checkpointing in (False, True):
                what = {"student": name, "precision": precision, "gradient_checkpointing": checkpointing}
                figures = measure_student(STUDENTS[name], precision, checkpointing, device)
                students.append({**what, **figures})
                print(row(students[-1]), flush=True)
    for name, (architecture, size) in TEACHERS.items():
        for precision in ("float32", "bf16"):
            figures = measure_teacher(architecture, size, precision, device)
            teachers.append({"teacher": name, "precision": precision, **figures})
    content = {
        "what": "a count of tensors, not a GPU's peak" if on_cpu else "peak of torch.cuda.max_memory_allocated",
        "unit": "MiB",
        "device": device_in_words(device, 1, "float32 and bf16"),
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "students": students,
        "teachers": teachers,
    }
    print("\n" + table(content))
    write_json(args.results or RESULTS / f"memory_{device.type}.json", content)


def student(settings: ModelArguments, checkpointing: bool) -> DeiTLTForImageClassification:
    """A student as a training has it."""
    args = DistillationArguments(output_dir="unused", report_to=[])  # of which nothing but the seed counts here
    model = build_student(settings, [str(label) for label in range(CLASSES)], [1] * CLASSES, args).train()
    if checkpointing:
        checkpoint_layers(model)
    return model


def counted(settings: ModelArguments, precision: str, checkpointing: bool, device: torch.device) -> dict:
    """What a student's step holds, counted; recomputed are the tensors of one layer, which backward makes anew."""
    model = student(settings, checkpointing)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    size, known = model.config.image_size, [parameter.untyped_storage() for parameter in model.parameters()]

    def saved(images: int) -> int:
        pixels = torch.randn(images, 3, size, size)
        with autocast(device, precision), kept_for_backward(known) as kept:
            output = model(pixel_values=pixels)
        del output
        return sum(kept.values())

    def layer(images: int) -> int:
        last, tokens = model.deit.encoder.layer[-1], model.deit.embeddings.position_embeddings.shape[1]
        last.gradient_checkpointing = False
        states = torch.randn(images, tokens, model.config.hidden_size, requires_grad=True)
        with autocast(device, precision), kept_for_backward([*known, states.untyped_storage()]) as kept:
            output = last(states)
        del output
        return sum(kept.values())

    fixed, image = line(saved)
    recomputed, again = line(layer) if checkpointing else (0, 0)
    whole = 5 * weights + fixed + recomputed  # weights, gradients, two moments, average
    return {
        "weights": mib(weights),
        "weights_gradients_moments_average": mib(5 * weights),
        "kept_for_any_batch": mib(fixed + recomputed),
        "kept_per_image": mib(image),
        "recomputed_per_image": mib(again),
        "batches": {str(batch): mib(whole + batch * (image + again)) for batch in BATCHES},
    }


def on_gpu(settings: ModelArguments, precision: str, checkpointing: bool, device: torch.device) -> dict:
    """The peak of one real step, for each batch; None where it does not fit."""
    model = student(settings, checkpointing).to(device)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    size, weights = model.config.image_size, sum(parameter.nbytes for parameter in model.parameters())

    def step(batch: int) -> None:
        pixels, labels = torch.randn(batch, 3, size, size, device=device), torch.zeros(batch, dtype=torch.long)
        with autocast(device, precision):
            loss = model(pixel_values=pixels, labels=labels.to(device)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    figures = {"weights": mib(weights), "batches": {str(batch): peak(lambda b=batch: step(b)) for batch in BATCHES}}
    del average
    return figures


def teacher_counted(architecture: str, size: int, precision: str, device: torch.device) -> dict:
    """What a teacher's forward pass holds at most, counted, besides the images."""
    model = timm.create_model(architecture, num_classes=CLASSES).eval()
    weights = sum(parameter.nbytes for parameter in model.parameters())

    def live(images: int) -> int:
        pixels = torch.randn(images, 3, size, size)
        with torch.no_grad(), autocast(device, precision), LiveTensors() as tensors:
            model(pixels)
        return tensors.peak

    fixed, image = line(live, OF_TEACHERS)
    batches = {str(batch): mib(weights + fixed + batch * image) for batch in BATCHES}
    return {"weights": mib(weights), "per_image": mib(image), "batches": batches}


def teacher_on_gpu(architecture: str, size: int, precision: str, device: torch.device) -> dict:
    """The peak of a teacher's forward pass, for each batch."""
    model = timm.create_model(architecture, num_classes=CLASSES).eval().to(device, memory_format=torch.channels_last)

    def forward(batch: int) -> None:
        with torch.no_grad(), autocast(device, precision):
            model(torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last))

    weights = sum(parameter.nbytes for parameter in model.parameters())
    batches = {str(batch): peak(lambda b=batch: forward(b)) for batch in BATCHES}
    return {"weights": mib(weights), "batches": batches}


def peak(step: Callable[[], None]) -> float | None:
    """MiB at most over a step that is not the first; None where the device has not as much."""
    try:
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        return mib(torch.cuda.max_memory_allocated())
    except torch.OutOfMemoryError:
        return None
    finally:
        free_memory()


@contextmanager
def kept_for_backward(known: list[torch.UntypedStorage]) -> Iterator[dict[int, int]]:
    """Context manager: bytes of each storage that autograd keeps of what is computed inside, but the known ones."""
    kept, counted_already = {}, {storage.data_ptr() for storage in known}
    alive = []  # so that no address is given out twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in counted_already:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside and still there.

    Attributes:
        peak: the most at any time.
    """

    def __init__(self):
        super().__init__()
        self.peak, self.live = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Called by torch for each operation."""
        result = func(*args, **(kwargs or {}))
        self.live = [(reference, size) for reference, size in self.live if not reference.expired()]
        own = {reference.cdata for reference, _ in self.live}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                reference = StorageWeakRef(tensor.untyped_storage())
                if reference.cdata not in own:
                    self.live.append((reference, tensor.untyped_storage().nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self.live))
        return result


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Context manager: the precision of a training."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def line(measure: Callable[[int], int], sizes: tuple[int, int] = FEW) -> tuple[int, int]:
    """Bytes for any batch, and for each image more, from two sizes of it."""
    few, more = (measure(images) for images in sizes)
    image = (more - few) // (sizes[1] - sizes[0])
    return few - sizes[0] * image, image


def mib(count: int) -> float:
    """Bytes as MiB."""
    return round(count / MIB, 2)


def table(content: dict) -> str:
    """The figures as Markdown, in GiB."""
    heads = ["", "precision", "gradient checkpointing", *(f"{batch} images" for batch in BATCHES)]
    lines = [f"GiB ({content['what']})", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += [row(entry) for entry in (*content["students"], *content["teachers"])]
    return "\n".join(lines)


def row(entry: dict) -> str:
    """A line of it."""
    name = entry.get("student") or f"teacher {entry['teacher']}"
    checkpointing = {True: "yes", False: "no", None: "-"}[entry.get("gradient_checkpointing")]
    sizes = ["-" if size is None else f"{size / 1024:.2f}" for size in entry["batches"].values()]
    return "| " + " | ".join([name, entry["precision"], checkpointing, *sizes]) + " |"


if __name__ == "__main__":
    main()
