"""The ONNX graph as a torch module: trains like any other, and writes its weights back into the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph
from deploycompress.network.arrays import array_from_tensor, tensor_from_array
from deploycompress.network.constants import Constants, find_constants
from deploycompress.network.names import state_key
from deploycompress.network.operator import PassMode
from deploycompress.network.roles import Roles, assign_roles
from deploycompress.network.running import Step, Values, as_tensor, run_step
from deploycompress.network.steps import compile_steps


def to_torch(graph: Graph) -> GraphModule:
    """Make a trainable module that computes what the graph computes.

    Parameters and running statistics carry the graph's names, so a state dict of the model that the graph was
    exported from loads. Constants that are not trained move with the module but are not in its state dict.

    Returns:
        The module, in evaluation mode.

    Raises:
        ModelError: a node has no exact differentiable implementation; the message names it.

    Examples:
        >>> import deploycompress, torch
        >>> graph = deploycompress.capture(torch.nn.Conv2d(3, 8, 3), input_shape=(1, 3, 8, 8))
        >>> network = deploycompress.to_torch(graph)
        >>> [(name, list(weight.shape)) for name, weight in network.named_parameters()]
        [('weight', [8, 3, 3, 3]), ('bias', [8])]
    """
    return GraphModule(graph)


def from_torch(module: GraphModule) -> Graph:
    """Write a module's weights of this moment into the graph it was made from, element types kept.

    Examples:
        >>> import deploycompress, torch
        >>> graph = deploycompress.capture(torch.nn.Linear(3, 2), input_shape=(1, 3))
        >>> network = deploycompress.to_torch(graph)
        >>> _ = torch.nn.init.zeros_(network.bias)
        >>> deploycompress.from_torch(network).weights["bias"].tolist()
        [0.0, 0.0]
    """
    return module.source_graph.with_weights(module.current_weights())


@final
class GraphModule(nn.Module):
    """Runs a graph with torch; made by `to_torch`.

    Attributes:
        source_graph: the graph as it was given, with the weights of that moment.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.source_graph = graph
        self._statistics_momentum: float | None = None
        constants = find_constants(graph)
        self._roles: Roles = assign_roles(graph, constants)
        self._compile(constants)
        self._keys = self._make_keys()
        self._places = {name: self._hold(name, key, constants.values[name]) for name, key in self._keys.items()}
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the graph.

        Args:
            inputs: one tensor per graph input, in order; the batch axis may have any size.

        Returns:
            The output, or a tuple of them where the graph has several.

        Raises:
            ModelError: the number of inputs is wrong.
        """
        return self.observe((), *inputs)[0]

    def observe(self, names: Collection[str], *inputs: Tensor) -> tuple[Tensor | tuple[Tensor, ...], dict[str, Tensor]]:
        """Run the graph and hand out values on the way, too.

        Args:
            names: graph inputs or node outputs of the source graph.
            inputs: as for `forward`.

        Returns:
            What `forward` gives, and the values by name.

        Raises:
            ModelError: the number of inputs is wrong, or nothing of such a name is computed.
        """
        if len(inputs) != len(self._input_names):
            raise ModelError(
                f"The network got {len(inputs)} inputs; it takes {len(self._input_names)}: "
                f"{', '.join(self._input_names)}."
            )
        mode = PassMode(self.training, self._statistics_momentum, inputs[0].device if inputs else torch.device("cpu"))
        values: Values = {"": None}
        for name, (owner, key) in self._places.items():
            values[name] = getattr(owner, key)
        values.update(zip(self._input_names, inputs, strict=True))
        seen = {name: as_tensor(values[name], mode.device) for name in names if name in self._input_names}
        for step in self._steps:
            run_step(step, values, mode)
            seen.update({name: as_tensor(values[name], mode.device) for name in step.outputs if name and name in names})
        missing = [name for name in names if name not in seen]
        if missing:
            raise ModelError(f"The graph computes no value {missing[0]!r} that could be observed.")
        outputs = tuple(as_tensor(values[name], mode.device) for name in self._output_names)
        return outputs[0] if len(outputs) == 1 else outputs, seen

    def train(self, mode: bool = True) -> Self:
        """Switch batch norm between the batch's statistics and the running ones.

        Raises:
            ModelError: several norms average into the same running statistics.
        """
        if mode and self._roles.shared_statistics:
            raise ModelError(
                f"Running statistics {self._roles.shared_statistics[0]!r} belong to several batch norms and cannot be "
                "trained for each; export the model so that every norm has its own."
            )
        return super().train(mode)

    def set_statistics_momentum(self, momentum: float | None) -> None:
        """Set how much of the next batch's statistics every norm takes over in training mode.

        Args:
            momentum: in [0, 1]; 1/k at the k-th batch averages over all batches. None: what the graph says.
        """
        if momentum is not None and not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self._statistics_momentum = momentum

    def current_weights(self) -> dict[str, Array]:
        """Copy everything that training changes, by its name in the graph."""
        return {
            name: array_from_tensor(getattr(owner, key), self.source_graph.weights[name])
            for name, (owner, key) in self._places.items()
            if name not in self._roles.fixed
        }

    def state_keys(self) -> Mapping[str, str]:
        """Map the name in the graph of each constant that may change to its key in the state dict."""
        return {name: key for name, key in self._keys.items() if name not in self._roles.fixed}

    def __getstate__(self) -> dict[str, Any]:  # Any: torch's own type for a module's state
        # kernels are functions made on the spot, which cannot be pickled; they follow from the graph
        return {key: value for key, value in self.__dict__.items() if key != "_steps"}

    def __setstate__(self, state: dict[str, Any]) -> None:  # Any: torch's own type for a module's state
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._compile(find_constants(self.source_graph))

    def _compile(self, constants: Constants) -> None:
        graph = self.source_graph
        self._steps: tuple[Step, ...] = compile_steps(graph, constants)
        self._input_names = tuple(port.name for port in graph.inputs)
        self._output_names = tuple(constants.root(port.name) for port in graph.outputs)

    def _make_keys(self) -> dict[str, str]:
        roles = self._roles
        names = (*roles.trained, *roles.statistics, *roles.scales, *roles.fixed)
        reserved = {*dir(self), "_keys", "_places"}
        return {name: state_key(name, names, reserved) for name in names}

    def _hold(self, name: str, key: str, array: Array) -> tuple[nn.Module, str]:
        *path, leaf = key.split(".")
        owner = _module_at(self, path)
        tensor = tensor_from_array(array, name)
        if name in self._roles.trained:
            owner.register_parameter(leaf, nn.Parameter(tensor))
        else:
            owner.register_buffer(leaf, tensor, persistent=name not in self._roles.fixed)
        return owner, leaf

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:  # Any: torch's
        # torch counts batches per norm only to average without momentum; a graph has no place for the count
        for key in [key for key in state_dict if key.startswith(prefix) and key.endswith(".num_batches_tracked")]:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _module_at(root: nn.Module, path: Iterable[str]) -> nn.Module:
    for part in path:
        child = root._modules.get(part)
        if child is None:
            child = nn.Module()
            root.add_module(part, child)
        root = child
    return root
