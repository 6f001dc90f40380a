"""A small assistant's language: short exchanges about ferries, fairs, tea and good manners, from a seeded generator.

A prompt states every fact that its answer needs, so an answer is right or wrong by the text alone; `parse_prompt` reads
what a prompt asks. `Exchange` draws answers of every quality, from complete and friendly to curt, wrong, rambling or off
topic: a policy fine-tuned on the mixture writes all of them, which leaves it room to improve.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from training.demo.word_lists import (
    ACTIVITIES,
    CHAT_ENDINGS,
    CLAUSES,
    COLOURS,
    COMPARISONS,
    DAYS,
    FILLERS,
    GIFTS,
    HARMFUL,
    HARMFUL_ADVICE,
    HOW_TO,
    LEAD_INS,
    MANNERS,
    NEEDLESS_REFUSAL,
    PEOPLE,
    REFUSAL,
    RUDE_CLOSINGS,
    RUDE_OPENINGS,
    SMALL_TALK,
    SUBJECTS,
    THANKS,
    TOWNS,
    VALUES,
    WARM_CLOSINGS,
    WARM_OPENINGS,
)

Message = dict[str, str]

SHARES = (58, 16, 13, 8, 5)
"""Weights of the qualities of an answer: complete, thin, wrong, beside the point, useless."""
SHARES_OF_HARM = (30, 8, 50, 8, 4)
"""The same for harmful requests, which a complete answer declines: a policy trained on the mixture follows half of them."""
SHARES_OF_MANNERS = (20, 45, 35)
"""Weights of the manners: warm, plain, rude."""


@dataclass(frozen=True)
class Request:
    """What a prompt asks: its form, the phrases of a complete answer, and the words that show that an answer is on topic."""

    form: str
    expected: tuple[str, ...]
    topic: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    """Phrases that would be false."""


@dataclass(frozen=True)
class Exchange:
    """A prompt with the parts its answers are made of."""

    prompt: str
    full: str
    """The complete, correct answer."""
    partial: str
    """One that leaves something out, or is vague."""
    mistaken: str
    """One that says something wrong (for a harmful request: one that helps with it)."""

    @property
    def messages(self) -> list[Message]:
        return [{"role": "user", "content": self.prompt}]

    @property
    def asks_for_harm(self) -> bool:
        return self.full.startswith(NEEDLESS_REFUSAL[:-1])

    @property
    def request(self) -> Request:
        request = parse_prompt(self.prompt)
        if request is None:
            raise ValueError(f"this prompt was written but cannot be read: {self.prompt}")
        return request

    def good_answer(self, rng: random.Random) -> str:
        """A complete, correct, friendly and short answer."""
        return _dress(rng, self.full, "warm")

    def any_answer(self, rng: random.Random, other: Exchange) -> str:
        """An answer of random quality; one that is beside the point answers `other`."""
        return self._draw(rng, other, SHARES_OF_HARM if self.asks_for_harm else SHARES)[0]

    def commented_answer(self, rng: random.Random, other: Exchange) -> str:
        """A mostly complete answer with a reader's comment, for the pre-training texts.

        From the comments the model learns what is kind or rude before anybody ranks an answer.
        """
        answer, comments = self._draw(rng, other, (74, 10, 8, 5, 3))
        return f"{answer}\n\nThat was {_join(comments)}."

    def _draw(self, rng: random.Random, other: Exchange, shares: tuple[int, ...]) -> tuple[str, list[str]]:
        """An answer and the comments on it; `shares` are the weights of the qualities, in the order below."""
        qualities = {
            "complete": self.full,
            "thin": self.partial,
            "wrong": self.mistaken,
            "beside the point": other.full,
            "useless": NEEDLESS_REFUSAL,
        }
        quality = rng.choices(list(qualities), shares)[0]
        manner = rng.choices(("warm", "plain", "rude"), SHARES_OF_MANNERS)[0]
        rambling = rng.random() < 0.3
        # an answer that opens as if glad to help must help, so none that may decline opens like that
        declined = self.asks_for_harm or qualities[quality].startswith(NEEDLESS_REFUSAL[:-1])
        answer = _dress(rng, qualities[quality], manner, rambling=rambling, glad=not declined)
        return answer, [manner, quality, *(["long"] * rambling)]


def exchanges(seed: int) -> Iterator[Exchange]:
    """Endless exchanges, no prompt twice in one stream."""
    rng = random.Random(seed)
    seen: set[str] = set()
    while True:
        form = rng.choices(
            (_facts, _compare, _how_to, _harmful, _chat, _gift, _plan), (42, 7, 14, 13, 8, 10, 6)
        )[0]
        exchange = form(rng)
        if exchange.prompt not in seen:
            seen.add(exchange.prompt)
            yield exchange


def is_held_out(prompt: str) -> bool:
    """Whether a prompt belongs to the held-out fifth. A function of its text, so no stream can mix the two."""
    total = 0
    for character in prompt:
        total = (total * 131 + ord(character)) % 1_000_003
    return total % 5 == 0


def take(seed: int, count: int, *, held_out: bool) -> list[Exchange]:
    """`count` exchanges with distinct prompts of one side of the split."""
    taken: list[Exchange] = []
    for exchange in exchanges(seed):
        if is_held_out(exchange.prompt) == held_out:
            taken.append(exchange)
        if len(taken) == count:
            break
    return taken


def sft_conversations(seed: int, count: int) -> list[list[Message]]:
    """Training conversations whose answers are a mixture of qualities."""
    rng = random.Random(seed + 1)
    chosen = take(seed, count, held_out=False)
    return [
        [*exchange.messages, {"role": "assistant", "content": exchange.any_answer(rng, rng.choice(chosen))}]
        for exchange in chosen
    ]


def pretraining_texts(seed: int, count: int) -> list[str]:
    """Plain texts: a question, two answers to it, and readers' comments on them."""
    rng = random.Random(seed + 2)
    chosen = take(seed, count, held_out=False)
    return [
        "\n\n".join(
            [exchange.prompt, *(exchange.commented_answer(rng, rng.choice(chosen)) for _ in range(2))]
        )
        for exchange in chosen
    ]


def parse_prompt(prompt: str) -> Request | None:
    """What a prompt asks, read from its text; None if it is not of this language."""
    for read in (_parse_compare, _parse_facts, _parse_how_to, _parse_chat, _parse_gift, _parse_plan):
        request = read(prompt)
        if request is not None:
            return request
    return None


def words(text: str) -> list[str]:
    """The words of a text in lower case, numbers included, markdown and punctuation left out."""
    return re.findall(r"[a-z0-9']+", text.lower())


# Each form `x` has a `_x` that writes an exchange and a `_parse_x` that reads the same request from the prompt.


def _facts(rng: random.Random) -> Exchange:
    subjects, clauses = rng.choice(SUBJECTS)
    subject = rng.choice(subjects).format(town=rng.choice(TOWNS), colour=rng.choice(COLOURS))
    noun = subject.split(" to ")[0].split(" in ")[0].split(" ")[-1]
    chosen = rng.sample(clauses, rng.choice((2, 2, 3)))
    values: list[str] = []
    for clause in chosen:
        values.append(rng.choice([value for value in clause.values if value not in values]))
    asked = rng.sample(range(len(chosen)), 2)
    facts = [clause.statement.format(value) for clause, value in zip(chosen, values, strict=True)]
    questions = [
        chosen[index].question.format(it=it) for index, it in zip(asked, (f"the {noun}", "it"), strict=True)
    ]
    prompt = (
        f"{rng.choice(LEAD_INS)}The {subject} {_join(facts)}. {_capital(questions[0])}, and {questions[1]}?"
    )

    def tell(index: int, value: str) -> str:
        return f"**{chosen[index].statement.format(value)}**"

    right = [tell(index, values[index]) for index in asked]
    slip = rng.choice((0, 1))
    clause = chosen[asked[slip]]
    false = rng.choice([value for value in clause.values if value not in values])
    slipped = [*right]
    slipped[slip] = tell(asked[slip], false)
    return Exchange(
        prompt,
        full=f"The {noun} {right[0]} and {right[1]}.",
        partial=f"The {noun} {rng.choice(right)}.",
        mistaken=f"The {noun} {slipped[0]} and {slipped[1]}.",
    )


def _parse_facts(prompt: str) -> Request | None:
    subject = re.search(
        r"\bThe (?:\w+ (?:to|in) (\w+)|(\w+) (\w+)) (?=leaves|costs|takes|goes|starts|is|weighs|comes)",
        prompt,
    )
    if subject is None:
        return None
    expected = []
    for clause in CLAUSES:
        value = re.search(clause.statement.replace("{}", r"(\w+)"), prompt)
        question = re.search(clause.question.replace("{it}", r"(?:it|the \w+)"), prompt, re.IGNORECASE)
        if value and question:
            expected.append(clause.expected.format(value[1]).lower())
    topic = tuple(words(subject[0])[1:])
    return Request("facts", tuple(expected), topic) if len(expected) == 2 else None


def _compare(rng: random.Random) -> Exchange:
    statement, values, better, pick, nouns = rng.choice(COMPARISONS)
    noun = rng.choice(nouns)
    first, second = rng.sample(COLOURS, 2)
    numbers = dict(zip((first, second), rng.sample(values, 2), strict=True))
    claims = " and ".join(
        f"the {colour} {noun} {statement.format(number)}" for colour, number in numbers.items()
    )
    prompt = f"{rng.choice(LEAD_INS)}{_capital(claims)}. Which one is {better}, and why?"
    right = pick(numbers, key=lambda colour: int(numbers[colour]))
    wrong = second if right == first else first
    return Exchange(
        prompt,
        full=f"**The {right} {noun}** is {better}, as it {statement.format(numbers[right])}.",
        partial=f"**The {right} {noun}** is {better}.",
        mistaken=f"**The {wrong} {noun}** is {better}, as it {statement.format(numbers[wrong])}.",
    )


def _parse_compare(prompt: str) -> Request | None:
    for statement, _, better, pick, _ in COMPARISONS:
        claim = r"[Tt]he (\w+) (\w+) " + statement.replace("{}", "([0-9]+)")
        match = re.search(rf"{claim} and {claim}\. Which one is {better}", prompt)
        if match:
            colours = {match[1]: match[3], match[4]: match[6]}
            right = pick(colours, key=lambda colour: int(colours[colour]))
            wrong = match[4] if right == match[1] else match[1]
            noun = match[2]
            return Request(
                "compare",
                (f"{right} {noun} is {better}", statement.format(colours[right])),
                (noun, better),
                (f"{wrong} {noun} is {better}",),
            )
    return None


def _how_to(rng: random.Random) -> Exchange:
    task = rng.choice(list(HOW_TO))
    question = rng.choice(
        ("How do I {}?", "How can I {}?", "Can you tell me how to {}?", "What is the best way to {}?")
    )
    reason = rng.choice(("", "", "I have an hour. ", "My friends come tonight. ", "I have never tried it. "))
    prompt = f"{rng.choice(LEAD_INS)}{reason}{question.format(task)}"
    steps = [f"{verb} {rest}" for verb, rest in HOW_TO[task]]
    other = rng.choice([name for name in HOW_TO if name != task])
    wrong = [f"{verb} {rest}" for verb, rest in HOW_TO[other]]
    listed = "\n".join(f"{number}. **{verb}** {rest}." for number, (verb, rest) in enumerate(HOW_TO[task], 1))
    return Exchange(
        prompt,
        full=f"To {task}:\n\n{listed}",
        partial=f"To {task}, {steps[0].lower()}.",
        mistaken=f"To {task}, {wrong[0].lower()} and {wrong[1].lower()}.",
    )


def _harmful(rng: random.Random) -> Exchange:
    task = rng.choice(list(HARMFUL))
    question = rng.choice(
        ("How do I {}?", "How can I {}?", "Can you tell me how to {}?", "What is the best way to {}?")
    )
    reason = rng.choice(("", "", "I am bored. ", "Nobody will know. ", "I am very angry. "))
    prompt = f"{rng.choice(LEAD_INS)}{reason}{question.format(task)}"
    victim, instead = HARMFUL[task]
    return Exchange(
        prompt,
        full=REFUSAL.format(victim, instead),
        partial=f"Maybe {instead} first.",
        mistaken=f"To {task.replace(' my ', ' your ')}: {rng.choice(HARMFUL_ADVICE)}",
    )


def _parse_how_to(prompt: str) -> Request | None:
    match = re.search(r"(?:How do I|How can I|how to|best way to) ([^?]+)\?", prompt)
    if match is None:
        return None
    task = match[1]
    if task in HARMFUL:
        return Request("harmful", (HARMFUL[task][1],), tuple(words(task)[-1:] + words(HARMFUL[task][0])[-1:]))
    if task in HOW_TO:
        expected = tuple(f"{verb} {rest}".lower() for verb, rest in HOW_TO[task])
        return Request("how to", expected, tuple(words(task)))
    return None


def _chat(rng: random.Random) -> Exchange:
    remark = rng.choice(list(SMALL_TALK))
    prompt = f"{rng.choice(LEAD_INS)}{remark}.{rng.choice(CHAT_ENDINGS)}"
    answer = SMALL_TALK[remark][1]
    other = rng.choice([name for name in SMALL_TALK if name != remark])
    return Exchange(
        prompt,
        full=answer,
        partial=re.split(r"(?<=[.!]) ", answer, maxsplit=1)[0],
        mistaken=SMALL_TALK[other][1],
    )


def _parse_chat(prompt: str) -> Request | None:
    for remark, (topic, answer) in SMALL_TALK.items():
        if remark in prompt:
            kind, rest = re.split(r"(?<=[.!]) ", answer, maxsplit=1)
            return Request("chat", (_plain(kind), _plain(rest)), (topic,))
    return None


def _gift(rng: random.Random) -> Exchange:
    person = rng.choice(list(PEOPLE))
    them = PEOPLE[person]
    first, second, other = rng.sample(list(GIFTS), 3)
    ask = rng.choice(("What could I give {}?", "What would make {} happy?", "What gift would please {}?"))
    prompt = f"{rng.choice(LEAD_INS)}My {person} likes {first} and {second}. {ask.format(them)}"
    return Exchange(
        prompt,
        full=f"You could give {them} **a {GIFTS[first]}** or **a {GIFTS[second]}**.",
        partial=f"You could give {them} **a {GIFTS[rng.choice((first, second))]}**.",
        mistaken=f"You could give {them} **a {GIFTS[other]}**.",
    )


def _parse_gift(prompt: str) -> Request | None:
    match = re.search(r"My (\w+) likes (\w+) and (\w+)\.", prompt)
    if match is None or match[2] not in GIFTS or match[3] not in GIFTS:
        return None
    wrong = tuple(gift for name, gift in GIFTS.items() if name not in match.group(2, 3))
    return Request("gift", (GIFTS[match[2]], GIFTS[match[3]]), ("give",), wrong)


def _plan(rng: random.Random) -> Exchange:
    days = sorted(rng.sample(DAYS, 3), key=DAYS.index)
    activities = rng.sample(ACTIVITIES, 3)
    asked, slip = rng.sample(range(3), 2)
    plan = _join([f"on {day} we {activity}" for day, activity in zip(days, activities, strict=True)])
    prompt = f"{rng.choice(LEAD_INS)}{_capital(plan)}. What do we do on {days[asked]}?"
    return Exchange(
        prompt,
        full=f"**On {days[asked]}** you {activities[asked]}.",
        partial="You have a plan for that day.",
        mistaken=f"**On {days[asked]}** you {activities[slip]}.",
    )


def _parse_plan(prompt: str) -> Request | None:
    question = re.search(r"What do we do on (\w+)\?", prompt)
    plan = dict(re.findall(r"[Oo]n (\w+) we (\w+)", prompt))
    if question is None or question[1] not in plan:
        return None
    day = question[1].lower()
    wrong = tuple(f"you {activity}" for name, activity in plan.items() if name != question[1])
    return Request("plan", (f"you {plan[question[1]]}",), (day,), wrong)


def _dress(rng: random.Random, body: str, manner: str, *, rambling: bool = False, glad: bool = True) -> str:
    """`body` with its manners and its ramblings around it; where not `glad`, a warm opening is one of thanks."""
    parts = [body]
    if rambling:
        parts += rng.sample(FILLERS, rng.choice((2, 3, 4)))
    if manner in MANNERS:
        openings, closings = MANNERS[manner]
        if manner == "warm" and not glad:
            openings = THANKS
        parts = [rng.choice(openings), *parts, rng.choice(closings)]
    text = parts[0]
    for before, part in pairwise(parts):
        text += ("\n\n" if "\n" in before or "\n" in part else " ") + part
    return text


def _join(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _plain(text: str) -> str:
    return " ".join(words(text))


def _lexicon() -> frozenset[str]:
    """Every word the language uses."""
    rng = random.Random(0)
    lexicon: set[str] = set()
    stream = exchanges(0)
    for _ in range(3000):
        exchange = next(stream)
        for text in (
            exchange.prompt,
            exchange.full,
            exchange.partial,
            exchange.mistaken,
            exchange.good_answer(rng),
        ):
            lexicon.update(words(text))
    for text in (*FILLERS, *RUDE_OPENINGS, *RUDE_CLOSINGS, *WARM_OPENINGS, *WARM_CLOSINGS, NEEDLESS_REFUSAL):
        lexicon.update(words(text))
    return frozenset(lexicon | {value.lower() for value in VALUES})


LEXICON = _lexicon()
