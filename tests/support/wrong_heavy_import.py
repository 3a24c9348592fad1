"""A kernel type whose module imports torch as soon as it is imported itself."""

import torch
from good_kernel_types import PlainGemm


class HeavyImport(PlainGemm):
    dtype = torch.float32
