"""DeiT-LT as a Hugging Face model. Importing this package registers it with the Auto classes."""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification

from .configuration_deit_lt import PRESETS, DeiTLTConfig
from .image_processing_deit_lt import (
    DeiTLTImageProcessor,
    is_sixteen_bits,
    levels,
    read_channels,
    unknown_range,
    wrong_header,
)
from .modeling_deit_lt import (
    NO_WEIGHT_DECAY,
    DeiTLTForImageClassification,
    DeiTLTImageClassifierOutput,
    DeiTLTModel,
    DeiTLTPreTrainedModel,
)

# `exist_ok`: a notebook reloads modules.
AutoConfig.register("deit_lt", DeiTLTConfig, exist_ok=True)
AutoModel.register(DeiTLTConfig, DeiTLTModel, exist_ok=True)
AutoModelForImageClassification.register(DeiTLTConfig, DeiTLTForImageClassification, exist_ok=True)
AutoImageProcessor.register(DeiTLTConfig, DeiTLTImageProcessor, exist_ok=True)

# This makes `save_pretrained` copy the source files into the folder, for processes without this package.
DeiTLTConfig.register_for_auto_class()
DeiTLTModel.register_for_auto_class("AutoModel")
DeiTLTForImageClassification.register_for_auto_class("AutoModelForImageClassification")
DeiTLTImageProcessor.register_for_auto_class("AutoImageProcessor")

__all__ = [
    "NO_WEIGHT_DECAY",
    "PRESETS",
    "DeiTLTConfig",
    "DeiTLTForImageClassification",
    "DeiTLTImageClassifierOutput",
    "DeiTLTImageProcessor",
    "DeiTLTModel",
    "DeiTLTPreTrainedModel",
    "is_sixteen_bits",
    "levels",
    "read_channels",
    "unknown_range",
    "wrong_header",
]
