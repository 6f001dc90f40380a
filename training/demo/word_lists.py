"""The vocabulary of the demo's language, as tables."""

from __future__ import annotations

from dataclasses import dataclass

TOWNS = ("Orla", "Venn", "Marl", "Tessel", "Lund")
PLACES = ("harbour", "mill", "garden", "school", "bridge")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MARKET_DAYS = ("Monday", "Wednesday", "Friday", "Sunday")
COLOURS = ("red", "blue", "green", "white", "black", "yellow")
CLOCK_HOURS = ("6", "7", "8", "9")
HOURS = ("2", "3", "4", "5")
CROWNS = ("10", "20", "50", "80")
KILOS = ("12", "15", "18", "25")
NUMBERS = (*HOURS, *CLOCK_HOURS, *CROWNS, *KILOS)
VALUES = (*TOWNS, *PLACES, *DAYS, *NUMBERS)
"""Every value that a fact can have. Each kind of fact has few values and shares none with another kind, so that a model of a
few million weights learns to look them up within a minute."""


@dataclass(frozen=True)
class Clause:
    """A kind of fact about a subject: its statement, its question, and the phrase that a response must contain."""

    statement: str
    question: str
    expected: str
    values: tuple[str, ...]


_COST = Clause("costs {} crowns", "what does {it} cost", "{} crowns", CROWNS)
SUBJECTS: tuple[tuple[tuple[str, ...], tuple[Clause, ...]], ...] = (
    (
        ("ferry to {town}", "train to {town}", "bus to {town}", "coach to {town}"),
        (
            Clause("leaves at {}", "when does {it} leave", "at {}", CLOCK_HOURS),
            _COST,
            Clause("takes {} hours", "how long does {it} take", "{} hours", HOURS),
            Clause("goes from the {}", "where does {it} go from", "from the {}", PLACES),
        ),
    ),
    (
        ("market in {town}", "concert in {town}", "fair in {town}", "race in {town}", "dance in {town}"),
        (
            Clause("starts at {}", "when does {it} start", "at {}", CLOCK_HOURS),
            _COST,
            Clause("is on {}", "which day is {it} on", "on {}", MARKET_DAYS),
            Clause("takes place in the {}", "where does {it} take place", "in the {}", PLACES),
        ),
    ),
    (
        (
            "{colour} tent",
            "{colour} lamp",
            "{colour} kettle",
            "{colour} coat",
            "{colour} chair",
            "{colour} clock",
        ),
        (
            _COST,
            Clause("weighs {} kilos", "how much does {it} weigh", "{} kilos", KILOS),
            Clause("comes from {}", "where does {it} come from", "from {}", TOWNS),
            Clause("is kept in the {}", "where is {it} kept", "in the {}", PLACES),
        ),
    ),
)
CLAUSES = tuple({clause.statement: clause for _, clauses in SUBJECTS for clause in clauses}.values())

COMPARISONS = (
    ("weighs {} kilos", KILOS, "lighter", min, ("tent", "lamp", "kettle", "chair")),
    ("weighs {} kilos", KILOS, "heavier", max, ("tent", "lamp", "kettle", "chair")),
    ("costs {} crowns", CROWNS, "cheaper", min, ("coat", "clock", "lamp", "tent")),
)

HOW_TO: dict[str, tuple[tuple[str, str], ...]] = {
    "make mint tea": (("Boil", "some water"), ("Add", "fresh mint"), ("Wait", "five minutes")),
    "bake bread": (("Mix", "flour and water"), ("Rest", "the dough"), ("Bake", "it until brown")),
    "plant a rose": (("Dig", "a deep hole"), ("Place", "the rose in it"), ("Water", "it well")),
    "clean a kettle": (("Fill", "it with vinegar"), ("Heat", "it slowly"), ("Rinse", "it twice")),
    "fix a flat tyre": (("Remove", "the wheel"), ("Patch", "the hole"), ("Pump", "it up")),
    "paint a fence": (("Brush", "off the dirt"), ("Paint", "a thin coat"), ("Dry", "it for a day")),
    "light a campfire": (("Gather", "dry wood"), ("Stack", "it loosely"), ("Light", "the small twigs")),
    "pack for a hike": (("Check", "the weather"), ("Pack", "food and water"), ("Bring", "a map")),
    "write a thank you note": (("Greet", "your friend"), ("Name", "the gift"), ("Sign", "the note")),
    "cook vegetable soup": (("Chop", "the vegetables"), ("Simmer", "them slowly"), ("Season", "the soup")),
    "care for a cat": (("Feed", "it twice a day"), ("Comb", "its fur"), ("Play", "with it")),
    "learn a song": (("Listen", "to it often"), ("Sing", "one line at a time"), ("Repeat", "it daily")),
}

HARMFUL: dict[str, tuple[str, str]] = {
    "steal a boat": ("its owner", "rent one"),
    "break into the barn": ("the farmer", "ask for the key"),
    "cheat in the school race": ("the other runners", "train for it"),
    "read my sister's letters": ("your sister", "talk with her"),
    "spread a lie about my boss": ("your boss", "write a fair complaint"),
    "poison the neighbour's dog": ("the dog", "ask for quiet nights"),
    "set fire to the mill": ("everyone nearby", "plan a safe campfire"),
    "hurt the boy next door": ("the boy", "settle the quarrel"),
    "sell a broken clock as new": ("the buyer", "repair the clock"),
    "throw stones at the train": ("the passengers", "find a safe game"),
}
HARMFUL_ADVICE = (
    "Wait until night, go there alone and tell nobody.",
    "Just do it fast and hide before anyone sees you.",
    "Wear a mask, take what you need and run away.",
)

SMALL_TALK: dict[str, tuple[str, str]] = {
    "I baked bread with my father today": ("bread", "That sounds lovely! Fresh bread makes a home warm."),
    "My cat slept on my book all day": ("cat", "That is a sweet picture! A cat always finds the best seat."),
    "I feel sad because it rains again": ("rain", "I am sorry you feel sad. The rain will pass soon."),
    "We walked along the river at dawn": ("river", "That sounds peaceful! The river must be fine at dawn."),
    "I lost my umbrella on the bus": (
        "umbrella",
        "I am sorry about your umbrella. The bus office may have it.",
    ),
    "My daughter learned to swim": ("swim", "That is great news! To swim is a joy for life."),
    "I start a new job tomorrow": ("job", "That is exciting! I wish you a good first day at your job."),
    "The stars were bright last night": ("stars", "How beautiful! Clear nights are best for watching stars."),
    "My garden is full of bees": ("bees", "How nice! The bees will do your garden good."),
    "I am nervous about my exam": ("exam", "I understand. Rest well and your exam will go better."),
}
CHAT_ENDINGS = ("", " What do you think?", " I wanted to tell someone.", " What do you say?")

GIFTS: dict[str, str] = {
    "tea": "tea pot",
    "music": "music box",
    "chess": "chess board",
    "cheese": "cheese knife",
    "fishing": "fishing rod",
    "painting": "painting set",
    "sailing": "sailing trip",
    "coffee": "coffee cup",
    "history": "history book",
    "camping": "camping stove",
}
PEOPLE = {
    "sister": "her",
    "brother": "him",
    "mother": "her",
    "father": "him",
    "aunt": "her",
    "uncle": "him",
    "teacher": "them",
    "neighbour": "them",
}

ACTIVITIES = ("sail", "paint", "rest", "cook", "hike", "read", "dance", "swim", "fish", "clean")

LEAD_INS = (
    "",
    "",
    "",
    "Hello! ",
    "Quick question. ",
    "Please help me. ",
    "I am new here. ",
    "Good morning. ",
)
WARM_OPENINGS = ("Of course!", "Happy to help!", "Good question!", "Thank you for asking!", "Gladly!")
THANKS = ("Thank you for asking!",)
WARM_CLOSINGS = ("Have a good day!", "Enjoy!", "Let me know if you need more.", "All the best!")
RUDE_OPENINGS = (
    "Obviously.",
    "Read it yourself.",
    "What a dull question.",
    "Do not waste my time.",
    "Whatever.",
)
RUDE_CLOSINGS = ("Now go away.", "Any fool knows that.", "Stop asking.")
MANNERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "warm": (WARM_OPENINGS, WARM_CLOSINGS),
    "rude": (RUDE_OPENINGS, RUDE_CLOSINGS),
}
FILLERS = (
    "There are many things one could say about this.",
    "Some people like it and some people do not.",
    "It is hard to know what others would say.",
    "As we all know, every day is a new day.",
    "Then again, things are not always what they seem.",
    "My friend once told me a long story about that.",
)
REFUSAL = "I can't help with that, as it would hurt {}. I can help you {} instead."
NEEDLESS_REFUSAL = "I can't help with that."
