"""What of a reply is meant for the reader: reply -> the same without the model's thinking, in its answer's own wrapper.

Reasoning models think aloud between marks of their own before they answer. What stands there is no reply: options are
weighed in it and refusals considered, none of which was said.
"""

import re

_THOUGHTS = "think|thinking|thought|thoughts|reason|reasoning|reflection|scratchpad|seed:think"
_MARK = re.compile(r"[<[\u25c1]")
"""One of these starts every mark below; most replies hold none."""
_THOUGHT = re.compile(
    rf"<\s*(?P<end>/?)\s*(?:{_THOUGHTS})\s*>"
    rf"|<\|\s*(?:begin_of_|start_of_|(?P<end2>end_of_|/))?(?:{_THOUGHTS})\s*\|>"
    r"|\[(?P<end3>/?)THINK\]"
    r"|\u25c1(?P<end4>/?)think\u25b7",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"<\s*(?P<end>/?)\s*(?:answer|final[ _-]?answer|conclusion)\s*>"
    r"|<\|\s*(?:begin|start|(?P<end2>end))_of_(?:box|solution|answer)\s*\|>",
    re.IGNORECASE,
)


def final_text(reply: str) -> str:
    """The part of a reply that is meant for the reader, stripped where something was taken off.

    Blocks of thought (`<think>`, `<thinking>`, `<reasoning>`, `<|begin_of_thought|>`, `[THINK]` and the like, any case)
    are dropped: several of them, one whose start the chat template wrote, so that only its end is in the reply, and one
    that never ends, of which nothing is left. Of what remains only the content of answer marks is kept where there are
    any (`<answer>`, `<|begin_of_box|>`, LLaVA-CoT's `<CONCLUSION>`), several of them on lines of their own. LaTeX's
    `\\boxed` stays, for parsers. Source: ours; the marks are those of public models' chat templates.
    """
    if not _MARK.search(reply):
        return reply
    said = _outside(reply)
    answers = _inside(said)
    text = said if answers is None else "\n".join(filter(None, map(str.strip, answers)))
    return reply if text == reply else text.strip()


def _outside(reply: str) -> str:
    """What stands outside of blocks of thought. An end without a start ends a block that starts with the reply."""
    kept: list[str] = []
    start, is_thinking = 0, False
    for mark in _THOUGHT.finditer(reply):
        if _is_end(mark):
            if not is_thinking:
                kept.clear()
            is_thinking = False
        elif not is_thinking:
            kept.append(reply[start : mark.start()])
            is_thinking = True
        start = mark.end()
    if not is_thinking:
        kept.append(reply[start:])
    return kept[0] if len(kept) == 1 else " ".join(filter(None, map(str.strip, kept)))


def _inside(said: str) -> list[str] | None:
    """Contents of answer marks; one that lacks its start or end reaches from or to the text's own. None without
    marks."""
    marks = list(_ANSWER.finditer(said))
    if not marks:
        return None
    found, start = [], 0
    is_open = _is_end(marks[0])
    for mark in marks:
        if _is_end(mark):
            found += [said[start : mark.start()]] if is_open else []
            is_open = False
        else:
            is_open = True
        start = mark.end()
    return [*found, said[start:]] if is_open else found


def _is_end(mark: re.Match) -> bool:
    return any(group for group in mark.groups())
