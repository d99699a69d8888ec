"""Why a request cannot be fulfilled, as an answer the host can raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frames import Message

_MEMORY_WORDS = ("Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


class RefusedError(Exception):
    """The request cannot be fulfilled; `kind` says why, for the host to raise."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def refusal_of(error: Exception) -> Message:
    """Put an error into an answer."""
    if isinstance(error, RefusedError):
        return {"refused": error.kind, "sentence": str(error)}
    text = " ".join(str(error).split())[-400:]
    if isinstance(error, MemoryError):
        return {"refused": "memory", "sentence": "The model needs more memory than the machine gives."}
    for words in _MEMORY_WORDS:
        if words in text:
            detail = text[text.index(words) :].rstrip(".")
            return {"refused": "memory", "sentence": f"The model needs more memory than the machine gives: {detail}."}
    return {"refused": "rejected", "sentence": f"ONNX Runtime refuses the model: {text}."}
