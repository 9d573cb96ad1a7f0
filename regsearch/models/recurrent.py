"""Recurrent models: GRU and LSTM classifiers of texts and series, and a language model.

Legend: B batch, L positions, F features at each, D width, C outputs, V tokens. Texts are padded on the left with code
0: the last position is the text's last token, and means over positions leave out the padding.
"""

from __future__ import annotations

import torch
from torch import nn

from regsearch.errors import UserError

_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """Embedding (texts alone), recurrent layers, the last state or the mean over positions, dropout, linear."""

    def __init__(
        self,
        cell: str,
        inputs: tuple[int, ...],
        outputs: int,
        vocabulary: tuple[int, ...] | None,
        embedding: int,
        hidden: int,
        layers: int,
        pool: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.pool, self.single = pool, vocabulary is None and len(inputs) == 1
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary[0], embedding, padding_idx=0)
        width = embedding if vocabulary is not None else 1 if self.single else inputs[1]
        self.input_dropout = nn.Dropout(dropout)
        self.recurrent = _CELLS[cell](width, hidden, layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, L, F], [B, L] or tokens [B, L] int64 to outputs [B, C]."""
        h = self.embedding(x) if self.embedding is not None else x.unsqueeze(-1) if self.single else x
        states, _ = self.recurrent(self.input_dropout(h))
        if self.pool == "last":
            pooled = states[:, -1]
        elif self.embedding is None:
            pooled = states.mean(1)
        else:
            pooled = masked_mean(states, x)
        out: torch.Tensor = self.head(self.dropout(pooled))
        return out


def masked_mean(h: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Average h [B, L, D] over the positions whose token [B, L] is not padding, [B, D]."""
    known = (tokens != 0).to(h.dtype).unsqueeze(-1)
    return (h * known).sum(1) / known.sum(1).clamp(min=1)


def gru(
    inputs: tuple[int, ...],
    outputs: int,
    vocabulary: tuple[int, ...] | None = None,
    embedding: int = 32,
    hidden: int = 64,
    layers: int = 1,
    pool: str = "last",
    dropout: float = 0.0,
) -> nn.Module:
    """Build a GRU classifier of texts [B, L] int64 or series [B, L, F] or [B, L]; see `Recurrent`.

    Raises:
        UserError: rows are neither.
    """
    _check(inputs, vocabulary, "gru")
    return Recurrent("gru", inputs, outputs, vocabulary, embedding, hidden, layers, pool, dropout)


def lstm(
    inputs: tuple[int, ...],
    outputs: int,
    vocabulary: tuple[int, ...] | None = None,
    embedding: int = 32,
    hidden: int = 64,
    layers: int = 1,
    pool: str = "last",
    dropout: float = 0.0,
) -> nn.Module:
    """Build an LSTM classifier of texts [B, L] int64 or series [B, L, F] or [B, L]; see `Recurrent`.

    Raises:
        UserError: rows are neither.
    """
    _check(inputs, vocabulary, "lstm")
    return Recurrent("lstm", inputs, outputs, vocabulary, embedding, hidden, layers, pool, dropout)


class LanguageModel(nn.Module):
    """Embedding, recurrent layers, dropout, and a linear layer at every position: [B, L] int64 to [B, L, V]."""

    def __init__(
        self, outputs: int, vocabulary: tuple[int, ...], cell: str, embedding: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary[0], embedding, padding_idx=0)
        self.input_dropout = nn.Dropout(dropout)
        self.recurrent = _CELLS[cell](embedding, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score the next token, [B, L, V], after each of tokens x [B, L] int64."""
        states, _ = self.recurrent(self.input_dropout(self.embedding(x)))
        out: torch.Tensor = self.head(self.dropout(states))
        return out


def language_model(
    inputs: tuple[int, ...],
    outputs: int,
    vocabulary: tuple[int, ...] | None = None,
    cell: str = "gru",
    embedding: int = 32,
    hidden: int = 128,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a recurrent model of the next token at every position; see `LanguageModel`.

    Raises:
        UserError: rows are no texts.
    """
    if vocabulary is None:
        allowed = "texts: say task: language_modelling and data.text"
        raise UserError("language_model needs codes", key="model.name", value="language_model", allowed=allowed)
    return LanguageModel(outputs, vocabulary, cell, embedding, hidden, dropout)


def _check(inputs: tuple[int, ...], vocabulary: tuple[int, ...] | None, name: str) -> None:
    if len(inputs) not in ((1,) if vocabulary is not None else (1, 2)):
        allowed = "texts (data.text) or series [positions, features]"
        raise UserError(f"{name} does not fit rows of shape {inputs}", key="model.name", value=name, allowed=allowed)
