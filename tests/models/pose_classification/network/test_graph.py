from __future__ import annotations

import numpy as np
import pytest

from tao_skill.models.pose_classification.network.graph import STRATEGIES, adjacency
from tao_skill.models.pose_classification.network.layouts import LAYOUTS

PAIRS = [(layout, strategy) for layout in LAYOUTS for strategy in STRATEGIES]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_skeleton_is_connected_and_names_each_bone_once(layout: str) -> None:
    skeleton = LAYOUTS[layout]
    assert len({frozenset(edge) for edge in skeleton.edges}) == len(skeleton.edges)
    reached, frontier = {skeleton.center}, {skeleton.center}
    while frontier:
        frontier = {b for edge in skeleton.edges for a, b in (edge, edge[::-1]) if a in frontier} - reached
        reached |= frontier
    assert reached == set(range(skeleton.joints))


def test_joint_counts_and_persons_are_those_of_tao() -> None:
    facts = {name: (one.joints, one.persons) for name, one in list(LAYOUTS.items())[:6]}
    assert facts == {
        "nvidia": (34, 1),
        "openpose": (18, 1),
        "human3.6m": (17, 1),
        "ntu-rgb+d": (25, 2),
        "ntu_edge": (24, 2),
        "coco": (17, 1),
    }


@pytest.mark.parametrize(("layout", "strategy"), PAIRS)
def test_subsets_partition_the_normalised_neighbourhood(layout: str, strategy: str) -> None:
    a_KVV = adjacency(LAYOUTS[layout], strategy)
    assert a_KVV.dtype == np.float32
    assert a_KVV.shape == ({"uniform": 1, "distance": 2, "spatial": 3}[strategy], *[LAYOUTS[layout].joints] * 2)
    np.testing.assert_allclose(a_KVV.sum(axis=(0, 1)), 1.0, rtol=1e-6)
    assert ((a_KVV > 0).sum(axis=0) <= 1).all()
    linked = {tuple(sorted(edge)) for edge in LAYOUTS[layout].edges}
    found = {tuple(sorted(map(int, pair))) for pair in np.argwhere(a_KVV.sum(axis=0) > 0) if pair[0] != pair[1]}
    assert found == linked


@pytest.mark.parametrize("layout", LAYOUTS)
def test_spatial_subsets_follow_the_definition_joint_by_joint(layout: str) -> None:
    """The paper's three subsets, read off hop by hop with one hop known, as TAO does."""
    skeleton = LAYOUTS[layout]
    neighbours = {i: {b for e in skeleton.edges for a, b in (e, e[::-1]) if a == i} for i in range(skeleton.joints)}
    hops = {i: 0 if i == skeleton.center else 1 if i in neighbours[skeleton.center] else 9 for i in neighbours}
    root, closer, further = adjacency(LAYOUTS[layout], "spatial")
    for i, around in neighbours.items():
        share = 1.0 / (len(around) + 1)
        assert root[i, i] == pytest.approx(share)
        for j in around:
            subset = further if hops[j] < hops[i] else closer
            assert subset[j, i] == pytest.approx(share)


def test_layouts_agree_with_the_published_joint_tables(real_data) -> None:  # type: ignore[no-untyped-def]
    import json

    tables = json.loads((real_data / "layout_maps.json").read_text())["tao"]
    for name, table in tables.items():
        assert len(table["joints"]) == LAYOUTS[name].joints
        assert {frozenset(edge) for edge in table["edges"]} == {frozenset(edge) for edge in LAYOUTS[name].edges}
