"""The tree of blocks: they nest, and each chunk of each level is made once."""

from __future__ import annotations

import itertools
import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import examples
from platestore.pyramid.blocks import BlockTree


@st.composite
def _trees(draw, region: bool = False):
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 40)) for _ in range(ndim))
    steps = draw(st.lists(st.tuples(*[st.integers(1, 3)] * ndim), min_size=0, max_size=3))
    shapes = [shape]
    for step in steps:
        shapes.append(tuple(math.ceil(n / f) for n, f in zip(shapes[-1], step, strict=True)))
    chunks = [tuple(draw(st.integers(1, 12)) for _ in range(ndim)) for _ in shapes]
    box = None
    if region:
        starts = [draw(st.integers(0, n - 1)) for n in shape]
        box = tuple(slice(s, draw(st.integers(s + 1, n))) for s, n in zip(starts, shape, strict=True))
    return BlockTree(shapes, chunks, steps, 2, join=draw(st.booleans()), region=box), box


def _chunks(level, place):
    return itertools.product(*level.chunk_ranges(level.region(place)))


@settings(deadline=None, max_examples=examples(150))
@given(_trees())
def test_blocks_nest_and_each_chunk_belongs_to_one(case):
    tree, _ = case
    leaves = list(tree.depth_first())
    assert len(leaves) == len(set(leaves)) == tree.leaves == math.prod(tree.levels[0].grid)
    for k, level in enumerate(tree.levels):
        places = list(itertools.product(*map(range, level.grid)))
        counts = Counter(chunk for place in places for chunk in _chunks(level, place))
        assert set(counts.values()) == {1}
        grid = [math.ceil(n / c) for n, c in zip(level.shape, level.chunks, strict=True)]
        assert len(counts) == math.prod(grid)
        if k:
            above = tree.levels[k - 1]
            children = [c for p in places for c in itertools.product(*tree.children(k, p))]
            assert sorted(children) == sorted(itertools.product(*map(range, above.grid)))
            for place in places:
                for child in itertools.product(*tree.children(k, place)):
                    assert tree.parent(k - 1, child) == place


@settings(deadline=None, max_examples=examples(150))
@given(_trees())
def test_blocks_begin_with_whole_windows(case):
    tree, _ = case
    for above, level in itertools.pairwise(tree.levels):
        for place in itertools.product(*map(range, above.grid)):
            for part, factor, n in zip(above.region(place), level.factors, above.shape, strict=True):
                assert part.start % factor == 0
                assert part.stop % factor == 0 or part.stop == n


@settings(deadline=None, max_examples=examples(150))
@given(_trees())
def test_walking_depth_first_needs_one_block_of_each_level(case):
    tree, _ = case
    open_blocks: dict[tuple[int, tuple[int, ...]], int] = {}
    for leaf in tree.depth_first():
        place = leaf
        path = []
        for k in range(1, len(tree.levels)):
            place = tree.parent(k - 1, place)
            path.append((k, place))
            open_blocks.setdefault((k, place), math.prod(map(len, tree.children(k, place))))
        assert len(open_blocks) <= len(tree.levels) - 1
        for key in path:
            open_blocks[key] -= 1
            if open_blocks[key]:
                break
            del open_blocks[key]
    assert not open_blocks


@settings(deadline=None, max_examples=examples(200))
@given(_trees(region=True))
def test_what_depends_on_a_region_is_made_and_its_sources_are_read(case):
    tree, box = case
    leaves = list(tree.depth_first())
    assert len(leaves) == len(set(leaves)) == tree.leaves
    read = {
        pixel
        for leaf in leaves
        for pixel in itertools.product(*(range(s.start, s.stop) for s in tree.levels[0].region(leaf)))
    }
    assert set(itertools.product(*(range(s.start, s.stop) for s in box))) <= read
    dirty = [range(s.start, s.stop) for s in box]
    for k, level in enumerate(tree.levels):
        if not k:
            continue
        dirty = [
            range(r.start // f, (r.stop - 1) // f + 1) for r, f in zip(dirty, level.factors, strict=True)
        ]
        for part, needed, n in zip(tree.written(k), dirty, level.shape, strict=True):
            assert part.start <= needed.start < needed.stop <= part.stop <= n
    # What is made of level 1 is made from pixels that are read.
    if len(tree.levels) > 1:
        first = tree.levels[1]
        sources = itertools.product(
            *(
                range(s.start * f, min(s.stop * f, n))
                for s, f, n in zip(tree.written(1), first.factors, tree.levels[0].shape, strict=True)
            )
        )
        assert set(sources) <= read
