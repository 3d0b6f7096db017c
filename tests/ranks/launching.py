"""`accelerate launch` of this checkout, on the CPU, one thread a rank."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
FREE_PORT = "--main_process_port=0"  # other tests launch ranks at the same time
# A run that has all of it: mixing, stochastic depth, DRW, EMA, selection on a validation split; 6 steps, 2 an epoch.
SETTINGS = {
    "base_learning_rate": 0.05,
    "ema_decay": 0.9,
    "logging_steps": 1,
    "save_steps": 3,
    "save_total_limit": 20,
    "model_selection": "validation",
    "validation_fraction": 0.2,
}


def environment():
    """Of a launch, as one finds it after an installation: the package is importable from everywhere."""
    path = os.pathsep.join(map(str, (TESTS.parent, TESTS)))
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **own}


def launch_words(*words):
    """The command line of a launch."""
    return [sys.executable, "-m", "accelerate.commands.launch", *map(str, words)]


def launch(*words, cwd):
    """Run a launch on this machine to its end."""
    words = launch_words(FREE_PORT, *words)
    return subprocess.run(words, capture_output=True, text=True, env=environment(), cwd=cwd, timeout=300)
