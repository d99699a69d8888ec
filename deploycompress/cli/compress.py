"""`deploycompress compress`: the main job, and the command meant where none is named."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from deploycompress.cli.compress_options import CompressOptions
from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.model_options import loading_options, model_argument, only_model
from deploycompress.cli.preflight import check_request, default_out, describe_request
from deploycompress.cli.target_options import target_option
from deploycompress.cli.types import ConstraintExpression, Duration

if TYPE_CHECKING:
    from deploycompress.pipeline.result import Result

HELP = with_examples(
    "Shrink MODEL until it meets the profile's constraints; write model.onnx and result.json.",
    "deploycompress --profile x86 --data ./train model.onnx",
    "deploycompress --profile x86 --constraint 'latency_ratio <= 0.75' --budget 20m \\\n"
    "    --arch mymodels:resnet20 --input-shape 1,3,32,32 --data 'train-*.npz' \\\n"
    "    --test-data test.npz --out slim resnet20.pt",
    "deploycompress --profile x86 --data ./train --precision int8 model.onnx",
    "deploycompress --profile x86 --data ./train --metric mymodels:top5 model.onnx",
    "deploycompress --profile x86 model.pt2",
    "deploycompress --profile x86 --dry-run --json model.onnx",
)

ENVIRONMENT = (
    "Every option can come from the environment, as DEPLOYCOMPRESS_ and its name (DEPLOYCOMPRESS_PROFILE=x86; "
    "constraints are separated by ';'), except --trust, --allow and --force, which are asked for each time."
)


@click.command(
    "compress",
    help=HELP,
    epilog=f"{ENVIRONMENT}\n\n{EXIT_CODES}",
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@model_argument
@click.option("--profile", required=True, metavar="NAME|FILE", help="Target device; see: deploycompress profiles list.")
@click.option(
    "--data",
    metavar="SPEC",
    help="Training data: a folder of class folders, or of pictures without labels, 'train-*.npz' (quoted), "
    "torchvision:NAME:ROOT, digits or package.module:factory; with #train or #test where the source has them.  "
    "[default: images synthesised from the network's batch norm statistics]",
)
@click.option("--test-data", metavar="SPEC", help="Held out: read once, for the final figures.")
@click.option(
    "--normalize",
    metavar="SPEC",
    help="imagenet, unit, none, or MEAN/STD such as 0.49,0.48,0.45/0.2,0.2,0.2.  [default: imagenet for colour "
    "images of 8 bits, unit for others of 8 bits, none for floats]",
)
@click.option(
    "--metric",
    metavar="FUNCTION",
    help="package.module:function of the outputs and the labels that says how good a network is, higher is better.  "
    "[default: accuracy; without labels, or with other outputs than logits, closeness to the teacher]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    help="Arithmetic that ships; auto measures which is fastest, and leaves layers that lose most in fp32.  "
    "[default: the profile's]",
)
@click.option(
    "--constraint",
    "constraints",
    type=ConstraintExpression(),
    multiple=True,
    help="Replaces the profile's constraints, such as 'latency_ratio <= 0.5'; repeatable.",
    envvar="DEPLOYCOMPRESS_CONSTRAINT",
)
@click.option(
    "--search",
    default="joint",
    metavar="NAME",
    help="Search engine: joint, n2n or rl-pruner learn; random, uniform, greedy and evolution are the baselines.",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Start from the policy that another run wrote (policy.safetensors); for joint and n2n.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.NAME=VALUE",
    envvar="DEPLOYCOMPRESS_SET",
    help="Change a setting of search, reward, space, importance, ladder, course, recovery, training, loss, synthesis, "
    "quantization or ship, such as reward.kind=n2n; repeatable.",
)
@click.option(
    "--budget",
    type=Duration(),
    help="Time for everything, such as 90s or 1h30m.  [default: 15m, unless both --evaluations and --epochs are given]",
)
@click.option("--evaluations", type=click.IntRange(min=1), metavar="N", help="Students the search may try.")
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Epochs of the winner's training.")
@loading_options
@target_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for model.onnx and result.json.  [default: MODEL-PROFILE]",
)
@click.option("--force", is_flag=True, allow_from_autoenv=False, help="Replace a result that is there already.")
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, metavar="N", help="Same seed, same plans."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="DEPLOYCOMPRESS_JSON",
    help="Print result.json, not a summary.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, warnings only.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens; show tracebacks of internal errors.")
@click.option("--dry-run", is_flag=True, help="Check the request, say what would be done, write nothing.")
def compress_command(**options: Unpack[CompressOptions]) -> int:
    """Run one compression; exit 0 when all constraints are met, 1 when one is broken, 4 when one is not known."""
    source = only_model(options["model"])
    out = options["out"] or default_out(source, options["profile"])
    check_request(source, options, out)
    if options["dry_run"]:
        return _print_dry_run(source, options, out)
    return _compress(source, options, out)


def _compress(source: Path, options: CompressOptions, out: Path) -> int:
    from deploycompress.pipeline.run import compress  # brings torch along: not for --help
    from deploycompress.report.listener import open_progress

    # Standard output belongs to the result alone, and libraries print to it.
    with redirect_stdout(sys.stderr), open_progress(sys.stderr, quiet=options["quiet"]) as progress:
        result = compress(
            source,
            profile=options["profile"],
            data=options["data"],
            test_data=options["test_data"],
            normalize=options["normalize"],
            metric=options["metric"],
            precision=options["precision"],
            constraints=options["constraints"] or None,
            search=options["search"],
            policy=options["policy"],
            settings=options["settings"],
            budget=options["budget"],
            evaluations=options["evaluations"],
            epochs=options["epochs"],
            input_shape=options["input_shape"],
            targets=options["targets"],
            arch=options["arch"],
            trust=options["trust"],
            allow=options["allow"],
            out=out,
            force=options["force"],
            seed=options["seed"],
            progress=progress,
        )
    return print_result(result, as_json=options["as_json"])


def print_result(result: Result, *, as_json: bool) -> int:
    """Print a result on standard output, and give the exit code that says whether it met its constraints."""
    from deploycompress.pipeline.gate import exit_code
    from deploycompress.report.summary import render_summary

    click.echo(json.dumps(result.document, indent=2) if as_json else render_summary(result.document, result.out))
    return exit_code(result.document["constraints"])


def _print_dry_run(source: Path, options: CompressOptions, out: Path) -> int:
    described = describe_request(source, options, out)
    if options["as_json"]:
        click.echo(json.dumps({"dry_run": described}, indent=2))
    else:
        width = max(map(len, described))
        lines = (f"{key.ljust(width)}  {_plain(value)}" for key, value in described.items())
        click.echo("\n".join(["Dry run: nothing was loaded or written, and what was read so far is sound.", *lines]))
    return 0


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "-" if value is None else str(value)
