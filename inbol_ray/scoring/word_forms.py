"""Which words are one word? word -> lemma; lemmas that mean the same, and those that exclude each other. English.

A lemma is a key to compare by, no word to show: plurals, tenses, possessives and a few spellings fall together
(`running`, `ran` and `runs`; `grey` and `gray`). The tables hold what pictures are asked about; what they lack simply
does not fall together. Source: ours.
"""

import re
import unicodedata
from functools import lru_cache

_IRREGULAR = """
    be is are was were am been being; have has had having; do does did done doing; man men; woman women; child children kid
    kids; person people persons anybody anyone somebody someone everybody everyone; foot feet; tooth teeth; mouse mice; goose geese; leaf leaves; knife knives; wolf wolves;
    shelf shelves; loaf loaves; half halves; life lives; wife wives; thief thieves; calf calves; scarf scarves; sheep; fish
    fishes; ox oxen; cactus cacti; die dice; go goes went gone going; run ran jog jogging sprint sprinting; eat ate eaten munch munching nibble nibbling dine dining; drink drank drunk sip sipping; sit sat;
    stand stood; hold held; wear wore worn; ride rode ridden; drive drove driven; fly flew flown flies; swim swam swum; sing
    sang sung; throw threw thrown toss tossing hurl hurling; catch caught; write wrote written; read; see saw seen; sell sold; buy bought; build
    built; make made; take took taken; give gave given; get got gotten; say said; tell told; show shown showed; lie lay lain
    lying; sleep slept asleep sleeping nap napping doze dozing snooze snoozing; fight fought; win won winning; lose lost; cut cutting chop chopping slice slicing; swing swung; draw drew drawn;
    break broke broken; grow grew grown; feed fed; hang hung; ski skied skis skiing; surf surfer; wood wooden hardwood timber; wool woolen
    woollen; bike bicycle bikes bicycles cycling cyclist biking bicycling; television tv televisions tvs telly; phone telephone cellphone smartphone phones;
    photo photograph picture image photos pictures images photographs; gray grey; gold golden; color colour colors colours
    colored coloured; couch sofa couches sofas; center centre middle; tire tyre; aluminum aluminium; under underneath
    beneath below; above over; beside alongside; airplane aeroplane plane airplanes planes; mom mother mum; dad father; car
    automobile auto cars automobiles; donut doughnut donuts doughnuts; movie film movies films; store shop stores shops;
    automobile; rock stone rocks stones; street st road rd; mount mt mountain mountains; saint; avenue ave; fridge
    refrigerator; yes yeah yep yup; no nope nah; catsup ketchup; theater theatre; sidewalk pavement; soccer; skateboard
    skateboarding; snowboard snowboarding; checkered checked; round circular circle; triangular triangle; rectangular
    rectangle rectangles; square squares; striped stripes stripe; plaid tartan; floral flower flowers; daytime day daylight; night
    nighttime; big biggest largest large bigger larger; small little tiny smallest smaller; shut closed close closes
    closing; smart; jewelry jewellery; pajamas pyjamas; bunny rabbit bunnies rabbits; kitten kitty kittens; puppy puppies;
    truck lorry trucks lorries; crowd busy crowded packed crowds; nothing; something; anything; everything; thing things; morning mornings; evening evenings; during; ceiling ceilings; string
    strings; king kings; ring rings; wing wings; spring; italy italian; france french; germany german; spain spanish; portugal portuguese; greece greek; ireland irish; japan
    japanese; china chinese; korea korean; india indian; russia russian; sweden swedish; norway norwegian; denmark danish; poland
    polish; mexico mexican; brazil brazilian; canada canadian; australia australian; egypt egyptian; thailand thai; vietnam
    vietnamese; austria austrian; belgium belgian; hungary hungarian; finland finnish; scotland scottish; england english;
    netherlands dutch holland; switzerland swiss; ukraine ukrainian; inside indoors indoor; outside outdoors outdoor; cry weep weeping sob sobbing; smile grin grinning; shout yell scream yelling screaming; hug embrace embracing; pull drag
    tow haul dragging towing hauling; row paddle rowing paddling; ocean sea; stair steps staircase stairs; trousers pants; police cop
    policeman policewoman; firefighter fireman; faucet tap; cookie biscuit cookies biscuits; stroller pram pushchair; restroom
    washroom bathroom; motorcycle motorbike motorcycles motorbikes; subway metro; doctor physician; there; where; use used using uses; bus buses; fix repair mend fixed repaired repairing fixing; talk speak chat spoken spoke; jump
    leap; look stare gaze looked staring;; sunny sun sunshine; rain rainy raining; cloudy clouds cloud; snow snowy; wind windy; fog foggy;
    baby infant toddler; forest woods; shoe sneaker shoes sneakers; buy purchase bought; thatch thatched; brick bricks; tile tiled tiles; these; those; here; before; some; one; more; none; while;
    since; like; these; alone; twenties 1920s; thirties 1930s; forties 1940s; fifties 1950s; sixties 1960s; seventies 1970s; eighties
    1980s; nineties 1990s; trash garbage rubbish; sweet; cab taxi cabs taxis; rug carpet rugs carpets; glasses
    eyeglasses spectacles; fall autumn; uk britain; usa america american u.s u.s.a; boat boats; afraid scared; happy glad; begin
    start began begun starts starting; end ends ending finish finished; burn burnt lit alight burning burns flames; sunglasses
"""
_CANONICAL = {
    form: words[0] for line in _IRREGULAR.replace("\n", " ").split(";") if (words := line.split()) for form in words
}
_KEPT_DOUBLE = frozenset("lszf")
_NO_PLURAL = ("ss", "us", "is")
_LOST_E = re.compile(
    r"^[^aeiouy]*[aeiouy][^aeiouywx]$|[cvzu]$|[aeiou]s$|[bdgkpt]l$|[^aeiou]at$|[^aeiou]ur$|ang$(?<!hang)"
)
"""What an ending took an e from: `ride`, `dance`, `celebrate`; a short word without would have doubled its last letter."""
_VOWELS = frozenset("aeiouy")

_OPPOSITES = """
    open/shut locked; on/off out; person/empty; burn/off; work/off broken; awake/sleep asleep; full/empty; alone/accompany together company group friend others crowd; dirty/clean
    spotless; tidy/mess messy untidy clutter cluttered; wet/dry; hot/cold; warm/cold cool chilly; day/night dark; light/dark;
    bright/dark dim; old/new young modern; young/old elderly; new/old worn; recent/old vintage; tall/short low; high/low; long/short;
    big/small; wide/narrow; thick/thin; fat/thin slim; heavy/light; fast/slow; hard/soft; rough/smooth; happy/sad cry angry
    frown; smile/frown sad cry; sad/happy smile cheerful; left/right; up/down; above/under; inside/outside outdoors; indoors/outside
    outdoors; outdoors/inside indoors; front/behind back; stand/sit lie kneel; sit/stand walk run lie; move/still stationary
    park stop motionless; run/walk stand; raw/cook; cook/raw uncooked; ripe/green unripe rotten; fresh/rotten stale wilted;
    busy/desert quiet empty; crowd/empty desert quiet; crowded/empty desert deserted quiet; quiet/loud noisy busy; loud/quiet
    silent; rain/sunny dry clear; sunny/rain cloudy overcast rainy; cloudy/clear sunny cloudless; clear/cloudy foggy blurry;
    real/fake artificial toy plastic; fake/real genuine; alive/dead; dead/alive; male/female woman girl; female/male man boy;
    married/single; same/different; different/same identical; safe/dangerous unsafe; dangerous/safe harmless; correct/wrong
    incorrect; true/false; begin/end; win/lose lost; true/false; straight/curly bent crooked curved wavy; curly/straight; broken/intact
    whole; intact/broken cracked; visible/hidden invisible; public/private; free/occupied taken; occupied/free vacant empty;
    vacant/occupied taken; flat/hilly steep; domestic/wild; wild/domestic tame; deep/shallow; rich/poor; strong/weak; even/odd; asphalt/unpaved;
    paved/unpaved dirt gravel; first/second third fourth last; edible/poisonous inedible; natural/artificial; vertical/horizontal;
    horizontal/vertical; bald/hair; lit/dark unlit out; burn/out extinguished; blurry/sharp; sharp/blunt dull; professional/amateur
"""


def _read_opposites() -> dict[str, frozenset[str]]:
    pairs: dict[str, set[str]] = {}
    for entry in _OPPOSITES.replace("\n", " ").split(";"):
        one, _, others = entry.strip().partition("/")
        for other in others.split():
            pairs.setdefault(lemma(one), set()).add(lemma(other))
            pairs.setdefault(lemma(other), set()).add(lemma(one))
    return {word: frozenset(others) for word, others in pairs.items()}


def listed(words: str) -> list[str]:
    """Words of a text between blanks: how tables of words are written."""
    return words.split()


@lru_cache(maxsize=1 << 14)
def lemma(word: str) -> str:
    """The key of a word in any form: its table's first form, or the word less its ending. Digits stay as they are."""
    word = word.lower()
    if not word.isascii():
        word = "".join(mark for mark in unicodedata.normalize("NFKD", word) if not unicodedata.combining(mark))
    if word in _CANONICAL:
        return _CANONICAL[word]
    if not word.isalpha() or len(word) < 4:
        return word
    base = _strip_ending(word)
    return _CANONICAL.get(base, base)


def _strip_ending(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("oes") and len(word) > 5:
        return word[:-2]
    if word.endswith("s") and not word.endswith(_NO_PLURAL):
        return word[:-1]
    for ending in ("ing", "ed"):
        base = word[: -len(ending)]
        if word.endswith(ending) and len(base) >= 3 and _VOWELS.intersection(base) and not word.endswith("eed"):
            if base[-1] == base[-2] and base[-1] not in _KEPT_DOUBLE:
                return base[:-1]
            if ending == "ed" and base.endswith("i"):
                return base[:-1] + "y"
            return base + "e" if _LOST_E.search(base) else base
    return word


_OPPOSITE_LEMMAS = _read_opposites()
_NEGATIVE_PREFIXES = ("un", "il", "non", "in", "im", "dis", "ir")


@lru_cache(maxsize=1 << 14)
def is_opposite(one: str, other: str) -> bool:
    """Whether two lemmas exclude each other: by table, or as `saddled` and `unsaddled`, `cloud` and `cloudless`."""
    if other in _OPPOSITE_LEMMAS.get(one, ()):
        return True
    short, long = sorted((one, other), key=len)
    if len(short) < 3 or short == long:
        return False
    return any(long == prefix + short for prefix in _NEGATIVE_PREFIXES) or long == short + "less"


def positive_of(word: str) -> str:
    """A comparative or superlative without its ending, as a lemma: `happier` -> `happy`; other words as they are."""
    for ending in ("est", "er"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            base = word[: -len(ending)]
            base = base[:-1] + "y" if base.endswith("i") else base
            return lemma(base[:-1] if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "ls" else base)
    return word
