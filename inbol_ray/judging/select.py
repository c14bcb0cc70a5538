"""Which replies a judge is asked about: a judged PREDICTION row and its question -> the kinds of verdict to ask for."""

from collections.abc import Mapping, Sequence

from inbol_ray.config.judge import JudgeConfig, Verdict
from inbol_ray.judging.prompt import references
from inbol_ray.rows import Question
from inbol_ray.scoring.final_text import final_text
from inbol_ray.scoring.refusal import detect_refusal


def kinds_to_ask(prediction: Mapping, question: Question, judge: JudgeConfig) -> Sequence[Verdict]:
    """Kinds of verdict to ask for, in the judge's order; none of a question without a reply.

    The rule is unsure of a refusal where its probability is far from 0 and 1, and where words of refusal stand beside an
    answer. A refusal that is in no words of the reply is never asked about: the server told it, or the benchmark declares
    it (`scoring.declared`). Correctness needs reference answers and a reply that may be an answer. The rule is unsure of it
    where it found none of the references: another wording looks to it like an error, a choice that it could not read too.
    """
    found = detect_refusal(final_text(prediction["response"]), question)
    is_refused = prediction["outcome"] == "refused"
    if prediction["outcome"] == "error" or (is_refused and not found.refused):
        return ()
    everything, unsure = judge.which == "all", found.unsure or found.hedged
    wanted: list[Verdict] = []
    if "refusal" in judge.kinds and (everything or unsure):
        wanted.append("refusal")
    may_answer = not is_refused or "refusal" in wanted
    if "correctness" in judge.kinds and may_answer and question.answerable is not False and references(question):
        not_found = prediction["unparsed"] if question.answer_kind == "mc" else prediction["outcome"] == "wrong"
        if everything or not_found or unsure:
            wanted.append("correctness")
    return wanted
