"""Network architectures, one file each, and the names recipes know them by."""

from .edm_unet import EDMUNet
from .mlp import MLP
from .unet import UNet

__all__ = ["MLP", "NETWORKS", "EDMUNet", "UNet"]

NETWORKS = {"mlp": MLP, "unet": UNet, "edm-unet": EDMUNet}
