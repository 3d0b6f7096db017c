"""The commands of docs/own_data.md, in their order and in one folder, on tiny images and with shorter training.

What needs a GPU or the network is read, down to its settings, and not run.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
from helpers import image_tree

from trainer.commands import finetune, processes
from trainer.commands.__main__ import main as deit_lt

TEXT = (Path(__file__).parents[1] / "docs" / "own_data.md").read_text()
BASH = "".join(re.findall(r"```bash\n(.*?)```", TEXT, re.S))
LINES = [line for line in BASH.splitlines() if line]
ONLY_READ = "imagefolder"  # the recipe for a GPU
SMALL = "--per_device_train_batch_size 8 --use_cpu --disable_tqdm --dataloader_num_workers 0"
SHORT = "--num_train_epochs 2 --drw_start_epoch 1 --warmup_epochs 0"
NARROW = "--hidden_size 16 --num_attention_heads 2 --num_hidden_layers 1 --intermediate_size 32"
ADDED = {
    "finetune": f"{SMALL} {SHORT} {NARROW}",
    "compare": f"{SMALL} {SHORT} {NARROW} --seeds 0",
    "train-teacher": f"{SMALL} --num_train_epochs 8 --drw_start_epoch 7 --warmup_epochs 1 "
    "--architecture resnet8_cifar --image_size 8 --train_transform affine",
    "evaluate": "--use_cpu",
}


def with_flags(words, added):
    """A command line with these flags, in place of its own of the same names; a flag may come once."""
    names, kept = {word for word in added if word.startswith("--")}, []
    for word in words:
        if word.startswith("--"):
            dropped = word in names
        elif word is words[0]:  # the values of a flag follow it
            dropped = False
        if not dropped:
            kept.append(word)
    return [*kept, *added]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working directory of all commands, with the folders of images that the page begins with."""
    folder = tmp_path_factory.mktemp("own_data")
    image_tree(folder / "images")
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    """Runs a command line in this process."""
    monkeypatch.chdir(folder)

    def run(words):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", list(map(str, words)))
            deit_lt()

    def run_instead_of_processes(jobs, at_a_time):
        for job in jobs:
            run(["deit-lt", *job.words])
        return []

    monkeypatch.setattr(processes, "run_side_by_side", run_instead_of_processes)
    return run


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_page(line, folder, run, monkeypatch, capsys):
    line, _, file = line.partition(" > ")
    words = shlex.split(line)
    assert words[0] == "deit-lt"
    command, output = words[1], folder / words[words.index("--output_dir") + 1] if "--output_dir" in words else None
    if words[2] == ONLY_READ:
        asked = []
        monkeypatch.setattr(finetune, "run_student", asked.append)
        monkeypatch.setattr(finetune, "final_report", str)
        run([*words, "--use_cpu"])
        assert asked[0].training.output_dir == words[words.index("--output_dir") + 1]
        return
    if "--resume_from_checkpoint" in words:  # as if it had been interrupted right before its end
        (output / "metrics.json").unlink()
    run(with_flags(words, ADDED.get(command, "").split()))
    told = capsys.readouterr().out
    assert told
    if file:
        Path(file).write_text(told)
    if output:
        assert (output / "metrics.json").is_file()


def test_the_python_of_the_page(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(code, {})
    assert capsys.readouterr().out == "12 level0\n8 level1\n6 level2\n"


def test_no_command_of_the_page_stands_outside_the_blocks_that_are_run():
    outside = re.sub(r"```.*?```", "", TEXT, flags=re.S)
    assert set(re.findall(r"^deit-lt .*", outside, re.M)) == set()
