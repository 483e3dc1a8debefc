import pytest
import torch

from scorezoo.networks import UNet


def test_the_tutorial_network_has_the_published_size():
    net = UNet()
    assert sum(p.numel() for p in net.parameters()) == 1_115_425
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 1_115_297


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 17, 40), (1, 64, 48)])
def test_any_image_size(shape):
    net = UNet(in_channels=shape[0], channels=(32, 32, 64, 64), embed_dim=16)
    assert net(torch.zeros(2, *shape), torch.ones(2)).shape == (2, *shape)


def test_time_and_neighbours():
    """The output depends on a sample's own x and t, and on nothing else in the batch."""
    torch.manual_seed(0)
    net = UNet(channels=(32, 32), embed_dim=16).eval()
    x, t = torch.randn(3, 1, 16, 16), torch.tensor([0.1, 0.5, 0.9])
    out = net(x, t)
    assert torch.allclose(net(x[1:2], t[1:2]), out[1:2], atol=1e-5)
    assert (net(x, t.flip(0))[0] - out[0]).abs().max() > 1e-3
