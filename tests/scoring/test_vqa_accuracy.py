"""VQA accuracy against the traps of the published scorers and against independent restatements of them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.errors import DataError
from inbol_ray.scoring.vqa_accuracy import normalise_vqa, vqa_accuracy

ANSWERS = st.sampled_from(
    ["yes", "Yes.", "no", "the cat", "cat", "2", "two", "black-white", "unanswerable", "", "dont"]
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("none", "0"),
        ("Zero", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("-5", "5"),
        ("black-white", "black white"),
        ("black - white", "black white"),
        ("x-ray - y-axis", "xray yaxis"),  # one mark that touches a blank deletes all of that mark
        ("x-ray; y", "x ray y"),  # and no other mark
        ("1,000", "1000"),
        ("1,000 black-white", "1000 blackwhite"),  # digit-comma-digit deletes every mark
        ("black,white", "black white"),
        ("3.5", "3.5"),
        ("yes.", "yes"),
        ("U.S.A.", "usa"),
        (".5", ".5"),
        ("5.", "5"),
        ("A man, the dog", "man dog"),
        ("the", ""),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldntve", "couldntve"),  # lacks two apostrophes
        ("somebody'd", "somebodyd"),
        ("ow's'at", "'ow's'at"),
        ("its", "its"),
        ("Im", "im"),
        ("ive", "ive"),
        ("lets", "lets"),
        ("café", "café"),
        ("10:30", "10:30"),
        ("50%", "50%"),
        ("$5 & #1*", "$5 & #1*"),
        ("cats", "cats"),
        ("what?!", "what"),
        ("." * 40, "." * 8),  # at most 32 periods
        ("", ""),
    ],
)
def test_normalise_vqa(text, normalised):
    assert normalise_vqa(text) == normalised


# --- The normalisation, restated from its description -------------------------------------------------------------

MARKS = ';/[]"{}()=+\\_-><@`,?!'
NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ONE_APOSTROPHE = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
    they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
BEFORE_VE = """
    couldn't hadn't mightn't shouldn't wouldn't he'd it'd she'd somebody'd someone'd something'd there'd they'd we'd
    who'd you'd
"""
FORMS = {*ONE_APOSTROPHE.split(), *(f"{word}'ve" for word in BEFORE_VE.split()), "y'all'll", "y'all'd've", "'ow's'at"}


def restore_apostrophe(word: str) -> str:
    """The contraction that a word becomes by one more apostrophe, wherever it goes; else the word."""
    if word == "somebody'd":
        return "somebodyd"
    longer = {f"{word[:i]}'{word[i:]}" for i in range(len(word) + 1)} & FORMS
    return longer.pop() if longer else word


def drop_marks(text: str) -> str:
    doomed = {mark for mark in MARKS if f"{mark} " in text or f" {mark}" in text}
    if any(text[i] == "," and text[i - 1].isdecimal() and text[i + 1].isdecimal() for i in range(1, len(text) - 1)):
        doomed = set(MARKS)
    return "".join("" if c in doomed else " " if c in MARKS else c for c in text)


def drop_periods(text: str) -> str:
    kept, num_dropped = "", 0
    for i, c in enumerate(text):
        if c == "." and not text[i + 1 : i + 2].isdecimal() and num_dropped < 32:
            num_dropped += 1
        else:
            kept += c
    return kept


def restated(text: str, restore=restore_apostrophe) -> str:
    words = ["zero" if word == "none" else word for word in drop_periods(drop_marks(text)).lower().split()]
    words = [str(NUMBER_WORDS.index(word)) if word in NUMBER_WORDS else word for word in words]
    return " ".join(restore(word) for word in words if word not in ("a", "an", "the"))


PIECES = [*MARKS, *"..  59", "a", "The", "an", "cat", "None", "zero", "Ten", "one", "$", "\u00e9", "\u0663", "\u00b2"]
PIECES += ["." * 33, "dont", "couldnt've", "yallll", "y'alldve", "somebody'd", "Im", "\n", "\u2019", "'"]
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join) | st.text(max_size=30)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_normalisation_restated(text):
    assert normalise_vqa(text) == restated(text)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_contraction_lacking_one_apostrophe_gets_it_back(form):
    for place in [i for i, character in enumerate(form) if character == "'"]:
        spelt = form[:place] + form[place + 1 :]
        if spelt != "somebody'd":
            assert normalise_vqa(spelt) == form
    assert normalise_vqa(form) == form


# --- Accuracy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["always_normalise", "official"])
@pytest.mark.parametrize(("num_equal", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)])
def test_ten_references(num_equal, score, mode):
    references = ["red"] * num_equal + [f"other {k}" for k in range(10 - num_equal)]
    assert vqa_accuracy("red", references, mode) == score


def test_identical_references_are_compared_raw_by_the_official_scorer():
    for prediction in ("Yes", "yes."):
        assert vqa_accuracy(prediction, ["yes"] * 10, "official") == 0.0
        assert vqa_accuracy(prediction, ["yes"] * 10) == 1.0
        assert vqa_accuracy(prediction, ["yes"] * 9 + ["no"], "official") == 1.0
    assert vqa_accuracy("yes\n", ["yes\t"] * 10, "official") == 1.0


def test_few_references():
    assert vqa_accuracy("red", ["red"]) == 0.0
    assert vqa_accuracy("red", ["red", "red"]) == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="at least one reference"):
        vqa_accuracy("red", [])


def leave_one_out(said: str, gold: list[str]) -> float:
    return sum(min(1, (gold[:i] + gold[i + 1 :]).count(said) / 3) for i in range(len(gold))) / len(gold)


REPLIES = ANSWERS | TEXTS


@settings(max_examples=400, deadline=None)
@given(
    prediction=REPLIES,
    references=st.lists(ANSWERS, min_size=1, max_size=12) | st.lists(REPLIES, min_size=1),
    at=st.integers(0, 11),
)
def test_both_modes_restated(prediction, references, at):
    if at < len(references):
        prediction = references[at]
    said, *gold = (text.replace("\n", " ").replace("\t", " ").strip() for text in (prediction, *references))
    normalised = leave_one_out(restated(said), [restated(text) for text in gold])
    official = leave_one_out(said, gold) if len(set(gold)) == 1 else normalised
    assert math.isclose(vqa_accuracy(prediction, references), normalised, abs_tol=1e-12)
    assert math.isclose(vqa_accuracy(prediction, references, "official"), official, abs_tol=1e-12)


CURLY = "\u2019"


@pytest.mark.parametrize(
    ("prediction", "reference", "score"),
    [
        ("Yes.", "yes", 1.0),  # the prediction is normalised
        ("yes", "Yes", 0.0),  # the references are not
        ("none", "none", 0.0),  # so that a number word never matches itself
        ("none", "0", 1.0),
        ("dont", f"don{CURLY}t", 1.0),  # the table's apostrophes are typographic ...
        ("dont", "don't", 0.0),
        ("cant", "can't", 1.0),  # ... but for the first few and three more
        ("weve", "we've", 1.0),
        ("wheres", "where's", 1.0),
        ("couldn'tve", f"couldn{CURLY}t{CURLY}ve", 1.0),
        (f"couldnt{CURLY}ve", f"couldn{CURLY}t{CURLY}ve", 1.0),
        ("couldnt've", "couldnt've", 1.0),  # not in the table
        ("hadn'tve", f"hadn{CURLY}t{CURLY}ve", 1.0),
        (f"mightn{CURLY}tve", f"mightn{CURLY}t{CURLY}ve", 1.0),
        ("mightn'tve", "mightn'tve", 1.0),
        (f"somebody{CURLY}d", "somebodyd", 1.0),
        ("don't", "don't", 1.0),
    ],
)
def test_vizwiz_normalises_the_prediction_alone(prediction, reference, score):
    assert vqa_accuracy(prediction, [reference] * 10, "official_vizwiz") == score


@pytest.mark.parametrize("word", ["ain't", "aren't", "can't", "could've", "couldn't", "we've", "where's", "who've"])
def test_eight_words_of_vizwizs_table_kept_their_apostrophe(word):
    assert vqa_accuracy(word.replace("'", ""), [word] * 10, "official_vizwiz") == 1.0


def restore_as_vizwiz(word: str) -> str:
    """Their table is the official one with typographic apostrophes, apart from ten entries."""
    straight = {"aint", "arent", "cant", "couldve", "couldnt", "weve", "wheres", "whove"}
    if word in straight:
        return restore_apostrophe(word)
    if word in ("couldn'tve", "hadn'tve"):
        return restore_apostrophe(word).replace("'", CURLY)
    if "'" in word or word in (f"couldn{CURLY}tve", f"hadn{CURLY}tve"):
        return word
    restored = restore_apostrophe(word.replace(CURLY, "'"))
    return word if restored == word.replace(CURLY, "'") else restored.replace("'", CURLY)


@settings(max_examples=300, deadline=None)
@given(
    prediction=REPLIES,
    references=st.lists(ANSWERS | st.sampled_from(["dont", "don\u2019t"]), min_size=1),
    at=st.integers(0, 9),
)
def test_vizwiz_restated(prediction, references, at):
    if at < len(references):
        prediction = references[at]
    said = restated(prediction.replace("\n", " ").replace("\t", " ").strip(), restore_as_vizwiz)
    assert math.isclose(vqa_accuracy(prediction, references, "official_vizwiz"), leave_one_out(said, references))


@given(prediction=REPLIES, references=st.lists(ANSWERS, min_size=1))
def test_the_order_of_references_does_not_matter(prediction, references):
    score = vqa_accuracy(prediction, references)
    assert 0 <= score <= 1 and score == vqa_accuracy(prediction, references[::-1])
