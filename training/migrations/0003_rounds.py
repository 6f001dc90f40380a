"""Loops and their rounds; runs that are part of one."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0003_quality"),
        ("training", "0002_rollouts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Loop",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("recipe", models.CharField(help_text="As in `training.recipes`.", max_length=20)),
                (
                    "options",
                    models.JSONField(
                        default=dict, help_text="What differs from the defaults of `RoundSettings`."
                    ),
                ),
                (
                    "configs",
                    models.JSONField(
                        default=dict,
                        help_text="Settings of its runs that differ from the recipe's: by kind, `*` for all.",
                    ),
                ),
                (
                    "active",
                    models.BooleanField(default=True, help_text="Whether rounds start by themselves."),
                ),
                (
                    "after_judgments",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="A round starts once so many judgments are new.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "weekdays",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(
                            validators=[django.core.validators.MaxValueValidator(6)]
                        ),
                        blank=True,
                        default=list,
                        help_text="A round starts on these days; 0 is Monday.",
                        size=None,
                    ),
                ),
                (
                    "hour",
                    models.PositiveSmallIntegerField(
                        default=6,
                        help_text="From this hour (UTC).",
                        validators=[django.core.validators.MaxValueValidator(23)],
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Round",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("working", "Working"),
                            ("held", "Held"),
                            ("failed", "Failed"),
                            ("awaiting", "Awaiting"),
                            ("cancelled", "Cancelled"),
                            ("done", "Done"),
                        ],
                        default="working",
                        max_length=9,
                    ),
                ),
                (
                    "plan",
                    models.JSONField(
                        help_text="Its steps, in order: name, title, what it does, and its runs."
                    ),
                ),
                ("step", models.CharField(max_length=40)),
                ("step_since", models.DateTimeField()),
                ("recipe", models.CharField(max_length=20)),
                ("options", models.JSONField(help_text="Every setting, resolved.")),
                ("configs", models.JSONField(default=dict)),
                (
                    "estimate",
                    models.JSONField(default=dict, help_text="Seconds and bytes, expected before the start."),
                ),
                (
                    "gates",
                    models.JSONField(
                        default=list, help_text="Each with its figure, threshold, and why it passed or not."
                    ),
                ),
                ("report", models.JSONField(default=dict, help_text="What the evaluation found.")),
                (
                    "overrules",
                    models.JSONField(
                        default=list,
                        help_text="Gates that a lead overruled: who, by pseudonym, when and why.",
                    ),
                ),
                (
                    "decision",
                    models.CharField(
                        blank=True, choices=[("promoted", "Promoted"), ("rejected", "Rejected")], max_length=8
                    ),
                ),
                ("decision_note", models.TextField(blank=True)),
                ("error", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="modelversion",
            name="removed_at",
            field=models.DateTimeField(blank=True, help_text="When its files were removed.", null=True),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="retired_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="part",
            field=models.CharField(blank=True, max_length=40),
        ),
        migrations.AddField(
            model_name="run",
            name="reference",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="referred_runs",
                to="training.modelversion",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="safety_reward_model",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="safety_judged_runs",
                to="training.modelversion",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="superseded",
            field=models.BooleanField(default=False),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("current", False), ("retired_at", None), _connector="OR"),
                name="a_retired_model_is_not_current",
            ),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("removed_at", None), ("retired_at__isnull", False), _connector="OR"),
                name="only_retired_models_lose_files",
            ),
        ),
        migrations.AddField(
            model_name="loop",
            name="created_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="loop",
            name="first_policy",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="training.modelversion"
            ),
        ),
        migrations.AddField(
            model_name="loop",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="loops", to="annotation.project"
            ),
        ),
        migrations.AddField(
            model_name="loop",
            name="safety_project",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="safety_loops",
                to="annotation.project",
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="created_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="decided_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="loop",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="rounds", to="training.loop"
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="policy_after",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rounds_after",
                to="training.modelversion",
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="policy_before",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rounds_before",
                to="training.modelversion",
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="safety_snapshot",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="safety_rounds",
                to="annotation.snapshot",
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="snapshot",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rounds",
                to="annotation.snapshot",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="round",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="training.round",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("round__isnull", False), ("superseded", False)),
                fields=("round", "part"),
                name="a_part_of_a_round_is_run_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="loop",
            constraint=models.UniqueConstraint(fields=("project", "name"), name="loop_names_are_unique"),
        ),
        migrations.AddConstraint(
            model_name="loop",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("safety_project", None),
                    models.Q(("safety_project", models.F("project")), _negated=True),
                    _connector="OR",
                ),
                name="safety_is_judged_elsewhere",
            ),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.UniqueConstraint(fields=("loop", "number"), name="round_numbers_are_unique"),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["working", "held", "failed", "awaiting"])),
                fields=("loop",),
                name="one_open_round_per_loop",
            ),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", False), ("state__in", ["done", "cancelled"])),
                    models.Q(("finished_at", None), ("state__in", ["working", "held", "failed", "awaiting"])),
                    _connector="OR",
                ),
                name="what_is_over_has_an_end",
            ),
        ),
    ]
