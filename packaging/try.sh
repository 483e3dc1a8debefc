#!/usr/bin/env bash
# Build what would be published, and try it where nothing else is: packaging/try.sh python3.10 python3.13
# Each Python gets a fresh environment with the small wheel, then with the sdist in its place, then with
# zoo and the weights. Needs a network (or a mirror) for torch and the others, and `pip install build`.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m build --outdir "$work/dist" . >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
python3 -m build --wheel --outdir "$work/dist" packaging/weights >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
cp constraints.txt "$work"
cd "$work" # not the clone, whose folders would be imported
ls -l dist | awk 'NR > 1 { printf "%s: %.2f MB\n", $NF, $5 / 1e6 }'
wheel=$(echo dist/sdesolve-*.whl)
for python in "$@"; do
    "$python" --version
    rm -rf venv
    "$python" -m venv venv
    install() {
        venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
            --find-links dist "$@"
    }
    small() {
        venv/bin/python - <<'PY'
import torch
import sdesolve as ss

process = ss.EDM()
data = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.05)
sol = ss.sample(process, data.score(process), (8, 2), nfe=20, seed=0)
assert sol.ok and (sol.x[:, 0].abs() - 1).abs().max() < 1, sol
try:
    import scorezoo

    scorezoo.load("fashion-mnist-edm")
except ImportError as error:
    print(ss.__version__, "solvers alone;", error)
PY
    }
    install "$(grep '^torch==' constraints.txt)" # by itself: a range would take another build
    install "$wheel"
    small
    install --no-deps --force-reinstall dist/sdesolve-*.tar.gz
    small
    install "$wheel[zoo]"
    venv/bin/scorezoo list | sed -n 1p
    venv/bin/scorezoo sample fashion-mnist-edm --labels all --count 10 --nfe 5 --output ten.png
done
