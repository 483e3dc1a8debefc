"""Network architectures, one file each, and the names recipes know them by."""

from .edm_unet import EDMUNet
from .mlp import MLP
from .ncsn import NCSN
from .ncsnpp import NCSNpp
from .unet import UNet

__all__ = ["MLP", "NCSN", "NETWORKS", "EDMUNet", "NCSNpp", "UNet"]

NETWORKS = {"mlp": MLP, "unet": UNet, "edm-unet": EDMUNet, "ncsn": NCSN, "ncsnpp": NCSNpp}
