"""The keys of each stock model, checked before any model is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from regsearch.config.fields import Count, Flag, Section, Share, Widths


class LinearOptions(Section):
    """The linear model has no keys of its own."""


class MLPOptions(Section):
    """The keys of the multilayer perceptron."""

    hidden: Widths = (128, 128)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    norm: Literal["none", "batch", "layer"] = "none"
    residual: Flag = False
    """Layers as wide as the one before add to what they are given."""


class _WithDropout(Section):
    dropout: Share = 0.0
    """The rate of the model's own dropout layers, where `dropout` is not in the space."""


class ConvNetOptions(_WithDropout):
    """The keys of the small ConvNet."""

    channels: Widths = (16, 32)
    """Channels of each convolution."""
    norm: Literal["none", "batch"] = "none"


class ResNetOptions(_WithDropout):
    """The keys of the ResNet."""

    width: Count = 16
    """Channels of the first of three stages."""
    blocks: Count = 1
    """Residual blocks in each stage."""


class SeriesConvNetOptions(_WithDropout):
    """The keys of the ConvNet for series."""

    channels: Widths = (32, 32)
    kernel: Count = 3
    """Positions that one convolution sees; an odd number."""
    norm: Literal["none", "batch"] = "none"
    pool: Literal["mean", "none"] = "mean"
    """The mean over positions, or all of them side by side."""


class RecurrentOptions(_WithDropout):
    """The keys of the GRU and LSTM classifiers."""

    embedding: Count = 32
    """Width of a token's vector; texts alone."""
    hidden: Count = 64
    layers: Count = 1
    pool: Literal["last", "mean"] = "last"
    """The last state, or the mean over the positions that are no padding."""


class TransformerOptions(_WithDropout):
    """The keys of the Transformer encoder."""

    width: Count = 32
    heads: Count = 4
    """A divisor of the width."""
    layers: Count = 2
    inner: Count = 64
    """Width of the feed-forward layers."""


class LanguageModelOptions(_WithDropout):
    """The keys of the recurrent language model."""

    cell: Literal["gru", "lstm"] = "gru"
    embedding: Count = 32
    hidden: Count = 128


class FactorizationOptions(_WithDropout):
    """The keys of the matrix factorization."""

    factors: Count = 16


class AutoencoderOptions(_WithDropout):
    """The keys of the autoencoder."""

    hidden: Widths = (64,)
    """Units of the encoder's hidden layers; the decoder has them in reverse."""
    code: Count = 8
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
