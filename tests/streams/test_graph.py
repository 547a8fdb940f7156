"""The service graph: what the catalogue says and what calls teach, cycles and all."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.anomalies import Call
from schemas.configuration import Catalogue, Service
from streams import graph as module
from streams.graph import ServiceGraph, with_calls


def graph(*edges: tuple[str, str]) -> ServiceGraph:
    made = ServiceGraph(Catalogue())
    made.learn(Call(*edge) for edge in edges)
    return made


def test_the_catalogue_and_calls_make_one_graph() -> None:
    made = ServiceGraph(Catalogue(services=(Service(name="web", depends_on=("cart",)),)))
    made.learn([Call("cart", "store")])
    assert made.below("web") == {"cart": 1, "store": 2}
    assert made.above("store") == {"cart": 1, "web": 2}
    assert made.learned() == [("cart", "store")]


def test_siblings_are_not_near_each_other_but_ancestors_are() -> None:
    made = graph(("web", "a"), ("web", "b"), ("a", "c"))
    assert made.near("a", 2) == {"web": 1, "c": 1}
    assert made.near("c", 2) == {"a": 1, "web": 2}
    assert made.near("c", 1) == {"a": 1}


def test_a_cycle_and_a_self_call_end() -> None:
    made = graph(("a", "b"), ("b", "c"), ("c", "a"), ("a", "a"))
    assert made.below("a") == {"b": 1, "c": 2}
    assert made.near("a", 2) == {"b": 1, "c": 1}


def test_a_flood_of_edges_is_refused_and_counted() -> None:
    made = ServiceGraph(Catalogue())
    made.learn(Call("web", f"s{i}") for i in range(module.MAX_EDGES + 3))
    assert made.refused == 3


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg")), max_size=20))
def test_being_near_is_mutual(edges: list[tuple[str, str]]) -> None:
    made = graph(*edges)
    for one in "abcdefg":
        for other in "abcdefg":
            assert made.near(one, 3).get(other) == made.near(other, 3).get(one)


def test_calls_become_dependencies_of_the_catalogue() -> None:
    base = Catalogue(services=(Service(name="web", tier=1, depends_on=("a",)),))
    made = with_calls(base, [Call("web", "b"), Call("web", "a"), Call("b", "c")])
    assert [(s.name, s.tier, s.depends_on) for s in made.services] == [
        ("web", 1, ("a", "b")),
        ("b", 3, ("c",)),
    ]
