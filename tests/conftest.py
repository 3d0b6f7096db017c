"""No test may reach the network; one thread computes, since models are so small that two only wait for each other.

What is remembered of images that were checked lies in a folder of this run of tests.
"""

import atexit
import os
import shutil
import tempfile

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="deit-lt-tests-")
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def no_workers():
    """A worker takes longer to start than a tiny training; tests that want some ask for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.base_arguments.default_workers", lambda device: 0)
        yield
