import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('annotation', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('policy', 'Policy'), ('reward', 'Reward model')], max_length=6)),
                ('name', models.CharField(max_length=120)),
                ('location', models.CharField(max_length=500)),
                ('current', models.BooleanField(default=False, help_text='The default policy or reward model of its project.')),
                ('metrics', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('retired_at', models.DateTimeField(blank=True, null=True)),
                ('removed_at', models.DateTimeField(blank=True, help_text='When its files were removed.', null=True)),
                ('author', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='model_version', to='annotation.author')),
                ('parent', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='children', to='training.modelversion')),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='model_versions', to='annotation.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Loop',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('recipe', models.CharField(help_text='A key of `training.rounds.recipes.RECIPES`.', max_length=20)),
                ('options', models.JSONField(default=dict, help_text="`RoundSettings` that differ from the recipe's defaults.")),
                ('configs', models.JSONField(default=dict, help_text="Run settings that differ from the recipe's, by kind of run; `*` for all kinds.")),
                ('active', models.BooleanField(default=True, help_text='Whether rounds start automatically.')),
                ('after_judgments', models.PositiveIntegerField(blank=True, help_text='A round starts after this many new judgments.', null=True, validators=[django.core.validators.MinValueValidator(1)])),
                ('weekdays', django.contrib.postgres.fields.ArrayField(base_field=models.PositiveSmallIntegerField(validators=[django.core.validators.MaxValueValidator(6)]), blank=True, default=list, help_text='A round starts on these days; 0 is Monday.', size=None)),
                ('hour', models.PositiveSmallIntegerField(default=6, help_text='From this hour (UTC).', validators=[django.core.validators.MaxValueValidator(23)])),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='loops', to='annotation.project')),
                ('safety_project', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='safety_loops', to='annotation.project')),
                ('first_policy', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.modelversion')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Round',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('working', 'Working'), ('held', 'Held'), ('failed', 'Failed'), ('awaiting', 'Awaiting'), ('cancelled', 'Cancelled'), ('done', 'Done')], default='working', max_length=9)),
                ('plan', models.JSONField(help_text='Its steps in order, each a `PlannedStep`.')),
                ('step', models.CharField(max_length=40)),
                ('step_since', models.DateTimeField()),
                ('recipe', models.CharField(max_length=20)),
                ('options', models.JSONField(help_text='Every field of `RoundSettings`, resolved.')),
                ('configs', models.JSONField(default=dict)),
                ('estimate', models.JSONField(default=dict, help_text='Expected seconds and bytes, estimated before the start.')),
                ('gates', models.JSONField(default=list, help_text='Results of its gates: figure, threshold, passed, and the reason.')),
                ('report', models.JSONField(default=dict, help_text='The evaluation of the new policy.')),
                ('overrules', models.JSONField(default=list, help_text='Gates that a lead overruled: who (a pseudonym), when and why.')),
                ('decision', models.CharField(blank=True, choices=[('promoted', 'Promoted'), ('rejected', 'Rejected')], max_length=8)),
                ('decision_note', models.TextField(blank=True)),
                ('error', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('decided_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('loop', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='rounds', to='training.loop')),
                ('policy_after', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='rounds_after', to='training.modelversion')),
                ('policy_before', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='rounds_before', to='training.modelversion')),
                ('safety_snapshot', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='safety_rounds', to='annotation.snapshot')),
                ('snapshot', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='rounds', to='annotation.snapshot')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('pretrain', 'Pre-training'), ('sft', 'Supervised fine-tuning'), ('reward', 'Reward model'), ('dpo', 'DPO'), ('rejection', 'Rejection sampling'), ('ppo', 'PPO'), ('grpo', 'GRPO'), ('reinforce', 'REINFORCE'), ('generate', 'Generation'), ('evaluate', 'Evaluation')], max_length=12)),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=9)),
                ('config', models.JSONField(help_text='Every setting, resolved (training.configs).')),
                ('inputs', models.JSONField(default=dict, help_text='What is not a setting: a file, the number of prompts, and so on.')),
                ('part', models.CharField(blank=True, max_length=40)),
                ('superseded', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('claim', models.UUIDField(null=True)),
                ('heartbeat_at', models.DateTimeField(null=True)),
                ('attempt', models.PositiveSmallIntegerField(default=0)),
                ('cancel_requested', models.BooleanField(default=False)),
                ('step', models.PositiveIntegerField(default=0)),
                ('total', models.PositiveIntegerField(default=0)),
                ('eta_s', models.FloatField(null=True)),
                ('result', models.JSONField(default=dict)),
                ('warnings', models.JSONField(default=list)),
                ('error', models.TextField(blank=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('model', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='training.modelversion')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='annotation.project')),
                ('reference', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reference_runs', to='training.modelversion')),
                ('reward_model', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='scored_runs', to='training.modelversion')),
                ('round', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='training.round')),
                ('safety_reward_model', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='safety_scored_runs', to='training.modelversion')),
                ('snapshot', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='annotation.snapshot')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='modelversion',
            name='run',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='output', to='training.run'),
        ),
        migrations.CreateModel(
            name='Metric',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('step', models.PositiveIntegerField()),
                ('values', models.JSONField()),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='metrics', to='training.run')),
            ],
            options={
                'ordering': ['step'],
            },
        ),
        migrations.AddConstraint(
            model_name='loop',
            constraint=models.UniqueConstraint(fields=('project', 'name'), name='loop_names_are_unique'),
        ),
        migrations.AddConstraint(
            model_name='loop',
            constraint=models.CheckConstraint(condition=models.Q(('safety_project', None), models.Q(('safety_project', models.F('project')), _negated=True), _connector='OR'), name='safety_is_judged_elsewhere'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.UniqueConstraint(fields=('loop', 'number'), name='round_numbers_are_unique'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['working', 'held', 'failed', 'awaiting'])), fields=('loop',), name='one_open_round_per_loop'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('state__in', ['done', 'cancelled'])), models.Q(('finished_at', None), ('state__in', ['working', 'held', 'failed', 'awaiting'])), _connector='OR'), name='what_is_over_has_an_end'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('state__in', ['queued', 'running'])), fields=['id'], name='runs_to_claim'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'running'), _negated=True), models.Q(('claim__isnull', False), ('heartbeat_at__isnull', False)), _connector='OR'), name='a_running_run_is_claimed'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('round__isnull', False), ('superseded', False)), fields=('round', 'part'), name='a_part_of_a_round_is_run_once'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(fields=('project', 'name'), name='model_names_are_unique'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(condition=models.Q(('current', True)), fields=('project', 'kind'), name='one_current_model'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(('kind', 'reward'), ('author__isnull', False), _connector='OR'), name='a_policy_is_an_author'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(('current', False), ('retired_at', None), _connector='OR'), name='a_retired_model_is_not_current'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(('removed_at', None), ('retired_at__isnull', False), _connector='OR'), name='only_retired_models_lose_files'),
        ),
        migrations.AddConstraint(
            model_name='metric',
            constraint=models.UniqueConstraint(fields=('run', 'step'), name='one_row_per_step'),
        ),
    ]
