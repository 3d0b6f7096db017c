"""Data sets of the Hugging Face Hub, and of its cache where the Hub cannot be reached."""

from unittest.mock import patch

import datasets
import huggingface_hub
import huggingface_hub.constants
from datasets import DatasetDict
from huggingface_hub.errors import HfHubHTTPError

SECONDS = 10  # that the Hub may be silent


def load_hub(name: str, config_name: str | None) -> DatasetDict:
    """`datasets.load_dataset`, which without a network tries for more than a minute before it looks into its cache.

    Args:
        name: of a data set of the Hub.
        config_name: configuration of one that has several.

    Raises:
        Exception: whatever `datasets` raises.
    """
    if _answers(name):
        return datasets.load_dataset(name, config_name)
    with (
        patch.object(datasets.config, "HF_HUB_OFFLINE", True),
        patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True),
    ):
        return datasets.load_dataset(name, config_name)


def hub_caches() -> list:
    """The folders that files of the Hub come to lie in."""
    config = datasets.config
    caches = [config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH]
    return [*caches, huggingface_hub.constants.HF_HUB_CACHE]


def _answers(name: str) -> bool:
    """Whether the Hub can be asked for a data set, whatever the answer is."""
    try:
        huggingface_hub.HfApi().dataset_info(name, timeout=SECONDS)
    except HfHubHTTPError:
        return True
    except Exception:  # of the network, of its library, or of the offline mode
        return False
    return True
