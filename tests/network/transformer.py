"""A small audio spectrogram transformer: overlapping patches, a class token, positions, attention that is returned."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        normed = self.norm(x)
        mixed, scores = self.attention(normed, normed, normed, average_attn_weights=False)
        x = x + mixed
        return x + self.mlp(self.norm2(x)), scores


class Transformer(nn.Module):
    """Log spectrograms (B, 1, F, N) to logits; `scores` are those of the last block, (B, heads, 1 + M, 1 + M)."""

    def __init__(self, bins=16, frames=24, classes=3, dim=8, patch=4, stride=2):
        super().__init__()
        self.patches = nn.Conv2d(1, dim, patch, stride)
        self.grid = ((bins - patch) // stride + 1, (frames - patch) // stride + 1)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(0.1 * torch.randn(1, 1 + self.grid[0] * self.grid[1], dim))
        self.blocks = nn.ModuleList([Block(dim), Block(dim)])
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.positions
        for block in self.blocks:
            x, self.scores = block(x)
        return self.head(x[:, 0])
