"""``scorezoo play``: a page on this machine to try solvers, calls, labels and seeds on."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Device, Model
from .run import check_device, seconds

if TYPE_CHECKING:
    from ..playground import Shown

__all__ = ["play"]

ADDRESS = "127.0.0.1"
BEST = "the best known for the budget"
OWN = "the solver's own"
WITHOUT, ALL = "without labels", "all in turn"


def play(
    model: Model,
    device: Device = "cpu",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 7860,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Try solvers on a page in the browser.

    Example: scorezoo play fashion-mnist-edm

    The same seed shows what solver and calls change. The page is served to this
    machine alone (127.0.0.1) and sends nothing anywhere. End it with Ctrl-C.
    """
    from ..folders import find_model

    check_device(device)
    find_model(model)  # one sentence here, where there is no such model
    if find_spec("gradio") is None:
        raise ValueError("gradio is missing; write pip install 'sdesolve[play]'")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    import gradio

    page = _page(model, device)
    typer.echo(f"http://{ADDRESS}:{port}  (Ctrl-C ends it)")
    # Fonts of the system, no server-side rendering, no link out: nothing is fetched.
    page.launch(
        server_name=ADDRESS,
        server_port=port,
        share=False,
        inbrowser=browser,
        ssr_mode=False,
        quiet=True,
        footer_links=[],
        theme=gradio.themes.Base(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
    )


def _page(first: str, device: str) -> Any:  # noqa: ANN401 - gradio is not always installed
    import gradio as gr

    import sdesolve as ss

    from ..folders import pretrained_names
    from ..playground import Asked, labels_of, shape_of
    from ..playground import play as run

    def choices(model: str) -> list[str]:
        names = labels_of(model, device)
        return [WITHOUT, ALL, *names] if names else [WITHOUT]

    def relabel(model: str) -> tuple[Any, Any]:
        names = choices(model)
        return gr.update(choices=names, value=WITHOUT), gr.update(visible=len(names) > 1, value=1)

    def draw(
        model: str,
        solver: str,
        nfe: float,
        tau: str,
        label: str,
        guidance: float,
        seed: float,
        before: Shown | None,
    ) -> tuple[Any, ...]:
        number = choices(model).index(label) - 2
        asked = Asked(
            model,
            solver=None if solver == BEST else solver,
            nfe=int(nfe),
            stochasticity=None if tau == OWN else float(tau),
            label={WITHOUT: None, ALL: "all"}.get(label, number),
            guidance=guidance,
            seed=int(seed),
            count=16 if len(shape_of(model, device)) == 3 else 500,
            device=device,
        )
        try:
            shown = run(asked)
        except (ValueError, TypeError) as error:
            return (*[gr.skip()] * 3, f"**That cannot be run:** {error}", gr.skip())
        earlier = None if before is None else before.samples
        return shown.samples, earlier, shown.strip, told(shown, before), shown

    with gr.Blocks(title="scorezoo play", analytics_enabled=False) as page:
        gr.Markdown("# Solvers of one network\nThe same seed is the same noise, whatever runs.")
        names = list(dict.fromkeys([first, *pretrained_names()]))
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                asked = [
                    model := gr.Dropdown(names, value=first, label="Model"),
                    gr.Dropdown([BEST, *ss.solver_names()], value=BEST, label="Solver"),
                    gr.Slider(1, 200, value=20, step=1, label="Network calls per sample"),
                    gr.Dropdown(
                        [OWN, "0", "0.25", "0.5", "1"], value=OWN, label="Stochasticity (tau)"
                    ),
                    label := gr.Dropdown(choices(first), value=WITHOUT, label="Label"),
                    guidance := gr.Slider(
                        0,
                        10,
                        value=1,
                        step=0.25,
                        label="Guidance (1: none)",
                        visible=len(choices(first)) > 1,
                    ),
                    gr.Number(value=0, minimum=0, precision=0, label="Seed"),
                ]
                button = gr.Button("Draw", variant="primary", elem_id="draw")
            with gr.Column(scale=2, min_width=320):
                said = gr.Markdown(elem_id="said")
                with gr.Row():
                    with gr.Column(min_width=240):
                        gr.Markdown("## Samples")
                        now = _picture("samples", "Samples of this run")
                    with gr.Column(min_width=240):
                        gr.Markdown("## The run before")
                        then = _picture("before", "Samples of the run before")
                gr.Markdown("## From noise to data, each state in the scale of the data")
                strip = _picture("strip", "First samples on their way, time from left to right")
        last = gr.State(None)
        model.change(relabel, model, [label, guidance])
        gr.on([button.click, page.load], draw, [*asked, last], [now, then, strip, said, last])
    return page


def _picture(name: str, alt: str) -> Any:  # noqa: ANN401
    import gradio as gr

    return gr.Image(
        label=alt,
        show_label=False,
        elem_id=name,
        alt_text=alt,
        format="png",
        interactive=False,
        buttons=["download"],
    )


def told(shown: Shown, before: Shown | None = None) -> str:
    """What a run was and cost, in Markdown.

    Args:
        shown: The run.
        before: The run before it.
    """
    guided = "" if shown.asked.guidance == 1 else ", each of them two with guidance"
    error = (
        "none: this solver has no estimate of its own"
        if shown.error is None
        else f"{shown.error:.3g}, mean over the samples, in the units of the data"
    )
    lines = [
        f"- **Ran:** {shown.ran}",
        f"- **Network calls per sample (NFE):** {shown.nfe:.4g}{guided}",
        f"- **Time:** {seconds(shown.seconds)} for {shown.asked.count} samples",
        f"- **Estimate of the error:** {error}",
        "- **Times of the strip:** " + ", ".join(f"{t:.3g}" for t in shown.times),
    ]
    if (apart := shown.difference(before)) is not None:
        lines.append(f"- **Root mean square difference from the run before:** {apart:.3g}")
    if shown.unfinished:
        lines.append(
            f"- **Unfinished:** {shown.unfinished} samples; allow more calls, or more steps"
        )
    return "\n".join(lines)
