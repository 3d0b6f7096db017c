"""The parts of the DeiT-LT network: embeddings and layers.

Modules are named as in the published DeiT files, which are thus read and written without translation.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_deit_lt import DeiTLTConfig, pair


class DeiTLTPatchEmbeddings(nn.Module):
    """Projects every patch of the images to a vector: `(B, num_channels, height, width)` to `(B, N, D)`."""

    def __init__(self, config: DeiTLTConfig):
        super().__init__()
        patch_size = pair(config.patch_size)
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, patch_size, stride=patch_size)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        channels, expected = pixel_values.shape[1], self.projection.in_channels
        if channels != expected:
            raise ValueError(f"the images have {channels} channels, the model takes {expected}")
        # Images come as float32, also to a model in half precision.
        return self.projection(pixel_values.to(self.projection.weight.dtype)).flatten(2).transpose(1, 2)


class DeiTLTEmbeddings(nn.Module):
    """CLS token, DIST token and patches in this order, each plus its position."""

    def __init__(self, config: DeiTLTConfig):
        super().__init__()
        self.image_size, self.patch_size = pair(config.image_size), pair(config.patch_size)
        self.grid = (self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1])
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + math.prod(self.grid), config.hidden_size))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embeddings = DeiTLTPatchEmbeddings(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False) -> torch.Tensor:
        patches = self.patch_embeddings(pixel_values)
        size = tuple(pixel_values.shape[-2:])
        if size != self.image_size and not interpolate_pos_encoding:
            height, width = self.image_size
            raise ValueError(
                f"the images have {size[0]} x {size[1]} pixels, the model takes {height} x {width}; "
                "interpolate_pos_encoding=True accepts other sizes"
            )
        cls_token, distillation_token = (
            token.expand(len(patches), -1, -1) for token in (self.cls_token, self.distillation_token)
        )
        return self.dropout(torch.cat([cls_token, distillation_token, patches], dim=1) + self.positions(size))

    def positions(self, size: tuple[int, int]) -> torch.Tensor:
        """The positions for images of a size: of both tokens as they are, of the patches interpolated."""
        grid = (size[0] // self.patch_size[0], size[1] // self.patch_size[1])
        if grid == self.grid:
            return self.position_embeddings
        tokens, patches = self.position_embeddings[:, :2], self.position_embeddings[:, 2:]
        patches = patches.transpose(1, 2).unflatten(2, self.grid)
        patches = F.interpolate(patches, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([tokens, patches.flatten(2).transpose(1, 2)], dim=1)


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    dropout: float,
    scaling: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The attention function that also gives the weights. Every token sees every other, so there is no mask."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights


class DeiTLTSelfAttention(nn.Module):
    """The heads' outputs, concatenated to `(B, 2 + N, D)`, and the weights where the implementation has them."""

    is_causal = False  # the attention functions of transformers ask for it

    def __init__(self, config: DeiTLTConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.key = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.value = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)

    def forward(
        self, hidden_states: torch.Tensor, wanted: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        projected = self.query(hidden_states[:, :wanted]), self.key(hidden_states), self.value(hidden_states)
        query, key, value = (states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for states in projected)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        dropout = self.config.attention_probs_dropout_prob if self.training else 0.0
        gathered, weights = attend(self, query, key, value, None, dropout=dropout, scaling=self.head_dim**-0.5)
        return gathered.flatten(2), weights


class DeiTLTDense(nn.Module):
    """A linear layer that the published files name `dense`."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.dense = nn.Linear(in_features, out_features)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.dense(hidden_states)


class DeiTLTAttention(nn.Module):
    """Self-attention and its output projection."""

    def __init__(self, config: DeiTLTConfig):
        super().__init__()
        self.attention = DeiTLTSelfAttention(config)
        self.output = DeiTLTDense(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, wanted: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        gathered, weights = self.attention(hidden_states, wanted)
        return self.output(gathered), weights


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


class DeiTLTLayer(GradientCheckpointingLayer):
    """
    Attention and a two-layer perceptron, each a residual branch with stochastic depth and its LayerNorm in front.

    `wanted` is the number of leading tokens whose output is computed; they attend to all tokens. By default all.

    Args:
        config ([`DeiTLTConfig`]): the model's configuration.
        drop_path_rate (`float`): this layer's own probability in [0, 1).
    """

    def __init__(self, config: DeiTLTConfig, drop_path_rate: float):
        super().__init__()
        self.attention = DeiTLTAttention(config)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = DeiTLTDense(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.output = DeiTLTDense(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.drop_path = DeiTLTDropPath(drop_path_rate)

    def forward(
        self, hidden_states: torch.Tensor, wanted: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        branch, weights = self.attention(self.layernorm_before(hidden_states), wanted)
        hidden_states = hidden_states[:, :wanted] + self.drop_path(self.dropout(branch))
        branch = self.output(self.activation(self.intermediate(self.layernorm_after(hidden_states))))
        return hidden_states + self.drop_path(self.dropout(branch)), weights


class DeiTLTEncoder(nn.Module):
    """All layers; the first never skips a branch, the last does so with `drop_path_rate` (`wanted`: see the layer)."""

    def __init__(self, config: DeiTLTConfig):
        super().__init__()
        last = max(config.num_hidden_layers - 1, 1)
        rates = [config.drop_path_rate * index / last for index in range(config.num_hidden_layers)]
        self.layer = nn.ModuleList([DeiTLTLayer(config, rate) for rate in rates])

    def forward(
        self,
        hidden_states: torch.Tensor,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        wanted: int | None = None,
    ) -> BaseModelOutput:
        all_hidden_states = (hidden_states,) if output_hidden_states else None
        all_weights = () if output_attentions else None
        for layer in self.layer:
            # Each layer but the last needs all tokens of the one before it.
            hidden_states, weights = layer(hidden_states, wanted if layer is self.layer[-1] else None)
            if output_hidden_states:
                all_hidden_states += (hidden_states,)
            if output_attentions:
                all_weights += (weights,)
        return BaseModelOutput(hidden_states, all_hidden_states, all_weights)
