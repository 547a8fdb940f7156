"""Log lines as templates, by Drain."""

from zlib import crc32

from drain3.drain import Drain, LogCluster

from detectors.base import State


class TemplateTree:
    """Drain, with a state that is plain data.

    The library's own snapshot is pickled objects, which must never be read from a place that
    others can write to. What a tree looks like follows from the first line of each cluster in the
    order of their making, so those lines and the templates as they are now are the whole state.

    Parameters
    ----------
    similarity
        Share of words in which a line and a template must agree.
    most
        Templates kept; what comes after belongs to one template for all the rest, 0.

    References
    ----------
    He, P., Zhu, J., Zheng, Z., Lyu, M. R. (2017). Drain: an online log parsing approach with fixed
    depth tree. ICWS.
    """

    def __init__(self, similarity: float = 0.5, most: int = 5_000) -> None:
        self.most = most
        self._similarity = similarity
        self._drain = Drain(depth=4, sim_th=similarity, max_children=100)
        self._origins: list[list[str]] = []

    def add(self, text: str) -> int:
        """The number of the template that the line belongs to, making one if need be."""
        if len(self._origins) >= self.most:
            known = self._drain.match(text)
            return int(known.cluster_id) if known is not None else 0
        cluster, change = self._drain.add_log_message(text)
        if change == "cluster_created":
            self._origins.append(list(cluster.log_template_tokens))
        return int(cluster.cluster_id)

    def template(self, number: int) -> str:
        """The template's text, `<*>` where its lines differ."""
        cluster = self._drain.id_to_cluster.get(number)
        return cluster.get_template() if cluster is not None else "any other line"

    def name(self, number: int) -> str:
        """A name that does not depend on the order in which templates were made."""
        origin = self._origins[number - 1] if number else []
        return f"{crc32(' '.join(origin).encode()):08x}"

    def dump(self) -> State:
        """First line and present template of each cluster, and how many lines it has had."""
        return [
            [origin, list(cluster.log_template_tokens), cluster.size]
            for origin, cluster in zip(self._origins, self._drain.clusters, strict=True)
        ]

    def load(self, state: State) -> None:
        """Grows the tree anew from `dump`."""
        self._drain = Drain(depth=4, sim_th=self._similarity, max_children=100)
        self._origins = []
        for number, (origin, tokens, size) in enumerate(state, 1):
            cluster = LogCluster(origin, number)
            self._drain.id_to_cluster[number] = cluster
            self._drain.add_seq_to_prefix_tree(self._drain.root_node, cluster)
            cluster.log_template_tokens = tuple(tokens)
            cluster.size = size
            self._origins.append(list(origin))
        self._drain.clusters_counter = len(self._origins)
