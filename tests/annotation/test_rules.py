from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
from django.utils import translation

from annotation.actions import leases, projects, rules
from annotation.models import AuditEntry, Member, Notification, Rule
from annotation.tasks import apply_rules
from tests import builders
from tests.analytics import AnalyticsTestCase

GOOD = {"measure": "gold", "action": "pause", "below": "70", "after": "2"}


class DefaultRuleTests(AnalyticsTestCase):
    """A new project warns whoever the checks of the quality page mark."""

    def always_first(self, times: int) -> None:
        """Bob prefers what is shown first, Erin does not; both are as fast as programs."""
        self.more_items(times)
        for n in range(times):
            for person, ranks in (
                (self.bob, [1, 2, 3]),
                (self.erin, [n % 3 + 1, (n + 1) % 3 + 1, (n + 2) % 3 + 1]),
            ):
                lease = leases.claim(project=self.project, annotator=person)
                assert lease is not None
                builders.submit(lease, ranks)

    def warning(self) -> str:
        return Member.objects.get(project=self.project, user=self.bob).warning

    def test_who_always_takes_the_first_answer_is_warned_but_not_paused(self) -> None:
        (rule,) = self.project.rules.all()
        assert (rule.measure, rule.action) == ("checks", "warn")
        self.always_first(19)
        assert rules.apply_rules() == 0
        self.always_first(1)
        assert rules.apply_rules() == 1
        assert "the answer shown first in 100% of 20 items" in self.warning()
        assert Member.objects.get(user=self.bob, project=self.project).paused_at is None
        assert rules.apply_rules() == 0

    def test_whose_warning_was_lifted_is_measured_by_what_comes_after_beside_everybody(self) -> None:
        self.always_first(20)
        assert rules.apply_rules() == 1
        rules.resume(member=Member.objects.get(project=self.project, user=self.bob), actor=self.alice)
        assert rules.apply_rules() == 0
        self.always_first(20)
        assert rules.apply_rules() == 1

    def test_it_can_be_removed_and_set_to_wait_longer(self) -> None:
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url("rules")), "when the checks mark them")
        self.client.post(
            self.url("rules"), {"measure": "checks", "action": "warn", "below": "70", "after": "30"}
        )
        (rule,) = self.project.rules.all()
        assert (rule.below, rule.after) == (0, 30)
        self.always_first(20)
        assert rules.apply_rules() == 0
        self.client.post(self.url("rule-remove", rule.pk))
        assert not self.project.rules.exists()
        self.always_first(20)
        assert rules.apply_rules() == 0

    def test_the_checks_take_no_threshold_and_the_others_need_one(self) -> None:
        for measure, below in (("checks", 0.5), ("gold", None), ("seconds", None)):
            with self.subTest(measure), pytest.raises(rules.RuleError) as refused:
                rules.save_rule(
                    project=self.project,
                    actor=self.alice,
                    measure=measure,
                    action="warn",
                    below=below,
                    after=10,
                )
            assert refused.value.field == "below"


class RulesPageTests(AnalyticsTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        Rule.objects.all().delete()

    def test_reviewers_read_and_leads_write(self) -> None:
        self.who_may("rules", alice=200, dana=200, bob=403)
        self.who_may("rules", method="post", data=GOOD, alice=302, dana=403, bob=403)
        rule = Rule.objects.get()
        self.who_may("rule-remove", rule.pk, method="post", dana=403, bob=403, alice=302)
        assert AuditEntry.objects.get(verb="rule.changed", data__removed=True).actor == self.alice

    def test_a_rule_is_saved_as_a_share_and_a_second_one_takes_its_place(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url("rules"), GOOD)
        self.client.post(self.url("rules"), GOOD | {"below": "80"})
        rule = Rule.objects.get()
        assert (rule.below, rule.after, rule.action) == (0.8, 2, "pause")
        assert AuditEntry.objects.filter(verb="rule.changed", actor=self.alice).count() == 2
        self.client.post(self.url("rules"), GOOD | {"measure": "seconds", "below": "12.5"})
        assert Rule.objects.get(measure="seconds").below == 12.5

    def test_what_makes_no_sense_is_refused_with_its_field(self) -> None:
        self.sign_in(self.alice)
        for wrong, field in (
            ({"measure": "mood"}, "measure"),
            ({"action": "sack"}, "action"),
            ({"below": "0"}, "below"),
            ({"below": "101"}, "below"),
            ({"below": "nan"}, "below"),
            ({"below": "lots"}, "below"),
            ({"after": "0"}, "after"),
            ({"after": ""}, "after"),
            ({"measure": "seconds", "below": "3601"}, "below"),
        ):
            with self.subTest(wrong):
                response = self.client.post(self.url("rules"), GOOD | wrong)
                assert response.status_code == 422
                assert response.context["error"].field == field
        assert not Rule.objects.exists()

    def test_what_is_stored_is_not_in_the_language_of_who_did_it(self) -> None:
        def translate(text: str) -> str:
            return text if translation.get_language() == "en" else f"de: {text}"

        translation.gettext("")  # makes the module that is patched
        with mock.patch.object(translation._trans, "gettext", translate), translation.override("de"):
            rule = rules.save_rule(
                project=self.project, actor=self.alice, measure="gold", action="warn", below=0.7, after=2
            )
            assert str(rule).startswith("de: ")
            rules.remove_rule(rule=rule, actor=self.alice)
            projects.write_guideline(project=self.project, text="Shorter is better.", author=self.alice)
            assert self.project.criterion_in_english == "Helpfulness"
        subjects = (
            AuditEntry.objects.filter(verb="rule.changed").order_by("id").values_list("subject", flat=True)
        )
        text = "Warn them: Gold accuracy below 0.7"
        assert list(subjects) == [text, f"removed: {text}"]
        assert {each.subject for each in Notification.objects.all()} == {"Version 2"}

    def test_another_project_s_rule_is_not_found(self) -> None:
        other = builders.project(self.charlie, "Other")
        rule = Rule.objects.create(project=other, measure="gold", action="warn", below=0.5)
        self.sign_in(self.alice)
        assert self.client.post(self.url("rule-remove", rule.pk)).status_code == 404


class KeepingRulesTests(AnalyticsTestCase):
    def rule(self, **fields: object) -> Rule:
        return Rule.objects.create(
            project=self.project, **({"measure": "gold", "action": "warn", "below": 0.7, "after": 2} | fields)
        )

    def member(self, user: object) -> Member:
        return Member.objects.get(project=self.project, user=user)

    def test_the_clock_warns_who_misses_known_answers_once_and_the_site_did_it(self) -> None:
        self.rule()
        self.gold_missed_by(self.bob, times=2)
        apply_rules()
        apply_rules()
        member = self.member(self.bob)
        assert member.warned_at is not None
        assert "below what is expected" in member.warning
        assert member.paused_at is None
        entry = AuditEntry.objects.get(verb="member.warned")
        assert (entry.actor, entry.subject, entry.data["user"]) == (None, self.bob.pseudonym, self.bob.pk)

    def test_nothing_happens_before_enough_was_judged_or_above_the_mark(self) -> None:
        self.rule(after=3)
        self.rule(measure="seconds", action="pause", below=0.00001, after=1)
        self.gold_missed_by(self.bob, times=2)
        self.judged([[1, 2, 3], [1, 2, 3]])  # of no known answer
        assert rules.apply_rules() == 0
        assert self.member(self.bob).warned_at is None

    def test_the_mark_itself_is_enough_and_items_are_counted(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
        for below, after, touched in ((0.5, 2, 0), (0.51, 3, 0), (0.51, 2, 2)):
            Rule.objects.all().delete()
            self.rule(measure="agreement", below=below, after=after)
            assert rules.apply_rules() == touched

    def test_a_pause_comes_before_a_warning(self) -> None:
        self.rule(action="pause", measure="agreement", below=0.5, after=1)
        self.rule(action="warn", measure="agreement", below=0.9, after=1)
        self.judged([[1, 2, 3], [3, 2, 1]])
        assert rules.apply_rules() == 2
        member = self.member(self.bob)
        assert member.paused_at is not None
        assert member.warned_at is None
        self.more_items(1)
        with pytest.raises(leases.Paused, match="agreement with others is 0%"):
            leases.claim(project=self.project, annotator=self.bob)

    def test_who_may_go_on_is_measured_by_what_comes_after(self) -> None:
        self.rule(action="pause")
        self.gold_missed_by(self.bob, times=2)
        assert rules.apply_rules() == 1
        rules.resume(member=self.member(self.bob), actor=self.alice)
        assert rules.apply_rules() == 0
        self.gold_missed_by(self.bob, times=2)
        assert rules.apply_rules() == 1

    def test_where_nobody_works_nobody_is_looked_at(self) -> None:
        self.rule()
        self.gold_missed_by(self.bob, times=2)
        with mock.patch.object(rules, "LOOK_BACK", -timedelta(minutes=1)):
            assert rules.apply_rules() == 0
        assert rules.apply_rules() == 1

    def test_who_is_paused_is_not_paused_again(self) -> None:
        member = self.member(self.bob)
        assert rules.pause(member=member, reason="A rest.", actor=self.alice)
        assert not rules.pause(member=member, reason="Another one.", actor=None)
        assert self.member(self.bob).paused_reason == "A rest."
        assert AuditEntry.objects.get(verb="member.paused").actor == self.alice

    def test_leads_and_reviewers_are_left_alone(self) -> None:
        self.rule(measure="seconds", below=3600, after=1, action="pause")
        self.gold_missed_by(self.dana)
        assert rules.apply_rules() == 0
