"""The configurations of `accelerate launch` that come with the package, and scripts/finetune.sbatch."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from helpers import SCRIPTS, arguments, history, image_tree, write_recipe
from ranks.launching import FREE_PORT, SETTINGS, environment, launch, launch_words
from safetensors.torch import load_file

from trainer.commands import finetune, recipes
from trainer.errors import SettingError
from trainer.recipe_files import find_recipe, shipped_recipes
from trainer.run.estimate import is_sharded

CONFIGS = shipped_recipes("accelerate")
KINDS = {
    "cpu": (DistributedType.MULTI_GPU, 1, 2),
    "deepspeed_zero2": (DistributedType.DEEPSPEED, 1, 4),
    "fsdp2": (DistributedType.FSDP, 1, 4),
    "multi_gpu": (DistributedType.MULTI_GPU, 1, 4),
    "multi_node": (DistributedType.MULTI_GPU, 2, 16),
    "single_gpu": (DistributedType.NO, 1, 1),
}
SHORT = ["--teacher=none", "--num_train_epochs=1", "--warmup_epochs=0", "--drw_start_epoch=0"]


def read(*words):
    """What a launch of these words would do, as Accelerate reads files and flags."""
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(list(map(str, words))))
    return args, defaults


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_it(name):
    """DeepSpeed, which is not installed, is not asked for more."""
    assert KINDS.keys() == CONFIGS.keys()
    kind, machines, processes = KINDS[name]
    config = load_config_from_file(str(CONFIGS[name]))
    assert (config.distributed_type, config.num_machines, config.num_processes) == (kind, machines, processes)
    assert config.mixed_precision == "no"  # --precision decides
    args, _ = read("--config_file", CONFIGS[name], "-m", "trainer.commands", "finetune", "digits_lt", "--seed=1")
    assert (args.num_machines, args.num_processes) == (machines, processes)
    assert args.use_deepspeed == (name == "deepspeed_zero2")
    assert args.use_fsdp == (name == "fsdp2")
    assert args.training_script_args == ["finetune", "digits_lt", "--seed=1"]


def test_flags_win_over_the_file():
    args, _ = read("--config_file", CONFIGS["multi_node"], "--machine_rank=1", "--num_processes=4", "script.py")
    assert (args.machine_rank, args.num_processes, args.num_machines) == (1, 4, 2)


def test_they_are_listed_and_printed(capsys):
    recipes.main([])
    listed = capsys.readouterr().out.split("accelerate launch --config_file mine.yaml -m trainer.commands finetune")[1]
    assert all(f"  {name}: " in listed for name in CONFIGS)
    recipes.main(["multi_node"])
    assert capsys.readouterr().out == CONFIGS["multi_node"].read_text()
    with pytest.raises(SettingError, match="there is no recipe multi_node"):
        find_recipe("multi_node")  # of a student


def test_a_run_under_fsdp_is_not_estimated(monkeypatch, tmp_path):
    assert not is_sharded(arguments(tmp_path))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert is_sharded(arguments(tmp_path))


def test_resuming_an_empty_folder_starts_the_run(tmp_path):
    """One command for the first start and all later ones of a job that is requeued."""
    recipe = write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")))
    (tmp_path / "new").mkdir()
    finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", "--resume_from_checkpoint=true", *SHORT])
    assert json.loads((tmp_path / "new" / "metrics.json").read_text())["resumed_from_step"] == 0


def run_batch_script(tmp_path, left):
    """The SLURM script with stand-ins for srun, which shows the words of each machine, and scontrol."""
    for name, text in {
        "srun": 'shift\nfor SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done\nexit 7',
        "accelerate": 'printf "%s\\n" "$@" > "words$SLURM_NODEID"',
        "scontrol": 'echo "$@" >> scontrol\n[ "$1" = show ] && printf "node1\\nnode2\\n" || true',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "5"}
    now = int(subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout)
    slurm |= {"SLURM_JOB_END_TIME": str(now + left), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = ["bash", SCRIPTS / "finetune.sbatch", "my recipe.yaml", "out/run", "--seed=1"]
    return subprocess.run(words, cwd=tmp_path, env={**os.environ, **slurm}).returncode


def test_the_batch_script_launches_both_machines(tmp_path):
    assert run_batch_script(tmp_path, left=5000) == 7
    for rank in (0, 1):
        launched = (tmp_path / f"words{rank}").read_text().splitlines()
        assert launched[0] == "launch"
        args, _ = read(*launched[1:])
        assert (args.machine_rank, args.num_machines, args.num_processes) == (rank, 2, 16)
        assert (args.main_process_ip, args.main_process_port, args.multi_gpu) == ("node1", 29500, True)
        assert (args.module, args.training_script) == (True, "trainer.commands")
        own = ["my recipe.yaml", "--output_dir=out/run", "--resume_from_checkpoint=true", "--seed=1"]
        assert args.training_script_args == ["finetune", *own]
    assert (tmp_path / "out" / "run").is_dir()
    assert "requeue" not in (tmp_path / "scontrol").read_text()  # it failed long before its time was up


def test_the_batch_script_comes_again_where_its_time_is_up(tmp_path):
    assert run_batch_script(tmp_path, left=100) == 7
    assert "requeue 5" in (tmp_path / "scontrol").read_text()
    (tmp_path / "scontrol").unlink()
    (tmp_path / "out" / "run" / "metrics.json").touch()
    run_batch_script(tmp_path, left=100)
    assert "requeue" not in (tmp_path / "scontrol").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch")
    write_recipe(folder, dataset=str(image_tree(folder / "images")), **SETTINGS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flags", "ranks"), [("multi_gpu", ["--num_processes=2"], 2), ("single_gpu", [], 1)])
def test_it_is_launched_on_a_cpu(folder, name, flags, ranks):
    words = ["-m", "trainer.commands", "finetune", "recipe.yaml", f"--output_dir=out/{name}", *SHORT]
    done = launch("--config_file", CONFIGS[name], *flags, *words, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"x {ranks} rank(s)" in done.stdout


@pytest.mark.slow
def test_two_machines_are_launched_on_one(folder):
    flags = ["--config_file", CONFIGS["multi_node"], "--num_processes=2", "--main_process_ip=127.0.0.1"]
    words = ["-m", "trainer.commands", "finetune", "recipe.yaml", "--output_dir=out/two", *SHORT]
    machines = [
        subprocess.Popen(
            launch_words(*flags, f"--machine_rank={rank}", *words),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    told = [machine.communicate(timeout=120)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0]
    assert "x 2 rank(s)" in told[0]
    assert told[1] == ""  # the first one speaks


@pytest.mark.slow
def test_two_processes_without_use_cpu_are_refused(folder):
    words = ["-m", "trainer.commands", "finetune", "recipe.yaml", "--output_dir=out/apart", "--use_cpu=false"]
    done = launch("--config_file", CONFIGS["cpu"], *words, cwd=folder)
    assert done.returncode != 0
    assert done.stderr.count("2 processes were launched and would train apart") == 1
    assert not (folder / "out" / "apart").exists()


@pytest.mark.slow
def test_two_ranks_resume_in_the_middle_of_an_epoch(folder):
    """Bit for bit, with the order and the random numbers of the epoch that they are in."""
    words = ["--config_file", CONFIGS["cpu"], "-m", "trainer.commands", "finetune", "recipe.yaml", "--teacher=none"]
    done = launch(*words, "--output_dir=out/whole", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    whole, cut = folder / "out" / "whole", folder / "out" / "cut"
    shutil.copytree(whole / "checkpoint-3", cut / "checkpoint-3")
    shutil.copy(whole / "settings.json", cut)
    done = launch(*words, "--output_dir=out/cut", "--resume_from_checkpoint=true", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ([row["loss"] for row in history(run) if "loss" in row] for run in (whole, cut))
    assert first[3:] == second
    for file in ("checkpoint-6/model.safetensors", "checkpoint-6/ema.safetensors"):
        one, other = load_file(whole / file), load_file(cut / file)
        assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on_with_the_same_launch(folder):
    words = ["--config_file", CONFIGS["cpu"], "-m", "trainer.commands", "finetune", "recipe.yaml"]
    own = ["--output_dir=out/stopped", "--teacher=none", "--num_train_epochs=2000", "--save_steps=2"]
    launched = launch_words(FREE_PORT, *words, *own, "--save_total_limit=2")
    process = subprocess.Popen(
        launched, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not list(folder.glob("out/stopped/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert "interrupted; go on with the same command and --resume_from_checkpoint=true" in told
