"""Measures a forward pass: the size of activations after every block, and how far attention is from uniform."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = (
    "Block",
    "ResidualAttentionBlock",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
    "TwoWayAttentionBlock",
    "TransformerDecoderLayerv2",
    "CXBlock",
)
ATTENTION = ("Attention", "RoPEAttention", "MultiheadAttention", "MultiheadAttentionWrapper")


@dataclass
class Attention:
    keys: int
    """Keys that are not masked out, at the most."""
    perplexity: float
    """exp(entropy), mean over queries: how many keys a query really attends to."""
    logits: float
    """Standard deviation of the logits over the keys, root mean square over queries."""

    @property
    def share(self) -> float:
        """Entropy as a share of that of uniform attention."""
        return math.log(self.perplexity) / math.log(self.keys) if self.keys > 1 else 1.0


@dataclass
class Measured:
    activations: dict[str, float] = field(default_factory=dict)
    """Standard deviation of what a block returns."""
    change: dict[str, float] = field(default_factory=dict)
    """How much of a block's output is not its input: |out - in| / |out|."""
    spread: dict[str, float] = field(default_factory=dict)
    """Standard deviation over tokens, channel by channel, as a share of the whole: 0 when all tokens are alike."""
    attention: dict[str, list[Attention]] = field(default_factory=lambda: defaultdict(list))

    def table(self) -> str:
        lines = [
            f"{n:75} std {v:7.2f} change {self.change.get(n, math.nan):5.2f} spread {self.spread.get(n, math.nan):5.2f}"
            for n, v in self.activations.items()
        ]
        for name, seen in self.attention.items():
            lines += [f"{name:75} keys {a.keys:5} used {a.perplexity:7.1f} logits {a.logits:5.2f}" for a in seen]
        return "\n".join(lines)


@contextmanager
def measuring(model: nn.Module, queries: int = 64) -> Iterator[Measured]:
    """Records every block and every attention of ``model`` while it runs. Of long sequences, some queries only."""
    measured = Measured()
    current = ["?"]
    handles = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in ATTENTION:
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: current.__setitem__(0, name)))
        elif kind in BLOCKS:
            handles.append(module.register_forward_hook(_record_block(measured, name), with_kwargs=True))

    product, soft = F.scaled_dot_product_attention, F.softmax

    def watched_product(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, *a: Any, **kw: Any) -> Tensor:
        some = torch.linspace(0, q.shape[-2] - 1, min(queries, q.shape[-2])).long()
        logits = q[..., some, :] @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if attn_mask is not None:
            mask = attn_mask.expand(*logits.shape[:-2], q.shape[-2], k.shape[-2])[..., some, :]
            logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
        measured.attention[current[0]].append(_attention(logits))
        return product(q, k, v, attn_mask, *a, **kw)

    def watched_softmax(x: Tensor, *a: Any, **kw: Any) -> Tensor:
        measured.attention[current[0]].append(_attention(x))
        return soft(x, *a, **kw)

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it computes attention in one call that nobody can look into
    F.scaled_dot_product_attention, F.softmax = watched_product, watched_softmax  # type: ignore[assignment]
    try:
        yield measured
    finally:
        F.scaled_dot_product_attention, F.softmax = product, soft
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


def _attention(logits: Tensor) -> Attention:
    logits = logits.double()
    weights = logits.softmax(-1)
    entropy = -(weights * weights.clamp_min(1e-300).log()).sum(-1)
    finite = torch.where(logits.isinf(), torch.nan, logits)
    keys = int((~finite.isnan()).sum(-1).max())
    # A causal mask lets the first queries see few keys: only the queries with the most say something.
    full = (~finite.isnan()).sum(-1) == keys
    centred = finite - finite.nanmean(-1, keepdim=True)
    return Attention(keys, float(entropy[full].mean().exp()), float(centred[full].square().nanmean().sqrt()))


def _record_block(measured: Measured, name: str) -> Callable[..., None]:
    def record(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        out = output[0] if isinstance(output, tuple) else output
        source = args[0] if args else kwargs.get("tgt", kwargs.get("queries"))
        measured.activations[name] = float(out.std())
        if source is not None and source.shape == out.shape:
            measured.change[name] = float((out - source).norm() / out.norm())
        channels = 1 if type(_module).__name__ == "CXBlock" else -1
        flat = out.transpose(channels, -1).reshape(-1, out.shape[channels])
        if len(flat) > 1:
            measured.spread[name] = float(flat.std(0).square().mean().sqrt() / out.square().mean().sqrt())

    return record
