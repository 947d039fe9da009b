"""What several of these tests try: any JSON, and texts that are hard to handle."""

from hypothesis import settings
from hypothesis import strategies as st

HARD = ["", "\0", "\ud800", "\U0001f600", "..", "/", "-", "@x", "\n", "1e999", "Infinity", "nan", "{}", "x" * 300]
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=30) | st.sampled_from(HARD)
NUMBERS = (
    st.integers(-(1 << 65), 1 << 65) | st.floats() | st.sampled_from([0, -1, 1 << 31, 1 << 53, 1 << 63, 10**400, 1e308])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
IS_LONG = settings.default.max_examples > 100
