"""One prompt, one graph: what the model says, and which features carry it.

Run it with `python examples/one_prompt.py`.
"""

from pipeline import ReplacementModel, attribute, prune

model = ReplacementModel.from_pretrained("demo", transcoders="demo")
graph = attribute(model, "The capital of the state containing Dallas is")

replacement, completeness = graph.scores()
print(graph)
print(f"replacement score {replacement:.3f}, completeness score {completeness:.3f}")

pruned = prune(graph, node_threshold=0.8, edge_threshold=0.98)
print(f"kept {len(pruned.node)} of {graph.n_nodes} nodes and {len(pruned.weight)} edges\n")

is_feature = pruned.kind == 0
print("feature  at        activation  influence")
for node in pruned.influence.argsort(descending=True)[: len(pruned.node)]:
    if is_feature[node]:
        name = f"{pruned.layer[node]}/{pruned.feature[node]}"
        token = graph.token_strings[pruned.position[node]]
        print(f"{name:8} {token:9} {pruned.activation[node]:10.3f} {pruned.influence[node]:10.3f}")
