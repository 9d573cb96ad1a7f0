"""The keys of each stock model, checked before any model is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from regsearch.config.fields import Count, Flag, Section, Share, Widths
from regsearch.config.refusal import Example


class LinearOptions(Section):
    """The linear model has no keys of its own."""


class MLPOptions(Section):
    """The keys of the multilayer perceptron."""

    hidden: Annotated[Widths, Example("hidden: [64, 64]")] = (128, 128)
    """Units of each hidden layer."""
    activation: Annotated[Literal["relu", "tanh", "gelu"], Example("activation: gelu")] = "relu"
    """The nonlinearity after each hidden layer."""
    norm: Annotated[Literal["none", "batch", "layer"], Example("norm: batch")] = "none"
    """Normalization that every trial has after each hidden layer."""
    residual: Annotated[Flag, Example("hidden: [64, 64], residual: true")] = False
    """Layers as wide as the one before add to what they are given."""


class _WithDropout(Section):
    dropout: Annotated[Share, Example("dropout: 0.2")] = 0.0
    """The rate of the model's own dropout layers, where `dropout` is not in the space."""


class ConvNetOptions(_WithDropout):
    """The keys of the small ConvNet."""

    channels: Annotated[Widths, Example("channels: [8, 16]")] = (16, 32)
    """Channels of each convolution."""
    norm: Annotated[Literal["none", "batch"], Example("norm: batch")] = "none"
    """Normalization that every trial has after each convolution."""


class ResNetOptions(_WithDropout):
    """The keys of the ResNet."""

    width: Annotated[Count, Example("width: 24")] = 16
    """Channels of the first of three stages."""
    blocks: Annotated[Count, Example("blocks: 2")] = 1
    """Residual blocks in each stage."""


class SeriesConvNetOptions(_WithDropout):
    """The keys of the ConvNet for series."""

    channels: Annotated[Widths, Example("channels: [8, 16]")] = (32, 32)
    """Channels of each convolution."""
    kernel: Annotated[Count, Example("kernel: 5")] = 3
    """Positions that one convolution sees; an odd number."""
    norm: Annotated[Literal["none", "batch"], Example("norm: batch")] = "none"
    """Normalization that every trial has after each convolution."""
    pool: Annotated[Literal["mean", "none"], Example("pool: none")] = "mean"
    """The mean over positions, or all of them side by side."""


class RecurrentOptions(_WithDropout):
    """The keys of the GRU and LSTM classifiers."""

    embedding: Annotated[Count, Example("embedding: 16")] = 32
    """Width of a token's vector; texts alone."""
    hidden: Annotated[Count, Example("hidden: 48")] = 64
    """Values of the state."""
    layers: Annotated[Count, Example("layers: 3")] = 1
    """Recurrent layers, one upon the other."""
    pool: Annotated[Literal["last", "mean"], Example("pool: mean")] = "last"
    """The last state, or the mean over the positions that are no padding."""


class TransformerOptions(_WithDropout):
    """The keys of the Transformer encoder."""

    width: Annotated[Count, Example("width: 64")] = 32
    """Values of each position's vector."""
    heads: Annotated[Count, Example("heads: 2")] = 4
    """A divisor of the width."""
    layers: Annotated[Count, Example("layers: 3")] = 2
    """Blocks of attention and feed-forward layers."""
    inner: Annotated[Count, Example("inner: 128")] = 64
    """Width of the feed-forward layers."""


class LanguageModelOptions(_WithDropout):
    """The keys of the recurrent language model."""

    cell: Annotated[Literal["gru", "lstm"], Example("cell: lstm")] = "gru"
    """The recurrent layer."""
    embedding: Annotated[Count, Example("embedding: 16")] = 32
    """Width of a token's vector."""
    hidden: Annotated[Count, Example("hidden: 48")] = 128
    """Values of the state."""


class FactorizationOptions(_WithDropout):
    """The keys of the matrix factorization."""

    factors: Annotated[Count, Example("factors: 8")] = 16
    """Values of each user's and each item's vector."""


class AutoencoderOptions(_WithDropout):
    """The keys of the autoencoder."""

    hidden: Annotated[Widths, Example("hidden: [32]")] = (64,)
    """Units of the encoder's hidden layers; the decoder has them in reverse."""
    code: Annotated[Count, Example("code: 4")] = 8
    """Values that a row is reduced to."""


STOCK: Mapping[str, type[Section]] = {
    "linear": LinearOptions,
    "mlp": MLPOptions,
    "convnet": ConvNetOptions,
    "resnet": ResNetOptions,
    "conv1d": SeriesConvNetOptions,
    "gru": RecurrentOptions,
    "lstm": RecurrentOptions,
    "transformer": TransformerOptions,
    "language_model": LanguageModelOptions,
    "matrix_factorization": FactorizationOptions,
    "autoencoder": AutoencoderOptions,
}
