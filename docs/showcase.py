"""Projects for the pictures of the guides: texts such as people really judge, long and short, with code, tables and a
conversation from right to left. Built through the product's own actions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from annotation.actions import (
    batches,
    chat_answers,
    chats,
    drafts,
    import_rows,
    judgments,
    leases,
    messages,
    projects,
)
from annotation.actions.chat_answers import Answer
from annotation.analytics.item_search import Search
from annotation.logic.questions import PRESETS, read_questions
from annotation.models import Author, Chat, ChatSettings, Item, Judgment, Member, Project, Slot, Turn, User

GUIDELINE = """Rank the answers as a **thoughtful expert** would who has to live with the advice.

1. *True* comes first. A confident mistake is worse than an honest "I am not sure".
2. *Helpful*: it does what was asked, in the form in which it was asked.
3. *As long as it needs to be*, and no longer. Do not reward length.

Two answers that you cannot tell apart are a tie: give them the same rank.

| You see | You do |
|---|---|
| a wrong fact | rank it below every answer without one |
| code that does not run | treat it as a wrong fact |
| all answers are bad | skip, with that reason |
"""

RETRY = """My Python script calls an HTTP API that sometimes answers 503. How do I retry with exponential backoff, without \
hammering the server? I would rather not add a dependency."""
RETRY_ANSWERS = [
    """Wait twice as long after each failure, add some randomness so that many clients do not come back at once, and give up \
after a few attempts:

```python
import random
import time
import urllib.error
import urllib.request

RETRYABLE = {429, 500, 502, 503, 504}


def fetch(url: str, attempts: int = 5, base: float = 0.5, cap: float = 30.0) -> bytes:
    for attempt in range(attempts):
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            if error.code not in RETRYABLE or attempt == attempts - 1:
                raise
            wait = float(error.headers.get("Retry-After") or 0)
        # full jitter: anywhere between nothing and the exponential bound
        time.sleep(max(wait, random.uniform(0, min(cap, base * 2**attempt))))
    raise AssertionError("unreachable")
```

Three things matter more than the exact numbers:

- **Jitter.** Without it, every client that failed together retries together.
- **`Retry-After`.** If the server says how long to wait, believe it.
- **Only retry what is safe.** A `GET` is; a `POST` that creates an order is not, unless the API takes an idempotency key.
""",
    """Use a loop:

```python
import time, requests

def fetch(url):
    delay = 1
    while True:
        r = requests.get(url)
        if r.status_code != 503:
            return r
        time.sleep(delay)
        delay *= 2
```

This doubles the delay each time the server returns 503. Note that it uses the `requests` library.""",
    """You can use the `tenacity` library, which is the standard way:

```python
from tenacity import retry, wait_random_exponential, stop_after_attempt

@retry(wait=wait_random_exponential(multiplier=0.5, max=30), stop=stop_after_attempt(5))
def fetch(url): ...
```

As an AI model developed by OpenAI, I recommend well-tested libraries over hand-written loops.""",
    """Exponential backoff means that the waiting time grows with each attempt.

| Attempt | Longest wait | With full jitter, on average |
|---:|---:|---:|
| 1 | 0.5 s | 0.25 s |
| 2 | 1 s | 0.5 s |
| 3 | 2 s | 1 s |
| 4 | 4 s | 2 s |
| 5 | 8 s | 4 s |

In Python, without a dependency: catch `urllib.error.HTTPError`, check that `error.code` is 503, call `time.sleep(...)` with \
a random number up to the bound, and raise the error after the fifth attempt. Read the `Retry-After` header first: servers \
that send it mean it.""",
]
ARABIC = "ما الفرق بين الطقس والمناخ؟ اشرح لي بلغة بسيطة مع مثال."
ARABIC_ANSWERS = [
    """**الطقس** هو حالة الجو في مكان ووقت معيّنين: هل هي ممطرة الآن؟ كم درجة الحرارة اليوم؟

**المناخ** هو متوسط الطقس في منطقة ما خلال سنوات طويلة، عادةً ثلاثين سنة.

مثال: قد تهطل الأمطار في القاهرة يوماً (طقس)، لكنّ القاهرة مدينة جافة عموماً (مناخ).""",
    "الطقس قصير المدى والمناخ طويل المدى.",
    "الطقس والمناخ شيء واحد، ويُقاسان بوحدة `°C` في نشرة الأخبار.",
]
MEETING = (
    "Summarize in one sentence: the board met on Tuesday, approved the 2027 budget with two votes against, and put \
off the decision about the new office until the lease of the old one has been renegotiated."
)
MEETING_ANSWERS = [
    "The board approved the 2027 budget against two votes and postponed the office decision until the lease is renegotiated.",
    "On Tuesday the board approved the budget.",
    (
        "The board met on Tuesday, approved the 2027 budget with two votes against, and put off the "
        "decision about the new office until the lease of the old one has been renegotiated."
    ),
    "The 2027 budget passed, with two votes against; the new office has to wait for the old lease to be renegotiated.",
    "The board unanimously approved the 2027 budget and the new office.",
    "Budget: yes (two against). New office: later, after the lease talks.",
    "The board postponed everything until the lease of the old office has been renegotiated.",
    (
        "At its Tuesday meeting the board passed next year's budget over two objections and deferred "
        "choosing a new office pending lease renegotiation."
    ),
    "A meeting took place, at which several important matters were discussed in a constructive atmosphere.",
]
BLEACH = "The drain in my shower is blocked. Can I mix bleach with vinegar to clear it faster?"
BLEACH_ANSWERS = [
    """Please don't: **bleach and vinegar together release chlorine gas**, which can injure your lungs even in a small room.

Try this instead, in this order:

1. Pull out the hair with a plastic drain strip.
2. Pour in a kettle of hot (not boiling) water with a little dish soap.
3. Use a plunger, with the overflow closed.

If you have already mixed them, leave the room, open the windows from outside if you can, and call poison control.""",
    """Yes, the two make a stronger cleaner together. Use one cup of each, close the bathroom door so that it works undisturbed, \
and rinse after 30 minutes.""",
]
LETTER = "Write a short, warm note to a colleague who is leaving after eleven years. We worked on the billing system together."
LETTER_DRAFT = """Dear colleague,

I am writing to you on the occasion of your departure from the company after eleven years of service. It has been a pleasure \
to work with you on the billing system. I wish you all the best for your future endeavors.

Kind regards"""
LETTER_BETTER = """Dear Noor,

eleven years, and I still think of the night we moved **every invoice of 2019** to the new system: you with the spreadsheet, \
me with the cold pizza, both of us sure that it would never add up. At four in the morning it did, to the cent.

You taught me three things that I use every day:

- read the error message twice,
- name things after what they are,
- go home when it is done.

Thank you. The next place is lucky.
"""


FALL = "How long does a stone fall from a tower of height $h$? Give the formula and the time for 45 m."
FALL_ANSWERS = [
    r"""From rest, the height fallen is

$$h = \tfrac{1}{2}\,g\,t^2 \quad\Longrightarrow\quad t = \sqrt{\frac{2h}{g}}$$

With $g \approx 9.81\ \mathrm{m/s^2}$ and $h = 45\ \mathrm{m}$:

| quantity | value |
|:--|--:|
| $2h/g$ | 9.17 s² |
| $t$ | **3.03 s** |

Air resistance is left out; for a stone it changes little.""",
    r"""A stone falls with \(v = g\,t\), so \(t = h / v\). For 45 m that is about 4.6 seconds, since it falls at 9.81 m/s.""",
]
QUESTIONS = [
    *(question.as_data() for question in PRESETS[:2]),
    {"kind": "flag", "label": "Wrong unit"},
    {"kind": "text", "label": "What should a better answer say?", "required": False, "min_chars": 20},
    {"kind": "comments", "label": "Comments"},
]


def answered(name: str, prompt: str, answers: Sequence[str]) -> dict[str, Any]:
    return {"id": name, "prompt": prompt, "responses": list(answers)}


def project(
    lead: User, annotator: User, name: str, rows: Sequence[Mapping[str, Any]], **fields: Any
) -> Project:
    """A project of that name with the rows in its queue in their order, made again each time that the pictures are."""
    old = Project.objects.filter(name=name).first()
    if old is not None:
        Slot.objects.filter(project=old).exclude(state="done").update(
            state="open", annotator=None, token=None, leased_until=None, opened_at=None, shown_order=None
        )
        return old
    made = projects.create_project(project=Project(name=name, **fields), guideline=GUIDELINE, creator=lead)
    Member.objects.create(
        project=made, user=annotator, role=Member.Role.ANNOTATOR, confirmed_guideline=made.guideline
    )
    report = import_rows.import_lines(project=made, lines=[json.dumps(row).encode() for row in rows])
    if report.errors:
        raise SystemExit(f"{name}: {report.errors[0]}")
    for place, item in enumerate(Item.objects.filter(project=made).order_by("id")):
        Slot.objects.filter(item=item).update(priority=100 - place)
    return made


def build(lead: User, annotator: User) -> dict[str, Project]:
    """The projects by the name of their picture."""
    asked = [
        ("How do I keep basil alive on a kitchen window?", "Water", "light", "a bigger pot", "patience"),
        ("What is the difference between mass and weight?", "Kilograms", "newtons", "gravity", "the Moon"),
        ("Write a limerick about a cat who codes.", "There once was", "A tabby", "In Python", "The cat"),
        (
            "Explain compound interest to a ten-year-old.",
            "Interest on interest",
            "A snowball",
            "Money",
            "10%",
        ),
        ("Is it safe to eat rice that was left out overnight?", "No", "Only if", "Bacillus cereus", "Yes"),
        ("Translate “tomorrow is another day” into Latin.", "Cras", "Dies", "Alius", "Cras est alius dies"),
    ]
    before = [answered(f"before-{n}", prompt, [f"{a}: " + MEETING_ANSWERS[i] for i, a in enumerate(answers)])
              for n, (prompt, *answers) in enumerate(asked * 2)]  # fmt: skip
    after = [answered(f"after-{n}", f"{MEETING} ({n})", MEETING_ANSWERS[:4]) for n in range(40)]
    made = {
        "rank": project(
            lead,
            annotator,
            "Everyday questions",
            [*before, answered("retry", RETRY, RETRY_ANSWERS), *after],
            rationale="optional",
        ),
        "rank-nine": project(
            lead, annotator, "Summaries, nine at a time", [answered("meeting", MEETING, MEETING_ANSWERS)], k=9
        ),
        "rank-marks": project(
            lead,
            annotator,
            "Science, in Arabic",
            [answered("weather", ARABIC, ARABIC_ANSWERS)],
            k=3,
            asks_quality=True,
            asks_flags=True,
        ),
        "compare": project(
            lead,
            annotator,
            "Safety at home",
            [answered("bleach", BLEACH, BLEACH_ANSWERS)],
            k=2,
            criterion="safety",
            asks_safety=True,
            asks_flags=True,
            rationale="required",
        ),
        "demonstrate": project(
            lead,
            annotator,
            "Letters, made better",
            [{"id": "letter", "prompt": LETTER, "responses": [LETTER_DRAFT]}],
            task="demonstrations",
        ),
        "criteria": project(
            lead, annotator, "Physics, by criteria", [answered("fall", FALL, FALL_ANSWERS)], k=2
        ),
        "guidelines-confirm": project(
            lead, annotator, "A new project", [answered("meeting", MEETING, MEETING_ANSWERS[:4])]
        ),
        "demonstrate-new": project(
            lead,
            annotator,
            "Letters, from scratch",
            [{"id": "letter", "prompt": LETTER}],
            task="demonstrations",
        ),
    }
    criteria = made["criteria"]
    projects.write_questions(project=criteria, questions=read_questions(QUESTIONS), author=lead)
    Member.objects.filter(project=made["guidelines-confirm"], user=annotator).update(confirmed_guideline=None)
    if not Judgment.objects.filter(annotator=annotator, item__project=made["rank"]).exists():
        judge_some(made["rank"], annotator)
    begin(made, annotator)
    if not made["rank"].batches.exists():
        ask_and_assign(made["rank"], lead, annotator)
    return made


TIDES = [
    "Why are there two high tides a day, and not one?",
    """The moon's pull is a little stronger on the near side of the earth than on the far side. What matters for tides is this \
**difference**:

- the water nearest to the moon is drawn ahead of the earth,
- the water on the far side is left behind.

So there are two bulges, and the earth turns under both of them in a day.""",
    "The moon attracts the ocean, which rises. Then it goes down again. This happens twice, since a day has two halves.",
    "Then why is the time between two high tides a bit more than twelve hours?",
    """Because the moon moves on while the earth turns. A place needs about **24 h 50 min** to be under the moon again, so half \
of that, 12 h 25 min, lies between two high tides.""",
    "It is exactly twelve hours. The tables in harbours are rounded, which is why they seem to differ from day to day.",
]


def chat(lead: User, annotator: User) -> Chat:
    """A chat whose second message waits for the choice."""
    made = project(lead, annotator, "Chats", [answered("tides", TIDES[0], TIDES[1:3])], k=2)
    if (found := Chat.objects.filter(project=made).first()) is not None:
        return found
    ChatSettings.objects.create(project=made, enabled=True)
    author = Author.objects.create(project=made, kind=Author.Kind.POLICY, name="policy")
    member = Member.objects.select_related("project", "user").get(project=made, user=annotator)

    def answer(turn: Turn, texts: Sequence[str]) -> Turn:
        claimed = chat_answers.claim(turn.pk)
        assert claimed is not None
        chat_answers.store(turn=claimed, answers=[Answer(author.pk, text, {}) for text in texts], sides=[])
        return Turn.objects.select_related("chat__project").get(pk=turn.pk)

    first = answer(chats.start_chat(member=member, text=TIDES[0], key=uuid.uuid4()), TIDES[1:3])
    lease = chats.lease_of(first)
    assert lease is not None
    ranks = dict(zip(lease.shown_order, (1, 2), strict=True))
    chats.judge(turn=first, lease=lease, ranks=ranks, degree="significantly", idempotency_key=uuid.uuid4())
    second = chats.send(chat=first.chat, member=member, text=TIDES[3], key=uuid.uuid4(), after=first)
    return answer(second, TIDES[4:]).chat


def begin(made: Mapping[str, Project], annotator: User) -> None:
    """What the annotator had entered when the pictures were taken."""
    for name, ranks in (("rank", [1, 4, 3, 2]), ("rank-nine", [1, 5, 4, 1, 9, 3])):
        lease = leases.claim(project=made[name], annotator=annotator)
        assert lease is not None
        order = sorted(lease.shown_order)
        drafts.save_draft(lease=lease, data={"ranks": dict(zip(map(str, order), ranks, strict=False))})
    lease = leases.claim(project=made["rank-marks"], annotator=annotator)
    assert lease is not None
    first, _, last = sorted(lease.shown_order)
    marks = {
        str(first): {"quality": 7, "safe": None, "flags": []},
        str(last): {"quality": 1, "safe": None, "flags": ["hallucination"]},
    }
    drafts.save_draft(lease=lease, data={"ranks": {str(first): 1}, "marks": marks})
    lease = leases.claim(project=made["compare"], annotator=annotator)
    assert lease is not None
    first, last = sorted(lease.shown_order)
    marks = {
        str(first): {"quality": None, "safe": True, "flags": []},
        str(last): {"quality": None, "safe": False, "flags": ["harmful_advice"]},
    }
    said = "Only one of them keeps people out of hospital."
    drafts.save_draft(lease=lease, data={"marks": marks, "rationale": said})
    lease = leases.claim(project=made["demonstrate"], annotator=annotator)
    assert lease is not None
    drafts.save_draft(lease=lease, data={"text": LETTER_BETTER})


def judge_some(project: Project, annotator: User, count: int = 12) -> list[Judgment]:
    """What is in the list of one's own judgments."""
    kept = []
    while len(kept) < count and (lease := leases.claim(project=project, annotator=annotator)):
        read = timezone.now() - timedelta(seconds=35 + 17 * len(kept) % 60)
        Slot.objects.filter(pk=lease.slot_id).update(opened_at=read)
        ranks = [1 + (place * (len(kept) + 1)) % 4 for place in range(len(lease.shown_order))]
        kept.append(
            judgments.submit(
                lease=lease,
                ranks=dict(zip(lease.shown_order, ranks, strict=True)),
                idempotency_key=uuid.uuid4(),
            )
        )
    return kept


def ask_and_assign(project: Project, lead: User, annotator: User) -> None:
    """A question to the reviewers with its reply, and a batch of items with a due date."""
    item = Judgment.objects.filter(annotator=annotator, item__project=project).latest("id").item
    messages.ask(item=item, annotator=annotator, text="B and C say the same in other words. Is that a tie?")
    messages.reply(
        item=item, annotator=annotator, author=lead, text="Yes: if you would be as happy with either."
    )
    batches.create_batch(
        project=project,
        name="Week 49",
        users=[annotator.pk],
        due_at=timezone.now() + timedelta(days=3),
        search=Search(text=MEETING[:40]),
        limit=30,
        actor=lead,
    )
