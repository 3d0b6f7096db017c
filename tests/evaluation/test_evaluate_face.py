import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation import expert_report

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: evaluate reads HF_HOME and the offline switch once, when it is imported.
PROGRAM = """
import json, sys
import evaluate
import numpy as np

given = json.load(open("given.json"))
logits, labels = np.array(given["logits"]), np.array(given["labels"])
metric = evaluate.load(sys.argv[1])
at_once = metric.compute(predictions=logits, references=labels, class_counts=given["counts"])
for start in range(0, len(labels), 7):
    metric.add_batch(predictions=given["logits"][start : start + 7], references=given["labels"][start : start + 7])
in_batches = metric.compute(class_counts=given["counts"], boundaries=given["boundaries"])
print(json.dumps([at_once, in_batches]))
"""


@pytest.mark.slow
def test_the_metric_opens_offline_and_equals_the_report(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    logits = rng.normal(size=(40, 4)) + np.eye(4)[labels]
    counts, boundaries = [10, 400, 60, 5], [1, 2]
    given = {"logits": logits.tolist(), "labels": labels.tolist(), "counts": counts, "boundaries": boundaries}
    (tmp_path / "given.json").write_text(json.dumps(given))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "trainer" / "evaluation" / "deit_lt_report")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    at_once, in_batches = json.loads(done.stdout.splitlines()[-1])
    assert at_once == expert_report({"mean": logits}, labels, counts)["mean"]
    assert in_batches == expert_report({"mean": logits}, labels, counts, boundaries)["mean"]
    assert at_once != in_batches
