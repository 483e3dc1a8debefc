"""Tables of docs that come from the code and the results: solvers, zoo, speed, likelihood.

    python -m benchmarks.tables            # print them
    python -m benchmarks.tables --write    # into the pages of docs

They are of the published results, not of those of a trial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import scorezoo
import sdesolve as ss
from benchmarks import record, samplers
from scorezoo.model import pretrained_folder
from scorezoo.recipes import read_recipe
from sdesolve.equations.sde import Noise

SEEN = {"cifar10": " (JPEG-compressed images)"}
"""What has to be said wherever figures of a network appear."""


def _order(orders: Mapping[Noise, float]) -> str:
    """Orders, with the noise types that share one named together."""
    groups: dict[float, list[str]] = {}
    for noise, order in orders.items():
        groups.setdefault(order, []).append(noise)
    parts = []
    for order, names in sorted(groups.items(), reverse=True):
        number = str(Fraction(order).limit_denominator(2))
        parts.append(number if len(groups) == 1 else f"{number} ({', '.join(names)})")
    return "; ".join(parts) or "-"


def _orders(exact: float, own: float) -> str:
    """Order, and what is left of it from the method's own start to its own end."""
    if own == exact:
        return samplers.order(exact)
    return f"{exact:g} ({own:g} including start-up and final steps)"


def solvers() -> str:
    """Every registered solver with its declarations."""
    body = []
    for name in [*ss.solver_names(), *ss.solver_names(special=True)]:
        solver = ss.solver(name)
        strong, weak, cost = "-", "-", f"{solver.evaluations} an attempt"
        orders = samplers.order(solver.order)
        if isinstance(solver, ss.Solver):
            noisy = solver.own_noise or solver.tau != 0
            orders = _orders(*solver.orders)
            strong = _order(solver.strong_order) if noisy else "-"
            weak = _order(solver.weak_order) if noisy else "-"
            cost = samplers.cost(solver)
        multiplicative = {"scalar", "diagonal", "general"} & set(solver.noise_types)
        calculus = ", ".join(c.capitalize() for c in solver.calculus) if multiplicative else "-"
        kind = type(solver).__name__
        body.append([f"`{name}`", f"`{kind}`", orders, strong, weak, calculus, cost])
    head = ["name", "class", "order", "strong order", "weak order", "calculus", "NFE per step"]
    return record.table(head, body)


def zoo() -> str:
    """Every shipped model with its cost and quality."""
    body = []
    for name in scorezoo.pretrained_names():
        model = scorezoo.load(name)
        recipe = read_recipe(name)["training"]
        log = (pretrained_folder() / name / "loss.jsonl").read_text().splitlines()
        lines = [json.loads(line) for line in log]
        every = lines[1]["step"] - lines[0]["step"]
        seen = lines[-1]["step"] * recipe["batch_size"]
        hours = sum(every * recipe["batch_size"] / x["images_per_second"] for x in lines) / 3600
        tail = lines[-100:]
        loss = sum(x["loss"] for x in tail) / len(tail)
        body.append(
            [
                f"`{name}`{SEEN.get(name, '')}",
                f"{sum(p.numel() for p in model.parameters()):,}",
                f"{seen:,}",
                f"{hours:.1f}",
                f"{loss:.1f}",
                _quality(name),
                _bits(name),
            ]
        )
    head = [
        "model",
        "parameters",
        "samples seen",
        "wall hours",
        "summed loss",
        "distance to the data (floor)",
        "bits/dim",
    ]
    return record.table(head, body)


def _bits(name: str) -> str:
    """Bits per dimension of a network of images, with its interval."""
    found = record.read("likelihood").get("bits", {}).get(name)
    if found is None:
        return "-"
    return f"{found['bits_per_dim']:.2f} ± {found['half_interval_95']:.2f}"


def _quality(name: str) -> str:
    """Best measured distance of a model's samples to the data, and its floor."""
    toys = record.read("toys")
    for row in toys.get("rows", []):
        if name == f"toy-{row['name']}":
            distance = row["sliced_wasserstein"]
            return (
                f"sliced W2 {distance['network']:.3f} ({distance['floor']:.3f}) at NFE "
                f"{toys['nfe']}, {toys['count']} points"
            )
    rows = [row for row in record.read("zoo").get("rows", []) if row["model"] == name]
    count = max((row["count"] for row in rows), default=0)
    rows = [row for row in rows if row["count"] == count]
    found = [
        f"{row['frechet']['frechet']:.2f} at NFE {row['nfe']}" + " with labels" * row["labels"]
        for row in rows
        if row["solver"] == "heun"
    ]
    if not found:
        return "-"
    floor = rows[0]["floor"]["frechet"]
    return f"Frechet {', '.join(found)} ({floor:.2f}), {count} images"


def tuned() -> str:
    """What the solvers that ship with the models gain, as ``ss.tune`` measured it."""
    models = {name: scorezoo.load(name).tuned for name in scorezoo.pretrained_names()}
    budgets = sorted({budget for solvers in models.values() for budget in solvers})
    body = []
    for name, solvers in models.items():
        if solvers:
            cells = [_gain(solvers[budget]) if budget in solvers else "-" for budget in budgets]
            body.append([name + SEEN.get(name, ""), *cells])
    return record.table(["model", *(f"NFE {budget}" for budget in budgets)], body)


def _gain(solver: ss.Tuned) -> str:
    assert solver.gain_interval is not None
    low, high = solver.gain_interval
    return f"{solver.gain:.2f} ({low:.2f} to {high:.2f})"


def on_a_gpu() -> str:
    """What a call costs beside the network on a GPU, ours and diffusers' in one run."""
    result = record.read("step_overhead_cuda")
    ratios, times = result["over_dpm_multistep"], result["ms_per_call"]
    body = [
        [name, f"{1e3 * times[name]:.0f}", f"{ratio:.2f}"]
        for name, ratio in sorted(ratios.items(), key=lambda item: item[1])
    ]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    note = (
        f"`{result['command']}`, {result['date']}, {result['device']}, {versions}, "
        f"{'x'.join(map(str, result['shape']))} values in float32."
    )
    return record.table(["sampler", "us a call", "ratio"], body) + "\n\n" + note


def speed() -> str:
    """What a step costs, as ratios in one run."""
    result = record.read("speed")
    body = []
    for shape, row in result["euler"].items():
        body.append(
            [
                f"Euler-Maruyama, {shape}, a step",
                "hand-written loop",
                f"{row['us_per_step']['ours']:.0f}",
                f"{row['us_per_step']['by hand']:.0f}",
                f"{row['ours_over_by_hand']:.2f}",
            ]
        )
    cases = [
        (count, method, hint)
        for method in ("euler", "srk")
        for count in (100, 200, 1000)
        for hint in ("hint", "no hint")
    ]
    for count, method, hint in cases:
        steps = result["torchsde"][f"{count} steps"]["us_per_step"]
        name, key = ("Euler-Maruyama", "euler") if method == "euler" else ("SRA1", "SRA1")
        ours, other = steps[f"ours, {key}"], steps[f"torchsde, {method}, additive, {hint}"]
        body.append(
            [
                f"{name}, 64x2, a step of {count}",
                f"torchsde {method}, {'dt hint' if hint == 'hint' else 'as it is'}",
                f"{ours:.0f}",
                f"{other:.0f}",
                f"{ours / other:.3f}",
            ]
        )
    row = result["dopri5"]
    times = row["us_per_evaluation"]
    body.append(
        [
            "adaptive dopri5, 64x784, an evaluation",
            "torchdiffeq",
            f"{times['ours']:.0f}",
            f"{times['torchdiffeq']:.0f}",
            f"{row['ours_over_torchdiffeq']:.2f}",
        ]
    )
    for shape, noise in result["adaptive_noise"].items():
        times = noise["us_per_attempt"]
        for how in ("together", "in turn"):
            ours = times[f"ours, rejected {how}"]
            body.append(
                [
                    f"noise of AdaptiveSDE, {shape}, an attempt, rejected {how}",
                    "randn of W and H",
                    f"{ours:.0f}",
                    f"{times['randn of W and H']:.0f}",
                    f"{ours / times['randn of W and H']:.2f}",
                ]
            )
    head = ["what", "beside", "ours, us", "theirs, us", "ratio"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    note = (
        f"`{result['command']}`, {result['date']}, {result['processor']}, {result['threads']} "
        f"threads, {versions}. Right-hand sides are trivial, so only the libraries are timed; "
        "medians of alternating runs, processor time of one thread. A solve without a path "
        "allocates a constant number of states."
    )
    return record.table(head, body) + "\n\n" + note


def likelihood() -> str:
    """Bits per dimension of the shipped networks, and what they cost beside the published way."""
    result = record.read("likelihood")
    body = []
    for model, part in result["speed"].items():
        for row in part["rows"]:
            # The published method runs the network twice for one evaluation.
            evaluations = row["forwards_per_image"] / (1 + row["name"].startswith("published"))
            body.append(
                [
                    model,
                    row["name"],
                    f"{row['tolerance']:.0e}",
                    f"{row['forwards_per_image']:.0f}",
                    f"{row['cpu_seconds_per_image']:.2f}",
                    f"{1e3 * row['cpu_seconds_per_image'] / evaluations:.1f}",
                    f"{row['error_bits_per_dim']:.1e}",
                ]
            )
    head = [
        "network",
        "method",
        "tolerance",
        "forward passes",
        "CPU s/image",
        "ms an evaluation",
        "error, bits/dim",
    ]
    values = "\n".join(f"- {_bits_in_words(name, bits)}" for name, bits in result["bits"].items())
    text = (
        f"The first test images of what a network was trained on:\n\n{values}\n\n"
        "Intervals are 95 % of the mean, with one uniform dequantisation and one probe for each "
        "image, bins centred on the values of training."
    )
    made = next(iter(result["bits"].values()))["machine"]
    speed = next(iter(result["speed"].values()))
    commands = [
        f"`{part['machine']['command']}`"
        for kind in ("bits", "speed")
        for part in result[kind].values()
    ]
    note = (
        f"{', '.join(commands)}, {made['date']}, {made['processor']}, {made['threads']} thread, "
        f"torch {made['versions']['torch']}. The table is of {speed['count']} images, with one "
        "dequantisation and one probe for all rows; the error is against a solution in float64 at "
        "a tolerance of 1e-6. The published method runs the network twice for each evaluation, so "
        "its forward passes are twice its NFE."
    )
    return f"{text}\n\n{record.table(head, body)}\n\n{note}"


def _bits_in_words(name: str, bits: dict[str, Any]) -> str:
    low, high = bits["nfe_range"]
    place = bits["machine"].get("device", "one busy core")
    return (
        f"`{name}`{SEEN.get(name, '')}: "
        f"**{bits['bits_per_dim']:.3f} ± {bits['half_interval_95']:.3f} bits/dim**, "
        f"{bits['count']} images, density at t = {bits['eps']:g}, rtol = atol = {bits['rtol']:g}; "
        f"NFE {bits['nfe_mean']:.0f} ({low} to {high}), {bits['failed']} failures, "
        f"{bits['seconds_per_image']:.1f} s an image on {place}; the default prior costs at most "
        f"{bits['prior_mismatch_bits']:.4f} bits/dim"
    )


def write(place: record.Place) -> None:
    """Put the tables of the published results where they belong."""
    place.section("solvers", solvers())
    place.section("zoo", zoo())
    place.section("tuned", tuned())
    place.section("speed", speed())
    place.section("gpu", on_a_gpu())
    place.section("likelihood", likelihood())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or write them into the pages."""
    place = record.place(record.parser(__doc__).parse_args(argv))
    write(place)
    place.finish()


if __name__ == "__main__":
    main()
