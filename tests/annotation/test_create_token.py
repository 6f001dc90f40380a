from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from annotation.models import ApiToken
from tests.base import PalateTestCase


class CreateTokenTests(PalateTestCase):
    def test_it_prints_a_key_that_works(self) -> None:
        out = StringIO()
        call_command("create_token", "bob", "--scope", "annotate", "--days", "3", stdout=out)
        [key] = out.getvalue().split()
        token = ApiToken.objects.get()
        assert (token.user, token.scope, token.name) == (self.bob, "annotate", "command line")
        assert token.expires_at is not None
        script = Client(headers={"Authorization": f"Bearer {key}"})
        assert script.get("/api/v1/projects/").json()[0]["slug"] == "helpfulness"

    def test_what_is_wrong_is_said(self) -> None:
        for arguments, words in (
            (["nobody"], "no active user called 'nobody'"),
            (["bob", "--days", "0"], "--days"),
            (["bob", "--name", ""], "--name"),
            (["bob", "--scope", "all"], "invalid choice"),
        ):
            with pytest.raises(CommandError, match=words):
                call_command("create_token", *arguments)
        assert not ApiToken.objects.exists()
