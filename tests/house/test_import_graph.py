"""Arrows point down, and no modules import each other: also inside functions, and for types."""

from __future__ import annotations

from import_graph import ROOMS, SOURCES, back_arrows, circles, read_graph


def test_every_room_has_its_place():
    rooms = {
        path.stem for path in SOURCES.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__", "__main__"} == {room for rooms in ROOMS for room in rooms}


def test_no_arrow_points_up():
    assert back_arrows(read_graph()) == []


def test_no_modules_import_each_other():
    assert circles(read_graph()) == []


def test_a_circle_and_an_arrow_up_are_seen():
    graph = {
        "platestore.spec.a": {"platestore.spec.b"},
        "platestore.spec.b": {"platestore.spec.c"},
        "platestore.spec.c": {"platestore.spec.a", "platestore.nodes.d"},
        "platestore.nodes.d": set(),
    }
    assert circles(graph) == [["platestore.spec.a", "platestore.spec.b", "platestore.spec.c"]]
    assert back_arrows(graph) == ["platestore.spec.c -> platestore.nodes.d"]
