"""The package as a stranger has it: installed from its source, run from an empty folder, without this checkout.

The libraries are those of this environment, since a test fetches nothing; docs and Makefile install them too.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["--num_train_epochs=1", "--warmup_epochs=0", "--drw_start_epoch=0", "--teacher=none", "--use_cpu"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """`deit-lt` in an environment that has a copy of the package, and the libraries of this one beside it."""
    folder = tmp_path_factory.mktemp("install")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    source = folder / "source"
    for name in filter(None, tracked.split("\0")):
        if name.startswith(("trainer", "modeling_deit_lt")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    site = next((folder / "env" / "lib").glob("python*")) / "site-packages"
    # Of a folder that is named in a .pth file the .pth files do not count, so an editable install of this checkout
    # is not seen.
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    flags = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", *flags, source]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    return python.with_name("deit-lt")


def run(command, *words, cwd):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([command, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_from_an_empty_folder_to_a_classified_image(installed, tmp_path):
    listed = run(installed, "recipes", cwd=tmp_path)
    assert "  imagefolder_cpu: " in listed.stdout
    trained = run(installed, "finetune", "digits_lt", *TINY, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "deit-lt classify runs/digits_lt runs/digits_lt/example.png" in trained.stdout
    classified = run(installed, "classify", "runs/digits_lt", "runs/digits_lt/example.png", cwd=tmp_path)
    assert classified.returncode == 0, classified.stderr
    assert len(classified.stdout.splitlines()) == 5
    where = run(installed.with_name("python"), "-c", "import trainer; print(trainer.__file__)", cwd=tmp_path)
    assert str(installed.parents[1]) in where.stdout  # neither this checkout nor an editable install of it


@pytest.mark.slow
def test_a_usage_error_is_one_line_without_a_traceback(installed, tmp_path):
    wrong = run(installed, "finetune", "digits_lt", "--alhpa=1", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr == "error: unknown argument --alhpa=1; did you mean --alpha?\n"
    assert not list(tmp_path.iterdir())


def test_launchers_are_short_import_nothing_of_each_other_and_hide_no_library():
    scripts = sorted((ROOT / "scripts").glob("*.py"))
    assert sum(len(path.read_text().splitlines()) for path in scripts) <= 100
    libraries = Path(sysconfig.get_paths()["purelib"])
    for path in scripts:
        imports = [line for line in path.read_text().splitlines() if line.startswith(("import", "from"))]
        assert imports == ["from trainer.commands.boundary import run"]
        assert path.stem not in sys.stdlib_module_names
        assert not (libraries / path.stem).exists(), path.stem
        assert not (libraries / f"{path.stem}.py").exists(), path.stem
