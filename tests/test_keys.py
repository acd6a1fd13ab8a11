"""Sets on disk against Python's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pscli.datasets import keys
from pscli.datasets.keys import Keys

MEMBERS = st.lists(st.integers(-(2**61), 2**61) | st.text(max_size=3), max_size=60)


@pytest.fixture(autouse=True, scope="module", params=[3, 1 << 15])
def few(request):
    """Once with most members in the file, once with all in memory."""
    before, keys.FEW = keys.FEW, request.param
    yield
    keys.FEW = before


def filled(members):
    result = Keys()
    for member in members:
        result.add(member)
    return result


@given(MEMBERS, MEMBERS)
def test_as_pythons_sets(ours, others):
    one, other = filled(ours), filled(others)
    a, b = {hash(x) for x in ours}, {hash(x) for x in others}
    assert (len(one), list(one)) == (len(a), sorted(a))
    assert one.common(other) == len(a & b)
    one.update(other)
    assert list(one) == sorted(a | b)


def test_members_after_counting_count_too():
    some = filled("abcd")
    assert len(some) == 4
    some.add("a")
    some.add("e")
    assert len(some) == 5
