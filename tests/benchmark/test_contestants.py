"""Contestants do the same work, and each case and kind of images can be trained by those that it names."""

import json
from dataclasses import replace
from io import StringIO

import pytest
import torch
from torch import nn

from trainer.benchmark import CASES, DATA, Case, flops, process
from trainer.benchmark.flops import flops_of, flops_of_step, matmul_ceiling, trained_flops
from trainer.benchmark.process import train
from trainer.benchmark.stopwatch import Channel, Ended

TEACHER = replace(CASES["resnet32"], network="resnet8_cifar", image_size=8, cpu_batch=4)


def turns(entry, count=2):
    """What a contestant says of its turns; here in this process."""
    told = Channel(StringIO("".join(json.dumps({"steps": 2}) + "\n" for _ in range(count))), StringIO())
    with pytest.raises(Ended):
        train(entry, told)
    ready, *found = (json.loads(line) for line in told.outgoing.getvalue().splitlines())
    assert ready["workers"] == 0
    return found


@pytest.mark.parametrize(("ours", "data"), [*((True, data) for data in DATA), (False, "synthetic"), (False, "host")])
def test_a_student_is_trained_in_turns(entry, ours, data):
    found = turns(entry(ours=ours, data=data))
    assert len(found) == 2
    assert all(0 < turn["waited"] < turn["seconds"] for turn in found)


@pytest.mark.parametrize(
    ("ours", "data", "training"),
    [
        (True, "host", {"sam_rho": [0.8]}),
        (False, "host", {"sam_rho": [0.8]}),
        (False, "synthetic", {}),
        (True, "device", {"loss": "paco"}),
        (True, "synthetic", {"loss": "paco"}),
    ],
)
def test_a_teacher_is_trained_in_turns(entry, ours, data, training):
    assert len(turns(entry(replace(TEACHER, training=training), ours=ours, data=data))) == 2


def test_bf16_is_computed_in_bf16(entry, monkeypatch):
    kinds = []
    monkeypatch.setattr("timm.task.token_distillation.F.cross_entropy", lambda x, y: kinds.append(x.dtype) or x.sum())
    turns(entry(ours=False, precision="bf16"), 1)
    assert set(kinds) == {torch.bfloat16}


@pytest.mark.parametrize("name", ["tiny", "vit_base_224", "student_32"])
def test_timms_student_is_as_ours(entry, name):
    """As many parameters, the same stochastic depth in each layer, and as many operations in all layers but the last,
    of which ours computes what its two heads look at."""
    case = CASES[name]
    with torch.device("meta"):
        made = entry(case)
        ours, timms = made.student(made.arguments()), made.timm_student(made.arguments())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in timms.parameters())
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in timms.blocks]
    assert rates == pytest.approx([layer.drop_path.rate for layer in ours.deit.encoder.layer])
    assert rates[-1] > 0
    images = torch.empty(4, 3, case.image_size, case.image_size, device="meta")
    whole = trained_flops(timms, images)
    assert trained_flops(lambda images: ours(images, output_hidden_states=True).logits, images) == whole
    assert whole * (1 - 1 / len(rates)) < trained_flops(ours, images) <= whole


def test_operations_of_a_linear_layer():
    layer, images = nn.Linear(5, 7), torch.ones(3, 5)
    assert flops_of(layer, images) == 2 * 3 * 5 * 7
    assert trained_flops(layer, images) == 2 * (2 * 3 * 5 * 7)  # the images need no gradient


def test_a_second_pass_doubles_the_operations(entry):
    plain = flops_of_step(entry(TEACHER))
    assert flops_of_step(entry(replace(TEACHER, training={"sam_rho": [0.8]}))) == 2 * plain
    assert plain < flops_of_step(entry(replace(TEACHER, training={"loss": "paco"}))) < 2 * plain


def test_the_ceiling_is_that_of_the_fastest_product(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(flops.time, "perf_counter", lambda: next(clock))  # a second for all of a size
    found = matmul_ceiling(torch.device("cpu"), (8, 32), torch.float32)
    assert found == 2 * 32**3 * flops.REPEATS


def test_a_case_goes_to_its_process_and_back_as_it_is(entry):
    made = entry(replace(TEACHER, training={"sam_rho": [0.8]}))
    back = type(made).from_message(json.loads(json.dumps(made.to_message())))
    assert isinstance(back.case, Case)
    assert back == replace(made, case=replace(made.case, contestants=list(made.case.contestants)))


def test_what_goes_wrong_in_a_process_is_told_in_a_line(entry, monkeypatch, capsys):
    unknown = entry(replace(TEACHER, network="resnet7_cifar")).to_message()
    told = Channel(StringIO(json.dumps(unknown) + "\n"), StringIO())
    monkeypatch.setattr(process.Channel, "of_this_process", lambda: told)
    process.main()
    (message,) = told.outgoing.getvalue().splitlines()
    assert json.loads(message)["error"].startswith("TeacherError: teacher architecture resnet7_cifar")
    assert "Traceback" in capsys.readouterr().err  # which goes to the log
