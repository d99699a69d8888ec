from deploycompress.graph import Graph
def remove_blocks(graph: Graph, names: tuple[str, ...]) -> Graph:
    raise NotImplementedError
