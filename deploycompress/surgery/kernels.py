from deploycompress.graph import Graph
def shrink_kernels(graph: Graph, kernels: object) -> Graph:
    raise NotImplementedError
def masked_kernels(graph: Graph, kernels: object) -> Graph:
    raise NotImplementedError
