"""Network architectures, one file each, and the names recipes know them by."""

from .edm_unet import EDMUNet
from .unet import UNet

__all__ = ["NETWORKS", "EDMUNet", "UNet"]

NETWORKS = {"unet": UNet, "edm-unet": EDMUNet}
