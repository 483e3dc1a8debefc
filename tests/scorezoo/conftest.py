"""A tiny recipe and a few images, made here: tests need no network and no data set."""

import matplotlib.image
import numpy as np
import pytest
import torch

import scorezoo
from scorezoo.data import ImageData


@pytest.fixture
def recipe():
    return {
        "data": {"source": "none", "range": [0.0, 1.0]},
        "process": {"name": "ExponentialVESDE", "base": 25.0},
        "network": {"name": "unet", "channels": [32, 32], "embed_dim": 16},
        "training": {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 4},
    }


@pytest.fixture
def edm_recipe(recipe):
    return recipe | {
        "data": {"range": [-1.0, 1.0]},
        "process": {"name": "EDM"},
        "preconditioning": {"name": "edm"},
        "objective": {"name": "edm"},
        "network": {
            "name": "edm-unet",
            "channels": [16, 16],
            "attention": [1],
            "classes": 4,
            "embed_dim": 16,
        },
    }


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 1, 16, 16), generator=generator, dtype=torch.uint8)
    return ImageData(pixels, torch.arange(40) % 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An image folder with two classes and five images, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(5):
        path = tmp_path / "data" / "train" / f"class{i % 2}"
        path.mkdir(parents=True, exist_ok=True)
        array = np.full((16, 16, 3), 10 * i, np.uint8)
        matplotlib.image.imsave(path / f"{i}.png", array)
    return tmp_path / "data"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A place of its own, for what is read from and written to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tiny(here):
    """Folder of a network of colour images without classes."""
    from .test_commands import COLOUR

    torch.manual_seed(0)
    scorezoo.ScoreModel(**COLOUR).save_pretrained("tiny")
    return "tiny"
