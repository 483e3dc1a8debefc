import pytest
import torch

from scorezoo.data import load_images, write_atomically


def test_a_folder_is_read_decoded_once_and_cached(folder, tmp_path):
    data = load_images(str(folder), progress=False)
    assert data.shape == (3, 16, 16)
    assert data.pixels.dtype == torch.uint8
    assert sorted(data.pixels[:, 0, 0, 0].tolist()) == [0, 10, 20, 30, 40]
    assert sorted(data.labels.tolist()) == [0, 0, 0, 1, 1]
    (cache,) = (tmp_path / "cache" / "scorezoo").glob("*.safetensors")
    before = cache.stat().st_mtime_ns
    again = load_images(str(folder), progress=False)
    assert torch.equal(again.pixels, data.pixels)
    assert cache.stat().st_mtime_ns == before


def test_range_maps_bytes_linearly(images):
    batch = images.batch(torch.tensor([0, 3]), (-1.0, 1.0))
    assert torch.allclose(batch, images.pixels[[0, 3]].float() / 127.5 - 1, atol=1e-6)


def test_a_missing_dataset_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="cannot read"):
        load_images(str(tmp_path / "nothing"))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda p: p.write_text("old"))

    def fail(p):
        p.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
