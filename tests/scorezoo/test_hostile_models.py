"""Folders that are not the model they say: one sentence each, before memory is asked for."""

import json
import os
import pickle
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import scorezoo
import sdesolve as ss
from scorezoo.cli import app
from scorezoo.model import save_reference

CONFIG = {
    "network": {"name": "mlp", "width": 8, "blocks": 1, "embed_dim": 8},
    "process": {"name": "VPSDE"},
    "shape": [2],
    "data_range": [-1.0, 1.0],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model's folder with everything that one may hold."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    model = scorezoo.ScoreModel(**CONFIG)
    model.save_pretrained(folder)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    reference = ss.GaussianReference.from_data(x)
    save_reference(folder / "reference.safetensors", reference)
    options = {"reference": reference, "trajectories": 16, "quick": True, "cache": False}
    ss.tune(model.process, model.score, 3, x, **options).save(folder / "tuned-3.json")
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "m")
    return tmp_path / "m"


def _config(**change):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return damage


def _network(**change):
    return _config(network=CONFIG["network"] | change)


def _without(key):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        del config[key]
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def _content(name, content):
    def damage(folder):
        (folder / "SHA256SUMS").unlink()
        (folder / name).write_bytes(content)

    return damage


def _tensors(change, name="model.safetensors"):
    """Tensors that are others, with a checksum that is right."""

    def damage(folder):
        (folder / "SHA256SUMS").unlink()
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)

    return damage


def _claims(shape):
    """A header of safetensors that promises more than there is."""
    size = 4
    for n in shape:
        size *= n
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header


def _loop(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")


def _loop_of_weights(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("model.safetensors")


def _cut(name, keep):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def _flip(name):
    def damage(folder):
        data = bytearray((folder / name).read_bytes())
        data[-5] ^= 1
        (folder / name).write_bytes(data)

    return damage


def _zip(folder):
    (folder / "SHA256SUMS").unlink()
    torch.save({"w": torch.zeros(3)}, folder / "model.safetensors")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("ran",)


FIRST = "network.enter.weight"
HOSTILE = {
    "no JSON": (_content("config.json", b"{not json"), "config.json"),
    "no text": (_content("config.json", b"\xff\xfe\x00"), "config.json"),
    "empty": (_content("config.json", b""), "config.json"),
    "deep": (_content("config.json", b"[" * 100_000), "config.json"),
    "a list": (_content("config.json", b"[1]"), "config.json is not a model's configuration"),
    "no shape": (_without("shape"), "config.json lacks shape"),
    "no network": (_without("network"), "config.json lacks network"),
    "a key more": (_config(run="rm -rf"), "has no 'run'"),
    "unknown network": (_network(name="transformer"), "unknown network 'transformer'"),
    "network of another kind": (_config(network=3), "network"),
    "network without a name": (_config(network={"width": 8}), "unknown network None"),
    "module for a network": (_network(name="os.system"), "unknown network"),
    "unknown process": (_config(process={"name": "eval"}), "unknown process 'eval'"),
    "word for a number": (_network(width="wide"), "width is a whole number"),
    "float for a whole": (_network(width=8.5), "width is a whole number"),
    "flag for a number": (_network(blocks=True), "blocks is a whole number"),
    "negative": (_network(width=-8), "width is a whole number"),
    "gigabytes of width": (_network(width=10**8), "holds weights of another network"),
    "a billion blocks": (_network(blocks=10**9), "blocks"),
    "NaN for a number": (_config(process={"name": "VPSDE", "beta_min": float("nan")}), "beta_min"),
    "word in the process": (_config(process={"name": "VPSDE", "beta_min": "0.1"}), "beta_min"),
    "shape of words": (_config(shape="../../x"), "shape is"),
    "huge shape": (_config(shape=[10**9, 10**9, 3]), "shape"),
    "other shape": (_config(shape=[3]), "holds weights of another network"),
    "range of one": (_config(data_range=[1.0]), "data range"),
    "range of words": (_config(data_range=["a", "b"]), "data range"),
    "preconditioning": (_config(preconditioning={"name": "exec"}), "exec"),
    "a word for it": (_config(preconditioning="edm"), "preconditioning is a table"),
    "names for no class": (_config(class_names=["a"]), "classes"),
    "config.json is a loop": (_loop, "no model"),
    "weights are a loop": (_loop_of_weights, "model.safetensors"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "cut weights": (_cut("model.safetensors", 900), "model.safetensors was cut off or altered"),
    "empty weights": (_cut("model.safetensors", 0), "model.safetensors was cut off or altered"),
    "flipped bit": (_flip("model.safetensors"), "model.safetensors was cut off or altered"),
    "flipped reference": (_flip("reference.safetensors"), "reference.safetensors was cut off"),
    "cut without a sum": (_content("model.safetensors", b"\x10\x00"), "cannot read"),
    "claims gigabytes": (_content("model.safetensors", _claims([10**5, 10**5])), "cannot read"),
    "header of gigabytes": (_content("model.safetensors", struct.pack("<Q", 2**40)), "cannot read"),
    "pickled weights": (_content("model.safetensors", pickle.dumps(Bomb())), "pickle"),
    "torch's archive": (_zip, "pickle"),
    "one tensor less": (_tensors(lambda t: t.pop(FIRST)), "weights of another network"),
    "one tensor more": (_tensors(lambda t: t.update(x=torch.ones(1))), "weights of another"),
    "other sizes": (_tensors(lambda t: t.update({FIRST: torch.ones(3, 3)})), "another network"),
    "whole numbers": (_tensors(lambda t: t.update({FIRST: t[FIRST].long()})), "not floating"),
    "complex": (_tensors(lambda t: t.update({FIRST: t[FIRST] + 1j})), "not floating"),
    "not finite": (_tensors(lambda t: t[FIRST].fill_(float("nan"))), "holds NaN"),
    "reference of something else": (
        _tensors(lambda t: t.pop("mean"), "reference.safetensors"),
        "reference.safetensors holds no reference",
    ),
    "reference of other data": (
        _tensors(lambda t: t.update(mean=torch.zeros(3)), "reference.safetensors"),
        "reference.safetensors holds no reference",
    ),
    "tuned is no JSON": (_content("tuned-3.json", b"{"), "tuned-3.json"),
    "guided is no JSON": (_content("guided-1-3-3.json", b"{"), "guided-1-3-3.json"),
    "tuned is a list": (_content("tuned-3.json", b"[]"), "tuned-3.json"),
    "tuned lacks rows": (_content("tuned-3.json", b"{}"), "tuned-3.json"),
    "tuned is a pickle": (_content("tuned-3.json", pickle.dumps(Bomb())), "tuned-3.json"),
    "sums are no text": (lambda f: (f / "SHA256SUMS").write_bytes(b"\xff\xfe"), "SHA256SUMS"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_folder_is_refused_in_a_sentence(what, folder, monkeypatch):
    damage, words = HOSTILE[what]
    monkeypatch.chdir(folder)
    damage(folder)
    with pytest.raises(ValueError) as error:
        scorezoo.load(folder)
    said = str(error.value)
    assert words in said
    assert str(folder) in said
    assert len(said) < 600 and "Traceback" not in said
    assert not (folder / "ran").exists()


def test_on_the_command_line_it_is_one_line(folder):
    _flip("model.safetensors")(folder)
    result = CliRunner().invoke(app, ["sample", str(folder)])
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert "model.safetensors was cut off or altered" in result.stderr


def test_whole_folders_load_with_sums_and_without(folder):
    assert scorezoo.load(folder).tuned.keys() == {3}
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["model.safetensors", "reference.safetensors"]
    (folder / "SHA256SUMS").unlink()
    scorezoo.load(folder)


def test_writers_keep_the_sums_up_to_date(folder, tmp_path):
    model = scorezoo.load(folder)
    model.requires_grad_(False).network.enter.weight.mul_(2)
    model.save_pretrained(folder)
    assert torch.equal(scorezoo.load(folder).network.enter.weight, model.network.enter.weight)
    result = CliRunner().invoke(app, ["export", str(folder), "--output", str(tmp_path / "half")])
    assert result.exit_code == 0
    _cut("model.safetensors", 500)(tmp_path / "half")
    with pytest.raises(ValueError, match=r"half/model\.safetensors was cut off"):
        scorezoo.load(tmp_path / "half")
