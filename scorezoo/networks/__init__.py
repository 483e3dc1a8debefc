"""Network architectures, one file each, and the names recipes know them by."""

from .unet import UNet

__all__ = ["NETWORKS", "UNet"]

NETWORKS = {"unet": UNet}
