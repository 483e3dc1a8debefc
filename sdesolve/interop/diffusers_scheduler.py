"""Our solvers in the place of a diffusers pipeline's scheduler.

A pipeline calls its network at ``timesteps`` and hands what it returns to ``step``. Here that is an
answer to a run of ours (``loop/replay.py``): the output becomes the score at the same state and
time, and what comes back is the state at which the run asks next. So a pipeline makes what
:func:`sdesolve.sample` makes of the same noise. Pipelines may change the latents between two steps
(inpainting, callbacks) and begin in the middle (image to image); within a step of several calls
they may not change them, which is an error.

This module imports diffusers; :func:`sdesolve.interop.diffusers.as_scheduler` imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
from torch import Generator, Tensor

from ..checks import Count, Kind, Optional, check_array, check_device, show
from ..equations.process import Process
from ..equations.score import output_like
from ..grids import Grid
from ..loop.checks import as_solver
from ..loop.replay import Draws, Walk
from ..noise.streams import Streams
from ..sampling import stochasticity_of
from ..shapes import expand_like
from ..solvers import Solver
from .diffusers_config import Trained, output_of, trained
from .diffusers_config import grid as grid_of
from .diffusers_places import Places, ended, places
from .spelling import read, spell

__all__ = ["SolverScheduler"]


class SolverScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """A scheduler of diffusers that is a solver of ours.

    Args:
        solver: A fixed-grid solver, or its name.
        scheduler: Any scheduler with the config the network was trained with. Its entries are in
            ``config``, from which every scheduler of diffusers can be made again.
        process: Another process than the config's; it is not saved.
        grid: A grid object; "scheduler" to stand where ``scheduler`` would; by default the solver's
            own grid, as in :func:`sdesolve.sample`.
        prediction_type: What the network predicts, where there is no ``scheduler``.

    Raises:
        TypeError: If the solver has no fixed grid.
        ValueError: If neither process nor scheduler is given, or the config is not understood.
    """

    def __init__(
        self,
        solver: Solver | str,
        scheduler: Any = None,  # noqa: ANN401
        process: Process | None = None,
        grid: Grid | str | None = None,
        prediction_type: str = "epsilon",
    ) -> None:
        made = as_solver(solver)
        if not isinstance(made, Solver):
            raise TypeError(
                f"a pipeline has a fixed number of calls, {type(made).__name__} has not; take a "
                "solver with a fixed grid, such as dpmpp-2m"
            )
        Optional(Kind(Process, "ss.VPSDE()"))("process", process)
        if scheduler is not None and not hasattr(scheduler, "config"):
            raise TypeError(
                f"scheduler is one of diffusers, such as pipe.scheduler, got {show(scheduler)}"
            )
        named = isinstance(grid, str) and grid == "scheduler" and scheduler is not None
        if not (grid is None or isinstance(grid, Grid) or named):
            raise TypeError(
                f'grid is a grid object, or "scheduler" where one is given, or None; got {grid!r}'
            )
        self.solver, self._name = made, solver if isinstance(solver, str) else None
        self._template, self._process, self._grid = scheduler, process, grid
        self._trained = _trained(scheduler, process, prediction_type)
        self._stochasticity = stochasticity_of(made, None)
        entries = {} if scheduler is None else dict(scheduler.config)
        entries.setdefault("num_train_timesteps", getattr(self._trained.process, "levels", 1000))
        entries.setdefault("prediction_type", prediction_type)
        entries = {k: v for k, v in entries.items() if not k.startswith("_")}
        try:
            entries["solver"] = self._name or spell(made)
        except TypeError:  # of a class of your own, which is an error where it is saved
            entries["solver"] = repr(made)
        entries["solver_grid"] = spell(grid)
        entries["trained_with"] = None if scheduler is None else type(scheduler).__name__
        self.register_to_config(**entries)
        self.order = made.evaluations
        self.timesteps = torch.empty(0, device="cpu")
        self.num_inference_steps: int | None = None
        self._places: Places | None = None
        self._runs = 0
        self._reset()

    def _reset(self) -> None:
        self._begin: int | None = None
        self._index: int | None = None
        self._walk: Walk | None = None
        self._last: tuple[Tensor, int | None] | None = None

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation of the latents to begin with."""
        t = self._trained.process.T if self._places is None else self._places.times[0].item()
        return float(self._trained.process.prior((1,), t).std)

    @property
    def step_index(self) -> int | None:
        """Index of the timestep that comes next, once a run has begun."""
        return self._index

    @property
    def begin_index(self) -> int | None:
        """Index of the timestep at which the run begins, if it was set."""
        return self._begin

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this index of ``timesteps``."""
        self._begin = begin_index

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | Tensor | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay the grid of the next runs.

        Args:
            num_inference_steps: Number of steps; ``order`` calls each.
            device: Where ``timesteps`` are to be.
            timesteps: Timesteps of the steps instead, falling.
            sigmas: Noise levels of the steps instead, as the given scheduler takes them.
            mu: The shift of a flow's resolution, as the given scheduler takes it.

        Raises:
            ValueError: If the times lie outside those of the training, or do not fall.
        """
        Optional(Count(least=1))("num_inference_steps", num_inference_steps)
        device = check_device("device", device)
        count = len(sigmas) if sigmas is not None else num_inference_steps
        if count is None and timesteps is None:
            raise ValueError("give num_inference_steps, timesteps or sigmas")
        grid: Grid | Tensor | None
        given = {"sigmas": sigmas, "mu": mu}
        given = {k: v for k, v in given.items() if v is not None}
        if timesteps is not None:
            stamps = check_array("timesteps", timesteps)
            if stamps.ndim != 1 or not len(stamps):
                raise ValueError(f"timesteps are a list of one or more, got {show(timesteps)}")
            grid = ended(self.solver, self._trained, stamps)
        elif given or isinstance(self._grid, str):
            if self._template is None:
                raise ValueError(f"only a scheduler knows what {', '.join(given)} mean; give one")
            grid = grid_of(self._template, count, self._trained.process, **given)
        else:
            grid = self._grid
        where = places(self.solver, self._stochasticity, self._trained, grid, num_inference_steps)
        self._places = where
        self.timesteps = where.stamps.to(device)
        self.order = where.order
        self.num_inference_steps = len(where.times) - 1
        self._reset()

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """What the network is to see: the sample itself, but with EDM's schedulers scaled."""
        if self._trained.scheduler is None:
            return sample
        if timestep is None:
            raise ValueError("EDM networks see a scaled sample: give the timestep")
        where, index = self._start(timestep)
        level = where.asked[index].to(sample.dtype).to(sample.device)
        scaled: Tensor = self._trained.scheduler.precondition_inputs(sample, level)
        return scaled

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Generator | list[Generator] | None = None,
        return_dict: bool = True,
        eta: float | None = None,
        use_clipped_model_output: bool | None = None,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Go on with what the network returned.

        Args:
            model_output: What the network returned, like ``sample``; a learned variance beside it
                is left out.
            timestep: The one of ``timesteps`` it was asked at.
            sample: The latents it was asked at, ``(batch, *event)``.
            generator: Seeds the noise: one for all samples, or a list with one for each. Its seed
                is taken and nothing drawn from it, so one that is used again brings the same noise;
                without any, samples of the seed 0 are counted on from run to run.
            return_dict: Return an object with ``prev_sample`` instead of a tuple.
            eta: Accepted where it is 0: noise is a matter of the solver.
            use_clipped_model_output: Accepted where it is false.

        Returns:
            The latents at which the network is asked next; at the end, the sample.

        Raises:
            ValueError: If there are no timesteps, this is not the next one, or a shape is wrong.
        """
        if eta or use_clipped_model_output:
            raise ValueError(
                "noise is a matter of the solver; leave eta out, and take as_scheduler('ddpm', ...)"
            )
        where, index = self._start(timestep)
        self._check_stamp(timestep, float(where.stamps[index]), index)
        state = self._state(sample)
        if self._walk is None:
            self._walk = self._begin_walk(where.left(index), sample, generator)
            state = None
        walk = self._walk
        assert walk.question is not None
        x = walk.question.x if state is None else state
        if state is not None and not walk.question.opens and torch.equal(x, walk.question.x):
            state = None  # a copy, where a change would be refused
        walk.tell(self._score(model_output, x, walk.question.t), state)
        self._index = index + 1
        new = walk.x if walk.question is None else walk.question.x
        back = new.to(sample.dtype, copy=True)  # the pipeline may change it in place
        self._last = back, _version(back)
        if walk.question is None:
            self._runs += len(new)
            self._reset()
        return SchedulerOutput(prev_sample=back) if return_dict else (back,)

    def _start(self, timestep: float | Tensor) -> tuple[Places, int]:
        """The calls of the run, and the index of this one."""
        if self._places is None:
            raise ValueError("there are no timesteps yet; call set_timesteps(num_inference_steps)")
        if self._index is None:
            self._index = self._places.first(timestep, self._begin)
        return self._places, self._index

    def _check_stamp(self, timestep: float | Tensor, own: float, index: int) -> None:
        if isinstance(timestep, Tensor) and timestep.device.type != "cpu":
            # The very element of timesteps: nothing to wait for the device for.
            where = self.timesteps.data_ptr() + index * self.timesteps.element_size()
            if timestep.data_ptr() == where:
                return
        value = float(timestep)
        if abs(value - own) > 1e-3 * max(1.0, abs(own)):
            raise ValueError(
                f"step expects the timestep {own:g}, got {value:g}; before another run call "
                "set_timesteps"
            )

    def _state(self, sample: Tensor) -> Tensor | None:
        """The sample in the precision of the run, or None if it is what the last step returned."""
        if self._last is not None and sample is self._last[0]:
            version = _version(sample)
            if version is not None and version == self._last[1]:
                return None
        return _precise(sample)

    def _begin_walk(
        self, times: Tensor, sample: Tensor, generator: Generator | list[Generator] | None
    ) -> Walk:
        x = _precise(sample)
        solver = self.solver.rows(x.shape, 0, len(x))
        process, tau = self._trained.process, self._stochasticity
        return Walk(process, tau, solver, times, x, lambda shape: self._noise(generator, x, shape))

    def _noise(
        self, generator: Generator | list[Generator] | None, x: Tensor, shape: tuple[int, ...]
    ) -> Draws:
        if isinstance(generator, list):
            if len(generator) != len(x):
                raise ValueError(
                    f"one generator for each sample, or one for all: got {len(generator)}"
                )
            return _Each([g.initial_seed() % 2**64 for g in generator], x, shape)
        seed, first = (0, self._runs) if generator is None else (generator.initial_seed(), 0)
        return Streams(seed % 2**64, first, len(x), shape, dtype=x.dtype, device=x.device)

    def _score(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        learned = str(self.config.get("variance_type", "")).startswith("learned")
        if learned and output.shape[1] == 2 * x.shape[1]:
            output = output[:, : x.shape[1]]
        output = output_like(x, output).to(x.dtype)
        return self._trained.score(lambda *_: output)(x, t)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noised data at timesteps ``(batch,)``."""
        x = original_samples
        t = expand_like(self._times_at(timesteps).to(x.dtype).to(x.device), x)
        process = self._trained.process
        return process.alpha(t) * x + process.sigma(t) * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """The same, as the schedulers of flows have it."""
        return self.add_noise(sample, noise, timestep)

    def _times_at(self, stamps: Tensor) -> Tensor:
        stamps = torch.as_tensor(stamps).flatten().cpu()
        known = None if self._places is None else self._places.known(stamps)
        return self._trained.times(stamps) if known is None else known

    def save_config(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:  # noqa: ANN401
        """Write the config, with the solver in it.

        Raises:
            ValueError: If the process was given beside the config.
            TypeError: If the solver is of a class that is not of this package.
        """
        known = None if self._template is None else trained(self._template).process
        if self._trained.process != known:
            raise ValueError(
                "a process that was given by hand is not saved; give the scheduler whose config "
                "tells it"
            )
        if self._name is None:
            spell(self.solver)  # refuses what the config could not hold
        super().save_config(save_directory, push_to_hub, **kwargs)

    @classmethod
    def from_config(
        cls,
        config: Any = None,  # noqa: ANN401
        return_unused_kwargs: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Make it of its own config, or of any scheduler's with ``solver=``.

        Raises:
            ValueError: If neither the config nor the keywords name a solver.
        """
        entries = {**dict(config), **kwargs}
        solver = entries.pop("solver", None)
        if solver is None:
            raise ValueError('the config names no solver; write from_config(config, solver="...")')
        name = entries.pop("trained_with", entries.get("_class_name"))
        if name is None:
            raise ValueError(
                "the config does not say whose it is; write as_scheduler(solver, scheduler=...)"
            )
        grid = read(entries.pop("solver_grid", None))
        entries["_class_name"] = name
        template = getattr(diffusers, name).from_config(entries)
        made = cls(solver if isinstance(solver, Solver) else read(solver), template, grid=grid)
        return (made, {}) if return_unused_kwargs else made

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)


class _Each:
    """The noise of samples that have a seed each."""

    def __init__(self, seeds: list[int], x: Tensor, shape: tuple[int, ...]) -> None:
        self._streams = [Streams(s, 0, 1, shape, dtype=x.dtype, device=x.device) for s in seeds]

    def normal(self) -> Tensor:
        return torch.cat([stream.normal() for stream in self._streams])


def _trained(scheduler: Any, process: Process | None, prediction_type: str) -> Trained:  # noqa: ANN401
    if scheduler is None:
        if process is None:
            raise ValueError(
                "how was the network trained? write as_scheduler(solver, scheduler=pipe.scheduler)"
            )
        output = output_of(prediction_type)
        return Trained(process, output, 1000.0 if output == "flow" else None)
    known = trained(scheduler)
    return known if process is None else Trained(process, known.output, known.count)


def _precise(x: Tensor) -> Tensor:
    """The state in float32, or float64."""
    return x if x.dtype == torch.float64 else x.float()


def _version(x: Tensor) -> int | None:
    """How often a tensor was changed in place; inference tensors do not tell."""
    return None if x.is_inference() else x._version
