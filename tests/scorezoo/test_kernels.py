"""What a context switches is as it was after it, however it ends."""

import pytest
import torch

import sdesolve as ss
from scorezoo import kernels
from scorezoo.objectives import sliced_score_matching
from scorezoo.preconditioning import precondition


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


@pytest.mark.parametrize("how", ["sliced", "energy"])
def test_networks_with_fused_attention_are_differentiated_twice(how):
    weight = torch.ones(16, requires_grad=True)

    def net(x, t):
        q = (x * weight).reshape(2, 1, 4, 4)
        return torch.nn.functional.scaled_dot_product_attention(q, q, q).reshape(2, 16)

    x, t = torch.linspace(-1, 1, 32).reshape(2, 16), torch.ones(2)
    if how == "sliced":
        loss = sliced_score_matching(net, x, t, torch.ones_like(x))
    else:
        loss = precondition(net, ss.EDM(), "energy", 0.5)(x, t).square()
    loss.sum().backward()
    assert weight.grad.abs().sum() > 0
