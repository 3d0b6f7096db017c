"""fp16's gradient scaler, which Trainer saves and restores; torch has one for the CPU, Accelerate makes none there."""

import shutil

import torch
from helpers import arguments, teacher, tiny_student, training_images

from trainer.trainer import DeiTLTTrainer


def trained(folder, resume=None):
    """A trainer whose scale doubles every fifth step, after 12 steps."""
    args = arguments(folder, num_train_epochs=3, save_strategy="steps", save_steps=6, save_total_limit=10)
    trainer = DeiTLTTrainer(tiny_student(), args, teacher(), train_dataset=training_images())
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=5)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_a_resumed_run_goes_on_with_its_scale(tmp_path):
    whole = trained(tmp_path / "whole")
    saved = torch.load(tmp_path / "whole" / "checkpoint-6" / "scaler.pt", weights_only=True)
    assert (saved["scale"], saved["_growth_tracker"]) == (128.0, 1)
    cut = tmp_path / "cut" / "checkpoint-6"
    shutil.copytree(tmp_path / "whole" / cut.name, cut)
    resumed = trained(tmp_path / "cut", str(cut))
    for trainer in (whole, resumed):
        state = trainer.accelerator.scaler.state_dict()
        assert (state["scale"], state["_growth_tracker"]) == (256.0, 2)
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
