"""Functions on any device, in place of DeepGEMM's: those that the kernel types of this package launch."""

from __future__ import annotations

import torch

#: Columns, or rows, that share a scale factor.
BLOCK = 32


def blocks(size: int) -> int:
    return -(-size // BLOCK)


def spread(scales: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """Scale factors of blocks -> of elements."""
    return scales.repeat_interleave(BLOCK, dim).narrow(dim, 0, size)


def scaled_gemm(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor], d: torch.Tensor) -> None:
    """d[m, n] = (a * sfa) @ (b * sfb).T, with scale factors of 1x32 blocks of a, and 32x32 blocks of b."""
    (left, sfa), (right, sfb) = a, b
    n, k = right.shape
    scaled = right.float() * spread(spread(sfb, n, 0), k, 1)
    d.copy_((left.float() * spread(sfa, k, 1)) @ scaled.T)


def masked_gemm(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
    """d[g, :masked_m[g]] = a[g] @ b[g].T; rows past masked_m are zeros."""
    d.copy_(a.float() @ b.float().transpose(1, 2))
    for group, rows in enumerate(masked_m.tolist()):
        d[group, rows:] = 0


def grouped_gemm(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, groups: torch.Tensor) -> None:
    """d[i] = a[i] @ b[groups[i]].T; rows of no group (-1) are zeros."""
    d.zero_()
    for group in range(b.shape[0]):
        rows = groups == group
        d[rows] = (a[rows].float() @ b[group].float().T).to(d.dtype)


def k_grouped_gemm(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, sizes: torch.Tensor) -> None:
    """d[g] += a[rows of g].T @ b[rows of g]; group g has the next sizes[g] rows."""
    first = 0
    for group, rows in enumerate(sizes.tolist()):
        part = slice(first, first + rows)
        d[group] += a[part].float().T @ b[part].float()
        first += rows


def quantize(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of x as int8, and the scale factor of each row."""
    scales = x.float().abs().amax(1).clamp(1e-6) / 127
    return (x.float() / scales[:, None]).round().to(torch.int8), scales


def paged_scores(
    q: torch.Tensor, cache: torch.Tensor, pages: torch.Tensor, lengths: torch.Tensor, scores: torch.Tensor
) -> None:
    """scores[i, j] = q[i] . (token j of the pages of row i), zeros from lengths[i] on."""
    size = cache.shape[1]
    tokens = cache[pages.long()].reshape(q.shape[0], -1, q.shape[1]).float()
    columns = torch.arange(pages.shape[1] * size, device=q.device)
    dots = (tokens @ q.float().unsqueeze(2)).squeeze(2)
    scores.copy_(dots.where(columns < lengths[:, None], 0))


def split_gemm(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> None:
    """parts[s, m, n]: the sum over s is a @ b.T; part s has every len(parts)-th column of k."""
    count = parts.shape[0]
    for part in range(count):
        parts[part] = a[:, part::count].float() @ b[:, part::count].float().T
