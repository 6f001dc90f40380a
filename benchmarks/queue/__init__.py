"""The annotators' hot loop by HTTP, beside Label Studio and beside what Django and PostgreSQL alone can do."""
