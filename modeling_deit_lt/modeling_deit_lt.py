"""
DeiT-LT (CVPR 2024, arXiv 2404.02900): a Vision Transformer with a CLS and a DIST token, each with its own head.

Weights, and what they compute, are those of transformers' `DeiTForImageClassificationWithTeacher`. What differs:
tokens and positions do not start at zero, stochastic depth, a loss, a weighted fusion, and LayerNorm's epsilon. None
of transformers' own DeiT is used: saved folders hold this file and its layers', and have to run with later versions.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput

from .configuration_deit_lt import DeiTLTConfig
from .layers_deit_lt import DeiTLTEmbeddings, DeiTLTEncoder

# Last parts of the names of the parameters that, besides biases and norms, carry no weight decay.
NO_WEIGHT_DECAY = ("cls_token", "distillation_token", "position_embeddings")


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
        tokens (`torch.FloatTensor` of shape `(B, 2, D)`):
            CLS and DIST token after the final LayerNorm, what the heads see.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    cls_logits: torch.FloatTensor | None = None
    distillation_logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    tokens: torch.FloatTensor | None = None


def _choose(wanted: bool | None, configured: bool) -> bool:
    return configured if wanted is None else wanted


class DeiTLTPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving. Parameters have the names of DeiT's, so its checkpoints load."""

    config: DeiTLTConfig
    base_model_prefix = "deit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["DeiTLTEmbeddings", "DeiTLTLayer"]  # noqa: RUF012 (the base class has a plain list too)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _input_embed_layer = "patch_embeddings"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # biases and norms
        std = self.config.initializer_range
        if isinstance(module, DeiTLTEmbeddings):
            # Two draws that are overwritten: with them a seed gives the weights it always gave.
            init.trunc_normal_(module.position_embeddings, std=std)
            init.trunc_normal_(module.cls_token, std=std)
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
        self.embeddings = DeiTLTEmbeddings(config)
        self.encoder = DeiTLTEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor,
        interpolate_pos_encoding: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        tokens_only: bool = False,
    ) -> BaseModelOutput | tuple:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(B, num_channels, height, width)`): normalised images.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                Accept another image size than the configured one.
            output_hidden_states, output_attentions, return_dict (`bool`, *optional*):
                What to return; by default as configured.
            tokens_only (`bool`, *optional*, defaults to `False`):
                The patches' output is not needed, so the last layer computes none and `last_hidden_state` has the CLS
                and DIST token alone. Without effect where `output_hidden_states` or `output_attentions` show them.

        Returns:
            [`BaseModelOutput`]: `last_hidden_state` of shape `(B, 2 + N, D)`, after the final LayerNorm, tokens in the
            order CLS, DIST, patches (`(B, 2, D)` with `tokens_only`);
            `hidden_states` and `attentions` as in [`DeiTLTImageClassifierOutput`]. A tuple
            with `return_dict=False`.

        Raises:
            `ValueError`: number of channels or (without `interpolate_pos_encoding`) image size other than configured;
                `output_attentions` with another attention implementation than `"eager"`.
        """
        output_attentions = _choose(output_attentions, self.config.output_attentions)
        if output_attentions and self.config._attn_implementation != "eager":
            raise ValueError("only eager attention has weights to return; call set_attn_implementation('eager') first")
        output_hidden_states = _choose(output_hidden_states, self.config.output_hidden_states)
        output = self.encoder(
            self.embeddings(pixel_values, interpolate_pos_encoding),
            output_hidden_states,
            output_attentions,
            2 if tokens_only and not (output_hidden_states or output_attentions) else None,
        )
        output.last_hidden_state = self.layernorm(output.last_hidden_state)
        return output if _choose(return_dict, self.config.return_dict) else output.to_tuple()


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

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> DeiTLTImageClassifierOutput | tuple:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(B, num_channels, height, width)`): normalised images.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): class indices for the loss without a teacher,
                `0.5 * CE(cls_logits, labels) + 0.5 * CE(distillation_logits, labels)`.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                Accept another image size than the configured one.
            output_hidden_states, output_attentions, return_dict (`bool`, *optional*):
                What to return; by default as configured.

        Returns:
            [`DeiTLTImageClassifierOutput`], or a tuple with `return_dict=False`.

        Raises:
            `ValueError`: number of channels or (without `interpolate_pos_encoding`) image size other than configured;
                `output_attentions` with another attention implementation than `"eager"`.
        """
        outputs = self.deit(
            pixel_values, interpolate_pos_encoding, output_hidden_states, output_attentions, True, True
        )
        tokens = outputs.last_hidden_state[:, :2]
        cls_logits = self.cls_classifier(tokens[:, 0])
        distillation_logits = self.distillation_classifier(tokens[:, 1])
        weight = self.config.fusion_weight

        loss = None
        if labels is not None:
            # Not `self.loss_function`: given float targets it would turn the saved model into a multi-label one.
            cls_loss = F.cross_entropy(cls_logits.float(), labels)
            loss = 0.5 * cls_loss + 0.5 * F.cross_entropy(distillation_logits.float(), labels)
        output = DeiTLTImageClassifierOutput(
            loss=loss,
            logits=weight * cls_logits + (1 - weight) * distillation_logits,
            cls_logits=cls_logits,
            distillation_logits=distillation_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            tokens=tokens,
        )
        return output if _choose(return_dict, self.config.return_dict) else output.to_tuple()


__all__ = [
    "NO_WEIGHT_DECAY",
    "DeiTLTForImageClassification",
    "DeiTLTImageClassifierOutput",
    "DeiTLTModel",
    "DeiTLTPreTrainedModel",
]
