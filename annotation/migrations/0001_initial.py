import annotation.models.people
import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.core.serializers.json
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.math
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


# The database itself refuses to change or delete these rows.
APPEND_ONLY_TABLES = [
    "annotation_auditentry",
    "annotation_guideline",
    "annotation_importedjudgment",
    "annotation_judgment",
    "annotation_placement",
    "annotation_response",
    "annotation_snapshot",
    "annotation_verdict",
]
CREATE_TRIGGERS = """
CREATE FUNCTION palate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: rows of it are never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION palate_refuse_change();\n"
    for table in APPEND_ONLY_TABLES
)
DROP_TRIGGERS = (
    "".join(f"DROP TRIGGER append_only ON {table};\n" for table in APPEND_ONLY_TABLES)
    + "DROP FUNCTION palate_refuse_change();"
)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.CreateModel(
            name='Item',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('probability', models.FloatField(default=1.0)),
                ('state', models.CharField(choices=[('open', 'Open'), ('restricted', 'Restricted'), ('retired', 'Retired')], default='open', max_length=10)),
                ('retired_reason', models.CharField(blank=True, max_length=200)),
                ('gold', models.JSONField(blank=True, null=True)),
                ('gold_explanation', models.TextField(blank=True, help_text='Why; reviewers read it.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('pseudonym', models.CharField(default=annotation.models.people.new_pseudonym, editable=False, max_length=40, unique=True)),
                ('account', models.CharField(choices=[('person', 'A person'), ('machine', 'A script or an AI labeler')], default='person', max_length=7)),
                ('erased_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('scope', models.CharField(choices=[('read', 'Read: export data, follow runs'), ('annotate', 'Annotate: also take items and judge them'), ('lead', 'Lead: all that you may do')], default='read', max_length=8)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_tokens', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Candidate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('item', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='candidates', to='annotation.item')),
            ],
        ),
        migrations.CreateModel(
            name='Guideline',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('text', models.TextField(help_text='Markdown.')),
                ('html', models.TextField(editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('author', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Judgment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('degree', models.CharField(choices=[('significantly', 'Significantly better'), ('better', 'Better'), ('slightly', 'Slightly better'), ('negligibly', 'Negligibly better / unsure')], help_text='Of a comparison of two.', max_length=13, null=True)),
                ('shown_order', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), help_text='Response ids, in the order on the screen.', size=None)),
                ('rationale', models.TextField(blank=True)),
                ('seconds', models.FloatField(help_text='From opening the item to submitting it.')),
                ('idempotency_key', models.UUIDField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('annotator', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='judgments', to=settings.AUTH_USER_MODEL)),
                ('guideline', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='judgments', to='annotation.guideline')),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='judgments', to='annotation.item')),
                ('supersedes', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='superseded_by', to='annotation.judgment')),
            ],
        ),
        migrations.CreateModel(
            name='Project',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=120)),
                ('slug', models.SlugField(max_length=60, unique=True)),
                ('criterion', models.CharField(choices=[('helpfulness', 'Helpfulness'), ('safety', 'Safety'), ('other', 'As the guidelines say')], default='helpfulness', max_length=12)),
                ('task', models.CharField(choices=[('preferences', 'Order answers'), ('demonstrations', 'Write answers')], default='preferences', help_text='Rank two or more answers to each prompt, or write an answer to it.', max_length=14)),
                ('k', models.PositiveSmallIntegerField(default=4, help_text='Answers shown side by side. Two are compared, with a degree; three to nine are ranked.', validators=[django.core.validators.MinValueValidator(2), django.core.validators.MaxValueValidator(9)], verbose_name='answers per prompt')),
                ('overlap', models.PositiveSmallIntegerField(default=1, help_text='How many different people judge each item.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(20)])),
                ('column_mapping', models.JSONField(default=dict, editable=False, help_text='The role of each column in the last file whose columns were mapped.')),
                ('lease_minutes', models.PositiveSmallIntegerField(default=30, help_text='How long an item is reserved for the annotator who opened it.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1440)])),
                ('asks_quality', models.BooleanField(default=False, help_text='For every answer, before the ranking.', verbose_name='quality, 1 to 7')),
                ('asks_flags', models.BooleanField(default=False, help_text="InstructGPT's list of problems and features of an answer.", verbose_name='flags')),
                ('asks_safety', models.BooleanField(default=False, help_text='For every answer. An unsafe answer cannot be ranked above a safe one.', verbose_name='safe or unsafe')),
                ('rationale', models.CharField(choices=[('none', 'Do not ask'), ('optional', 'May be given'), ('required', 'Must be given')], default='none', max_length=8)),
                ('gold_rate', models.FloatField(default=0.0, help_text="Share of items with a known answer, to measure annotators' accuracy.", validators=[django.core.validators.MinValueValidator(0.0), django.core.validators.MaxValueValidator(1.0)])),
                ('control_rate', models.FloatField(default=0.0, help_text='Share of items picked at random from the queue, ignoring priority.', validators=[django.core.validators.MinValueValidator(0.0), django.core.validators.MaxValueValidator(1.0)])),
                ('qualification_items', models.PositiveSmallIntegerField(default=0, help_text='How many items with a known answer an annotator judges before their real work; 0 for none.', validators=[django.core.validators.MaxValueValidator(100)])),
                ('qualification_accuracy', models.FloatField(default=0.7, help_text='Share of their known pairs that must be ordered correctly.', validators=[django.core.validators.MinValueValidator(0.0), django.core.validators.MaxValueValidator(1.0)])),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.CheckConstraint(condition=models.Q(('k__gte', 2), ('k__lte', 9)), name='k_is_2_to_9'), models.CheckConstraint(condition=models.Q(('overlap__gte', 1)), name='overlap_is_positive'), models.CheckConstraint(condition=models.Q(('lease_minutes__gte', 1)), name='lease_is_positive'), models.CheckConstraint(condition=models.Q(('control_rate__gte', 0), ('gold_rate__gte', 0), ('gold_rate__lte', django.db.models.expressions.CombinedExpression(models.Value(1), '-', models.F('control_rate')))), name='gold_and_control_are_shares')],
            },
        ),
        migrations.AddField(
            model_name='item',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='annotation.project'),
        ),
        migrations.CreateModel(
            name='Import',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('path', models.CharField(help_text='The file, relative to the artifacts folder.', max_length=400)),
                ('bytes', models.BigIntegerField()),
                ('state', models.CharField(choices=[('uploaded', 'Uploaded'), ('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('refused', 'Refused'), ('cancelled', 'Cancelled'), ('failed', 'Failed')], default='uploaded', max_length=9)),
                ('shape', models.CharField(blank=True, help_text='The recognised format of the file.', max_length=40)),
                ('mapping', models.JSONField(default=list, help_text="[column, role] of each column, in the file's order, where a lead has mapped them: a file of no known format.")),
                ('other_columns', models.CharField(choices=[('stop', 'Stop the import'), ('metadata', 'Keep as metadata'), ('leave out', 'Leave out')], default='stop', help_text='What becomes of columns that the format does not have.', max_length=9)),
                ('set_aside_share', models.FloatField(default=0.0, help_text='The share of invalid rows up to which they are set aside and the others imported.')),
                ('judgments', models.CharField(choices=[('leave out', 'Leave them out'), ('import', 'Import them, and queue nothing'), ('queue', 'Import them, and queue the items too')], default='leave out', help_text='What becomes of the preferences in the file.', max_length=9)),
                ('judged_by', models.CharField(blank=True, choices=[('person', 'A person'), ('machine', 'A script or an AI labeler')], help_text='Who made them, where the file does not say it.', max_length=7)),
                ('bytes_done', models.BigIntegerField(default=0)),
                ('report', models.JSONField(default=dict)),
                ('claim', models.UUIDField(null=True)),
                ('heartbeat_at', models.DateTimeField(null=True)),
                ('attempt', models.PositiveSmallIntegerField(default=0)),
                ('cancel_requested', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='imports', to='annotation.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='guideline',
            name='project',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='guidelines', to='annotation.project'),
        ),
        migrations.CreateModel(
            name='Author',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('policy', 'Policy'), ('imported', 'Imported'), ('person', 'Person')], max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='authors', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='authors', to='annotation.project')),
            ],
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('verb', models.CharField(help_text='As in `annotation.audit.VERBS`.', max_length=40)),
                ('subject', models.CharField(help_text='The object of the action, in words.', max_length=200)),
                ('data', models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('actor', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit_entries', to='annotation.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Prompt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(max_length=200)),
                ('messages', models.JSONField(help_text="[{role, content}, …], the last one the user's.")),
                ('html', models.JSONField(editable=False, help_text="The messages' contents as sanitised HTML, in order.")),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), blank=True, default=list, size=None)),
                ('metadata', models.JSONField(blank=True, default=dict, help_text="An object of the user's own.")),
                ('split', models.CharField(choices=[('train', 'Train'), ('held_out', 'Held Out')], editable=False, max_length=8)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='prompts', to='annotation.project')),
            ],
        ),
        migrations.AddField(
            model_name='item',
            name='prompt',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='annotation.prompt'),
        ),
        migrations.CreateModel(
            name='Response',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
                ('html', models.TextField(editable=False)),
                ('digest', models.CharField(editable=False, help_text='SHA-256 of the text.', max_length=64)),
                ('sampling', models.JSONField(default=dict, help_text='Temperature, seed and token ids, where they are known.')),
                ('metadata', models.JSONField(default=dict, help_text="An object of the user's own.")),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('author', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='responses', to='annotation.author')),
                ('prompt', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='responses', to='annotation.prompt')),
            ],
        ),
        migrations.CreateModel(
            name='Placement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rank', models.PositiveSmallIntegerField()),
                ('quality', models.PositiveSmallIntegerField(help_text='1 to 7.', null=True)),
                ('safe', models.BooleanField(null=True)),
                ('flags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=24), default=list, help_text='Of `annotation.logic.response_flags`.', size=None)),
                ('judgment', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='placements', to='annotation.judgment')),
                ('response', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='placements', to='annotation.response')),
            ],
        ),
        migrations.AddField(
            model_name='judgment',
            name='demonstration',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='judgments', to='annotation.response'),
        ),
        migrations.AddField(
            model_name='item',
            name='responses',
            field=models.ManyToManyField(related_name='items', through='annotation.Candidate', to='annotation.response'),
        ),
        migrations.AddField(
            model_name='candidate',
            name='response',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='annotation.response'),
        ),
        migrations.CreateModel(
            name='ReviewFlag',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(choices=[('rewards', 'Two reward models disagree with it')], max_length=8)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('judgment', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='review_flags', to='annotation.judgment')),
            ],
        ),
        migrations.CreateModel(
            name='Rule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('measure', models.CharField(choices=[('gold', 'Accuracy on gold items'), ('agreement', 'Agreement with others'), ('seconds', 'Median seconds a judgment')], max_length=9)),
                ('below', models.FloatField(help_text='A share from 0 to 1; or seconds.', validators=[django.core.validators.MinValueValidator(0.0)])),
                ('after', models.PositiveSmallIntegerField(default=10, help_text='Not before so many measured judgments.', validators=[django.core.validators.MinValueValidator(1)])),
                ('action', models.CharField(choices=[('warn', 'Warn them'), ('pause', 'Pause their work')], max_length=5)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='rules', to='annotation.project')),
            ],
        ),
        migrations.CreateModel(
            name='Skip',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(choices=[('all_bad', 'All answers are bad'), ('identical', 'The answers are the same'), ('cannot_judge', 'I cannot judge this'), ('unsafe', 'Unsafe to read'), ('broken', 'It is not shown properly'), ('review', 'A reviewer should look at it')], max_length=12)),
                ('note', models.TextField(blank=True)),
                ('data', models.JSONField(blank=True, null=True)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('annotator', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='skips', to=settings.AUTH_USER_MODEL)),
                ('item', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='skips', to='annotation.item')),
            ],
        ),
        migrations.CreateModel(
            name='Slot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('open', 'Open'), ('leased', 'Leased'), ('done', 'Done')], default='open', max_length=6)),
                ('priority', models.SmallIntegerField(default=0)),
                ('random_key', models.FloatField(db_default=django.db.models.functions.math.Random())),
                ('control_key', models.FloatField(db_default=django.db.models.functions.math.Random())),
                ('token', models.UUIDField(blank=True, null=True)),
                ('leased_until', models.DateTimeField(blank=True, null=True)),
                ('opened_at', models.DateTimeField(blank=True, null=True)),
                ('restricted', models.BooleanField(default=False, help_text='As its item: for reviewers and leads only.')),
                ('control', models.BooleanField(default=False, help_text='Given out as part of the uniform control slice.')),
                ('gold', models.BooleanField(default=False, help_text='Created for one annotator and a gold item; does not count towards the overlap.')),
                ('shown_order', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, null=True, size=None)),
                ('annotator', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='slots', to=settings.AUTH_USER_MODEL)),
                ('item', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='slots', to='annotation.item')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='slots', to='annotation.project')),
            ],
        ),
        migrations.AddField(
            model_name='judgment',
            name='slot',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='judgments', to='annotation.slot'),
        ),
        migrations.CreateModel(
            name='Snapshot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('note', models.CharField(blank=True, max_length=200)),
                ('counts', models.JSONField(help_text='Judgments, pairs, prompts and annotators, by split.')),
                ('last_judgment', models.BigIntegerField(help_text='The newest judgment in it.')),
                ('sha256', models.CharField(max_length=64)),
                ('path', models.CharField(help_text='The file, relative to the artifacts folder.', max_length=400)),
                ('manifest', models.JSONField(default=dict, help_text='Description, selection and contents of the file.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='snapshots', to='annotation.project')),
            ],
            options={
                'ordering': ['-number'],
            },
        ),
        migrations.CreateModel(
            name='Verdict',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('ranks', models.JSONField(help_text='Rank by response id, as a string.')),
                ('degree', models.CharField(choices=[('significantly', 'Significantly better'), ('better', 'Better'), ('slightly', 'Slightly better'), ('negligibly', 'Negligibly better / unsure')], max_length=13, null=True)),
                ('note', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='verdicts', to='annotation.item')),
                ('reviewer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='verdicts', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.URLField(max_length=500, verbose_name='address')),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), help_text='As in `EVENTS`.', size=None)),
                ('secret', models.CharField(editable=False, max_length=64)),
                ('active', models.BooleanField(default=True)),
                ('last_judgment', models.BigIntegerField(default=0, editable=False)),
                ('last_item', models.BigIntegerField(default=0, editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='annotation.project')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.CharField(max_length=40)),
                ('body', models.JSONField()),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='waiting', max_length=9)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('next_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('answer', models.CharField(blank=True, help_text='The start of the response.', max_length=300)),
                ('problem', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('tried_at', models.DateTimeField(null=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('webhook', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='annotation.webhook')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Agreement',
            fields=[
                ('item', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='agreement', serialize=False, to='annotation.item')),
                ('share', models.FloatField(help_text='Of the pairs of answers that two annotators ordered, those that both ordered the same way.')),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='annotation.project')),
            ],
        ),
        migrations.CreateModel(
            name='Draft',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data', models.JSONField()),
                ('saved_at', models.DateTimeField(auto_now=True)),
                ('annotator', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to=settings.AUTH_USER_MODEL)),
                ('item', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to='annotation.item')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('item', 'annotator'), name='one_draft_per_item')],
            },
        ),
        migrations.CreateModel(
            name='ImportedJudgment',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('annotator', models.CharField(blank=True, help_text='As the file calls them.', max_length=200)),
                ('account', models.CharField(choices=[('person', 'A person'), ('machine', 'A script or an AI labeler')], help_text='Whether a person or a model judged.', max_length=7)),
                ('responses', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), help_text='Their ids; the following lists are in this order.', size=None)),
                ('ranks', django.contrib.postgres.fields.ArrayField(base_field=models.PositiveSmallIntegerField(), size=None)),
                ('quality', django.contrib.postgres.fields.ArrayField(base_field=models.PositiveSmallIntegerField(null=True), help_text='1 to 7.', null=True, size=None)),
                ('safe', django.contrib.postgres.fields.ArrayField(base_field=models.BooleanField(null=True), null=True, size=None)),
                ('shown_order', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), help_text='Response ids, in the order on the screen.', null=True, size=None)),
                ('degree', models.CharField(choices=[('significantly', 'Significantly better'), ('better', 'Better'), ('slightly', 'Slightly better'), ('negligibly', 'Negligibly better / unsure')], max_length=13, null=True)),
                ('rationale', models.TextField(blank=True)),
                ('judged_at', models.DateTimeField(help_text='As the file says.', null=True)),
                ('details', models.JSONField(default=dict, help_text='What else the file says of it.')),
                ('digest', models.CharField(help_text='Of what was judged, and by whom: the same file again brings nothing new.', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('item', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='imported_judgments', to='annotation.item')),
                ('source', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='imported_judgments', to='annotation.import')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('item', 'digest'), name='a_judgment_is_imported_once')],
            },
        ),
        migrations.CreateModel(
            name='Member',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('lead', 'Lead'), ('reviewer', 'Reviewer'), ('annotator', 'Annotator')], max_length=10)),
                ('joined_at', models.DateTimeField(auto_now_add=True)),
                ('qualified_at', models.DateTimeField(blank=True, help_text="When they passed the project's qualification.", null=True)),
                ('paused_at', models.DateTimeField(blank=True, null=True)),
                ('paused_reason', models.CharField(blank=True, max_length=300)),
                ('warned_at', models.DateTimeField(blank=True, null=True)),
                ('warning', models.CharField(blank=True, help_text='Shown above their work.', max_length=300)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='members', to='annotation.project')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('project', 'user'), name='one_role_per_member'), models.CheckConstraint(condition=models.Q(('role__in', ['lead', 'reviewer', 'annotator'])), name='known_role')],
            },
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('lead', 'Lead'), ('reviewer', 'Reviewer'), ('annotator', 'Annotator')], default='annotator', max_length=10)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('note', models.CharField(blank=True, help_text='Who it is for.', max_length=120)),
                ('places', models.PositiveSmallIntegerField(default=1, help_text='How many people may use it.')),
                ('used', models.PositiveSmallIntegerField(default=0)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='annotation.project')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('used__lte', models.F('places'))), name='places_are_not_exceeded')],
            },
        ),
        migrations.AddConstraint(
            model_name='guideline',
            constraint=models.UniqueConstraint(fields=('project', 'number'), name='guideline_numbers_are_unique'),
        ),
        migrations.AddConstraint(
            model_name='author',
            constraint=models.UniqueConstraint(fields=('project', 'kind', 'name'), name='one_author_per_name'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['project', '-id'], name='audit_of_a_project'),
        ),
        migrations.AddIndex(
            model_name='prompt',
            index=models.Index(fields=['project', 'split', 'id'], name='prompts_by_split'),
        ),
        migrations.AddConstraint(
            model_name='prompt',
            constraint=models.UniqueConstraint(fields=('project', 'external_id'), name='prompt_ids_are_unique'),
        ),
        migrations.AddConstraint(
            model_name='response',
            constraint=models.UniqueConstraint(fields=('prompt', 'author', 'digest'), name='one_response_per_text_and_author'),
        ),
        migrations.AddConstraint(
            model_name='placement',
            constraint=models.UniqueConstraint(fields=('judgment', 'response'), name='a_response_is_placed_once'),
        ),
        migrations.AddConstraint(
            model_name='placement',
            constraint=models.CheckConstraint(condition=models.Q(('rank__gte', 1)), name='ranks_start_at_one'),
        ),
        migrations.AddConstraint(
            model_name='placement',
            constraint=models.CheckConstraint(condition=models.Q(('quality__range', (1, 7)), ('quality', None), _connector='OR'), name='quality_is_1_to_7'),
        ),
        migrations.AddIndex(
            model_name='item',
            index=models.Index(condition=models.Q(('gold__isnull', False)), fields=['project', 'id'], name='gold_items'),
        ),
        migrations.AddConstraint(
            model_name='item',
            constraint=models.CheckConstraint(condition=models.Q(('probability__gt', 0), ('probability__lte', 1)), name='probability_is_one'),
        ),
        migrations.AddConstraint(
            model_name='candidate',
            constraint=models.UniqueConstraint(fields=('item', 'response'), name='a_response_stands_once'),
        ),
        migrations.AddConstraint(
            model_name='reviewflag',
            constraint=models.UniqueConstraint(fields=('judgment', 'reason'), name='a_judgment_is_flagged_once_per_reason'),
        ),
        migrations.AddConstraint(
            model_name='rule',
            constraint=models.UniqueConstraint(fields=('project', 'measure', 'action'), name='one_rule_per_measure_and_action'),
        ),
        migrations.AddConstraint(
            model_name='skip',
            constraint=models.UniqueConstraint(fields=('item', 'annotator'), name='nobody_skips_an_item_twice'),
        ),
        migrations.AddIndex(
            model_name='slot',
            index=models.Index(condition=models.Q(models.Q(('state', 'done'), _negated=True), ('gold', False)), fields=['project', '-restricted', '-priority', 'random_key', 'id'], name='slots_to_claim'),
        ),
        migrations.AddIndex(
            model_name='slot',
            index=models.Index(condition=models.Q(models.Q(('state', 'done'), _negated=True), ('gold', False)), fields=['project', 'control_key', 'id'], name='slots_for_control'),
        ),
        migrations.AddIndex(
            model_name='slot',
            index=models.Index(condition=models.Q(('state', 'leased')), fields=['annotator', 'project'], name='slots_leased'),
        ),
        migrations.AddConstraint(
            model_name='slot',
            constraint=models.UniqueConstraint(fields=('item', 'annotator'), name='nobody_judges_an_item_twice'),
        ),
        migrations.AddConstraint(
            model_name='slot',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('annotator', None), ('gold', False), ('leased_until', None), ('shown_order', None), ('state', 'open'), ('token', None)), models.Q(('annotator__isnull', False), ('leased_until__isnull', False), ('state', 'leased'), ('token__isnull', False)), models.Q(('annotator__isnull', False), ('state', 'done')), _connector='OR'), name='a_slot_is_open_leased_or_done'),
        ),
        migrations.AddIndex(
            model_name='judgment',
            index=models.Index(fields=['annotator', 'created_at'], name='judgments_of_a_day'),
        ),
        migrations.AddConstraint(
            model_name='judgment',
            constraint=models.UniqueConstraint(fields=('annotator', 'idempotency_key'), name='a_submit_counts_once'),
        ),
        migrations.AddConstraint(
            model_name='judgment',
            constraint=models.UniqueConstraint(condition=models.Q(('supersedes', None)), fields=('item', 'annotator'), name='one_judgment_per_person_and_item'),
        ),
        migrations.AddConstraint(
            model_name='judgment',
            constraint=models.UniqueConstraint(condition=models.Q(('supersedes', None)), fields=('slot',), name='one_judgment_per_slot'),
        ),
        migrations.AddConstraint(
            model_name='judgment',
            constraint=models.CheckConstraint(condition=models.Q(('seconds__gte', 0)), name='time_on_task_is_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='snapshot',
            constraint=models.UniqueConstraint(fields=('project', 'number'), name='snapshot_numbers_are_unique'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['next_at'], name='deliveries_that_wait'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['webhook', 'id'], name='deliveries_of_a_webhook'),
        ),
        migrations.AddIndex(
            model_name='agreement',
            index=models.Index(fields=['project', 'share', 'item'], name='items_by_agreement'),
        ),
        migrations.RunSQL(CREATE_TRIGGERS, DROP_TRIGGERS),
    ]
