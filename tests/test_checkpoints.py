"""What a run saves, takes up again, averages and selects."""

import shutil

import pytest
import torch
from helpers import (
    arguments,
    history,
    picture_dataset,
    teacher,
    tiny_student,
    train,
    training_images,
    weights,
)

from trainer.augmentation import EvaluationImages, image_processor
from trainer.checkpoints import load_student
from trainer.errors import CheckpointError
from trainer.run.student import save_and_test, weights_of
from trainer.teachers import Teacher
from trainer.trainer import DeiTLTTrainer


def average_of(trainer):
    """The weight average in one vector."""
    with weights_of(trainer.model, trainer.ema_callback.weights):
        return weights(trainer.model).clone()


def test_ema_is_its_formula_per_optimiser_step(tmp_path):
    seen = []
    model = tiny_student()

    class Recorder(DeiTLTTrainer):
        def log(self, logs, start_time=None):
            if "loss" in logs:
                seen.append(weights(self.model).clone())
            super().log(logs, start_time)

    start = weights(model).clone()
    args = arguments(tmp_path, ema_decay=0.5, gradient_accumulation_steps=2, num_train_epochs=3)
    trainer = Recorder(model, args, teacher(), train_dataset=training_images())
    trainer.train()
    assert len(seen) == trainer.state.global_step == 6
    average = start
    for step, current in enumerate(seen):
        decay = min(0.5, 1 - (1 + step) ** (-2 / 3))
        average = decay * average + (1 - decay) * current
    torch.testing.assert_close(average_of(trainer), average, atol=1e-6, rtol=1e-5)
    own = weights(model).clone()
    with weights_of(model, trainer.ema_callback.weights):
        torch.testing.assert_close(weights(model), average, atol=1e-6, rtol=1e-5)
    assert torch.equal(weights(model), own)


OVER_THE_STEP = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "drw_mean": "step",
    "drw_mixing": True,
    "drop_partial_batches": True,
}


@pytest.mark.parametrize("stop", [6, 10])  # in the middle of epoch 1, and of epoch 2, after the DRW switch at step 8
@pytest.mark.parametrize("settings", [{}, OVER_THE_STEP])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, stop, settings):
    """Bit for bit, with stochastic depth, mixing, EMA and DRW; 16 images in batches of 4 are 4 steps an epoch."""
    shared = {"num_train_epochs": 3, "drw_start_epoch": 2, "save_strategy": "steps", "save_steps": 2, **settings}
    shared["save_total_limit"] = 10
    whole = train(tmp_path / "whole", model=tiny_student(drop_path_rate=0.3), **shared)
    cut = tmp_path / "cut" / f"checkpoint-{stop}"
    shutil.copytree(tmp_path / "whole" / cut.name, cut)
    torch.manual_seed(99)  # what ran before must not matter
    resumed = train(cut.parent, model=tiny_student(seed=9, drop_path_rate=0.3), resume=str(cut), **shared)
    assert resumed.state.global_step == whole.state.global_step == 12
    assert torch.equal(weights(resumed.model), weights(whole.model))
    assert [row["step"] for row in history(cut.parent)] == [*range(stop + 1, 13), 12]  # the last line sums the run up
    assert torch.equal(average_of(whole), average_of(resumed))


def test_stochastic_depth_depends_on_neither_workers_nor_evaluations(tmp_path):
    """All draw from one generator: loaders do as often as they are started."""
    images = EvaluationImages(picture_dataset((4, 3, 2)), image_processor(8, 1.0))
    found = []
    for settings in ({}, {"dataloader_num_workers": 1}, {"eval_strategy": "steps", "eval_steps": 1}):
        args = arguments(tmp_path, num_train_epochs=3, **settings)
        data = {"train_dataset": training_images(), "eval_dataset": images}
        trainer = DeiTLTTrainer(tiny_student(drop_path_rate=0.5), args, teacher(), **data)
        trainer.train()
        found.append(weights(trainer.model))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_average_is_found_beside_the_checkpoint_that_is_named(tmp_path):
    """Not in the output folder of the new run."""
    shared = {"num_train_epochs": 3, "save_strategy": "epoch", "save_total_limit": 10}
    whole = train(tmp_path / "whole", **shared)
    resumed = train(tmp_path / "other", resume=str(tmp_path / "whole" / "checkpoint-8"), **shared)
    assert torch.equal(average_of(whole), average_of(resumed))


def test_a_history_line_that_was_cut_off_is_dropped(tmp_path):
    train(tmp_path, save_strategy="epoch", num_train_epochs=2)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    train(tmp_path, save_strategy="epoch", num_train_epochs=2, resume=str(tmp_path / "checkpoint-4"))
    assert [row["step"] for row in history(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_only_complete_students_are_loaded(tmp_path):
    from timm import create_model
    from timm.models import save_for_hf

    save_for_hf(create_model("resnet8_cifar", num_classes=3), tmp_path / "teacher", safe_serialization=True)
    with pytest.raises(CheckpointError, match="holds a timm model"):
        load_student(tmp_path / "teacher")
    student = tiny_student()
    student.save_pretrained(tmp_path / "student")
    assert torch.equal(weights(load_student(tmp_path / "student")), weights(student))
    partial = {name: tensor for name, tensor in student.state_dict().items() if "cls_classifier" not in name}
    student.save_pretrained(tmp_path / "student", state_dict=partial)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        load_student(tmp_path / "student")
    broken = {
        name: tensor * float("nan") if "dist" in name else tensor for name, tensor in student.state_dict().items()
    }
    student.save_pretrained(tmp_path / "student", state_dict=broken)
    with pytest.raises(CheckpointError, match="holds weights that are not finite"):
        load_student(tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_student(tmp_path / "student")


def test_a_foreign_checkpoint_is_refused(tmp_path):
    train(tmp_path, model=tiny_student(hidden_size=32), save_strategy="epoch", num_train_epochs=1)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        train(tmp_path, model=tiny_student(), resume=str(tmp_path / "checkpoint-4"), save_strategy="epoch")


def test_the_teacher_is_in_no_checkpoint(tmp_path):
    from safetensors import safe_open

    trainer = train(tmp_path, save_strategy="epoch")
    with safe_open(tmp_path / "checkpoint-8" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert len(names) == len(trainer.model.state_dict())
    assert not any("teacher" in name for name in names)


# Of six evaluations: plain accuracy is highest before DRW, balanced accuracy in it.
SCORES = {"mean_accuracy": [50, 90, 60, 70, 80, 75], "mean_balanced_accuracy": [40, 30, 45, 70, 65, 60]}


@pytest.mark.parametrize(("selection", "best"), [("validation", 4), ("paper", 2)])
def test_selection_keeps_the_best_by_balanced_accuracy_or_as_the_paper(tmp_path, selection, best):
    """The scores are given: what a network of this size scores would depend on torch's rounding."""
    held_out = EvaluationImages(picture_dataset((4, 3, 2)), image_processor(8, 1.0))
    places = iter(range(6))

    def given(prediction):
        place = next(places)
        return {name: scores[place] for name, scores in SCORES.items()}

    trainer = DeiTLTTrainer(
        tiny_student(),
        arguments(tmp_path, model_selection=selection, save_strategy="epoch", num_train_epochs=6, save_total_limit=20),
        train_dataset=training_images(),
        eval_dataset=held_out,
        processing_class=image_processor(8),
        compute_metrics=given,
    )
    trainer.train()
    steps = trainer.state.max_steps // 6
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{best * steps}")
    last = weights(trainer.model)
    trainer.compute_metrics = None
    reports, evaluation = save_and_test(trainer, held_out)
    assert torch.equal(weights(load_student(tmp_path)), weights(trainer.model))
    chosen = load_student(trainer.state.best_model_checkpoint)
    assert torch.equal(weights(trainer.model), weights(chosen))
    assert not torch.equal(weights(trainer.model), last)
    assert evaluation.report == reports["best"] == trainer.report(trainer.predict(held_out))
    assert reports["last"].keys() == reports["best"].keys()


def test_a_copy_of_the_model_is_the_model_alone(tmp_path):
    """No trainer leaves a hook on the model, which would drag trainer, teacher and data into the copy."""
    import copy

    trainer = DeiTLTTrainer(tiny_student(), arguments(tmp_path), teacher(), train_dataset=training_images())
    DeiTLTTrainer(trainer.model, arguments(tmp_path), teacher(), train_dataset=training_images())
    assert not any(module._forward_hooks for module in trainer.model.modules())
    copied = {}
    copy.deepcopy(trainer.model, copied)
    assert not any(isinstance(value, (DeiTLTTrainer, Teacher)) for value in copied.values())
