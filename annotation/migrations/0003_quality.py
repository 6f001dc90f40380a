"""What quality needs: gold, flags, verdicts, rules, an audit trail; invitations, demonstrations, files on their way in."""

import django.contrib.postgres.fields
import django.core.serializers.json
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.math
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0002_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="Deed",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("verb", models.CharField(help_text="As in `annotation.audit.VERBS`.", max_length=40)),
                ("subject", models.CharField(help_text="What it was done to, in words.", max_length=200)),
                (
                    "data",
                    models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder),
                ),
                ("at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Import",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "path",
                    models.CharField(help_text="Of the file, below the artifacts' folder.", max_length=400),
                ),
                ("bytes", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("uploaded", "Uploaded"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("refused", "Refused"),
                            ("cancelled", "Cancelled"),
                            ("failed", "Failed"),
                        ],
                        default="uploaded",
                        max_length=9,
                    ),
                ),
                (
                    "shape",
                    models.CharField(blank=True, help_text="What the file was recognised as.", max_length=40),
                ),
                ("bytes_done", models.BigIntegerField(default=0)),
                ("report", models.JSONField(default=dict)),
                ("claim", models.UUIDField(null=True)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("attempt", models.PositiveSmallIntegerField(default=0)),
                ("cancel_requested", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[("lead", "Lead"), ("reviewer", "Reviewer"), ("annotator", "Annotator")],
                        default="annotator",
                        max_length=10,
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("note", models.CharField(blank=True, help_text="Who it is for.", max_length=120)),
                (
                    "places",
                    models.PositiveSmallIntegerField(default=1, help_text="How many people may use it."),
                ),
                ("used", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Rule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "measure",
                    models.CharField(
                        choices=[
                            ("gold", "Accuracy on gold items"),
                            ("agreement", "Agreement with others"),
                            ("seconds", "Median seconds a judgment"),
                        ],
                        max_length=9,
                    ),
                ),
                (
                    "below",
                    models.FloatField(
                        help_text="A share from 0 to 1; or seconds.",
                        validators=[django.core.validators.MinValueValidator(0.0)],
                    ),
                ),
                (
                    "after",
                    models.PositiveSmallIntegerField(
                        default=10,
                        help_text="Not before so many judgments that can be measured.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[("warn", "Warn them"), ("pause", "Pause their work")], max_length=5
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Verdict",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("ranks", models.JSONField(help_text="Rank by response id, as a string.")),
                (
                    "degree",
                    models.CharField(
                        choices=[
                            ("significantly", "Significantly better"),
                            ("better", "Better"),
                            ("slightly", "Slightly better"),
                            ("negligibly", "Negligibly better / unsure"),
                        ],
                        max_length=13,
                        null=True,
                    ),
                ),
                ("note", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.AddField(
            model_name="author",
            name="user",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="authors",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="item",
            name="gold",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="item",
            name="gold_explanation",
            field=models.TextField(blank=True, help_text="Why; reviewers read it."),
        ),
        migrations.AddField(
            model_name="item",
            name="retired_reason",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="item",
            name="state",
            field=models.CharField(
                choices=[("open", "Open"), ("restricted", "Restricted"), ("retired", "Retired")],
                default="open",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="judgment",
            name="demonstration",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="judgments",
                to="annotation.response",
            ),
        ),
        migrations.AddField(
            model_name="member",
            name="paused_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="member",
            name="paused_reason",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name="member",
            name="qualified_at",
            field=models.DateTimeField(
                blank=True, help_text="When they passed the project's qualification.", null=True
            ),
        ),
        migrations.AddField(
            model_name="member",
            name="warned_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="member",
            name="warning",
            field=models.CharField(
                blank=True, help_text="What they are told above their work.", max_length=300
            ),
        ),
        migrations.AddField(
            model_name="placement",
            name="flags",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=24),
                default=list,
                help_text="Of `annotation.logic.flags`.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="placement",
            name="quality",
            field=models.PositiveSmallIntegerField(help_text="1 to 7.", null=True),
        ),
        migrations.AddField(
            model_name="placement",
            name="safe",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="project",
            name="asks_flags",
            field=models.BooleanField(
                default=False,
                help_text="InstructGPT's list: what is wrong with an answer, or notable in it.",
                verbose_name="flags",
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="asks_quality",
            field=models.BooleanField(
                default=False,
                help_text="Of every answer, before the ranking.",
                verbose_name="quality, 1 to 7",
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="asks_safety",
            field=models.BooleanField(
                default=False,
                help_text="Of every answer. An unsafe answer cannot be preferred to a safe one.",
                verbose_name="safe or unsafe",
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="control_rate",
            field=models.FloatField(
                default=0.0,
                help_text="Of what is handed out, how much is drawn evenly from all that waits, whatever its priority.",
                validators=[
                    django.core.validators.MinValueValidator(0.0),
                    django.core.validators.MaxValueValidator(1.0),
                ],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="gold_rate",
            field=models.FloatField(
                default=0.0,
                help_text="Of what is handed out, how much has a known answer, to see how well people judge.",
                validators=[
                    django.core.validators.MinValueValidator(0.0),
                    django.core.validators.MaxValueValidator(1.0),
                ],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="qualification_accuracy",
            field=models.FloatField(
                default=0.7,
                help_text="How much of them must be right.",
                validators=[
                    django.core.validators.MinValueValidator(0.0),
                    django.core.validators.MaxValueValidator(1.0),
                ],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="qualification_items",
            field=models.PositiveSmallIntegerField(
                default=0,
                help_text="How many items with a known answer somebody judges before their real work begins; 0 for none.",
                validators=[django.core.validators.MaxValueValidator(100)],
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="rationale",
            field=models.CharField(
                choices=[("none", "Do not ask"), ("optional", "May be given"), ("required", "Must be given")],
                default="none",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="task",
            field=models.CharField(
                choices=[("preferences", "Order answers"), ("demonstrations", "Write answers")],
                default="preferences",
                help_text="An item is a prompt with two or more answers to order, or any prompt, to be answered.",
                max_length=14,
            ),
        ),
        migrations.AddField(
            model_name="skip",
            name="data",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="skip",
            name="note",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="skip",
            name="resolved_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="slot",
            name="control",
            field=models.BooleanField(
                default=False, help_text="Handed out as part of the uniform control slice."
            ),
        ),
        migrations.AddField(
            model_name="slot",
            name="opened_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="slot",
            name="restricted",
            field=models.BooleanField(
                default=False, help_text="As its item is: for reviewers and leads only."
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="account",
            field=models.CharField(
                choices=[("person", "A person"), ("machine", "A script or an AI labeler")],
                default="person",
                max_length=7,
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="erased_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="skip",
            name="reason",
            field=models.CharField(
                choices=[
                    ("all_bad", "All answers are bad"),
                    ("identical", "The answers are the same"),
                    ("cannot_judge", "I cannot judge this"),
                    ("unsafe", "Unsafe to read"),
                    ("broken", "It is not shown properly"),
                    ("review", "A reviewer should look at it"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="item",
            index=models.Index(
                condition=models.Q(("gold__isnull", False)), fields=["project", "id"], name="gold_items"
            ),
        ),
        migrations.AddField(
            model_name="slot",
            name="control_key",
            field=models.FloatField(db_default=django.db.models.functions.math.Random()),
        ),
        migrations.AddField(
            model_name="slot",
            name="gold",
            field=models.BooleanField(
                default=False,
                help_text="Made for one person and an item whose answer is known; no wanted judgment.",
            ),
        ),
        migrations.RemoveIndex(model_name="slot", name="slots_to_claim"),
        migrations.AddIndex(
            model_name="slot",
            index=models.Index(
                condition=models.Q(models.Q(("state", "done"), _negated=True), ("gold", False)),
                fields=["project", "-restricted", "-priority", "random_key", "id"],
                name="slots_to_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="slot",
            index=models.Index(
                condition=models.Q(models.Q(("state", "done"), _negated=True), ("gold", False)),
                fields=["project", "control_key", "id"],
                name="slots_for_control",
            ),
        ),
        migrations.RemoveConstraint(model_name="slot", name="a_slot_is_open_leased_or_done"),
        migrations.AddConstraint(
            model_name="slot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("annotator", None),
                        ("gold", False),
                        ("leased_until", None),
                        ("shown_order", None),
                        ("state", "open"),
                        ("token", None),
                    ),
                    models.Q(
                        ("annotator__isnull", False),
                        ("leased_until__isnull", False),
                        ("state", "leased"),
                        ("token__isnull", False),
                    ),
                    models.Q(("annotator__isnull", False), ("state", "done")),
                    _connector="OR",
                ),
                name="a_slot_is_open_leased_or_done",
            ),
        ),
        migrations.AddConstraint(
            model_name="placement",
            constraint=models.CheckConstraint(
                condition=models.Q(("quality__range", (1, 7)), ("quality", None), _connector="OR"),
                name="quality_is_1_to_7",
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("control_rate__gte", 0),
                    ("gold_rate__gte", 0),
                    (
                        "gold_rate__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.Value(1), "-", models.F("control_rate")
                        ),
                    ),
                ),
                name="gold_and_control_are_shares",
            ),
        ),
        migrations.AddField(
            model_name="deed",
            name="actor",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="deed",
            name="project",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deeds",
                to="annotation.project",
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="created_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="imports", to="annotation.project"
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="created_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="invitations",
                to="annotation.project",
            ),
        ),
        migrations.AddField(
            model_name="rule",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="rules", to="annotation.project"
            ),
        ),
        migrations.AddField(
            model_name="verdict",
            name="item",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="verdicts", to="annotation.item"
            ),
        ),
        migrations.AddField(
            model_name="verdict",
            name="reviewer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="verdicts",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="deed",
            index=models.Index(fields=["project", "-id"], name="deeds_of_a_project"),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("used__lte", models.F("places"))), name="places_are_not_exceeded"
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.UniqueConstraint(
                fields=("project", "measure", "action"), name="one_rule_per_measure_and_action"
            ),
        ),
        migrations.AddField(
            model_name="snapshot",
            name="manifest",
            field=models.JSONField(
                default=dict, help_text="What it is, how it came about, and what its file holds."
            ),
        ),
        migrations.AlterField(
            model_name="apitoken",
            name="scope",
            field=models.CharField(
                choices=[
                    ("read", "Read: export data, follow runs"),
                    ("annotate", "Annotate: also take items and judge them"),
                    ("lead", "Lead: all that you may do"),
                ],
                default="read",
                max_length=8,
            ),
        ),
        migrations.CreateModel(
            name="Webhook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("url", models.URLField(max_length=500, verbose_name="address")),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        help_text="As in `EVENTS`.",
                        size=None,
                    ),
                ),
                ("secret", models.CharField(editable=False, max_length=64)),
                ("active", models.BooleanField(default=True)),
                ("last_judgment", models.BigIntegerField(default=0, editable=False)),
                ("last_item", models.BigIntegerField(default=0, editable=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="webhooks",
                        to="annotation.project",
                    ),
                ),
            ],
            options={"ordering": ["id"]},
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event", models.CharField(max_length=40)),
                ("body", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("delivered", "Delivered"), ("failed", "Failed")],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("status", models.PositiveSmallIntegerField(null=True)),
                (
                    "answer",
                    models.CharField(blank=True, help_text="How what it answered begins.", max_length=300),
                ),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("tried_at", models.DateTimeField(null=True)),
                ("delivered_at", models.DateTimeField(null=True)),
                (
                    "webhook",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="annotation.webhook",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting")),
                        fields=["next_at"],
                        name="deliveries_that_wait",
                    ),
                    models.Index(fields=["webhook", "id"], name="deliveries_of_a_webhook"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Doubt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "reason",
                    models.CharField(choices=[("rewards", "Two reward models find it odd")], max_length=8),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "judgment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="doubts",
                        to="annotation.judgment",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("judgment", "reason"), name="a_judgment_is_doubted_once_a_reason"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Agreement",
            fields=[
                (
                    "item",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="agreement",
                        serialize=False,
                        to="annotation.item",
                    ),
                ),
                (
                    "share",
                    models.FloatField(
                        help_text="Of pairs of answers that two people looked at, put the same way by both."
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="annotation.project",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "share", "item"], name="items_by_agreement")],
            },
        ),
        migrations.RunSQL(
            "".join(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION palate_refuse_change();"
                for table in ("annotation_verdict", "annotation_deed")
            ),
            migrations.RunSQL.noop,
        ),
    ]
