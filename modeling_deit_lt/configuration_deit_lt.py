"""Configuration of DeiT-LT (CVPR 2024, arXiv 2404.02900): what the network is, never how it was trained."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import DeiTConfig

# Widths of the ViT sizes the paper trains. All have 12 layers and heads of 64 channels.
PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768, "num_hidden_layers": 12},
    "small": {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_hidden_layers": 12},
    "base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 12},
}

# One entry per Auto class: without the AutoModel line a saved folder opens as a classifier but not as a trunk.
_AUTO_MAP = {
    "AutoConfig": "configuration_deit_lt.DeiTLTConfig",
    "AutoModel": "modeling_deit_lt.DeiTLTModel",
    "AutoModelForImageClassification": "modeling_deit_lt.DeiTLTForImageClassification",
}


def pair(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a size; a single number is both."""
    return (size, size) if isinstance(size, int) else tuple(size)


@strict
class DeiTLTConfig(DeiTConfig):
    r"""
    Configuration of [`DeiTLTModel`] and [`DeiTLTForImageClassification`]. Fields that are not listed are those of
    [`DeiTConfig`].

    Args:
        drop_path_rate (`float`, *optional*, defaults to 0.0):
            Probability in [0, 1) that the last layer skips a residual branch in training (stochastic depth, per
            sample). It grows linearly from 0 at the first layer. The paper uses 0.1.
        fusion_weight (`float`, *optional*, defaults to 0.5):
            Share of the CLS expert in `logits`, in [0, 1]: `fusion_weight * cls + (1 - fusion_weight) * dist`. The
            paper's 0.5 is the mean of both experts.
        class_counts (`list[int]`, *optional*):
            Training images per class, `num_labels` entries in the order of the labels. If it is given alone,
            `num_labels` is its length. Loading a folder with another number of labels forgets the stored counts.
        layer_norm_eps (`float`, *optional*, defaults to 1e-6):
            Epsilon of every LayerNorm, the paper's value (`DeiTConfig` has 1e-12).
        problem_type (`str`, *optional*, defaults to `"single_label_classification"`):
            The only one there is; `None`, as DeiT's configurations have it, becomes it. The image classification
            pipeline chooses softmax or sigmoid by this field.

    Raises:
        `StrictDataclassClassValidationError`: a value out of range, another `problem_type`, an `image_size` that is
            not a positive multiple of `patch_size`, or `class_counts` whose length is not `num_labels`. It quotes a
            one-line `ValueError`.
        `StrictDataclassFieldValidationError`: a value of the wrong type.

    Example:

    ```python
    >>> from modeling_deit_lt import DeiTLTConfig

    >>> config = DeiTLTConfig.from_preset("base", num_labels=10, drop_path_rate=0.1)
    ```"""

    model_type = "deit_lt"
    # Predictions of transformers' Trainer are the logits, not what else was computed on the way.
    keys_to_ignore_at_inference = ["hidden_states", "attentions", "tokens"]  # noqa: RUF012 (as in the base class)

    layer_norm_eps: float = 1e-6
    problem_type: str | None = "single_label_classification"
    drop_path_rate: float | int = 0.0
    fusion_weight: float | int = 0.5
    class_counts: list[int] | None = None

    def __post_init__(self, **kwargs):
        # A fresh copy each time, also over a stored one: a save edits it, and a re-saved folder must point to itself.
        kwargs["auto_map"] = dict(_AUTO_MAP)
        if self.problem_type is None:
            self.problem_type = "single_label_classification"
        if self.class_counts is not None and self.id2label is None:
            kwargs.setdefault("num_labels", len(self.class_counts))
        super().__post_init__(**kwargs)

    def validate_image_size(self):
        """Refuses image sizes that patches do not tile: the remaining pixels would be ignored silently."""
        for image, patch in zip(pair(self.image_size), pair(self.patch_size), strict=True):
            if patch <= 0 or image <= 0 or image % patch:
                raise ValueError(f"image_size {image} is not a positive multiple of patch_size {patch}")

    def validate_hidden_size(self):
        """Refuses widths that the heads do not share evenly."""
        if self.num_attention_heads <= 0 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )

    def validate_drop_path_rate(self):
        """Refuses rates outside [0, 1); at 1 nothing of the last layer would be left."""
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f"drop_path_rate must be in [0, 1), got {self.drop_path_rate}")

    def validate_fusion_weight(self):
        """Refuses weights outside [0, 1]."""
        if not 0 <= self.fusion_weight <= 1:
            raise ValueError(f"fusion_weight must be in [0, 1], got {self.fusion_weight}")

    def validate_problem_type(self):
        """Refuses problems that both experts' cross-entropies do not solve."""
        if self.problem_type != "single_label_classification":
            raise ValueError(f"problem_type must be single_label_classification, got {self.problem_type}")

    def validate_class_counts(self):
        """Refuses counts of other classes. Runs again when a model is built and saved, as labels may be set later."""
        if self.class_counts is not None and len(self.class_counts) != self.num_labels:
            raise ValueError(f"class_counts has {len(self.class_counts)} entries but num_labels is {self.num_labels}")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> "DeiTLTConfig":
        """As [`PreTrainedConfig.from_dict`]; labels and counts in `kwargs` replace the stored ones as one change."""
        config_dict = dict(config_dict)
        num_labels = len(kwargs["id2label"]) if kwargs.get("id2label") else kwargs.get("num_labels")
        stored_counts = config_dict.get("class_counts")
        if num_labels is not None and stored_counts is not None and len(stored_counts) != num_labels:
            config_dict["class_counts"] = None  # they count the classes of the labels that are being replaced
        for name in ("id2label", "label2id", "class_counts"):
            if name in kwargs:
                config_dict[name] = kwargs.pop(name)
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def from_preset(cls, name: str, **overrides) -> "DeiTLTConfig":
        """
        Builds the configuration of a named size.

        Args:
            name (`str`): a key of `PRESETS`: `"tiny"`, `"small"` or `"base"`.
            overrides: any field of the configuration; they win over the preset.

        Returns:
            [`DeiTLTConfig`]: 224-pixel images in patches of 16 pixels unless overridden.

        Raises:
            `ValueError`: the name is not a preset.
        """
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}, choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})


__all__ = ["PRESETS", "DeiTLTConfig"]
