"""The converter process: `python -P convert_opset.py SOURCE RESULT OPSET`; it knows nothing of the package."""

from __future__ import annotations

import sys

import onnx
from onnx import version_converter


def main(source: str, result: str, opset: str) -> None:
    """Write a model in another operator set; the file appears only when all went well."""
    converted = version_converter.convert_version(onnx.load(source), int(opset))
    onnx.save(converted, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
