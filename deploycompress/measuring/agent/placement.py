"""Which execution provider runs which nodes. ONNX Runtime falls back in silence; here that is an error."""

from __future__ import annotations

from typing import Any

from .refusal import RefusedError

ARITHMETIC = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def require_providers(available: list[str], wanted: list[str]) -> None:
    """Refuse providers that this build of ONNX Runtime does not have."""
    missing = [name for name in wanted if name not in available]
    if missing:
        raise RefusedError(
            "missing_provider",
            f"The profile asks for {missing[0]}, but the ONNX Runtime of this machine has only {', '.join(available)}; "
            "measure on the profile's device with a build of ONNX Runtime that has it, or choose a profile of this "
            "machine, such as x86.",
        )


def checked_placement(session: Any, wanted: list[str]) -> dict[str, int]:  # Any: onnxruntime is untyped
    """Count the nodes by provider.

    Returns:
        Number of nodes by provider; empty where this ONNX Runtime does not tell.

    Raises:
        RefusedError: the session or arithmetic in it runs elsewhere than wanted.
    """
    loaded = session.get_providers()
    if loaded[: len(wanted)] != wanted:
        raise RefusedError(
            "provider",
            f"ONNX Runtime fell back: the profile asks for {', '.join(wanted)}, the session has {', '.join(loaded)}; "
            "check the provider's libraries and drivers on this machine.",
        )
    placement: dict[str, int] = {}
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return placement
    for part in session.get_provider_graph_assignment_info():
        nodes = part.get_nodes()
        placement[part.ep_name] = placement.get(part.ep_name, 0) + len(nodes)
        arithmetic_on_cpu = part.ep_name == "CPUExecutionProvider" != wanted[0] and any(
            node.op_type in ARITHMETIC for node in nodes
        )
        if part.ep_name not in wanted or arithmetic_on_cpu:
            raise RefusedError(
                "provider",
                f"ONNX Runtime fell back: it placed node {nodes[0].name!r} ({nodes[0].op_type}) on {part.ep_name}, "
                f"the profile asks for {wanted[0]}; use operators that provider supports, or another profile.",
            )
    return placement
