import pytest

from inbol_ray.sampling.stop_strings import StopStrings


def said(stop, pieces):
    """(what was passed on, whether a stop string ended it), the pieces one after the other."""
    stops, passed = StopStrings(stop), ""
    for number, piece in enumerate(pieces, start=1):
        text, found = stops.take(piece, last=number == len(pieces))
        passed += text
        if found:
            return passed, True
    return passed, False


@pytest.mark.parametrize(
    ("stop", "pieces", "passed", "found"),
    [
        ((), ["a", "b"], "ab", False),
        (("",), ["a", "b"], "ab", False),
        (("ring",), ["red ", "ri", "ng", " left"], "red ", True),
        (("ring",), ["red ", "ri", "m"], "red rim", False),
        (("red",), ["red", " ring"], "", True),
        (("ring left", "ing"), ["red ring left"], "red r", True),  # that is complete first
        (("xyz", "b"), ["ab", "c"], "a", True),
    ],
)
def test_text_passes_up_to_the_first_stop_string(stop, pieces, passed, found):
    assert said(stop, pieces) == (passed, found)


def test_no_more_is_held_back_than_a_stop_string_needs():
    stops = StopStrings(("abc",))
    assert stops.take("xyz", last=False) == ("x", False)
    assert stops.take("w", last=False) == ("y", False)
    assert stops.take("", last=True) == ("zw", False)
