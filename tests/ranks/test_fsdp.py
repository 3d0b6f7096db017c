"""FSDP 2 on two ranks of a CPU (see fsdp_on_cpu.py) against plain data parallelism, through the real command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import arguments, command, history, image_tree, teacher, tiny_student, write_recipe
from ranks.launching import SETTINGS, environment, launch
from safetensors.torch import load_file
from transformers import Trainer

from trainer.checkpoints import load_student
from trainer.errors import RunError
from trainer.recipe_files import shipped_recipes
from trainer.trainer import DeiTLTTrainer

FSDP = ["--config_file", shipped_recipes("accelerate")["fsdp2"], "--num_processes=2"]
DDP = ["--config_file", shipped_recipes("accelerate")["cpu"]]
ON_CPU = Path(__file__).with_name("fsdp_on_cpu.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run divided by FSDP, the same one under DDP, and the first one taken up again in the middle of an epoch."""
    folder = tmp_path_factory.mktemp("fsdp")
    recipe = write_recipe(folder, dataset=str(image_tree(folder / "images")), **SETTINGS)
    done = launch(*FSDP, ON_CPU, "finetune", recipe, "--output_dir=fsdp", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    done = launch(*DDP, "-m", "trainer.commands", "finetune", recipe, "--output_dir=ddp", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.copytree(folder / "fsdp" / "checkpoint-3", folder / "resumed" / "checkpoint-3")
    shutil.copy(folder / "fsdp" / "settings.json", folder / "resumed")
    words = [recipe, "--output_dir=resumed", "--resume_from_checkpoint=true"]
    done = launch(*FSDP, ON_CPU, "finetune", *words, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def losses(folder):
    return [row["loss"] for row in history(folder) if "loss" in row]


def without_times(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: metrics[name] for name in ("last", "best", "ema", "teacher", "findings")}


@pytest.mark.slow
def test_the_network_is_divided(runs):
    """Which a run that quietly fell back to DDP would not show: DDP's checkpoints have no such file."""
    assert (runs / "fsdp" / "checkpoint-3" / "pytorch_model_fsdp.bin").is_file()
    assert not (runs / "ddp" / "checkpoint-3" / "pytorch_model_fsdp.bin").exists()


@pytest.mark.slow
def test_the_same_is_learned_as_under_ddp(runs):
    """Before DRW and in it, with mixing and stochastic depth; gradients are summed in another order, in float32."""
    assert losses(runs / "fsdp") == pytest.approx(losses(runs / "ddp"), rel=1e-4)
    assert len(losses(runs / "fsdp")) == 6
    for file in ("model.safetensors", "checkpoint-6/model.safetensors", "checkpoint-6/ema.safetensors"):
        fsdp, ddp = (load_file(runs / run / file) for run in ("fsdp", "ddp"))
        assert fsdp.keys() == ddp.keys()
        for name in fsdp:
            torch.testing.assert_close(fsdp[name], ddp[name], atol=1e-5, rtol=1e-4)
    fsdp, ddp = (without_times(runs / run) for run in ("fsdp", "ddp"))
    assert fsdp["teacher"] == ddp["teacher"]  # one of them reused the other's
    for weights in ("last", "best", "ema"):
        for expert in ("mean", "cls", "dist"):
            assert fsdp[weights][expert] == pytest.approx(ddp[weights][expert], abs=1e-2)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(runs):
    for file in ("model.safetensors", "checkpoint-6/model.safetensors", "checkpoint-6/ema.safetensors"):
        whole, resumed = (load_file(runs / run / file) for run in ("fsdp", "resumed"))
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert without_times(runs / "resumed") == without_times(runs / "fsdp")


@pytest.mark.slow
def test_the_folder_is_a_whole_model(runs):
    """The same files as DDP's; it opens without this package, and the command classifies with it."""
    names = [{path.name for path in (runs / run).iterdir() if path.is_file()} for run in ("fsdp", "ddp")]
    assert names[0] == names[1]
    configs = [json.loads((runs / run / "config.json").read_text()) for run in ("fsdp", "ddp")]
    assert configs[0] == configs[1]
    load_student(runs / "fsdp")
    done = command("classify", "fsdp", "fsdp/example.png", cwd=runs)
    assert done.returncode == 0, done.stderr
    code = "from transformers import AutoModelForImageClassification as A; A.from_pretrained('fsdp', {})"
    code = code.format("trust_remote_code=True, local_files_only=True")
    without_package = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    words = [sys.executable, "-P", "-c", code]
    done = subprocess.run(words, cwd=runs, env=without_package, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_one_kind_of_checkpoint_is_not_resumed_as_the_other(runs):
    words = ["finetune", "recipe.yaml"]
    done = launch(*FSDP, ON_CPU, *words, "--output_dir=one", "--resume_from_checkpoint=ddp/checkpoint-3", cwd=runs)
    assert "ddp/checkpoint-3 was saved without FSDP; resume it in the same way" in done.stderr
    words = ["-m", "trainer.commands", *words, "--output_dir=other", "--resume_from_checkpoint=fsdp/checkpoint-3"]
    done = launch(*DDP, *words, cwd=runs)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told[-1].endswith("fsdp/checkpoint-3 was saved with FSDP; resume it in the same way")


@pytest.mark.parametrize(("version", "kind"), [(1, "FULL_STATE_DICT"), (2, "SHARDED_STATE_DICT")])
def test_what_would_leave_no_model_is_refused(tmp_path, monkeypatch, version, kind):
    made = Trainer.create_accelerator_and_postprocess

    def with_fsdp(self):
        made(self)
        plugin = SimpleNamespace(fsdp_version=version, state_dict_type=f"StateDictType.{kind}")
        monkeypatch.setattr(self.accelerator.state, "fsdp_plugin", plugin, raising=False)

    monkeypatch.setattr(Trainer, "create_accelerator_and_postprocess", with_fsdp)
    with pytest.raises(RunError, match="FSDP needs fsdp_version 2 and fsdp_state_dict_type FULL_STATE_DICT"):
        DeiTLTTrainer(tiny_student(), arguments(tmp_path), teacher())
