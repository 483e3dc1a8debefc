"""What a context switches is as it was after it, however it ends."""

import pytest
import torch

from scorezoo import kernels


def test_precision_is_switched_and_put_back():
    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = conv.fp32_precision, matmul.fp32_precision
    with pytest.raises(KeyError), kernels.exact():
        assert (conv.fp32_precision, matmul.fp32_precision) == ("ieee", "ieee")
        raise KeyError
    assert (conv.fp32_precision, matmul.fp32_precision) == before
    assert torch.backends.cudnn.allow_tf32  # torch can still read its older setting


def test_a_user_of_the_newer_setting_is_served():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"  # from here on torch refuses to read allow_tf32
    try:
        with kernels.fastest(), kernels.exact():
            assert torch.backends.cudnn.benchmark and conv.fp32_precision == "ieee"
        assert not torch.backends.cudnn.benchmark and conv.fp32_precision == "ieee"
    finally:
        conv.fp32_precision = before
