"""Two machines, of which the first alone has the output folder; `make test-multinode` runs this."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import command, history, image_tree, write_recipe
from ranks.launching import SETTINGS
from ranks.two_hosts import TwoHosts, why_not
from safetensors.torch import load_file

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]

TEST_IMAGES = (13, 9, 7)  # 29 do not divide by 2 hosts x 8
# Neither pairs images of a host's batch nor draws numbers that depend on it, so that both hosts equal one.
LIKE_ONE = ["--mixing_probability=0", "--drop_path_rate=0", "--drw_mean=step", "--repeats=1"]
LONG = ["--teacher=none", "--num_train_epochs=60", "--save_steps=20"]


@pytest.fixture(scope="module")
def hosts():
    try:
        both = TwoHosts()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield both
    both.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Of each host: its recipe and images; 35 training images, 7 of them for validation; 28 fill whole batches."""
    folders = [tmp_path_factory.mktemp(f"host{host}") for host in range(2)]
    for folder in folders:
        image_tree(folder / "images", counts=(20, 10, 5), test=TEST_IMAGES)
        write_recipe(folder, dataset="images", **SETTINGS)
    return folders


@pytest.fixture(scope="module")
def trained(hosts, folders):
    """A teacher, a student and its tests."""
    codes, told = hosts.run(folders, "finetune", "recipe.yaml", "--output_dir=out/run")
    assert codes == [0, 0], told
    return told


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"log0", "log1"}


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def losses(folder):
    return [row["loss"] for row in history(folder) if "loss" in row]


def assert_same_weights(*files, **bounds):
    first, second = map(load_file, files)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], **bounds)


def test_the_first_host_has_everything_and_the_second_nothing(folders, trained):
    inputs = files_of(folders[1])
    assert all(name.startswith("images/") or name in ("recipe.yaml", "teacher.yaml") for name in inputs)
    outputs = files_of(folders[0]) - inputs
    assert {"out/run/model.safetensors", "out/run/metrics.json", "out/run/checkpoint-6/rng_state_1.pth"} <= outputs
    assert trained[0].count("Classify an image with it") == 1
    assert trained[1].count("Classify an image with it") == 0


def test_every_test_image_counts_once(folders, trained):
    """The figures are those of one process with the saved weights."""
    figures = metrics_of(folders[0] / "out" / "run")["best"]
    words = ["out/run", "images", "--use_cpu", "--output=alone.json"]
    done = command("evaluate", *words, cwd=folders[0])
    assert done.returncode == 0, done.stderr
    alone = json.loads((folders[0] / "alone.json").read_text())
    assert alone["images"] == sum(TEST_IMAGES) == 29
    for expert in ("mean", "cls", "dist"):
        assert alone[expert] == pytest.approx(figures[expert], abs=1e-3)
        right = figures[expert]["accuracy"] * 29 / 100
        assert right == pytest.approx(round(right), abs=1e-6)


def test_two_hosts_train_as_one_process_with_the_whole_batch(hosts, folders, trained):
    """With a teacher whose folder the second host does not have; float32 sums in another order."""
    (given,) = (folders[0] / "out" / "teachers").iterdir()
    words = ["recipe.yaml", f"--teacher={given.relative_to(folders[0])}", *LIKE_ONE]
    codes, told = hosts.run(folders, "finetune", *words, "--output_dir=out/two")
    assert codes == [0, 0], told
    batch = ["--per_device_train_batch_size=14"]
    done = command("finetune", *words, *batch, "--output_dir=out/one", cwd=folders[0])
    assert done.returncode == 0, done.stderr
    one, two = (folders[0] / "out" / name for name in ("one", "two"))
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert len(losses(one)) == 6
    for file in ("model.safetensors", "checkpoint-6/ema.safetensors"):
        assert_same_weights(one / file, two / file, atol=1e-4)
    for weights in ("last", "best", "ema"):
        for expert in ("mean", "cls", "dist"):
            assert metrics_of(two)[weights][expert]["ece"] == pytest.approx(
                metrics_of(one)[weights][expert]["ece"], abs=0.1
            )


def test_a_folder_that_both_hosts_see_serves_too(hosts, folders, trained):
    """Both read the first one's teacher and checkpoint, and one of them writes."""
    shared = folders[0]
    codes, told = hosts.run([shared, shared], "finetune", "recipe.yaml", "--output_dir=out/shared")
    assert codes == [0, 0], told
    assert_same_weights(*(shared / "out" / run / "model.safetensors" for run in ("run", "shared")), rtol=0)


def start_long_run(hosts, folders, *words):
    """Both processes of a run that has saved a checkpoint."""
    output = words[-1].removeprefix("--output_dir=")
    processes = [hosts.start(host, folder, "finetune", "recipe.yaml", *words) for host, folder in enumerate(folders)]
    deadline = time.monotonic() + 120
    while not list(folders[0].glob(f"{output}/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline
        assert processes[0].poll() is None, (folders[0] / "log0").read_text()
        time.sleep(0.1)
    return processes


@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_host_ends_the_other_and_the_run_goes_on(hosts, folders, killed):
    """To the weights of a run that was left alone; the second host is handed the checkpoint of the first."""
    output = f"--output_dir=out/killed{killed}"
    processes = start_long_run(hosts, folders, *LONG, output)
    hosts.kill(killed)
    start = time.monotonic()
    assert processes[1 - killed].wait(60) == 1
    assert time.monotonic() - start < 60
    processes[killed].wait()
    assert "error: " in (folders[1 - killed] / f"log{1 - killed}").read_text()
    words = ["finetune", "recipe.yaml", *LONG, output]
    codes, told = hosts.run(folders, *words, "--resume_from_checkpoint=true")
    assert codes == [0, 0], told
    assert not (folders[1] / "out").exists()
    ended = folders[0] / "out" / f"killed{killed}"
    assert metrics_of(ended)["resumed_from_step"] >= 20
    whole = folders[0] / "out" / "whole"
    if not whole.exists():
        codes, told = hosts.run(folders, *words[:-1], "--output_dir=out/whole")
        assert codes == [0, 0], told
    for file in ("model.safetensors", "checkpoint-120/model.safetensors", "checkpoint-120/ema.safetensors"):
        assert_same_weights(ended / file, whole / file, rtol=0)


def test_a_checkpoint_that_only_the_second_host_has_is_missed(hosts, folders, trained):
    shutil.copytree(folders[0] / "out" / "run" / "checkpoint-3", folders[1] / "elsewhere" / "checkpoint-3")
    words = ["recipe.yaml", "--output_dir=out/other", "--resume_from_checkpoint=elsewhere/checkpoint-3"]
    codes, told = hosts.run(folders, "finetune", *words)
    shutil.rmtree(folders[1] / "elsewhere")
    assert codes == [1, 1]
    assert all("elsewhere/checkpoint-3 is not a complete checkpoint" in log for log in told)


def test_other_images_on_the_second_host_are_refused(hosts, folders):
    image = sorted((folders[1] / "images" / "train" / "level0").iterdir())[0]
    away = Path(folders[1], image.name)
    image.rename(away)
    codes, told = hosts.run(folders, "finetune", "recipe.yaml", "--output_dir=out/images")
    away.rename(image)
    assert codes == [1, 1]
    assert all("error: the images of process 1 are not those of process 0" in log for log in told)
