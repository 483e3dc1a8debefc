r"""What looks wrong with a score, in words, and the line to write instead.

A score has to satisfy, with x = alpha x_0 + sigma z and the Tweedie mean
D = (x + sigma^2 s)/alpha,

- at T, where no data are left, -sigma s = z up to what is left of them;
- D is of all functions of (x, t) the nearest to x_0 in mean square, so that it misses no more than
  the best estimate for Gaussian data of the same variance v does, v sigma^2/(sigma^2 + alpha^2 v).

Where that is not so, what the network returned is read as everything that networks return (noise,
data, velocities of either kind, each sign), and at other clocks; the reading that fits is named.
That needs data, ``x``; without them T alone is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .checks import check_shape, check_tensor
from .equations.condition import check_cond
from .equations.consistency import process_faults
from .equations.outputs import NetworkScore
from .equations.process import A_PROCESS, Process
from .equations.score import A_SCORE, Score
from .readings import CLOCKS, LINES, WORDS, Clock, readings
from .shapes import expand_like

__all__ = ["Description", "Finding", "describe"]

_SAMPLES = 32
_ENOUGH = 2.0


class Finding(NamedTuple):
    """Something that looks wrong."""

    what: str
    """In words."""
    remedy: str
    """The line to write instead."""


@dataclass(frozen=True)
class Description:
    """What :func:`describe` found; it prints as text."""

    process: str
    findings: tuple[Finding, ...]
    measured: dict[str, float] = field(default_factory=dict)
    """Numbers behind it: the correlation of -sigma s with the noise at T, and so on."""

    @property
    def ok(self) -> bool:
        """Whether nothing looks wrong."""
        return not self.findings

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.measured.items())
        head = f"a score under {self.process}: " + ("nothing looks wrong" if self.ok else "")
        if not self.ok:
            head += f"{len(self.findings)} thing(s) look wrong"
        lines = [f"- {what}\n  {remedy}" for what, remedy in self.findings]
        return "\n".join([head, *lines, *([f"measured: {numbers}"] if numbers else [])])


@torch.no_grad()
def describe(
    process: Process,
    score: Score,
    x: Tensor | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    cond: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Description:
    """Look for what newcomers get wrong with a score.

    Args:
        process: Its process.
        score: Callable ``(x, t, **cond) -> like x``.
        x: Data, ``(n, *event)``; 32 are used. More is found with them than without.
        shape: Shape of an event, where there are no data.
        cond: Condition of the first 32 samples.
        seed: Of the noise.

    Returns:
        :class:`Description`: ``print`` it. It costs about 12 calls of 32 samples, and some 25 if
        what the network returns has to be guessed.

    Raises:
        ValueError: If neither data nor a shape is given.

    Examples:
        >>> import sdesolve as ss
        >>> data, process = ss.Gaussian([0.5, -0.5], 0.09), ss.VPSDE()
        >>> ss.describe(process, data.score(process), data.sample(100)).ok
        True
        >>> wrong = lambda x, t: -data.score(process)(x, t)
        >>> ss.describe(process, wrong, data.sample(100)).findings[0].remedy
        'write lambda x, t: -net(x, t)'
    """
    if x is None and shape is None:
        raise ValueError("give data, describe(process, score, x), or the shape of an event, shape=")
    A_PROCESS("process", process)
    A_SCORE("score", score)
    if x is not None and (check_tensor("x", x, finite=True).ndim < 2 or not len(x)):
        raise ValueError(f"x is data (n, *event), got {tuple(x.shape)}")
    check_cond(cond, _SAMPLES if x is None else min(_SAMPLES, len(x)))
    shape = None if shape is None else check_shape("shape", shape)
    faults = process_faults(process)
    if faults:
        remedy = "write ss.Interpolant(alpha, sigma), which derives the rest"
        return Description(repr(process), tuple(Finding(fault, remedy) for fault in faults))
    look = _Look.of(process, score, x, shape or (), dict(cond or {}), seed)
    found = [*_train_mode(score)]
    broken = look.call_faults()
    if broken:
        return Description(repr(process), (*found, *broken))
    found += look.repeats() or look.mates()
    if x is not None:
        found += look.scales()
    found += look.meaning()
    return Description(repr(process), tuple(found), look.measured)


def _train_mode(score: object) -> list[Finding]:
    for module in _modules(score):
        noisy = [
            m for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p
        ]
        normed = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if module.training and (noisy or normed):
            what = f"{type(module).__name__} is in train mode, with dropout or batch statistics"
            return [Finding(f"{what}: its values are random", "write net.eval()")]
    return []


def _modules(score: object, depth: int = 5) -> list[nn.Module]:
    if isinstance(score, nn.Module):
        return [score]
    names = ("net", "model", "score", "func", "energy", "__self__")
    inner = [getattr(score, name, None) for name in names] if depth else []
    return [m for part in inner if part is not None for m in _modules(part, depth - 1)]


@dataclass
class _Look:
    """Data, noise and the function in question."""

    process: Process
    score: Score
    data: Tensor
    given: bool
    cond: dict[str, Any]
    z: Tensor
    measured: dict[str, float]

    @staticmethod
    def of(
        process: Process,
        score: Score,
        x: Tensor | None,
        shape: tuple[int, ...],
        cond: dict[str, Any],
        seed: int,
    ) -> _Look:
        data = torch.zeros(_SAMPLES, *shape) if x is None else x.detach()
        if not data.is_floating_point():
            data = data.float()
        data = data.repeat(-(-_SAMPLES // len(data)), *[1] * (data.ndim - 1))[:_SAMPLES]
        cond = {k: v[:_SAMPLES] if isinstance(v, Tensor) else v for k, v in cond.items()}
        unit = process.prior(data.shape[1:]).sample(_SAMPLES, seed=seed)
        z = (unit / process.prior_std(process.T)).to(data.dtype).to(data.device)
        return _Look(process, score, data, x is not None, cond, z, {})

    def times(self) -> list[float]:
        """T and, with data, where the noise is twice, half and a tenth of their spread."""
        ends = self.process.T, self.process.eps
        if not self.given:
            return [ends[0]]
        spread = max(self.data.double().std().item(), 1e-6)
        wanted = (-torch.tensor([2.0, 0.5, 0.1], dtype=torch.float64).mul(spread).log()).tolist()
        times = [min(max(self.process.time(lam), ends[1]), ends[0]) for lam in wanted]
        return [ends[0], *times]

    def at(self, t: float) -> tuple[Tensor, Tensor]:
        """Noised data, and the time for each of them."""
        return self.process.perturb(self.data, t, self.z), self.data.new_full((_SAMPLES,), t)

    def call_faults(self) -> list[Finding]:
        """What makes it not a score: an error, a shape, a dtype, values that are not finite."""
        x, t = self.at(self.process.T)
        try:
            out = self.score(x, t, **self.cond)
        except Exception as error:
            text = str(error).splitlines()[0] if str(error) else ""
            return [
                Finding(f"the call failed: {type(error).__name__}: {text}", _call_remedy(error))
            ]
        if not isinstance(out, Tensor) or out.shape != x.shape:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            what = f"it returns {got}, x has {tuple(x.shape)}"
            remedy = "write ss.scores.unwrap(net, 'sample') or ss.scores.keep_mean(net)"
            return [Finding(what, remedy)]
        if out.dtype != x.dtype:
            what = f"it returns {out.dtype} for states of {x.dtype}"
            return [Finding(what, "end it with .to(x.dtype), or use an adapter of ss.scores")]
        for at in self.times():
            if not bool(torch.isfinite(self.score(*self.at(at), **self.cond)).all()):
                remedy = "write the process with an eps and T within the levels of its training"
                return [Finding(f"it is not finite at t = {at:.4g}", remedy)]
        return []

    def repeats(self) -> list[Finding]:
        """Whether the same question has the same answer."""
        ask = self.at(self.times()[-1])
        one, two = (self.score(*ask, **self.cond) for _ in range(2))
        if _error(one, two) < 1e-6:
            return []
        return [Finding("asked twice it gives two answers", "write net.eval(), and draw no noise")]

    def mates(self) -> list[Finding]:
        """Whether a sample's value depends on the others, or on their times."""
        times = self.times()
        x, _ = self.at(times[-1])
        late, early = times[0], (times[-1] if self.given else 0.5 * times[0])
        t = torch.where(torch.arange(_SAMPLES, device=x.device) % 2 == 0, late, early).to(x)
        for mixed in (False, True):
            ask = t if mixed else torch.full_like(t, early)
            whole = self.score(x, ask, **self.cond)
            single = {k: v[1:2] if isinstance(v, Tensor) else v for k, v in self.cond.items()}
            alone = self.score(x[1:2], ask[1:2], **single)
            if _error(whole[1:2], alone) > 1e-6:
                if mixed:
                    what = "it reads one time for the whole batch: adaptive solvers have many"
                    return [Finding(what, "write net(x, t), not net(x, t[0])")]
                what = "a sample's score depends on the others in its batch"
                return [Finding(what, "write net.eval(); normalise over each event alone")]
        return []

    def scales(self) -> list[Finding]:
        """Whether the noise is much at T, and little at eps, beside the data."""
        p, found = self.process, []
        size = self.data.double().square().mean().sqrt().item()
        spread = self.data.double().std().item()
        left = p.alpha(p.T) * size / p.sigma(p.T)
        self.measured["signal at T"] = left
        blur = p.sigma(p.eps) / p.alpha(p.eps)
        if left > 0.2:
            what = (
                f"at T the data, of size {size:.3g}, are {left:.2g} of the noise: not hidden by it"
            )
            remedy = f"scale the data to about 1, or write ss.EDM(sigma_max={20 * size:.3g})"
            found.append(Finding(what, remedy))
        if blur > 0.2 * spread:
            what = f"sampling stops at a noise of {blur:.3g}, and the data's spread is {spread:.3g}"
            remedy = "scale the data to about 1, or write a smaller eps or sigma_min"
            found.append(Finding(what, remedy))
        return found

    def base(self) -> tuple[Callable[..., Tensor], str]:
        """The network itself where it can be seen, and what its output was said to be."""
        s = self.score
        if isinstance(s, NetworkScore) and s.output not in ("denoiser", "score"):
            clock = s.clock or s.process.network_time

            def raw(x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
                return s._ask(x, clock(t), cond)

            return raw, s.output
        return s, "score"

    def errors(
        self, base: Callable[..., Tensor], clock: Callable[[Tensor], Tensor]
    ) -> dict[str, tuple[float, float]]:
        """For each meaning of the output, how far D is from the data: mean over times, and worst.

        In units of what the best estimate would miss if the data were Gaussian: a right network is
        near 1 or below it at every noise level.
        """
        p, x0 = self.process, self.data.double()
        v = max((x0 - x0.mean(0)).square().mean().item(), 1e-12)
        found: dict[str, list[float]] = {}
        for t in self.times()[1:]:
            x, ask = self.at(t)
            try:
                out = base(x, clock(ask), **self.cond).double()
            except Exception:
                return {}
            alpha, sigma = p.alpha(t), p.sigma(t)
            best = v * sigma**2 / (sigma**2 + alpha**2 * v)
            for name, mean in readings(p, t, x.double(), out).items():
                error = (mean - x0).square().mean().item() / best
                found.setdefault(name, []).append(max(error, 1e-3))
        return {name: (_mean(values), max(values)) for name, values in found.items()}

    def meaning(self) -> list[Finding]:
        """Whether the network returns something else than was said, or at another clock."""
        base, said = self.base()
        x, t = self.at(self.process.T)
        noise = -expand_like(self.process.sigma(t), x) * self.score(x, t, **self.cond)
        match = ((noise * self.z).mean() / self.z.square().mean()).item()
        self.measured["-sigma s on z at T"] = match
        fits = 0.7 < match < 1.3
        if not self.given:
            return [] if fits else [self._sign(match) or self._levels(match)]
        here = self.errors(base, lambda t: t)
        before = here[said]
        self.measured["error of D"] = before[1]
        tried: list[tuple[float, float, Clock | None, str]]
        tried = [(mean, worst, None, name) for name, (mean, worst) in here.items() if name != said]
        if fits and before[1] < _ENOUGH and min(entry[0] for entry in tried) > 0.7 * before[0]:
            return []
        for other in CLOCKS:
            there = self.errors(base, other.of(self.process))
            # Another clock has to be clearly the better explanation.
            tried += [(1.3 * mean, worst, other, name) for name, (mean, worst) in there.items()]
        mean, worst, clock, name = min(tried, key=lambda entry: float(f"{entry[0]:.3g}"))
        if worst < _ENOUGH and mean < 0.8 * before[0]:
            if clock is None:
                what = f"what it returns looks like {WORDS[name]}, not like {WORDS[said]}"
                return [Finding(what, LINES[name])]
            what = f"it fits {WORDS[name]} if it is told {clock.words} as its time"
            backwards = name.endswith("flow") and clock.words == "1 - t"
            return [Finding(what, LINES["minus flow"] if backwards else clock.line)]
        return [self._range() if fits else self._levels(match)]

    def _sign(self, match: float) -> Finding | None:
        sigma = self.process.sigma(self.process.T)
        for name, wanted in (("minus score", -1.0), ("noise", -sigma), ("minus noise", sigma)):
            if abs(match / wanted - 1) < 0.3:
                return Finding(f"at T it looks like {WORDS[name]}, not like a score", LINES[name])
        return None

    def _levels(self, match: float) -> Finding:
        what = (
            f"at T, where only noise is left, -sigma s is {match:.2g} of it and not 1: the noise "
            f"level {self.process.sigma(self.process.T):.3g} is not one the network knows, or its "
            "scale is another"
        )
        return Finding(what, "write the process with the levels and the clock of its training")

    def _range(self) -> Finding:
        t = self.times()[1]
        x, ask = self.at(t)
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        mean = (x + sigma**2 * self.score(x, ask, **self.cond)) / alpha
        low, high = self.data.min().item(), self.data.max().item()
        what = (
            f"its denoised data lie in {mean.min():.3g} to {mean.max():.3g} and miss the data, in "
            f"{low:.3g} to {high:.3g}, by more than their spread: data of another scale?"
        )
        return Finding(what, "bring x to the range of the training data, such as 2 * x - 1")


def _mean(values: list[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _call_remedy(error: Exception) -> str:
    if "dtype" in str(error):
        return "use an adapter of ss.scores, which computes in the network's dtype"
    return "write a function (x, t, **cond) -> like x, with t of shape (batch,)"


def _error(wanted: Tensor, got: Tensor) -> float:
    """Squared distance relative to the square of what is wanted."""
    scale = wanted.double().square().mean() + 1e-24
    return ((got.double() - wanted.double()).square().mean() / scale).item()
