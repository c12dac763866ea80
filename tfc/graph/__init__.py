"""The graph API: what people write, from nodes and scopes to sessions.

`graph` and `node` are the graph, `rules` what each kind of node means as ``tfc`` operations,
`arrays`, `math`, `nn`, `random`, `variables` and `scopes` the functions that make nodes,
`specialise` the part of a graph that a run needs as a module, `session` what runs it.
"""
