"""Where the pages of a project are: five groups, each with its pages, who may open them, and which document explains them.

A page is named by its URL, so that this table can name pages of `training`, which is not imported here; a name that does not
resolve is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from annotation.models import Member

Role = Member.Role
LEADS = frozenset({Role.LEAD})
STAFF = frozenset({Role.LEAD, Role.REVIEWER})
Text = str | Promise


@dataclass(frozen=True)
class Page:
    """A page of a project: the name of its URL, which takes the project's slug; its title; the document that explains it, as a
    file of docs/ without its ending, perhaps with a heading's id; who may open it; the URLs of its objects (`details`), and
    those that answer a form with the page itself (`forms`), by name; and other words by which it is found."""

    url: str
    title: Text
    help: str
    roles: frozenset[Role] = STAFF
    details: tuple[str, ...] = ()
    words: Text = ""
    forms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    name: str
    title: Text
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class Action:
    """Something to begin: the name of the URL where, the part of the page, what it is called, and who may do it."""

    url: str
    title: Text
    fragment: str = ""
    roles: frozenset[Role] = LEADS


OVERVIEW = Page("project", _("Overview"), "loop")
GROUPS = (
    Group(
        "annotate",
        pgettext_lazy("group of pages", "Annotate"),
        (
            Page(
                "progress",
                _("Progress"),
                "quality#what-happens-next-and-when",
                details=("remind",),
                words=_("queue, judgments, throughput, remind people"),
            ),
            Page(
                "items",
                _("Items"),
                "annotating#lists",
                details=("item", "item-decide"),
                words=_("prompts, gold, retired"),
            ),
            Page("judgments", _("Judgments"), "annotating#lists", words=_("who judged what, rationales")),
            Page("batches", _("Batches"), "annotating#for-leads", LEADS, words=_("assign, due date")),
            Page("work", _("Judge"), "annotating", words=_("rank, compare, annotate, next item")),
            Page("chats", _("Chats"), "chat#what-annotators-see", words=_("conversations")),
        ),
    ),
    Group(
        "quality",
        _("Quality"),
        (
            Page(
                "quality",
                _("Agreement"),
                "quality",
                details=("annotator",),
                words=_("alpha, annotators, gold accuracy"),
            ),
            Page(
                "review",
                pgettext_lazy("page", "Review"),
                "annotating#for-leads",
                words=_("disagreements, questions, adjudication"),
            ),
            Page("rules", _("Rules"), "quality#warnings-by-rule", words=_("warn, pause")),
            Page(
                "ai-feedback",
                _("AI feedback"),
                "ai-feedback#how-to-read-the-page",
                details=("opinion-set",),
                words=_("judges, opinions, trust"),
            ),
            Page("audit", _("Audit trail"), "security#judgments", words=_("history, log")),
        ),
    ),
    Group(
        "data",
        pgettext_lazy("group of pages", "Data"),
        (
            Page(
                "import",
                pgettext_lazy("page", "Import"),
                "imports",
                LEADS,
                ("import-preview", "import-map"),
                _("upload"),
            ),
            Page(
                "snapshots",
                _("Snapshots"),
                "datasets#snapshots",
                details=("snapshot", "snapshot-difference"),
                words=_("exports, download, freeze, datasets"),
                forms=("freeze",),
            ),
            Page(
                "search",
                _("Search"),
                "operations#large-projects",
                words=_("find texts, prompts, answers, reasons"),
            ),
        ),
    ),
    Group(
        "train",
        pgettext_lazy("group of pages", "Train"),
        (
            Page(
                "rounds",
                _("Rounds"),
                "loop",
                details=("round", "round-new", "round-act"),
                words=_("loop, recipe, gates"),
            ),
            Page(
                "runs",
                _("Runs"),
                "training",
                details=("run", "run-new", "run-curves"),
                words=_("jobs, training, reward model"),
            ),
            Page(
                "models",
                _("Models"),
                "training#which-models",
                details=("model", "model-compare", "leaderboard"),
                words=_("policies, registry, lineage, leaderboard, compare"),
            ),
            Page("playground", _("Playground"), "serving", LEADS, words=_("talk to models")),
            Page(
                "constitutions",
                _("Constitution"),
                "ai-feedback#the-constitution",
                details=("constitution", "constitution-diff"),
                words=_("principles, judges"),
            ),
        ),
    ),
    Group(
        "settings",
        _("Settings"),
        (
            Page(
                "project-settings",
                _("Project"),
                "annotating#for-leads",
                LEADS,
                words=_("name, overlap, task, qualification, images"),
            ),
            Page(
                "guidelines",
                _("Guidelines"),
                "annotating#for-leads",
                LEADS,
                ("guideline", "guideline-diff"),
                _("instructions, versions"),
            ),
            Page(
                "questions",
                _("Questions"),
                "annotating#for-leads",
                LEADS,
                words=_("criteria, ratings, flags"),
            ),
            Page(
                "members",
                _("Members"),
                "security#who-can-do-what",
                LEADS,
                words=_("people, roles, invitations, accounts"),
                forms=("member-create", "member-password", "invitation-make"),
            ),
            Page("chat-settings", _("Chat"), "chat#turning-it-on", LEADS, words=_("live chats, policies")),
            Page("webhooks", _("Webhooks"), "api#webhooks", LEADS, ("webhook",), _("events, integrations")),
        ),
    ),
)
ACTIONS = (
    Action("work", _("Judge the next item"), roles=frozenset(Role)),
    Action("round-new", _("Start a round")),
    Action("import", _("Import prompts")),
    Action("snapshots", _("Create a snapshot"), "create"),
    Action("members", _("Invite somebody"), "invite"),
    Action("runs", _("Start a run")),
)

# of everybody, by the names of their URLs, which take nothing
OWN_PAGES: dict[str, Text] = {
    "home": _("Home"),
    "my-work": _("My work"),
    "my-judgments": _("Your judgments"),
    "notifications": _("Notifications"),
    "account": _("Account and API tokens"),
    "judging-settings": _("Judging settings"),
}


@dataclass(frozen=True)
class Place:
    """Where a page is: its group and its page, of which both are None where it is outside of them. `is_detail`: it is an object,
    or a step, below that page."""

    group: Group | None = None
    page: Page | None = None
    is_detail: bool = False


# of pages that are of no project
HELP = {
    "my-work": "annotating#your-work-counted",
    "notifications": "annotating#ask-and-be-told",
    "my-judgments": "annotating#minute-five-change-a-judgment",
    "my-judgment": "annotating#minute-five-change-a-judgment",
    "judging-settings": "annotating#the-screen-as-you-like-it",
    "account": "sign-in",
    "account_change_password": "sign-in",
    "chat": "chat#what-annotators-see",
    "project-new": "loop#before-the-first-round",
}
HELP_ELSEWHERE = "annotating"
_PLACES = {OVERVIEW.url: Place(page=OVERVIEW)} | {
    name: Place(group, page, is_detail=name in page.details)
    for group in GROUPS
    for page in group.pages
    for name in (page.url, *page.details, *page.forms)
}


def place_of(url_name: str | None) -> Place:
    """The place of the page with this URL's name."""
    return _PLACES.get(url_name or "", Place())


def help_path(url_name: str | None) -> str:
    """The path of the document that explains the page with this URL's name."""
    page = place_of(url_name).page
    name, _sign, heading = (page.help if page else HELP.get(url_name or "", HELP_ELSEWHERE)).partition("#")
    path = reverse("help", args=[name])
    return f"{path}#{heading}" if heading else path


def path_of(page: Page | Action, slug: str) -> str:
    """Its path, or an empty text where the site has no URL of this name."""
    try:
        path = reverse(page.url, args=[slug])
    except NoReverseMatch:
        return ""
    return f"{path}#{page.fragment}" if isinstance(page, Action) and page.fragment else path


@dataclass(frozen=True)
class Entry:
    """A page with its path."""

    page: Page
    path: str


def entries(role: str, slug: str) -> list[tuple[Group, list[Entry]]]:
    """The groups with the pages that somebody in this role may open. Annotators have none."""
    if role not in STAFF:
        return []
    found = []
    for group in GROUPS:
        pages = [Entry(page, path_of(page, slug)) for page in group.pages if role in page.roles]
        if pages := [entry for entry in pages if entry.path]:
            found.append((group, pages))
    return found
