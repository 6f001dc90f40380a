"""The database itself refuses to change or delete what people said, and what was frozen of it."""

from __future__ import annotations

from django.db import migrations

TABLES = [
    "annotation_judgment",
    "annotation_placement",
    "annotation_snapshot",
    "annotation_guideline",
    "annotation_response",
]

FORWARDS = """
CREATE FUNCTION palate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: rows of it are never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION palate_refuse_change();\n"
    for table in TABLES
)
BACKWARDS = (
    "".join(f"DROP TRIGGER append_only ON {table};\n" for table in TABLES)
    + "DROP FUNCTION palate_refuse_change();"
)


class Migration(migrations.Migration):
    dependencies = [("annotation", "0001_initial")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
