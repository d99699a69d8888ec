"""`deploycompress inspect`: what may be cut, removed or shrunk in a model, and what each part costs."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout

import click

from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.model_options import loading_options, model_argument, only_model
from deploycompress.cli.preflight import check_model

HELP = with_examples(
    "Show the channel groups, blocks and kernels of MODEL, and what each of them costs.",
    "deploycompress inspect model.onnx",
    "deploycompress inspect --profile x86 model.onnx",
    "deploycompress inspect --json --arch 'torchvision:resnet18(num_classes=10)' \\\n"
    "    --input-shape 1,3,224,224 weights.pt",
)


@click.command(
    "inspect",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@model_argument
@click.option("--profile", metavar="NAME|FILE", help="Measure each operator's share of latency as this device does.")
@click.option("--no-measure", is_flag=True, help="Run nothing; of the profile only the ONNX versions count.")
@loading_options
@click.option("--json", "as_json", is_flag=True, envvar="DEPLOYCOMPRESS_JSON", help="Print a JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens; show tracebacks of internal errors.")
def inspect_command(
    model: tuple[str, ...],
    profile: str | None,
    no_measure: bool,
    input_shape: tuple[int, ...] | None,
    arch: str | None,
    trust: bool,
    allow: tuple[str, ...],
    as_json: bool,
    verbose: bool,  # noqa: ARG001  read by the boundary
) -> int:
    """Print tables, or all of it as JSON."""
    from deploycompress.profile_files import load_profile  # pydantic: not for --help

    source = only_model(model)
    check_model(source)
    device = None if profile is None else load_profile(profile)

    from deploycompress.capturing.capture import capture  # brings torch along
    from deploycompress.pipeline.inspection import inspect
    from deploycompress.report.inspection import print_inspection

    limits = {} if device is None else {"max_opset": device.runtime.max_opset, "max_ir": device.runtime.max_ir}
    # Standard output belongs to the result alone, and libraries print to it.
    with redirect_stdout(sys.stderr):
        graph = capture(source, input_shape=input_shape, arch=arch, trust=trust, allow=allow, **limits)
        document = {
            "model": str(source),
            **inspect(
                graph,
                profile=None if no_measure else device,
                why_not_measured="--no-measure was given" if no_measure else "no --profile was given",
            ),
        }
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        print_inspection(document, source.name, sys.stdout)
    return 0
