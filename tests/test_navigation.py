"""Where the pages are: titles, groups, breadcrumbs and help, on every page of the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from annotation import navigation
from annotation.models import Member, User
from annotation.navigation import GROUPS, OVERVIEW, STAFF
from tests import builders, screens
from tests.world import make_world

# pages of a lead that are of no project
OUTSIDE = {"project-new"}


@pytest.fixture(scope="module")
def pages(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The HTML of every page by its URL's name, as whoever may see it gets it."""
    from django.db import transaction

    with django_db_blocker.unblock(), transaction.atomic():  # type: ignore[attr-defined]
        world = make_world(builders.user("alice", is_staff=True), builders.user("bob"))
        found: dict[str, str] = {}
        for who, table in (("", screens.SIGNED_OUT), ("bob", screens.ANNOTATOR), ("alice", screens.LEAD)):
            client = signed_in(who) if who else Client()
            for name, path in screens.paths(table, world).items():
                response = client.get(path, follow=True)
                assert response.status_code == 200, (name, path)
                found[name] = response.content.decode()
        yield found
        transaction.set_rollback(True)


def signed_in(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name), backend="annotation.backends.AccountBackend")
    return client


def title(html: str) -> str:
    return unescape(re.search("<title>(.*?)</title>", html, re.DOTALL)[1])  # type: ignore[index]


def marked(html: str, kind: str) -> list[str]:
    """The names of the links of this class that are marked as current."""
    links = re.findall(r'<a class="([\w-]+)" href="[^"]*" aria-current="\w+">([^<]*)</a>', html)
    return [text for name, text in links if name == kind]


def navigation_of(html: str) -> str:
    return html.partition('<nav class="project-nav"')[2].partition("</nav>")[0]


def test_every_page_has_a_title_of_its_own(pages: dict[str, str]) -> None:
    titles = {name: title(html) for name, html in pages.items()}
    # what leads elsewhere shows the page there
    del titles["account_reset_password_from_key"]
    assert not [name for name, text in titles.items() if not re.fullmatch(r"\S.* – Palate", text)]
    by_title: dict[str, list[str]] = {}
    for name, text in titles.items():
        by_title.setdefault(text, []).append(name)
    assert not [names for names in by_title.values() if len(names) > 1]


def test_titles_lead_from_the_object_to_its_group_and_its_project(pages: dict[str, str]) -> None:
    assert re.fullmatch(r"Item \d+ · Annotate · Helpfulness – Palate", title(pages["item"]))
    assert title(pages["rules"]) == "Rules · Quality · Helpfulness – Palate"
    assert title(pages["project"]) == "Overview · Helpfulness – Palate"
    assert title(pages["home"]) == "Home – Palate"
    for name in screens.LEAD.keys() - OUTSIDE:
        assert title(pages[name]).endswith(" · Helpfulness – Palate"), name


@pytest.mark.parametrize("name", sorted(screens.LEAD.keys() - OUTSIDE))
def test_a_page_marks_its_group_and_its_page(pages: dict[str, str], name: str) -> None:
    html, place = pages[name], navigation.place_of(name)
    assert place.page, f"{name} has no place in annotation/navigation.py"
    assert marked(navigation_of(html), "nav-group") == [str((place.group or place.page).title)]
    current = re.findall(r'<li><a href="([^"]*)" aria-current="(\w+)">', navigation_of(html))
    assert len(current) == (place.group is not None)
    if place.group:
        path = reverse(place.page.url, args=["helpfulness"])
        assert current == [(path, "true" if place.is_detail else "page")]
    assert html.count('aria-current="page"') == 1


def test_details_have_breadcrumbs_that_lead_back(pages: dict[str, str]) -> None:
    for name in screens.LEAD.keys() - OUTSIDE:
        place = navigation.place_of(name)
        crumbs = pages[name].partition('<nav class="breadcrumbs"')[2].partition("</nav>")[0]
        assert bool(crumbs) == place.is_detail, name
        if crumbs:
            assert place.page
            up = [reverse(url, args=["helpfulness"]) for url in ("project", place.page.url)]
            assert re.findall('href="([^"]*)"', crumbs) == up, name
            here = re.search('<span class="truncate" aria-current="page" dir="auto">(.*?)</span>', crumbs)
            assert here, name
            assert title(pages[name]).startswith(f"{unescape(here[1])} · "), name


def test_annotators_see_no_groups(pages: dict[str, str]) -> None:
    for name in screens.ANNOTATOR:
        assert "project-nav" not in pages[name].replace("css/navigation", ""), name


def test_every_page_in_the_table_exists_once() -> None:
    tables = screens.ANNOTATOR.keys() | screens.LEAD.keys() | screens.NO_PAGES
    names = [OVERVIEW.url]
    for group in GROUPS:
        for page in group.pages:
            names += [page.url, *page.details, *page.forms]
    assert len(names) == len(set(names))
    assert set(names) <= tables


@pytest.mark.django_db
def test_everybody_may_open_what_they_see_and_a_page_that_is_not_there_is_left_out() -> None:
    lena, rita = builders.user("lena"), builders.user("rita")
    project = builders.project(lena, "Kindness")
    builders.join(project, rita, Member.Role.REVIEWER)
    for who, role in ((lena, Member.Role.LEAD), (rita, Member.Role.REVIEWER)):
        client = signed_in(who.username)
        shown = {entry.page.url for _, pages in navigation.entries(role, project.slug) for entry in pages}
        for group in GROUPS:
            for page in group.pages:
                status = client.get(reverse(page.url, args=[project.slug])).status_code
                assert (status == 200) == (page.url in shown), (role, page.url, status)
    assert not navigation.entries(Member.Role.ANNOTATOR, project.slug)
    assert navigation.path_of(navigation.Page("of-another-site", "x", "loop"), project.slug) == ""
    assert {"playground", "import", "members"} & shown == set()
    assert frozenset({Member.Role.LEAD, Member.Role.REVIEWER}) == STAFF
