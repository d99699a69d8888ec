"""`deploycompress profiles calibrate`: channel quanta and a latency table, measured on the device."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.model_options import loading_options
from deploycompress.cli.preflight import check_model
from deploycompress.cli.target_options import target_option
from deploycompress.cli.types import Duration
from deploycompress.precision import Precision

HELP = with_examples(
    "Measure what the device of PROFILE makes of channel counts, and write a calibrated profile.",
    "deploycompress profiles calibrate x86 --model model.onnx",
    "deploycompress profiles calibrate raspberry-pi-5 --target ssh://pi@board --model model.onnx \\\n"
    "    --budget 10m --out my-board.toml",
    "deploycompress profiles calibrate x86.calibrated.toml --model model.onnx --precision int8 --force",
    afterwards="For each kind of operator that the model uses, latency is measured over channel counts, on the input "
    "and on the output side; the step between fast widths is the channel quantum. Random students of the model then "
    "give a table of layer latencies, kept in a cache for this machine, runtime and model; its error on students that "
    "it had not seen is printed. All of it holds for one precision: calibrate for each that you ship. What the "
    "profile says of the others stays.",
)


@click.command(
    "calibrate",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@click.argument("profile", envvar=None)
@click.option(
    "--model", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The network to calibrate for."
)
@click.option(
    "--precision",
    type=click.Choice([precision.value for precision in Precision]),
    default=Precision.FP32.value,
    help="Arithmetic to measure in.",
)
@target_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The calibrated profile.  [default: PROFILE.calibrated.toml]",
)
@click.option("--budget", type=Duration(), default="5m", help="Time for everything, such as 90s, 5m.")
@click.option(
    "--allow-proxy",
    is_flag=True,
    allow_from_autoenv=False,
    help="Calibrate on a machine that is not the profile's device.",
)
@loading_options
@click.option("--force", is_flag=True, allow_from_autoenv=False, help="Replace a file that is there already.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, metavar="N", help="Draws the students.")
@click.option("--json", "as_json", is_flag=True, envvar="DEPLOYCOMPRESS_JSON", help="Print a JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, warnings only.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens; show tracebacks of internal errors.")
def calibrate_command(
    profile: str,
    model: Path,
    precision: str,
    targets: tuple[str, ...],
    out: Path | None,
    budget: float,
    allow_proxy: bool,
    input_shape: tuple[int, ...] | None,
    arch: str | None,
    trust: bool,
    allow: tuple[str, ...],
    force: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,  # noqa: ARG001  read by the boundary
) -> int:
    """Calibrate, write the profile, and print what was found."""
    from deploycompress.pipeline.calibrated_profile import check_writable, default_path, write_calibrated
    from deploycompress.profile_files import load_profile  # pydantic: not for --help

    device = load_profile(profile)
    path = out or default_path(profile, device.name)
    check_writable(path, force=force)
    check_model(model)

    from deploycompress.capturing.capture import capture  # brings torch along
    from deploycompress.pipeline.calibrate import calibrate
    from deploycompress.pipeline.calibration_document import calibration_document
    from deploycompress.report.calibration import calibration_lines
    from deploycompress.report.listener import open_progress

    limits = {"max_opset": device.runtime.max_opset, "max_ir": device.runtime.max_ir}
    # Standard output belongs to the result alone, and libraries print to it.
    with redirect_stdout(sys.stderr), open_progress(sys.stderr, quiet=quiet) as progress:
        graph = capture(model, input_shape=input_shape, arch=arch, trust=trust, allow=allow, **limits)
        found = calibrate(
            graph,
            device,
            precision=Precision(precision),
            target=targets,
            budget_s=budget,
            seed=seed,
            allow_proxy=allow_proxy,
            progress=progress,
        )
        write_calibrated(path, profile, found, model=model.name, force=force)
    document = calibration_document(found, profile=device.name, model=str(model), out=path)
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(calibration_lines(document)))
    return 0
