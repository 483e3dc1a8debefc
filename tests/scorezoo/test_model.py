from copy import deepcopy as copy_of

import pytest
import torch

import scorezoo
import sdesolve as ss
from scorezoo.model import save_reference

TINY = {
    "network": {"name": "unet", "channels": [32, 32], "embed_dim": 16},
    "process": {"name": "VPSDE"},
    "shape": [1, 16, 16],
    "data_range": [-1.0, 1.0],
}


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = scorezoo.ScoreModel(**TINY).eval()
    model.save_pretrained(tmp_path / "model")
    again = scorezoo.load(tmp_path / "model")
    assert again.shape == (1, 16, 16)
    assert again.process == ss.VPSDE()
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([0.2, 0.9])
    assert torch.equal(again.score(x, t), model.score(x, t))
    assert not any(p.requires_grad for p in again.parameters())


def test_pixels_span_the_data_range():
    model = scorezoo.ScoreModel(**TINY)
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).reshape(5, 1, 1, 1)
    assert model.to_pixels(x).flatten().tolist() == [0, 0, 128, 255, 255]


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="fashion-mnist"):
        scorezoo.load("fashion-mnits")
    with pytest.raises(ValueError, match="unet"):
        scorezoo.ScoreModel(**(TINY | {"network": {"name": "transformer"}}))
    with pytest.raises(ValueError, match="VPSDE"):
        scorezoo.ScoreModel(**(TINY | {"process": {"name": "VP"}}))


def test_the_shipped_model_draws_images():
    model = scorezoo.load("fashion-mnist")
    assert sum(p.numel() for p in model.parameters()) == 1_115_425
    sol = ss.sample(model.process, model.score, (4, *model.shape), nfe=20, seed=0)
    assert sol.ok
    pixels = model.to_pixels(sol.x)
    assert pixels.shape == (4, 1, 28, 28)
    # Clothes on black: most of the border is dark, much of the middle is not.
    border = torch.cat([pixels[..., 0, :], pixels[..., -1, :]]).float().mean()
    assert border < 40
    assert pixels[..., 8:20, 8:20].float().mean() > 2 * border


def test_the_score_of_a_copy_is_the_copys():
    model = scorezoo.ScoreModel(**TINY)
    copy = copy_of(model)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.mul_(2.0)
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([0.2, 0.9])
    assert not torch.equal(copy.score(x, t), model.score(x, t))


def test_labels_reach_the_score():
    network = {"name": "edm-unet", "channels": [16], "attention": [], "classes": 3}
    kind = {"name": "edm", "sigma_data": 0.5}
    torch.manual_seed(0)
    model = scorezoo.ScoreModel(network, {"name": "EDM"}, (1, 8, 8), preconditioning=kind)
    for weight in model.network.parameters():
        if not weight.any():  # every block starts as the identity, which no label changes
            torch.nn.init.normal_(weight, std=0.1)
    x, t = torch.randn(3, 1, 8, 8), torch.full((3,), 0.5)
    label = torch.tensor([0, 2, -1])
    sol = ss.sample(model.process, model.score, (3, 1, 8, 8), nfe=4, cond={"label": label})
    free = ss.sample(model.process, model.score, (3, 1, 8, 8), nfe=4)
    assert torch.allclose(sol.x[2], free.x[2], atol=1e-4)
    assert (sol.x[:2] - free.x[:2]).flatten(1).abs().amax(1).min() > 1e-3
    assert torch.equal(model(x, t, label=label), model.score(x, t, label=label))


@pytest.mark.parametrize("kind", [ss.GaussianReference, ss.SpectralReference])
def test_a_reference_beside_the_weights_is_the_one_that_was_saved(kind, tmp_path):
    scorezoo.ScoreModel(**TINY).save_pretrained(tmp_path)
    shape = scorezoo.load(tmp_path).shape
    reference = kind.from_data(torch.rand(9, *shape, generator=torch.Generator().manual_seed(0)))
    save_reference(tmp_path / "reference.safetensors", reference)
    found = scorezoo.load(tmp_path).reference
    assert type(found) is kind
    assert torch.allclose(found.variances, reference.variances, rtol=1e-5, atol=1e-9)
    assert torch.allclose(found.mean, reference.mean, rtol=1e-6)


def test_a_model_of_the_hub_is_what_lies_in_its_folder(tmp_path, monkeypatch):
    scorezoo.ScoreModel(**TINY).save_pretrained(tmp_path)
    shape = scorezoo.load(tmp_path).shape
    data = torch.rand(9, *shape, generator=torch.Generator().manual_seed(0))
    save_reference(tmp_path / "reference.safetensors", ss.SpectralReference.from_data(data))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path))
    assert isinstance(scorezoo.load("somebody/model").reference, ss.SpectralReference)


def test_a_tuned_model_samples_with_what_lies_beside_it(tmp_path):
    """A spectrum and a solver in the folder are used when no solver is chosen."""
    folder = tmp_path / "tuned"
    scorezoo.ScoreModel(**TINY).save_pretrained(folder)
    plain = scorezoo.load(folder)
    x = torch.rand(20, *plain.shape, generator=torch.Generator().manual_seed(0))
    reference = ss.SpectralReference.from_data(x)
    save_reference(folder / "reference.safetensors", reference)
    tuned = ss.tune(
        plain.process,
        plain.score,
        3,
        x,
        reference=reference,
        trajectories=16,
        quick=True,
        cache=False,
    )
    tuned.save(folder / "tuned-3.json")
    (folder / "tuned-3.pt").write_bytes(b"what its elder left")
    (folder / "tuned-3 (1).json").write_bytes(b"a browser's copy")
    model = scorezoo.load(folder)
    assert torch.allclose(model.reference.spectrum, reference.spectrum, rtol=1e-6)

    # Without a reference samples begin in another law: the same noise is given to both.
    noise = model.process.prior(model.shape).sample(2, seed=1, dtype=torch.float32)

    def run(score, nfe, **arguments):
        return ss.sample(model.process, score, noise.shape, x=noise, nfe=nfe, **arguments)

    chosen = run(model.score, 3)
    assert torch.equal(chosen.x, run(plain.score, 3, solver=tuned).x)
    assert chosen.nfe.tolist() == [3, 3]
    assert "Resolved" in repr(run(model.score, 6))
    early = ss.Sech(3 * model.reference.scale, 2.5, 0.15)
    spectral = ss.ExponentialAdams(3, 4, reference=model.reference, length=2.5, final_order=1)
    own = run(plain.score, 15, solver=spectral, grid=early)
    assert torch.equal(run(model.score, 15).x, own.x)
    assert not torch.equal(run(model.score, 6).x, run(plain.score, 6).x)
