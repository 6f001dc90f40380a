from __future__ import annotations

import pytest

from annotation.logic.masking import mask
from tests.annotation.logic.hostile_texts import TEXTS
from tests.patience import ends


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I am GPT-4, made by OpenAI.", "I am [model], made by [maker]."),
        ("I am Llama-3.1-Nemotron-70B-Instruct-HF-FP8-dynamic-v2.", "I am [model]."),
        ("I'm ChatGPT and I can help.", "I'm [model] and I can help."),
        ("I’m **Claude**, an assistant by Anthropic!", "I’m **[model]**, an assistant by [maker]!"),
        ("Hello! My name is Claude 3.5 Sonnet. Ask away.", "Hello! My name is [model]. Ask away."),
        ("I am an AI assistant called Qwen2.5-72B-Instruct.", "I am an AI assistant called [model]."),
        ("I am Llama 3, an AI model by Meta AI.", "I am [model], an AI model by [maker]."),
        ("As ChatGPT, I cannot do that.", "As [model], I cannot do that."),
        (
            "As a large language model trained by Google, I have no body.",
            "As a large language model trained by [maker], I have no body.",
        ),
        ("As an AI developed by OpenAI, I …", "As an AI developed by [maker], I …"),
        ("I was created by Anthropic to be helpful.", "I was created by [maker] to be helpful."),
        ("I am a language model that was trained by DeepMind.", "I am a language model that was trained by [maker]."),
        ("I'm an AI from Google.", "I'm an AI from [maker]."),
        ("This is Claude speaking.", "This is [model] speaking."),
        ("You can call me Bard.", "You can call me [model]."),
        ("I am Zorblax-7, an AI assistant by OpenAI.", "I am [model], an AI assistant by [maker]."),
        ("Soy ChatGPT, un modelo de OpenAI.", "Soy [model], un modelo de [maker]."),
        ("Ich bin GPT-4o.", "Ich bin [model]."),
        ("我是ChatGPT，由OpenAI开发。", "我是[model]，由[maker]开发。"),
        ("我是由OpenAI开发的助手。", "我是由[maker]开发的助手。"),
        ("Sure.\nI am GPT-3.5.\n\nNow, the answer.", "Sure.\nI am [model].\n\nNow, the answer."),
    ],
)  # fmt: skip
def test_it_hides_what_a_text_says_of_itself(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "cue",
    "I'm|I’m|I am|My name is|my name's|my name’s|You can call me|Soy|Me llamo|Je suis|Je m'appelle|Je m’appelle|Ich bin"
    "|Ich heiße|Ich heisse|Mein Name ist|Eu sou|Meu nome é|Sono|Mi chiamo|我是|我叫|私は|わたしは|저는|Я —|Меня зовут".split(
        "|"
    ),
)
def test_no_way_to_say_one_s_name_is_overlooked(cue: str) -> None:
    assert mask(f"Hello! {cue} GPT-4.") == f"Hello! {cue} [model]."


@pytest.mark.parametrize(
    "text",
    [
        "GPT-4 is a model made by OpenAI.",
        "I am happy to explain that GPT-4 was made by OpenAI.",
        "I am Claude Monet, and I paint water lilies.",
        "As Claude Monet said, the light is everything.",
        "My zodiac sign is Gemini; as Gemini people go, I am calm.",
        "A llama is a domesticated animal. I was in Peru when I saw one.",
        "I was trained by my father, who worked at Apple.",
        "I am looking for a command in bash.",
        "The Falcon 9 is built by SpaceX. As a rocket, it lands again.",
        "I am sure that Google made Android.",
        "",
        "x" * 1000,
    ],
)
def test_it_leaves_facts_and_people_alone(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "text", ["I am " * 80_000, "as a " * 80_000, "I'm an " + "AI " * 120_000, "." * 400_000, "a.b" * 120_000]
)
def test_400_kilobytes_of_anything_are_read_in_a_moment(text: str) -> None:
    with ends():
        mask(text)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_100_kilobytes_of_anything_are_read_in_a_moment(text: str) -> None:
    with ends():
        mask(text)


def test_every_name_is_masked_in_a_text_with_very_many_statements_about_itself() -> None:
    text = "I am here. " * 501 + "GPT-4 is a model of OpenAI."
    assert mask(text).endswith("[model] is a model of [maker].")
