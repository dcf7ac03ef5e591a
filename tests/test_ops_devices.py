"""Full float32 on CUDA: requested by several threads, restored by the last."""

from __future__ import annotations

import pytest
import torch

from napari_dsparse.machine.devices import full_float32

CUDA = torch.device("cuda")


@pytest.mark.parametrize("before", [True, False])
def test_all_bits_are_kept_until_the_last_has_left(before: bool) -> None:
    setting = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before
    try:
        one, other = full_float32(CUDA), full_float32(CUDA)
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert torch.backends.cudnn.allow_tf32 is False
        other.__exit__(None, None, None)
        assert torch.backends.cudnn.allow_tf32 is before
        with full_float32(torch.device("cpu")):
            assert torch.backends.cudnn.allow_tf32 is before
    finally:
        torch.backends.cudnn.allow_tf32 = setting
