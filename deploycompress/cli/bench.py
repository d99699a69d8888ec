"""`deploycompress bench`: what models cost on a device, measured beside each other."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.measure_options import manner_options, profile_option, sampling_options
from deploycompress.cli.model_options import loading_options
from deploycompress.cli.preflight import check_model
from deploycompress.cli.target_options import target_option

HELP = with_examples(
    "Measure each MODEL on a device, in the same rounds as all others: latency, throughput, load time, memory.",
    "deploycompress bench --profile x86 teacher.onnx student.onnx",
    "deploycompress bench --profile raspberry-pi-5 --target ssh://pi@board --csv bench.csv *.onnx",
    "deploycompress bench --profile x86 --nodes --json model.onnx",
    afterwards="An ONNX file is measured as it stands. A file of torch is captured, and measured as it would ship.",
)


@click.command(
    "bench",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path(path_type=Path))
@profile_option
@target_option
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    allow_from_autoenv=False,  # the variable is for 'check', where it may name a result.json
    metavar="MODEL",
    help="What ratios refer to.  [default: the first model]",
)
@sampling_options
@click.option("--nodes", is_flag=True, help="Measure the time of every node of each model, too.")
@loading_options
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write a line a model, too.")
@manner_options
def bench_command(
    models: tuple[Path, ...],
    profile: str,
    targets: tuple[str, ...],
    baseline: Path | None,
    starts: int | None,
    max_seconds: float | None,
    nodes: bool,
    input_shape: tuple[int, ...] | None,
    arch: str | None,
    trust: bool,
    allow: tuple[str, ...],
    csv_file: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Print tables, or all of it as JSON."""
    del verbose  # the program reads it before any command runs
    from deploycompress.profile_files import load_profile  # pydantic: not for --help
    from deploycompress.report.bench_table import CSV_MARK, bench_csv, print_bench
    from deploycompress.report.listener import open_progress
    from deploycompress.report.own_file import check_place, write_own

    ordered = models if baseline is None else (baseline, *(model for model in models if model != baseline))
    for model in ordered:
        check_model(model)
    if csv_file is not None:
        check_place(csv_file, CSV_MARK)
    device = load_profile(profile)

    from deploycompress.pipeline.bench import bench

    # Standard output belongs to the result alone, and libraries print to it.
    with redirect_stdout(sys.stderr), open_progress(sys.stderr, quiet=quiet) as progress:
        document = bench(
            ordered, profile=device, targets=targets, starts=starts, max_seconds=max_seconds,
            input_shape=input_shape, arch=arch, trust=trust, allow=allow, nodes=nodes,
            progress=progress,
        )  # fmt: skip
    if csv_file is not None:
        write_own(csv_file, bench_csv(document).encode(), CSV_MARK)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        print_bench(document, sys.stdout)
    return 0
