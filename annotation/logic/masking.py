"""Masking of model and company names in which an answer identifies its own model.

"I am GPT-4, made by OpenAI" becomes "I am [model], made by [maker]". Only statements about itself are masked: an answer
that explains what GPT-4 is stays as it is. Stored texts are never changed; annotators see the masked ones.
"""

from __future__ import annotations

import re
from itertools import islice

MODEL, MAKER = "[model]", "[maker]"

_NAMES = (
    r"Chat-?GPT|(?:Open)?GPT(?:-?J|-?NeoX?)?|Claude|Gemini|Gemma|Bard|PaLM|LaMDA|Llama|Mistral|Mixtral|Ministral|Codestral"
    r"|Qwen|QwQ|Tongyi Qianwen|通义千问|DeepSeek|Grok|Command[ -]R|Phi|Vicuna|Alpaca|Koala|Dolly|Falcon|Zephyr|Copilot"
    r"|Bing Chat|Sydney|ERNIE(?: Bot)?|文心一言|Yi|InternLM|ChatGLM|GLM|Baichuan|Open ?Assistant|T[uü]lu|OLMo|Nova|Jamba"
    r"|Nemotron|Granite|Kimi|MiniMax|Doubao|豆包|Hunyuan|SmolLM|Pythia|StableLM|BLOOM(?:Z)?|MPT|RWKV|Orca|WizardLM"
    r"|OpenHermes|Hermes|Starling|SOLAR|Reka|Inflection|Pi"
)
# "-4", " 3.5 Sonnet", "-2.5-72B-Instruct": versions that belong to a name. What was read is not read again in every
# other way (`+`), of which there are exponentially many.
_VERSION = (
    r"(?:(?:[ \-–]?v?\d[A-Za-z0-9.\-]{0,100}[A-Za-z0-9]|[ \-–]?v?\d"
    r"|[ \-](?:Turbo|Opus|Sonnet|Haiku|Pro|Ultra|Flash|Nano|Mini|Plus|Max"
    r"|Large|Medium|Small|Instruct|Chat|Coder|R1|V3|o\d))(?![A-Za-z0-9_])){0,8}+"
)
_MAKERS = (
    r"Open ?AI|Anthropic|Google(?:[ ’']?s)?(?: DeepMind| AI| Research)?|DeepMind|Meta(?: AI| Platforms)?|Facebook(?: AI)?"
    r"|Microsoft|Mistral(?: AI)?|Alibaba(?: Cloud| Group)?|阿里(?:云|巴巴)|DeepSeek(?:-AI)?|深度求索|xAI|Cohere"
    r"|Stability ?AI|Hugging ?Face|EleutherAI|LMSYS(?: Org)?|Technology Innovation Institute|TII|Databricks|MosaicML"
    r"|Baidu|百度|Tencent|腾讯|ByteDance|字节跳动|Zhipu(?: AI)?|智谱|01\.AI|Moonshot(?: AI)?|月之暗面|NVIDIA|IBM|Amazon"
    r"|Apple|AI21(?: Labs)?|Allen Institute(?: for AI)?|AI2|Inflection(?: AI)?|Reka(?: AI)?|Nous ?Research|Upstage"
)
_M = r"[*_`\"“”'‘’]{0,3}"  # markup and quotation marks around a name
_KIND = r"(?:AI|A\.I\.|artificial intelligence|language|conversational|chat ?bot|chat|LLM|virtual assistant|digital assistant)"
_A_KIND = rf"(?:an?|the)[ \w,\-–]{{0,40}}?\b{_KIND}\b(?:[ \-](?:language|model|assistant|system|program|chat|bot|agent))*"
_SELF = (
    r"(?:\b(?:I['’]m|I am|I was|I have been|I['’]ve been|my name is|my name['’]s|(?:you can |you may )?call me"
    r"|soy|me llamo|je suis|je m['’]appelle|ich bin|ich hei(?:ß|ss)e|mein Name ist|eu sou|meu nome é|sono|mi chiamo)\b"
    r"|我是|我叫|私は|わたしは|저는|\bя\b(?:\s*[—–-])?|меня зовут)"
)
_MADE = (
    r"(?:trained|made|created|developed|built|designed|fine-?tuned|provided|powered|programmed|released"
    r"|entwickelt|trainiert|entrenado|creado|desarrollado|développé|créé|entraîné|criado|treinado|sviluppato|addestrato)"
)
_BY = r"(?:and \w+ )?(?:by|von|por|par|da|from)(?: (?:the|some|a))?(?: \w+ (?:at|of|from))?"
_FLAGS = re.IGNORECASE
# word boundaries, at which Chinese characters do not belong to the word
# each is bounded: two of them beside each other could share many blanks in many ways
_GAP, _SPACE, _COMMA = r"\s{0,5}", r"\s{1,5}", r"[ ,]{0,5}"
# (each begins with a letter of its own list: tried first, it rules out most places)
_name = rf"(?<![A-Za-z0-9_-])(?=[A-Za-z通文豆])(?:{_NAMES}){_VERSION}(?![A-Za-z0-9_-])"
_maker = rf"(?<![A-Za-z0-9_-])(?=[A-Za-z0阿深百腾字智月])(?:{_MAKERS})(?![A-Za-z0-9_-])"

# "I am (an AI assistant called) GPT-4", "My name is **Claude**"; not "I am Claude Monet"
_says_its_name = re.compile(
    rf"{_SELF}{_GAP}(?:{_A_KIND},?{_GAP}(?:called|named|known as)?{_GAP})?"
    rf"(?:just |actually |simply )?(?:called |named )?{_M}(?:{_name})"
    rf"(?!{_M}{_SPACE}(?-i:[A-Z])[a-z]+)",
    _FLAGS,
)
# "As ChatGPT, I cannot", "This is Claude speaking"
_speaks_as = re.compile(rf"\bas {_M}(?:{_name}){_M},|\bthis is {_M}(?:{_name}){_M}(?: speaking|,)", _FLAGS)
# "I was created by Anthropic", "As a language model trained by OpenAI, I", "我是由OpenAI开发的"
_says_its_maker = re.compile(
    rf"(?:{_SELF}|\bas){_GAP}(?:{_A_KIND})?{_COMMA}(?:(?:that|which|who) (?:was|is|has been) )?(?:\w+ly )?"
    rf"{_MADE}{_SPACE}{_BY}{_SPACE}{_M}(?:{_maker})"
    rf"|(?:我是由?|私は|저는)[^。！？\n]{{0,20}}?(?:{_MAKERS})",
    _FLAGS,
)
# "I am OpenAI's assistant", "I'm an AI from Google"
_is_somebody_s = re.compile(
    rf"{_SELF}{_GAP}(?:{_M}(?:{_maker})['’]s\b|{_A_KIND} (?:from|by|of) {_M}(?:{_maker}))", _FLAGS
)
# "I am Zorblax-7, an AI assistant": an unknown name
_unknown_name = re.compile(
    rf"(?P<cue>\b(?:I['’]m|I am|my name is){_SPACE}{_M})(?P<name>(?-i:[A-Z])[\w.\-]+)"
    rf"(?={_M},?{_SPACE}(?:and I['’]m |and I am )?{_A_KIND})",
    _FLAGS,
)
_CUES = (_says_its_name, _speaks_as, _says_its_maker, _is_somebody_s)
_names, _makers = re.compile(_name, _FLAGS), re.compile(_maker, _FLAGS)
_sentence = re.compile(r"[^.!?。！？\n]*(?:[.!?。！？](?=\w)[^.!?。！？\n]*)*[.!?。！？\n]*")
_worth_reading = re.compile(rf"(?:{_SELF}|\bas\b|\bthis is\b)", _FLAGS)
# quick tests that rule out most texts. The first: each alternative of `_SELF` has one of these, in lower case
_SIGNS_OF_SELF = (
    *(
        "i'm",
        "i’m",
        "i am",
        "i was",
        "i have",
        "i've",
        "i’ve",
        "my name",
        "call me",
        "soy",
        "me llamo",
        "je suis",
    ),
    *("appelle", "ich bin", "ich hei", "mein name", "eu sou", "meu nome", "sono", "mi chiamo"),
    *("我是", "我叫", "私は", "わたしは", "저는", "я", "меня зовут"),
)
_other_cues = re.compile(r"\b(?:as|this is)\b")


MAX_CUES = 500
"""A text with more of them is not read sentence by sentence, which would take long: every name in it is masked."""
MAX_SENTENCE = 5_000
"""The same for the characters of a sentence."""
LONGEST_CUE = 12
"""Characters at the end of a text that may be the beginning of a cue."""


def mask(text: str) -> str:
    """The text without statements about its own model; the same object if there are none."""
    if not _may_speak_of_itself(text):
        return text
    cues = _count_cues(text)
    if not cues:
        return text
    if cues > MAX_CUES:
        return _mask_names(text)
    return "".join(_mask_sentence(sentence) for sentence in _sentence.findall(text))


def stable_length(text: str) -> int:
    """Of a text that is still written: how many of its first characters are masked in the same way whatever follows. That ends
    where its last sentence begins to speak of itself, or may."""
    *_, last, _empty = ["", *_sentence.findall(text)]
    start = len(text) - len(last)
    if len(last) > MAX_SENTENCE:
        return start
    cue = _worth_reading.search(last)
    return start + cue.start() if cue else max(start, len(text) - LONGEST_CUE)


class GrowingText:
    """A text that is still written. `visible_text` is always that of `mask(text[:stable_length(text)])`, and costs what the new
    text and the last sentence do: no statement is masked across the end of a sentence."""

    def __init__(self) -> None:
        self._sentences: list[str] = []  # those that have ended
        self._masked = ""  # the same, masked
        self._last = ""
        self._cues = 0  # in what `_masked` has

    def add(self, text: str) -> None:
        self._last += text

    def visible_text(self) -> str:
        """What may be shown, masked."""
        *ended, last, _empty = ["", *_sentence.findall(self._last)]
        for sentence in ended:
            self._add_sentence(sentence)
        self._last = last
        shown = last[: stable_length(last)]
        if self._cues > MAX_CUES:
            return self._masked + _mask_names(shown)
        if self._cues + _count_cues(shown) > MAX_CUES:
            return _mask_names("".join(self._sentences) + shown)
        return self._masked + _mask_sentence(shown)

    def _add_sentence(self, sentence: str) -> None:
        self._sentences.append(sentence)
        cues = _count_cues(sentence)
        before, self._cues = self._cues, self._cues + cues
        if self._cues <= MAX_CUES:
            self._masked += _mask_sentence(sentence)
        elif before <= MAX_CUES:
            self._masked = _mask_names("".join(self._sentences))
        else:
            self._masked += _mask_names(sentence)


def _count_cues(text: str) -> int:
    """How often a text may begin to speak of itself; `MAX_CUES` + 1 for more."""
    return sum(1 for _ in islice(_worth_reading.finditer(text), MAX_CUES + 1))


def _may_speak_of_itself(text: str) -> bool:
    """False for most texts: they have no cue, or nothing to be masked."""
    folded = text.casefold()
    if not (any(sign in folded for sign in _SIGNS_OF_SELF) or _other_cues.search(folded)):
        return False
    return any(pattern.search(text) for pattern in (_names, _makers, _unknown_name))


def _mask_sentence(sentence: str) -> str:
    """Mask every model and maker in a sentence, from where it begins to speak of itself."""
    if not _worth_reading.search(sentence):
        return sentence
    if len(sentence) > MAX_SENTENCE:
        return _mask_names(sentence)
    sentence = _unknown_name.sub(lambda match: match["cue"] + MODEL, sentence)
    starts = [match.start() for cue in _CUES if (match := cue.search(sentence))]
    if MODEL in sentence:
        starts.append(sentence.index(MODEL))
    if not starts:
        return sentence
    start = min(starts)
    return sentence[:start] + _mask_names(sentence[start:])


def _mask_names(text: str) -> str:
    return _makers.sub(MAKER, _names.sub(MODEL, text))
