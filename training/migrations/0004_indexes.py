"""Indexes go that are the beginning of another one."""

import django.db.models.deletion
from django.db import migrations, models

ONE_OPEN_ROUND = models.UniqueConstraint(
    fields=["loop"],
    condition=models.Q(state__in=["working", "held", "failed", "awaiting"]),
    name="one_open_round_per_loop",
)


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0004_indexes"),
        ("training", "0003_rounds"),
    ]

    operations = [
        migrations.AlterField(
            model_name="loop",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="loops",
                to="annotation.project",
            ),
        ),
        migrations.AlterField(
            model_name="metric",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="metrics",
                to="training.run",
            ),
        ),
        migrations.AlterField(
            model_name="modelversion",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="model_versions",
                to="annotation.project",
            ),
        ),
        # with a column's index Django drops every other index of that column alone: the constraint's too
        migrations.RemoveConstraint(model_name="round", name="one_open_round_per_loop"),
        migrations.AlterField(
            model_name="round",
            name="loop",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rounds",
                to="training.loop",
            ),
        ),
        migrations.AddConstraint(model_name="round", constraint=ONE_OPEN_ROUND),
    ]
