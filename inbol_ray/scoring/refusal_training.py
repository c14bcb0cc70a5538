"""Train the refusal network on labelled replies -> `refusal_weights.npz`; `make refusal-model`.

Plain replies come from a grammar (`plain_replies`), all that is hard from several authors, who wrote the replies in
`refusal_replies/` by hand, to the definition in its README and not to the detector. Every row has a verdict, and most have
a role for each clause (`roles`, a letter each), which teaches far more than the verdict alone. The tests have replies of
further authors.

Source: ours; word coordinates as in `refusal_network`.
"""

import argparse
import hashlib
import io
import json
import random
import zipfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from inbol_ray.scoring.plain_replies import plain_answers, plain_refusals
from inbol_ray.scoring.question_form import KINDS
from inbol_ray.scoring.refusal_inputs import (
    NUM_BUCKETS,
    NUM_FLAGS,
    NUM_PLACES,
    NUMBER,
    Inputs,
    TokenRows,
    number_tokens,
    pack_inputs,
    shorten,
    word_parts,
)
from inbol_ray.scoring.refusal_network import ROLE_GAIN, ROLES, WEIGHTS, RefusalNetwork
from inbol_ray.scoring.reply_tokens import Clause, split_clauses

REPLIES = Path(__file__).with_name("refusal_replies")
ROLE_LETTERS = "ADdo"
"""`ROLES`, in their order, as the rows write them."""
_UNLABELLED = -100


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters. `hidden` is the width of the convolutions, `min_count` how many replies hold a token of its own."""

    epochs: int = 16
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    hidden: int = 64
    clause_width: int = 96
    verdict_width: int = 32
    word_width: int = 16
    part_width: int = 16
    kind_width: int = 12
    dropout: float = 0.3
    word_dropout: float = 0.1
    min_count: int = 5
    coordinates: int = 24
    num_coordinate_words: int = 12_000
    label_smoothing: float = 0.02
    num_plain_answers: int = 4_000
    num_plain_refusals: int = 2_000
    generated_weight: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Coordinates:
    """Words with their place among English words: `words` (n,), `values` (n, d) float32."""

    words: list[str]
    values: np.ndarray


class Example:
    """A labelled reply, cut into clauses."""

    def __init__(self, row: dict) -> None:
        self.question = row.get("question")
        self.clauses = split_clauses(row["reply"])
        self.refusal = bool(row["refusal"])
        self.hedged = bool(row.get("hedged"))
        self.weight = float(row.get("weight", 1))
        self.roles = row.get("roles") or ""
        if len(self.clauses) == 1 and not self.roles:
            self.roles = "D" if self.refusal else "A"
        if len(self.roles) != len(self.clauses):
            self.roles = ""

    def kept(self) -> list[Clause]:
        return shorten(self.clauses) or [Clause([], [], "^", "$")]

    def targets(self) -> list[int]:
        """The role of each clause that is kept, as an index into `ROLES`."""
        kept = self.kept()
        if len(self.roles) != len(kept):
            return [_UNLABELLED] * len(kept)
        return [ROLE_LETTERS.index(letter) for letter in self.roles]


def pack_examples(examples: Sequence[Example]) -> Inputs:
    """What the network reads of some examples."""
    return pack_inputs([example.kept() for example in examples], [example.question for example in examples])


class TorchNetwork(nn.Module):
    """`RefusalNetwork` with gradients; the names of its parameters are those of the weights."""

    def __init__(self, words: dict[str, int], coordinates: Coordinates, recipe: Recipe) -> None:
        super().__init__()
        self.words, self.recipe, self.hidden = words, recipe, recipe.hidden
        self.coordinate_words = {word: number for number, word in enumerate(coordinates.words, start=1)}
        values = np.concatenate([np.zeros_like(coordinates.values[:1]), coordinates.values])
        self.coordinates: torch.Tensor
        self.register_buffer("coordinates", torch.from_numpy(values))
        self.word = nn.Embedding(len(words) + 1, recipe.word_width, padding_idx=0)
        self.part = nn.EmbeddingBag(NUM_BUCKETS, recipe.part_width, mode="mean")
        with torch.no_grad():
            self.word.weight.normal_(0, 0.5)[0] = 0
            self.part.weight.normal_(0, 0.3)[0] = 0
        embedded = values.shape[1] + recipe.word_width + recipe.part_width
        self.conv1 = nn.Conv1d(embedded + NUM_FLAGS, self.hidden, 3, padding=1)
        self.conv2 = nn.Conv1d(self.hidden, self.hidden, 3, padding=1)
        self.kind = nn.Embedding(len(KINDS), recipe.kind_width)
        self.question = nn.Linear(2 * self.hidden, self.hidden)
        self.clause = nn.Linear(7 * self.hidden + recipe.kind_width + NUM_PLACES, recipe.clause_width)
        self.around = nn.Linear(4 * recipe.clause_width, recipe.clause_width)
        self.role = nn.Linear(recipe.clause_width, len(ROLES))
        self.reply = nn.Linear(
            recipe.clause_width + 2 * self.hidden + 4 * len(ROLES) + recipe.kind_width, recipe.verdict_width
        )
        self.verdict = nn.Linear(recipe.verdict_width, 2)
        self.dropout = nn.Dropout(recipe.dropout)

    def prepare(self, rows: TokenRows) -> tuple[torch.Tensor, ...]:
        """Tensors of token rows, which training reads many times."""
        tokens = [NUMBER if token[:1].isdigit() else token for token in rows.tokens]
        parts = [word_parts(token) if token else [0] for token in tokens]
        segment = np.full(len(rows.tokens), -1)
        for number, (start, end) in enumerate(zip(rows.starts, rows.ends, strict=True)):
            segment[start:end] = number
        arrays = (
            number_tokens(tokens, self.coordinate_words),
            number_tokens(tokens, self.words),
            np.concatenate(parts),
            np.cumsum([0, *map(len, parts[:-1])]),
            rows.flags(),
            segment,
            (rows.ends - rows.starts).astype(np.float32),
        )
        return tuple(map(torch.from_numpy, arrays))

    def _read(self, rows: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        coordinate, word, parts, offsets, flags, segment, lengths = rows
        live = (segment >= 0).float()[:, None]
        embedded = torch.cat([self.coordinates[coordinate], self.word(word), self.part(parts, offsets)], 1)
        if self.training:
            embedded = embedded * (torch.rand(len(embedded), 1) > self.recipe.word_dropout)
        seen = self.dropout(torch.cat([embedded, flags], 1)) * live
        first = functional.relu(self.conv1(seen.T[None])) * live.T
        second = (first + functional.relu(self.conv2(first)) * live.T)[0].T
        kept, owner = second[segment >= 0], segment[segment >= 0]
        empty = torch.zeros(len(lengths), self.hidden)
        spread = owner[:, None].expand(-1, self.hidden)
        largest = empty.scatter_reduce(0, spread, kept, "amax", include_self=False)
        return largest, empty.index_add(0, owner, kept) / lengths[:, None]

    def forward(self, batch: "Batch") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits (b,) of refusal and of hedge, and log-probabilities (c, 4) of the clauses' roles."""
        largest, mean = self._read(batch.replies)
        asked = functional.relu(self.question(torch.cat(self._read(batch.questions), 1)))[batch.question]
        owner, number = batch.owner, batch.number
        num_replies, longest = len(batch.kinds), int(number.max()) + 1

        def pad(rows: torch.Tensor) -> torch.Tensor:
            return torch.zeros(num_replies, longest, rows.shape[1]).index_put((owner, number), rows)

        padded = pad(largest)
        none = torch.zeros_like(padded[:, :1])
        previous = torch.cat([none, padded[:, :-1]], 1)
        following = torch.cat([padded[:, 1:], none], 1)
        before = torch.cummax(previous, 1)[0]
        after = torch.cummax(following.flip(1), 1)[0].flip(1)
        context = [rows[owner, number] for rows in (previous, following, before, after)]
        kinds = self.kind(batch.kinds)
        seen = torch.cat([largest, mean, *context, largest * asked[owner], kinds[owner], batch.places], 1)
        alone = functional.relu(self.clause(self.dropout(seen)))
        padded = pad(alone)
        none = torch.zeros_like(padded[:, :1])
        previous = torch.cat([none, padded[:, :-1]], 1)[owner, number]
        following = torch.cat([padded[:, 1:], none], 1)
        later = torch.cummax(following.flip(1), 1)[0].flip(1)[owner, number]
        beside = self.dropout(torch.cat([alone, previous, following[owner, number], later], 1))
        thought = alone + functional.relu(self.around(beside))
        roles = functional.log_softmax(self.role(thought), 1)
        strongest = pad(roles.exp()).amax(1)
        counts = torch.bincount(owner, minlength=num_replies)[:, None]
        ends = torch.cumsum(counts[:, 0], 0) - 1
        first, last = roles.exp()[ends - counts[:, 0] + 1], roles.exp()[ends]
        common = pad(roles.exp()).sum(1) / counts
        clauses = pad(torch.cat([thought, largest, mean], 1)).amax(1)
        seen = self.dropout(torch.cat([clauses, strongest, first, last, common, kinds], 1))
        out = self.verdict(functional.relu(self.reply(seen)))
        return out[:, 0] + ROLE_GAIN * (strongest[:, 1] - strongest[:, 0]), out[:, 1], roles


class Batch:
    """Some examples as the tensors that the network and its loss read."""

    def __init__(self, examples: Sequence[Example], network: TorchNetwork) -> None:
        inputs = pack_examples(examples)
        self.question = torch.from_numpy(inputs.question)
        self.replies, self.questions = network.prepare(inputs.replies), network.prepare(inputs.questions)
        self.owner, self.number = torch.from_numpy(inputs.owner), torch.from_numpy(inputs.number)
        self.places, self.kinds = torch.from_numpy(inputs.places), torch.from_numpy(inputs.kinds)
        self.refusal = torch.tensor([float(example.refusal) for example in examples])
        self.hedged = torch.tensor([float(example.hedged) for example in examples])
        self.weight = torch.tensor([example.weight for example in examples])
        self.roles = torch.tensor([target for example in examples for target in example.targets()])


def batch_loss(network: TorchNetwork, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the verdict, of the clauses' roles, and (for answers) of the hedge."""
    refusal, hedge, roles = network(batch)
    entropy = functional.binary_cross_entropy_with_logits
    smoothing = network.recipe.label_smoothing
    target = batch.refusal * (1 - smoothing) + smoothing / 2
    loss = (batch.weight * entropy(refusal, target, reduction="none")).mean()
    answers = batch.weight * (1 - batch.refusal)
    loss = loss + 0.2 * (answers * entropy(hedge, batch.hedged, reduction="none")).mean()
    if (batch.roles != _UNLABELLED).any():
        loss = loss + functional.nll_loss(roles, batch.roles, ignore_index=_UNLABELLED)
    return loss


def fit(examples: Sequence[Example], coordinates: Coordinates, recipe: Recipe) -> TorchNetwork:
    """Train a network; the same examples, recipe and number of threads give the same weights."""
    torch.manual_seed(recipe.seed)
    drawn = random.Random(recipe.seed)
    counts: Counter[str] = Counter()
    for example in examples:
        edges = [edge for clause in example.clauses for edge in (f"<{clause.opens}", f">{clause.ends}")]
        counts.update({*edges, *(token for clause in example.clauses for token in clause.tokens)})
    words = sorted(token for token, count in counts.items() if count >= recipe.min_count)
    network = TorchNetwork({word: number for number, word in enumerate(words, start=1)}, coordinates, recipe)
    by_length = sorted(examples, key=lambda example: sum(len(clause.tokens) for clause in example.clauses))
    size = recipe.batch_size
    batches = [Batch(by_length[start : start + size], network) for start in range(0, len(by_length), size)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * len(batches)
    )
    for epoch in range(recipe.epochs):
        network.train()
        drawn.shuffle(batches)
        total = 0.0
        for batch in batches:
            loss = batch_loss(network, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:>2}/{recipe.epochs}  loss {total / len(batches):.3f}", flush=True)
    return network.eval()


def to_arrays(network: TorchNetwork, declining: Collection[str]) -> dict[str, np.ndarray]:
    """The weights as `RefusalNetwork` reads them: tables in 8 bits a number, the rest in 16; and `declining_words`."""
    arrays = {
        "declining_words": np.frombuffer("\n".join(sorted(declining)).encode(), np.uint8),
        "words": np.frombuffer("\n".join(network.words).encode(), np.uint8),
        "coordinate_words": np.frombuffer("\n".join(network.coordinate_words).encode(), np.uint8),
    }
    for name, tensor in network.state_dict().items():
        values = tensor.numpy()
        if name in ("coordinates", "word.weight", "part.weight"):
            scale = np.abs(values).max(0) / 127
            arrays[name] = np.round(values / scale).astype(np.int8)
            arrays[f"{name}.scale"] = scale.astype(np.float32)
        else:
            arrays[name] = values.astype(np.float16)
    return arrays


def save(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write an .npz whose bytes depend on the arrays alone: NumPy's own holds the time of day."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(content, arrays[name], allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, 9)


def read_examples(skip: Sequence[str] = ()) -> list[Example]:
    """The labelled replies of every author but those in `skip` (names of files without `.jsonl`)."""
    files = [path for path in sorted(REPLIES.glob("*.jsonl")) if path.stem not in skip]
    return [Example(json.loads(line)) for path in files for line in path.read_text("utf-8").splitlines()]


def declining_words(examples: Sequence[Example]) -> set[str]:
    """Tokens that more examples have in clauses that decline than in clauses that answer."""
    declining: Counter[str] = Counter()
    answering: Counter[str] = Counter()
    for example in examples:
        roles = example.roles or ("D" if example.refusal else "A") * len(example.clauses)
        for letter, counts in (("D", declining), ("A", answering)):
            parts = [
                clause.tokens for clause, role in zip(example.clauses, roles, strict=True) if role.upper() == letter
            ]
            counts.update({token for tokens in parts for token in tokens})
    return {token for token, count in declining.items() if count > answering[token] and len(token) > 1}


def generated_examples(examples: Sequence[Example], coordinates: Coordinates, recipe: Recipe) -> list[Example]:
    """Plain replies to the examples' questions: answers in words that decline less often than they answer, and refusals."""
    declining = declining_words(examples)
    words = [word for word in coordinates.words if word not in declining and len(word) > 2]
    questions = [example.question for example in examples if example.question]
    rows = [
        *plain_answers(words, questions, recipe.num_plain_answers, recipe.seed),
        *plain_refusals(questions, recipe.num_plain_refusals, recipe.seed),
    ]
    return [Example(row | {"weight": recipe.generated_weight}) for row in rows]


def shipped_coordinates() -> Coordinates:
    """Those that the shipped weights hold."""
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        words = arrays["coordinate_words"].tobytes().decode().split("\n")
        return Coordinates(words, (arrays["coordinates"][1:] * arrays["coordinates.scale"]).astype(np.float32))


def read_glove(path: Path, recipe: Recipe) -> Coordinates:
    """Principal components of the most frequent words of a GloVe text file: a word and its numbers a line, by frequency."""
    words, vectors = [], []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, *numbers = line.rstrip().split(" ")
            if word.isascii() and word.isalpha():
                words.append(word)
                vectors.append(np.array(numbers, np.float32))
            if len(words) == recipe.num_coordinate_words:
                break
    centred = np.stack(vectors) - np.mean(vectors, 0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    values = centred @ axes[: recipe.coordinates].T
    return Coordinates(words, (values / values.std()).astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glove", type=Path, help="glove.6B.100d.txt, to make the word coordinates anew")
    parser.add_argument("--skip", nargs="*", default=[], help="authors to leave out, and to be scored on instead")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    recipe = Recipe()
    torch.set_num_threads(1)
    coordinates = read_glove(options.glove, recipe) if options.glove else shipped_coordinates()
    examples = read_examples(options.skip)
    declining = declining_words(examples)
    examples += generated_examples(examples, coordinates, recipe)
    arrays = to_arrays(fit(examples, coordinates, recipe), declining)
    for author in options.skip:
        _report(author, RefusalNetwork(arrays))
    save(arrays, options.out)
    digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
    print(
        f"{options.out}: {options.out.stat().st_size / 1e3:,.0f} kB; set WEIGHTS_SHA256 in refusal_network.py to {digest}"
    )


def _report(author: str, network: RefusalNetwork) -> None:
    rows = [json.loads(line) for line in (REPLIES / f"{author}.jsonl").read_text("utf-8").splitlines()]
    examples = [Example(row) for row in rows]
    found = network.score(pack_examples(examples)).refusal >= 0.5
    truth = np.array([example.refusal for example in examples])
    right = (found & truth).sum()
    print(f"{author}: precision {right / found.sum():.3f}, recall {right / truth.sum():.3f} of {len(rows)} replies")


if __name__ == "__main__":
    main()
