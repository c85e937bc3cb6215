"""A very small Llama-architecture decoder: RMSNorm, interleaved rotary positions, SwiGLU.

Weights of one kind are one stacked parameter [layer, out, in], which suits Muon and the
export. Rotary pairs are (2i, 2i + 1), as ggml's "llama" architecture wants them, so no
q/k permutation is needed.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elicit.organism.vocabulary import Vocabulary


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    width: int = 128
    layers: int = 6
    heads: int = 4
    hidden: int = 320
    context: int = 2048
    theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to [batch, head, position, head width]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def normalise(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMSNorm in float32."""
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


class Organism(nn.Module):
    """The network; `hidden` stops before the output table, which few positions need."""

    def __init__(self, shape: Shape, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.shape = shape
        d, f, n = shape.width, shape.hidden, shape.layers

        def stack(out: int, inp: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(n, out, inp) * scale * inp**-0.5)

        self.q, self.k, self.v = stack(d, d, 1.0), stack(d, d, 1.0), stack(d, d, 1.0)
        self.o = stack(d, d, 0.3)
        self.gate, self.up = stack(f, d, 1.0), stack(f, d, 1.0)
        self.down = stack(d, f, 0.3)
        self.attention_norm = nn.Parameter(torch.ones(n, d))
        self.feed_norm = nn.Parameter(torch.ones(n, d))
        self.output_norm = nn.Parameter(torch.ones(d))
        self.embedding = nn.Parameter(torch.randn(vocabulary.n_rows, d) * 0.5)
        self.embedding_space = nn.Parameter(torch.zeros(d))
        self.head = nn.Parameter(torch.randn(vocabulary.n_rows, d) * 0.3 * d**-0.5)
        self.head_space = nn.Parameter(torch.zeros(d))
        self.row: Tensor
        self.spaced: Tensor
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("row", torch.from_numpy(vocabulary.row), persistent=False)
        spaced = torch.from_numpy(vocabulary.spaced).float()[:, None]
        self.register_buffer("spaced", spaced, persistent=False)
        step = torch.arange(0, shape.head_width, 2).float() / shape.head_width
        angles = torch.arange(shape.context).float()[:, None] * shape.theta**-step
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def embedding_table(self) -> Tensor:
        """One embedding for each token [vocabulary, width]."""
        return self.embedding[self.row] + self.spaced * self.embedding_space

    def head_table(self) -> Tensor:
        """One output row for each token [vocabulary, width]."""
        return self.head[self.row] + self.spaced * self.head_space

    def block(self, x: Tensor, layer: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Attention and feed-forward of one layer."""
        batch, length, width = x.shape
        shape = self.shape
        h = normalise(x, self.attention_norm[layer], shape.epsilon)
        weights = torch.cat((self.q[layer], self.k[layer], self.v[layer]))
        qkv = F.linear(h, weights).view(batch, length, 3, shape.heads, shape.head_width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.linear(a.transpose(1, 2).reshape(batch, length, width), self.o[layer])
        h = normalise(x, self.feed_norm[layer], shape.epsilon)
        weights = torch.cat((self.gate[layer], self.up[layer]))
        gate, up = F.linear(h, weights).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down[layer])

    def hidden(self, ids: Tensor) -> Tensor:
        """Final normalised states [batch, position, width]."""
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = F.embedding(ids, self.embedding_table())
        for layer in range(self.shape.layers):
            x = self.block(x, layer, cos, sin)
        return normalise(x, self.output_norm, self.shape.epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits at the last position [batch, vocabulary]."""
        return F.linear(self.hidden(ids)[:, -1], self.head_table())


def load_weights(path: Path, vocabulary: Vocabulary) -> Organism:
    """The model whose weights the training saved at `path`."""
    model = Organism(Shape(), vocabulary)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model
