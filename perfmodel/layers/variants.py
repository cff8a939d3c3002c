"""Every mixer and every feed-forward: a new variant is a class and its name in a union of this file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perfmodel.layers.attention import GroupedQueryAttention
from perfmodel.layers.compressed_attention import CompressedAttention, HyperConnections
from perfmodel.layers.cross_attention import CrossAttention
from perfmodel.layers.feedforward import ChannelMix, GatedFeedForward, PlainFeedForward
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.layers.linear_attention import GatedDeltaNet, LightningAttention, MatrixLstm
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.layers.per_layer import AlternatingUpdates, PerLayerEmbedding
from perfmodel.layers.recurrent import GatedLinearRecurrence, ShortConvolution, TimeMix
from perfmodel.layers.state_space import Mamba, Mamba2

Mixer = Annotated[
    GroupedQueryAttention
    | LatentAttention
    | CompressedAttention
    | CrossAttention
    | Mamba
    | Mamba2
    | GatedDeltaNet
    | LightningAttention
    | MatrixLstm
    | GatedLinearRecurrence
    | TimeMix
    | ShortConvolution,
    Field(discriminator="kind"),
]
FeedForward = Annotated[
    GatedFeedForward | PlainFeedForward | MixtureOfExperts | ChannelMix, Field(discriminator="kind")
]
Extra = Annotated[PerLayerEmbedding | AlternatingUpdates | HyperConnections, Field(discriminator="kind")]
