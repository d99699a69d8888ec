"""Passes that leave a draft computing the same with less: no-ops out, unread parts out, size constants unshared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from deploycompress.capturing.view import BatchView
from deploycompress.graph import Array, Graph, Node, prune_unused

INTEGER_TYPES = (np.int32, np.int64)


def separate_equal_weights(draft: Graph, tied: Mapping[str, str]) -> Graph:
    """Give each parameter its own constant where an exporter merged parameters that happen to be equal.

    Exporters write such a parameter as Identity of its twin. Only parameters that share memory stay one.

    Args:
        draft: graph to change.
        tied: for each parameter name of a weight-tied model, the name that stands for all of its group.
    """
    weights = dict(draft.weights)
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    fixed = {port.name for port in draft.outputs} | captured_names(draft)
    for node in draft.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if node.op != "Identity" or inputs[0] not in weights or node.outputs[0] in fixed:
            nodes.append(replace(node, inputs=inputs))
            continue
        source, copy = inputs[0], node.outputs[0]
        if copy in tied and tied.get(source) == tied[copy]:
            renamed[copy] = source
        else:
            weights[copy] = weights[source]
    return replace(draft, nodes=tuple(nodes), weights=weights)


def captured_names(draft: Graph) -> frozenset[str]:
    """Name what subgraphs read from the graph around them; such tensors keep their names."""
    return frozenset(name for node in draft.nodes for name in node.captured)


def remove_no_ops(draft: Graph, view: BatchView) -> Graph:
    """Take out nodes whose first output is their first input, whatever the data."""
    captured = captured_names(draft)
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    read = {name for node in draft.nodes for name in node.inputs} | {port.name for port in draft.outputs}
    for node in draft.nodes:
        current = replace(node, inputs=tuple(alias.get(name, name) for name in node.inputs))
        is_needed = node.outputs[0] in captured or any(name in read for name in node.outputs[1:])
        if not is_needed and _is_no_op(current, view, draft.weights):
            alias[node.outputs[0]] = current.inputs[0]
        else:
            nodes.append(current)
    return _keep_output_names(replace(draft, nodes=tuple(nodes)), alias, captured) if alias else draft


def drop_unread_outputs(draft: Graph) -> Graph:
    """Shorten the output list of batch norms and dropouts written for training, and drop what nothing reads."""
    live = prune_unused(draft)
    read = {name for node in live.nodes for name in node.reads} | {port.name for port in live.outputs}
    nodes = []
    for node in live.nodes:
        outputs = node.outputs
        while _may_lose_outputs(node) and len(outputs) > 1 and outputs[-1] not in read:
            outputs = outputs[:-1]
        nodes.append(replace(node, outputs=outputs))
    return replace(live, nodes=tuple(nodes))


def _may_lose_outputs(node: Node) -> bool:
    return node.op in ("Dropout", "MaxPool") or (
        node.op == "BatchNormalization" and not node.attributes.get("training_mode", 0)
    )


def unshare_size_constants(draft: Graph) -> Graph:
    """Give each reader its own copy of every integer constant, so that surgery may change one and not the other."""
    weights = dict(draft.weights)
    reads: dict[str, int] = dict.fromkeys(captured_names(draft), 0)
    nodes: list[Node] = []
    for node in draft.nodes:
        inputs: list[str] = []
        for name in node.inputs:
            own = name
            if name in draft.weights and draft.weights[name].dtype in INTEGER_TYPES:
                reads[name] = reads.get(name, -1) + 1
                own = name if reads[name] == 0 else _free_name(f"{name}.{reads[name]}", weights)
                weights[own] = draft.weights[name]
            inputs.append(own)
        nodes.append(replace(node, inputs=tuple(inputs)))
    return replace(draft, nodes=tuple(nodes), weights=weights)


def _free_name(wanted: str, taken: Mapping[str, Array]) -> str:
    while wanted in taken:
        wanted = f"{wanted}_"
    return wanted


def _keep_output_names(draft: Graph, alias: Mapping[str, str], captured: Collection[str]) -> Graph:
    """Let the graph's outputs keep their names when the node that made them went."""
    made = {name for node in draft.nodes for name in node.outputs}
    outputs = [port.name for port in draft.outputs]
    renamed: dict[str, str] = {}
    identities: list[Node] = []
    for name in outputs:
        source = alias.get(name)
        if source is None:
            continue
        if source in made and source not in outputs and source not in renamed and source not in captured:
            renamed[source] = name
        else:  # an input or a constant handed through, or one tensor given out twice
            final = renamed.get(source, source)
            identities.append(Node(name=f"{name}.output", op="Identity", inputs=(final,), outputs=(name,)))
    nodes = [
        replace(
            node,
            inputs=tuple(renamed.get(name, name) for name in node.inputs),
            outputs=tuple(renamed.get(name, name) for name in node.outputs),
        )
        for node in draft.nodes
    ]
    return replace(draft, nodes=(*nodes, *identities))


def _is_no_op(node: Node, view: BatchView, weights: Mapping[str, Array]) -> bool:
    if not node.is_standard or not node.inputs:
        return False
    match node.op:
        case "Identity":
            return True
        case "Dropout":
            mode = weights.get(node.input(2)) if node.input(2) else np.False_
            return mode is not None and not np.any(mode)
        case "Cast":
            return bool(view.types.get(node.inputs[0]) == node.attributes["to"])
        case "CastLike":
            source, target = (view.types.get(name) for name in node.inputs)
            return source is not None and source == target
        case "Concat" | "Sum" | "Max" | "Min" | "Mean":
            return len(node.inputs) == 1
        case "Transpose":
            permutation = list(node.attributes.get("perm", ()))
            return bool(permutation) and permutation == sorted(permutation)
        case "Reshape" | "Expand" | "Flatten" | "Squeeze" | "Unsqueeze":
            return _keeps_shape(node, view)
        case "Slice":
            return _keeps_shape(node, view) and _is_full_slice(node, weights)
        case "Pad":
            pads = weights.get(node.input(1))
            return pads is not None and not np.any(pads)
        case "AveragePool" | "MaxPool":
            return _is_unit_pool(node)
        case _:
            return False


def _keeps_shape(node: Node, view: BatchView) -> bool:
    before, after = view.shapes.get(node.inputs[0]), view.shapes.get(node.outputs[0])
    return before is not None and before == after


def _is_full_slice(node: Node, weights: Mapping[str, Array]) -> bool:
    steps = weights.get(node.input(4)) if node.input(4) else np.ones(1)
    return steps is not None and bool(np.all(np.asarray(steps) == 1))


def _is_unit_pool(node: Node) -> bool:
    attributes = node.attributes
    sizes = (*attributes["kernel_shape"], *attributes.get("strides", ()))
    padded = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return len(node.outputs) == 1 and all(size == 1 for size in sizes) and not padded
