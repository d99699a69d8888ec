"""What arithmetic a device has, and the form its execution provider wants quantised graphs in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Format = Literal["fp32", "fp16", "int8"]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Int8Format(_Table):
    """How 8-bit graphs are written for the device: always as pairs of QuantizeLinear and DequantizeLinear.

    Attributes:
        activations: element type of what flows between layers.
        symmetric_activations: whether their zero point is the middle of the type's range. ONNX Runtime's CPU provider
            computes a layer with a Relu or Clip behind it in float then.
        per_channel: whether each output channel of a weight has a scale of its own.
        reduced_range: whether weights use 7 bits, for processors whose 8-bit products overflow 16 bits (x86 without
            VNNI).
        quantized_bias: whether biases are int32 behind a DequantizeLinear, which TensorRT refuses; float32 otherwise.
    """

    activations: Literal["uint8", "int8"] = "uint8"
    symmetric_activations: bool = False
    per_channel: bool = True
    reduced_range: bool = False
    quantized_bias: bool = True


class Arithmetic(_Table):
    """The table `[precision]` of a profile.

    Attributes:
        default: precision that ships where nobody asks for another; `auto` leaves it to the run.
        native: what the device computes in by itself; another precision runs, if at all, through conversions.
        mixed: whether layers may stay in single precision beside others in a lower one.
        int8: the form of 8-bit graphs.
    """

    default: Literal["fp32", "fp16", "int8", "auto"] = "fp32"
    native: Annotated[tuple[Format, ...], Field(strict=False, min_length=1)] = ("fp32",)
    mixed: bool = True
    int8: Int8Format = Int8Format()

    @model_validator(mode="after")
    def _default_is_native(self) -> Arithmetic:
        if len(set(self.native)) < len(self.native):
            raise ValueError(f"native lists a precision twice: {list(self.native)}")
        if self.default not in ("auto", *self.native):
            raise ValueError(
                f"default is {self.default!r}, which native = {list(self.native)} does not list; add it there, or "
                "choose another default"
            )
        return self
