"""
DeiT-LT (CVPR 2024, arXiv 2404.02900): a Vision Transformer with a CLS and a DIST token, each with its own head.

Layers and parameter names are those of transformers' `DeiTForImageClassificationWithTeacher`. What differs: tokens and
positions do not start at zero, stochastic depth, a loss, a weighted fusion, and LayerNorm's epsilon.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.deit.modeling_deit import DeiTEmbeddings, DeiTLayer, DeiTPreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_deit_lt import DeiTLTConfig

# Last parts of the names of the parameters that, besides biases and norms, carry no weight decay.
NO_WEIGHT_DECAY = ("cls_token", "distillation_token", "position_embeddings")

# Saved files hold DeiT's published names, which every transformers version reads, such as
# `encoder.layer.0.attention.attention.query`; modules have the 5.x names, `layers.0.attention.q_proj`. transformers
# translates both ways for its own classes and for those that register. It happens here rather than in the package, so
# that the copy of this file inside a saved folder does it too.
register_checkpoint_conversion_mapping("DeiTLTModel", get_checkpoint_conversion_mapping("DeiTModel"), overwrite=True)


@dataclass
class DeiTLTImageClassifierOutput(ModelOutput):
    r"""
    Output of [`DeiTLTForImageClassification`]. B images, C classes, N patches, D channels, L layers.

    Args:
        loss (`torch.FloatTensor` of shape `()`, float32, returned when `labels` is given):
            Mean of the cross-entropies of both experts, in nats.
        logits (`torch.FloatTensor` of shape `(B, C)`):
            `fusion_weight * cls_logits + (1 - fusion_weight) * distillation_logits`.
        cls_logits (`torch.FloatTensor` of shape `(B, C)`):
            Scores of the CLS expert.
        distillation_logits (`torch.FloatTensor` of shape `(B, C)`):
            Scores of the DIST expert.
        hidden_states (`tuple` of L + 1 `torch.FloatTensor` of shape `(B, 2 + N, D)`, on request):
            The embeddings, then the output of every layer, all before the final LayerNorm. Tokens in the order CLS,
            DIST, patches.
        attentions (`tuple` of L `torch.FloatTensor` of shape `(B, heads, 2 + N, 2 + N)`, on request):
            Attention weights after the softmax. They need `attn_implementation="eager"`.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    cls_logits: torch.FloatTensor | None = None
    distillation_logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class DeiTLTDropPath(nn.Module):
    """
    Stochastic depth: in training, zeroes the whole branch of a sample with probability `rate` and divides the others
    by `1 - rate`, so that the expectation stays; in evaluation the identity.

    Args:
        rate (`float`): probability in [0, 1).
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0.0:
            return branch
        keep = branch.new_empty((branch.shape[0],) + (1,) * (branch.ndim - 1)).bernoulli_(1.0 - self.rate)
        return branch * (keep / (1.0 - self.rate))

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


class DeiTLTLayer(DeiTLayer):
    """
    A DeiT layer whose two residual branches pass through stochastic depth.

    Args:
        config ([`DeiTLTConfig`]): the model's configuration.
        drop_path_rate (`float`): this layer's own probability in [0, 1).
    """

    def __init__(self, config: DeiTLTConfig, drop_path_rate: float):
        super().__init__(config)
        self.drop_path = DeiTLTDropPath(drop_path_rate)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> torch.Tensor:
        branch, _ = self.attention(self.layernorm_before(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.drop_path(self.dropout(branch))
        branch = self.mlp(self.layernorm_after(hidden_states))
        return hidden_states + self.drop_path(self.dropout(branch))


class DeiTLTPreTrainedModel(DeiTPreTrainedModel):
    """Initialisation, loading and saving. Parameters lie under the names of DeiT, so its checkpoints load."""

    config: DeiTLTConfig
    _no_split_modules = ["DeiTEmbeddings", "DeiTLTLayer"]  # noqa: RUF012 (the base class has a plain list too)
    _supports_flex_attn = False  # untested

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # DeiT's own zeroes both tokens and the positions: CLS and DIST would be one token, and patches have no place.
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, DeiTEmbeddings):
            # As the official code: the CLS token almost zero, so that it starts as its position alone.
            init.normal_(module.cls_token, std=1e-6)
            init.trunc_normal_(module.distillation_token, std=std)
            init.trunc_normal_(module.position_embeddings, std=std)
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=std)
        elif isinstance(module, nn.Conv2d):
            # PyTorch's default, as the official code: it follows the patch size, 0.02 fits only 16 x 16 x 3 pixels.
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            init.uniform_(module.bias, -bound, bound)


class DeiTLTModel(DeiTLTPreTrainedModel):
    """
    The DeiT-LT trunk without heads: patches, CLS and DIST token through all layers and the final LayerNorm.

    Args:
        config ([`DeiTLTConfig`]): the model's configuration.
    """

    def __init__(self, config: DeiTLTConfig):
        super().__init__(config)
        self.embeddings = DeiTEmbeddings(config)
        last = max(config.num_hidden_layers - 1, 1)
        rates = [config.drop_path_rate * index / last for index in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList([DeiTLTLayer(config, rate) for rate in rates])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    # Untied: like DeiT's, the last of `hidden_states` is the last layer's output before the final LayerNorm.
    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool | None = None, **kwargs
    ) -> BaseModelOutput:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(B, num_channels, height, width)`): normalised images.
            interpolate_pos_encoding (`bool`, *optional*): accept another image size than the configured one.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`.

        Returns:
            [`BaseModelOutput`]: `last_hidden_state` of shape `(B, 2 + N, D)`, after the final LayerNorm, tokens in the
            order CLS, DIST, patches; `hidden_states` and `attentions` as in [`DeiTLTImageClassifierOutput`].

        Raises:
            `ValueError`: number of channels or (without `interpolate_pos_encoding`) image size other than configured.
        """
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        for layer in self.layers:
            hidden_states = layer(hidden_states, **kwargs)
        return BaseModelOutput(last_hidden_state=self.layernorm(hidden_states))


class DeiTLTForImageClassification(DeiTLTPreTrainedModel):
    """
    DeiT-LT with its two experts: a linear head on the CLS token and one on the DIST token.

    Args:
        config ([`DeiTLTConfig`]): the model's configuration; both heads have `num_labels` outputs.

    Raises:
        `StrictDataclassClassValidationError`: a field changed after the configuration was built is not valid.
    """

    # The loss is a mean over the batch; Trainer must divide it by the accumulation steps itself.
    accepts_loss_kwargs = False

    def __init__(self, config: DeiTLTConfig):
        config.validate()
        super().__init__(config)
        self.num_labels = config.num_labels
        self.deit = DeiTLTModel(config)
        self.cls_classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.distillation_classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        **kwargs,
    ) -> DeiTLTImageClassifierOutput:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(B, num_channels, height, width)`): normalised images.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): class indices for the loss without a teacher,
                `0.5 * CE(cls_logits, labels) + 0.5 * CE(distillation_logits, labels)`.
            interpolate_pos_encoding (`bool`, *optional*): accept another image size than the configured one.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`.

        Returns:
            [`DeiTLTImageClassifierOutput`], or a tuple with `return_dict=False`.

        Raises:
            `ValueError`: number of channels or (without `interpolate_pos_encoding`) image size other than configured.
        """
        outputs = self.deit(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        tokens = outputs.last_hidden_state
        cls_logits = self.cls_classifier(tokens[:, 0])
        distillation_logits = self.distillation_classifier(tokens[:, 1])
        weight = self.config.fusion_weight

        loss = None
        if labels is not None:
            # Not `self.loss_function`: given float targets it would turn the saved model into a multi-label one.
            cls_loss = F.cross_entropy(cls_logits.float(), labels)
            loss = 0.5 * cls_loss + 0.5 * F.cross_entropy(distillation_logits.float(), labels)
        return DeiTLTImageClassifierOutput(
            loss=loss,
            logits=weight * cls_logits + (1 - weight) * distillation_logits,
            cls_logits=cls_logits,
            distillation_logits=distillation_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = [
    "NO_WEIGHT_DECAY",
    "DeiTLTForImageClassification",
    "DeiTLTImageClassifierOutput",
    "DeiTLTModel",
    "DeiTLTPreTrainedModel",
]
