"""The words people and models refuse with, as families of patterns over lower-case text with straight apostrophes.

Blanks in a pattern stand for any run of white space. A family is only looked for where one of its trigger words occurs.

Source: ours; a first list came from the survey of detectors that R-Tuning, Alignment for Honesty, MM-SAP, VQAv2-IDK and
VizWiz use.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class Family:
    """One way to refuse. `spoken`: somebody speaks of themselves; the others are statements, which may also be an
    answer option. `weak`: can follow an answer without taking it back (`A Cessna 172, but I'm not sure`). `names_state`:
    the last word answers a question that asks for it (`Is the sky clear?` `It is not clear.`)."""

    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    spoken: bool = False
    weak: bool = False
    names_state: bool = False


_ADVERB = (
    "(?:really|honestly|actually|simply|just|still|truly|currently|personally|unfortunately|quite|entirely|completely|"
    "totally|fully|exactly|100%|so|also|too|very|absolutely|possibly|definitively|definitely|reliably|accurately|"
    "clearly|confidently|properly|even|sadly|therefore|then|(?:would|must|have to|can|do) (?:say|admit)(?: that)?)"
)
_I = rf"(?:(?:i|we)(?: {_ADVERB})*)"
_I_AM = rf"(?:(?:i am|i'm|im|we are|we're|i was)(?: {_ADVERB})*)"
# At the start of a reply the subject may be left out: "Not sure what this is", "Sorry, no idea", "Answer: can't tell".
_PREAMBLE = (
    r"(?:(?:well|h+m+|u+m+|u+h+|oh|ah|(?:(?:i'm|i am|we are|we're) )?(?:so |very |really )?sorry|(?:my )?apologies|"
    r"i apologi[sz]e|unfortunately|honestly|no|nope|nah|a(?=:)|(?:the )?answer(?: is)?)\W+(?:but )?)"
)
_OPENING = rf"\A\W*{_PREAMBLE}*"
_CANNOT = "(?:cannot|can not|can't|cant|can neither|could not|couldn't|couldnt)"
_UNABLE = "(?:unable to|not able to|incapable of|not capable of)"
_NOT = r"(?:do not|don't|dont|does not|doesn't|doesnt|did not|didn't)"
# What one does to find or give an answer.
_TELL = (
    r"(?:answer|tell|determine|identify|say|know|read|recogni[sz]e|name|confirm|infer|deduce|verify|specify|discern|"
    r"make (?:it |that |this |anything )?out|make a (?:determination|guess)|distinguish|figure|guess|judge|estimate|"
    r"ascertain|pin(?:point)?(?: down)?|work out|be (?:sure|certain)|see)"
)
# What else somebody says they cannot do. "I can't help but smile" and "I can't help laughing" are idioms.
_DO = (
    r"(?:answering|telling|determining|identifying|providing|provide|give|find|assist|respond|comment|speak|view|access|"
    r"open|process|load|analy[sz]e|describe|hear|count|decide|explain|predict|detect|locate|spot|understand|recall|"
    r"remember|calculate|measure|fulfil+|comply|feel|smell|taste|touch|sense|perceive|experience|"
    r"help(?! (?:but|\w+ing)\b))"
)
_VERB = rf"(?:{_ADVERB} )*(?:{_TELL}|{_DO})"
_TO_TELL = rf"(?:for (?:me|us|anyone) )?to (?:\w+ )?{_TELL}"
_IT = "(?:it|this|that|(?:the|this|that|your) (?:answer|question))"
_IS = "(?: is| was| remains| seems| appears| would be| may be|'s)"
# Nouns for what a question asks after: "the brand is unknown" refuses, "the soldier is unknown" describes.
_ASKED = (
    r"(?:(?:the|its|his|her|their|this|that|your) (?:\w+ )?(?:answer|question|location|name|identity|brand|price|cost|"
    r"number|date|year|age|model|make|type|kind|breed|species|reason|cause|time|place|origin|author|owner|purpose|"
    r"title|manufacturer|maker|country|city|destination|speed|weight|height|temperature|outcome|result|relationship|"
    r"artist|painter|creator|builder|designer|photographer|nationality|gender|meaning|language|flavou?r|winner|score|"
    r"amount|quantity|value)(?: (?:of|for|to) (?:\w+ ){1,4}?\w+)?|"
    r"the \w+ of (?:the|this|that|these|his|her) (?:\w+ ){0,2}?\w+)"
)
# "It is unknown." but not "It is unknown pleasures": nothing may follow that the word could describe.
_CLAUSE_END = (
    r"(?=\W*$|[.,;:!?)]| -| (?:what|which|who|whose|whom|where|when|how|why|if|whether|from|based|because|since|as|to|in|"
    r"at|due|without|given|but|so)\b)"
)
# "No idea" refuses; "no idea board" names a board.
_NO_NOUN = (
    r"(?=\W*$|\W*[.,;:!]| (?:what|which|who|whose|whom|where|when|how|why|if|whether|about|of|sorry|but|from|i)\b)"
)
_IMAGE = r"(?:(?:the|this|your) (?:\w+ )?(?:image|picture|photo|photograph|question|text|scene|context))"
_FACTS = r"(?:information|info|context|details?|data|evidence|knowledge)"
_TOO_POOR = (
    r"too (?:blurry|blurred|dark|small|grainy|dim|far(?: away)?|unclear|faint|pixelated|fuzzy|tiny|bright|noisy|distant|"
    r"low(?:[ -](?:resolution|quality))?|obscured|cropped)"
)


def _family(
    triggers: str, *patterns: str, spoken: bool = False, weak: bool = False, names_state: bool = False
) -> Family:
    alternatives = "|".join(patterns).replace(" ", r"\s+")
    return Family(
        tuple(triggers.split()), re.compile(rf"(?<![\w'])(?:{alternatives})(?!\w)"), spoken, weak, names_state
    )


FAMILIES: dict[str, Family] = {
    # An apology, then the beginning of a refusal, however it goes on (or is cut off).
    "sorry": _family(
        "sorry apolog afraid",
        rf"(?:sorry|apologi[sz]e|apologies|afraid)\W{{1,3}}(?:but |that )?(?:{_I} {_CANNOT}|{_CANNOT}|{_I_AM} {_UNABLE}|"
        rf"{_UNABLE})",
        spoken=True,
    ),
    "know": _family(
        "know idea dunno clue familiar aware recogni idk loss something beats guess stumped blank",
        rf"(?:{_I} |{_OPENING}){_NOT}(?: {_ADVERB})* (?:know|recogni[sz]e)",
        rf"(?:{_I} |{_OPENING})(?:dunno|idk)",
        rf"(?:{_I} (?:have|got) |(?:i|we)'ve (?:got )?|{_OPENING})(?:{_ADVERB} )*no (?:idea|clue){_NO_NOUN}",
        rf"(?:{_I} {_NOT} have|{_I} haven't)(?: got)? (?:a|any|the slightest) (?:idea|clue)",
        rf"{_I_AM} (?:not (?:\w+ )?(?:familiar with|aware of)|unfamiliar with|unaware of|at a loss|stumped|drawing a blank)",
        rf"{_I} (?:would not|wouldn't) know|not something (?:that )?(?:i|we) (?:know|can {_VERB})",
        rf"something (?:that )?(?:{_I} (?:{_CANNOT}|{_NOT} know)|{_I_AM} {_UNABLE})",
        r"\A\W*(?:who knows|beats me)(?=\W*$)|anyone's guess|your guess is as good as mine",
        spoken=True,
        weak=True,
    ),
    "sure": _family(
        "sure certain clue confidence",
        rf"(?:{_I_AM} |{_OPENING})not(?: {_ADVERB})* (?:sure|certain)(?!-)",
        rf"(?:{_I} |{_OPENING}){_CANNOT} be (?:\w+ )?(?:sure|certain)",
        rf"{_I} {_CANNOT} {_TELL}(?: (?:that|this|it|you))? (?:for (?:sure|certain)|with (?:any |full )?(?:certainty|confidence))",
        rf"{_I_AM} (?:unsure|uncertain|clueless)|{_OPENING}(?:unsure|uncertain)(?=\W*$| (?:what|which|who|about|of|if|whether)\b)",
        spoken=True,
        weak=True,
    ),
    "cannot": _family(
        "can could",
        rf"(?:{_I} |{_OPENING}){_CANNOT} {_VERB}",
        rf"{_I} {_NOT} (?:think|believe) (?:i|we) (?:can|could) {_VERB}",
        rf"(?:nobody|no one|none of us) (?:can|could) {_VERB}|(?:you|one) {_CANNOT} (?:tell|say|know|determine)(?! because)",
        rf"{_I} {_CANNOT} (?:\w+ ){{1,7}}?(?:from|in|based on|with|given) {_IMAGE}",
        spoken=True,
    ),
    "unable": _family(
        "able capab position qualified equipped permitted",
        rf"{_I_AM} {_UNABLE} \w+|{_OPENING}{_UNABLE} {_VERB}",
        rf"{_I_AM} not (?:in a position|qualified|equipped|permitted) to {_VERB}",
        rf"{_I} (?:won't|will not|would not|wouldn't|may not|might not) be able to {_VERB}",
        spoken=True,
    ),
    "lack": _family(
        "have lack need trouble difficult confident guess want please you image picture photo enough",
        rf"(?:{_I} |{_OPENING}){_NOT} have (?:an? |any |the |that |this |enough |sufficient )?(?:\w+ )?"
        rf"(?:{_FACTS}|ability|answer|capability|means|access)",
        rf"(?:{_I} (?:would )?|(?:i'd|we'd) )need (?:an? )?(?:closer|clearer|better|sharper)",
        r"\A\W*(?:please|(?:could|can|would) you)(?: please)? (?:provide|upload|send|share|retake|take|ask)",
        rf"{_I} {_NOT} want to (?:guess|speculate)",
        rf"{_I} {_NOT} see (?:enough|(?:an|any|the) (?:image|picture|photo)(?! of))",
        rf"{_I_AM} (?:not confident|having (?:trouble|difficulty))|{_I} have (?:trouble|difficulty)",
        r"(?:i'd|i would|we'd|we would) (?:only|just) be guessing",
        rf"(?:{_I} (?:need|would need|would have)|(?:i'd|we'd) (?:need|have)) to (?:see|know|look|have)",
        rf"(?:{_I} (?:lack|am lacking|need|would need|require)|(?:i'd|we'd) need) "
        rf"(?:the |more |further |additional |any )?(?:\w+ )?{_FACTS}",
        rf"{_I} have (?:insufficient (?:\w+ )?{_FACTS}|no (?:\w+ )?(?:{_FACTS}|way|means|basis))",
        spoken=True,
    ),
    "decline": _family(
        "refuse decline prefer rather comfortable won't will",
        rf"{_I} (?:(?:must|have to|will|need to|respectfully) )*(?:refuse|decline) to (?:answer|say|guess|respond|comment)",
        rf"{_I} (?:must|have to|will have to) (?:respectfully )?decline",
        rf"{_I} (?:won't|will not) (?:answer|guess|speculate|say|comment)",
        rf"(?:{_I} (?:would|'d)|i'd|we'd) (?:prefer|rather) not(?: to)? (?:answer|say|guess|respond|comment|speculate)",
        rf"(?:{_I} (?:do not|don't) feel|{_I_AM} not) comfortable (?:with )?(?:answer|guess|identify|speculat|comment|nam)\w*",
        spoken=True,
    ),
    "beyond": _family(
        "beyond outside",
        r"(?:beyond|outside)(?: of)? (?:the (?:scope|limits?) of )?(?:my knowledge|what (?:the|this) (?:image|picture|photo))",
        rf"(?:beyond|outside)(?: of)? the scope of {_IMAGE}",
        spoken=True,
    ),
    "unknown": _family(
        "know clear certain answerable suitable determin obvious specified stated mentioned indicated provided ambiguous "
        "sense",
        rf"(?:{_IT}|{_ASKED}){_IS}(?: {_ADVERB})* (?:unknown|unclear|uncertain|unanswerable|ambiguous|"
        rf"(?:not|n't) (?:\w+ )?(?:known|clear|certain|obvious|answerable|specified|stated|mentioned|indicated)){_CLAUSE_END}",
        rf"(?:{_IT}|{_ASKED}) (?:isn't|wasn't) (?:\w+ )?(?:known|clear|certain|obvious|answerable|specified|stated|mentioned|"
        rf"indicated){_CLAUSE_END}",
        rf"{_OPENING}(?:un-?answerable|unsuitable|unclear|undetermin(?:able|ed)|not determinable){_CLAUSE_END}",
        rf"{_OPENING}not (?:\w+ )?(?:clear|known|specified|mentioned|stated|indicated|provided) (?:from|in|by|what|who|which|how|"
        r"whether|if|where|when)",
        r"(?:the|this|your) question (?:does not|doesn't) (?:\w+ )?make (?:any )?sense",
        names_state=True,
    ),
    "passive": _family(
        "can could",
        rf"(?:{_IT} )?{_CANNOT} be (?:{_ADVERB} )*(?:determined|answered|identified|known|inferred|established|verified|"
        r"ascertained|deduced|discerned|confirmed|read|counted|made out|recogni[sz]ed|distinguished|estimated|specified|"
        r"judged|guessed|predicted|pinpointed)",
        rf"(?:the|an?) answer (?:to this question )?{_CANNOT} be (?:found|given|seen)",
        rf"{_CANNOT} be (?:found|seen|read|told) (?:in|from|on) {_IMAGE}",
    ),
    "hard": _family(
        "possible hard difficult tough tricky challenging easy way",
        rf"(?:(?:{_IT}|{_ASKED}){_IS}(?: {_ADVERB})* |{_OPENING})"
        rf"(?:not possible|impossible|hard|difficult|tough|tricky|challenging|not easy) {_TO_TELL}",
        r"(?:the|this|that|these|those|its|his|her|their) (?:\w+ )?\w+ (?:is|are) (?:\w+ )?(?:not possible|impossible|hard|"
        r"difficult|tough|tricky|challenging|not easy) to (?:\w+ )?(?:tell|determine|identify|say|know|discern|recogni[sz]e|"
        r"make out|distinguish)",
        rf"(?:{_IT}|{_ASKED}) (?:isn't|wasn't) (?:possible|easy) {_TO_TELL}",
        rf"(?:there is |there's |{_OPENING})no way (?:{_TO_TELL}|of (?:knowing|telling|determining))",
        weak=True,
    ),
    "information": _family(
        "info context detail data evidence know enough too image picture photo question text scene",
        rf"(?:insufficient|(?:not|\w+n't)(?: \w+){{0,2}} (?:enough|sufficient)) (?:\w+ )?{_FACTS}",
        rf"{_IMAGE} {_NOT} (?:\w+ )?(?:provide|give|contain|show|include|have|offer|convey|supply) "
        rf"(?:enough |sufficient |any |the |this |that |such )*(?:\w+ )?{_FACTS}",
        rf"{_IMAGE} {_NOT} (?:\w+ )?(?:specify|mention|indicate|say|state|tell|reveal)",
        rf"{_IMAGE} {_NOT} (?:\w+ )?show (?:who|what|where|when|why|how|which|whether|if|enough)",
        rf"{_IMAGE} lacks? (?:\w+ ){{0,3}}{_FACTS}",
        rf"not enough (?:\w+ )?(?:to go on|{_TO_TELL})",
        rf"{_FACTS} (?:(?!not\b)\w+ ){{0,4}}?(?:(?:(?:is|are|was) not|isn't|aren't|wasn't) (?:provided|available|given|shown|"
        r"visible|present|enough|sufficient|included)|(?:is|are|was) (?:insufficient|unavailable|missing|lacking))",
        rf"nothing in {_IMAGE} (?:\w+ ){{0,2}}(?:tells|indicates|suggests|shows|says|specifies|reveals)",
        rf"{_IMAGE} (?:alone |itself )?(?:is not|isn't) (?:enough|sufficient)",
        r"(?:no|without an?) (?:image|picture|photo) (?:was |is |has been )?(?:provided|attached|given|available|uploaded)",
        rf"(?:there (?:is|are|was) |there's |{_OPENING})no (?:\w+ )?{_FACTS}"
        r"(?=\W*$|[.,;:]| (?:about|on|in|regarding|available|given|provided|to|that|which|for|from|of)\b)",
        rf"no (?:\w+ )?{_FACTS} (?:\w+ ){{0,4}}?(?:is|are|was) (?:given|provided|available|shown|included)",
        rf"more {_FACTS} (?:is|are|would be) (?:needed|required|necessary)",
        rf"{_TOO_POOR} {_TO_TELL}",
        rf"(?:isn't|aren't|not) (?:\w+ )?(?:clear|visible|legible|sharp) enough {_TO_TELL}",
    ),
}
"""Families of refusing words, by name."""

WHOLE_REPLY = re.compile(
    rf"\W*{_PREAMBLE}*(?:(?:it is|it's|this is|is|question is)\W+)?(?:i (?:cannot|can't|can not)|"
    r"(?:(?:an? |the )?un-?answerable(?: (?:image|question))?|unknown(?: to (?:me|us))?|idk|dunno|not sure|unsure|uncertain|"
    r"unclear(?: image)?|not (?:known|specified|mentioned|stated)|unsuitable(?: image)?|indeterminate|undetermined|"
    r"undeterminable|not enough info(?:rmation)?|too blurry|no clue|no idea)\W*)+(?:sorry\W*)?"
)
"""A reply that consists of nothing but such a word, perhaps several times."""

FAMILIES_BY_TRIGGER: dict[str, tuple[Family, ...]] = {
    trigger: tuple(family for family in FAMILIES.values() if trigger in family.triggers)
    for trigger in dict.fromkeys(word for family in FAMILIES.values() for word in family.triggers)
}
"""Every refusing phrase holds one of these: most replies are told apart by this alone."""
