"""The refusal network: Inputs -> how probable it is that each reply refuses, and that it hedges. NumPy alone.

Two convolutions read the tokens; each clause is the maximum and the mean of its tokens; from a clause, its neighbours and
the question comes what the clause does (answers, declines, declines something else, neither); from all clauses the
verdict. `refusal_training` has the same network in torch, and a test holds both together.

Source: ours. Word coordinates: principal components of GloVe (Pennington et al. 2014, 6B tokens, public domain).
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inbol_ray.errors import DataError
from inbol_ray.scoring.refusal_inputs import NUMBER, Inputs, TokenRows, number_tokens, word_parts

WEIGHTS = Path(__file__).with_name("refusal_weights.npz")
WEIGHTS_SHA256 = "f4ca81ae418bf9c1397547de9cd369c9e21c2a335b60bb9e6a5a2fc49419d46a"
"""Of that file. It stands here so that other weights make what was judged with these stale, as other code does."""
ROLES = ("answers", "declines", "declines_other", "neither")
"""What a clause does with regard to what was asked."""
ROLE_GAIN = 2.0
"""How strongly the clearest answering and declining clause enter the verdict directly."""
_MAX_CACHED_TOKENS = 1 << 14


class Scores(NamedTuple):
    """Of b replies: `refusal` and `hedge`, both (b,) float32 probabilities. `hedge` is of use for answers only."""

    refusal: np.ndarray
    hedge: np.ndarray


class RefusalNetwork:
    """Weights by name, as `refusal_training` writes them.

    `words` and `coordinate_words` are the tokens with a vector of their own, one per line; floats are (out, in).
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        weights = {name: _unpack(name, arrays) for name in arrays if not name.endswith(".scale")}
        self.declining_words = frozenset(_lines(arrays["declining_words"]))
        """Words that decline more often than they answer."""
        self._words = _lines(arrays["words"])
        self._coordinate_words = _lines(arrays["coordinate_words"])
        self._weights = weights
        first = weights["conv1.weight"]  # (hidden, in, 3)
        self._hidden = first.shape[0]
        num_embedded = first.shape[1] - _num_flags(weights)
        self._embedded_taps = _taps(first[:, :num_embedded])
        self._flag_taps = _taps(first[:, num_embedded:])
        self._second_taps = _stacked_taps(weights["conv2.weight"])
        self._forget()

    def score(self, inputs: Inputs) -> Scores:
        """Scores of a batch of replies."""
        w = self._weights
        largest, mean = self._read(inputs.replies)
        asked = _relu(_dense(np.concatenate(self._read(inputs.questions), 1), w, "question"))[inputs.question]
        owner, number = inputs.owner, inputs.number
        num_replies, longest = len(inputs.kinds), int(number.max()) + 1
        kinds = w["kind.weight"][inputs.kinds]

        def pad(rows: np.ndarray) -> np.ndarray:
            padded = np.zeros((num_replies, longest, rows.shape[1]), np.float32)
            padded[owner, number] = rows
            return padded

        padded = pad(largest)
        none = np.zeros_like(padded[:, :1])
        previous = np.concatenate([none, padded[:, :-1]], 1)
        following = np.concatenate([padded[:, 1:], none], 1)
        before = np.maximum.accumulate(previous, 1)
        after = np.maximum.accumulate(following[:, ::-1], 1)[:, ::-1]
        context = [rows[owner, number] for rows in (previous, following, before, after)]
        seen = np.concatenate([largest, mean, *context, largest * asked[owner], kinds[owner], inputs.places], 1)
        alone = _relu(_dense(seen, w, "clause"))
        padded = pad(alone)
        none = np.zeros_like(padded[:, :1])
        previous = np.concatenate([none, padded[:, :-1]], 1)[owner, number]
        following = np.concatenate([padded[:, 1:], none], 1)
        later = np.maximum.accumulate(following[:, ::-1], 1)[:, ::-1][owner, number]
        beside = np.concatenate([alone, previous, following[owner, number], later], 1)
        thought = alone + _relu(_dense(beside, w, "around"))
        roles = _softmax(_dense(thought, w, "role"))
        strongest = pad(roles).max(1)
        counts = np.bincount(owner, minlength=num_replies)
        ends = np.cumsum(counts) - 1
        common = pad(roles).sum(1) / counts[:, None].astype(np.float32)
        clauses = pad(np.concatenate([thought, largest, mean], 1)).max(1)
        verdict = _relu(
            _dense(
                np.concatenate([clauses, strongest, roles[ends - counts + 1], roles[ends], common, kinds], 1),
                w,
                "reply",
            )
        )
        out = _dense(verdict, w, "verdict")
        return Scores(_sigmoid(out[:, 0] + ROLE_GAIN * (strongest[:, 1] - strongest[:, 0])), _sigmoid(out[:, 1]))

    def _read(self, rows: TokenRows) -> tuple[np.ndarray, np.ndarray]:
        """Maximum and mean over the tokens of each segment, (s, hidden) each."""
        lengths = rows.ends - rows.starts
        found = np.array(self._find(rows.tokens))  # which may grow the table
        live = (found > 0)[:, None].astype(np.float32)
        taps = self._table[found]
        taps[rows.asked] += self._flag_taps[0]
        taps[rows.capital] += self._flag_taps[1]
        hidden = self._hidden
        first = taps[:, hidden : 2 * hidden] + self._weights["conv1.bias"]
        first[1:] += taps[:-1, :hidden]
        first[:-1] += taps[1:, 2 * hidden :]
        first = _relu(first) * live
        around = np.zeros((len(first), 3 * hidden), np.float32)
        around[1:, :hidden] = first[:-1]
        around[:, hidden : 2 * hidden] = first
        around[:-1, 2 * hidden :] = first[1:]
        second = first + _relu(around @ self._second_taps + self._weights["conv2.bias"]) * live
        kept = second[live[:, 0] > 0]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return np.maximum.reduceat(kept, starts), np.add.reduceat(kept, starts) / lengths[:, None].astype(np.float32)

    def _find(self, tokens: Sequence[str]) -> list[int]:
        """Rows of tokens in the table of what the first convolution makes of them, which grows as they come."""
        rows = self._rows
        try:
            return [rows[token] for token in tokens]
        except KeyError:
            tokens = [NUMBER if token[:1].isdigit() else token for token in tokens]
        new = list({token: None for token in tokens if token not in rows})
        if len(rows) + len(new) > len(self._table):
            self._forget()
            new = list({token: None for token in tokens if token})
        if new:
            first = len(rows)
            self._table[first : first + len(new)] = self._embed(new) @ self._embedded_taps
            rows.update({token: number for number, token in enumerate(new, first)})
        return [rows[token] for token in tokens]

    def _forget(self) -> None:
        self._rows = {"": 0}
        self._table = np.zeros((_MAX_CACHED_TOKENS, self._embedded_taps.shape[1]), np.float32)

    def _embed(self, tokens: Sequence[str]) -> np.ndarray:
        """(n, embedded) coordinates, own vector, and mean over the vectors of its parts."""
        w = self._weights
        parts = np.stack([w["part.weight"][word_parts(token)].mean(0) for token in tokens])
        coordinates = w["coordinates"][number_tokens(tokens, self._coordinate_words)]
        return np.concatenate([coordinates, w["word.weight"][number_tokens(tokens, self._words)], parts], 1)


@cache
def load_network() -> RefusalNetwork:
    """The network that the package ships; read once in a process. Raises DataError where its file is another's."""
    content = WEIGHTS.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != WEIGHTS_SHA256:
        raise DataError(
            f"{WEIGHTS}: SHA-256 {found}, expected {WEIGHTS_SHA256}: install the package again; if you trained the network "
            "yourself, set WEIGHTS_SHA256 in refusal_network.py to the former"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return RefusalNetwork(dict(arrays))


def _unpack(name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    values = arrays[name]
    if values.dtype == np.int8:
        return values.astype(np.float32) * arrays[f"{name}.scale"].astype(np.float32)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _lines(text: np.ndarray) -> dict[str, int]:
    return {line: number for number, line in enumerate(text.tobytes().decode().split("\n"), start=1)}


def _num_flags(weights: Mapping[str, np.ndarray]) -> int:
    embedded = sum(weights[name].shape[1] for name in ("coordinates", "word.weight", "part.weight"))
    return weights["conv1.weight"].shape[1] - embedded


def _taps(weight: np.ndarray) -> np.ndarray:
    """(in, 3 * out) of a convolution's (out, in, 3): what a token adds to the one after it, to itself, to the one before."""
    return np.ascontiguousarray(np.concatenate([weight[:, :, tap].T for tap in range(3)], 1))


def _stacked_taps(weight: np.ndarray) -> np.ndarray:
    """(3 * in, out) of a convolution's (out, in, 3)."""
    return np.ascontiguousarray(np.concatenate([weight[:, :, tap].T for tap in range(3)], 0))


def _dense(rows: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
