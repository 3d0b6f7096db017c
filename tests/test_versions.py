"""Both sets of pinned versions are what setup.cfg says."""

from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def requirements():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return [Requirement(line) for block in lines for line in block.split("\n") if line]


def pins(file):
    lines = [line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    names, versions = zip(*(line.split("==") for line in lines), strict=True)
    return dict(zip(map(canonicalize_name, names), map(Version, versions), strict=True))


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_versions(requirement):
    name = canonicalize_name(requirement.name)
    (bound,) = [part.version for part in requirement.specifier if part.operator == ">="]
    assert pins(".ci/oldest.txt")[name] == Version(bound)
    assert pins("constraints.txt")[name] in requirement.specifier
