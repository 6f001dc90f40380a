from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from palate_client import verified

from annotation.actions import import_rows, safe_http, webhook_delivery, webhooks
from annotation.actions.webhooks import WebhookError
from annotation.models import AuditEntry, Delivery, Item, Prompt, Webhook
from config.log_context import log_ids
from tests import builders
from tests.base import PalateTestCase
from tests.patience import HANGS_S
from tests.processes import until


class Receiver:
    """A real server that keeps what it is told and answers as it is asked to."""

    def __init__(self) -> None:
        self.status = 204
        self.text = b""
        self.heard: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heard.append((dict(self.headers), body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", str(len(receiver.text)))
                self.end_headers()
                self.wfile.write(receiver.text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=b"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@override_settings(WEBHOOKS_TO_PRIVATE=True)
class DeliveryTests(PalateTestCase):
    def setUp(self) -> None:
        self.receiver = Receiver()
        self.addCleanup(self.receiver.server.server_close)
        self.addCleanup(self.receiver.server.shutdown)

    def hook(self, *events: str) -> Webhook:
        return webhooks.add(project=self.project, url=self.receiver.url, events=events, creator=self.alice)

    def received(self) -> list[Any]:
        return [json.loads(body) for _, body in self.receiver.heard]

    def settle(self) -> None:
        """Rows count as settled at once."""
        self.enterContext(patch.object(webhook_delivery, "SETTLE_TIME", timedelta(0)))

    def test_a_message_is_signed_and_noted(self) -> None:
        hook = self.hook("snapshot.frozen")
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        assert webhook_delivery.send_due() == 1
        ((headers, body),) = self.receiver.heard
        assert verified(hook.secret, body, headers["Palate-Signature"])
        assert not verified("another", body, headers["Palate-Signature"])
        assert not verified(hook.secret, body + b" ", headers["Palate-Signature"])
        assert not verified(hook.secret, body, headers["Palate-Signature"], tolerance_s=-1)
        said = json.loads(body)
        assert (said["event"], said["project"], said["data"]) == (
            "snapshot.frozen",
            "helpfulness",
            {"number": 1},
        )
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.status, delivery.attempts) == ("delivered", 204, 1)
        assert webhook_delivery.send_due() == 0

    def test_what_nobody_wants_to_know_is_not_told(self) -> None:
        self.hook("snapshot.frozen")
        webhook_delivery.notify(self.project, "model.promoted", model="m")
        webhook_delivery.notify(builders.project(self.alice, "Other"), "snapshot.frozen", number=1)
        Webhook.objects.update(active=False)
        webhook_delivery.notify(self.project, "snapshot.frozen", number=2)
        assert not Delivery.objects.exists()

    def test_a_message_names_the_request_that_led_to_it(self) -> None:
        self.hook("snapshot.frozen")
        with log_ids(request_id="abc-1"):
            webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        webhook_delivery.send_due()
        ((headers, body),) = self.receiver.heard
        assert json.loads(body)["request_id"] == headers["X-Request-ID"] == "abc-1"

    def test_judgments_and_items_are_told_once_in_batches(self) -> None:
        self.settle()
        self.hook("judgment.created", "items.created")
        builders.items(self.project, 150)
        judgment = builders.judgment(self.project, self.bob)
        while webhook_delivery.notify_of_new_rows():
            pass
        webhook_delivery.send_due()
        by_event: dict[str, list[Any]] = {}
        for said in self.received():
            by_event.setdefault(said["event"], []).append(said["data"])
        assert [len(data["items"]) for data in by_event["items.created"]] == [100, 50]
        assert len(Item.objects.all()) == 150
        assert by_event["judgment.created"] == [
            {
                "judgments": [
                    {
                        "judgment": judgment.pk,
                        "item": judgment.item_id,
                        "prompt": judgment.item.prompt.external_id,
                        "by": self.bob.pseudonym,
                        "replaces": None,
                    }
                ]
            }
        ]
        assert webhook_delivery.notify_of_new_rows() == 0

    def test_a_webhook_is_not_told_of_what_was_before_it(self) -> None:
        self.settle()
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        self.hook("judgment.created", "items.created")
        assert webhook_delivery.notify_of_new_rows() == 0

    def test_what_does_not_arrive_is_sent_again_after_longer_and_longer_waits(self) -> None:
        self.hook("snapshot.frozen")
        self.receiver.status = 500
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        waits = []
        for _ in range(webhook_delivery.MAX_ATTEMPTS):
            Delivery.objects.update(next_at=timezone.now())
            assert webhook_delivery.send_due() == 1
            delivery = Delivery.objects.get()
            waits.append((delivery.next_at - timezone.now()).total_seconds())
        assert waits[:4] == pytest.approx([15, 60, 240, 960], abs=3)
        assert timedelta(days=3.7) < timedelta(seconds=sum(waits[:-1])) < timedelta(days=4)
        assert (delivery.state, delivery.status, delivery.problem) == ("failed", 500, "It answered 500.")
        assert len(self.receiver.heard) == webhook_delivery.MAX_ATTEMPTS
        self.receiver.status = 200
        webhook_delivery.redeliver(delivery)
        webhook_delivery.send_due()
        assert Delivery.objects.get().state == "delivered"

    def test_how_it_was_answered_is_noted(self) -> None:
        self.hook("snapshot.frozen")
        self.receiver.status, self.receiver.text = 500, b"No\n such\0 \xff\x1b " + b"word " * 300
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        webhook_delivery.send_due()
        delivery = Delivery.objects.get()
        assert delivery.answer == ("No such \N{REPLACEMENT CHARACTER} " + "word " * 100)[:300]
        assert delivery.tried_at is not None
        assert delivery.delivered_at is None

    def test_a_test_arrives_whatever_it_is_told_of(self) -> None:
        webhook_delivery.send_test(self.hook("model.promoted"))
        webhook_delivery.send_due()
        ((headers, _),) = self.receiver.heard
        assert headers["Palate-Event"] == "test"
        assert self.received()[0]["data"] == {}
        assert Delivery.objects.get().state == "delivered"

    def test_of_an_event_that_is_added_later_it_is_told_from_then_on(self) -> None:
        self.settle()
        hook = self.hook("items.created")
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        both = ["judgment.created", "items.created"]
        webhooks.change_events(webhook=hook, events=both, actor=self.alice)
        builders.judgment(self.project, self.bob)
        while webhook_delivery.notify_of_new_rows():
            pass
        told = {one.event: one.body["data"] for one in Delivery.objects.all()}
        assert len(told["items.created"]["items"]) == 2  # it listened to these all along
        assert len(told["judgment.created"]["judgments"]) == 1
        with pytest.raises(WebhookError, match="not an event"):
            webhooks.change_events(webhook=hook, events=["rain"], actor=self.alice)

    def test_the_log_forgets_what_is_over_and_old(self) -> None:
        hook = self.hook("snapshot.frozen")
        old, waiting, new = (webhook_delivery.send_test(hook) for _ in range(3))
        long_ago = timezone.now() - timedelta(days=31)
        Delivery.objects.filter(pk__in=[old.pk, waiting.pk]).update(created_at=long_ago)
        Delivery.objects.filter(pk__in=[old.pk, new.pk]).update(state="delivered")
        assert webhook_delivery.delete_old_deliveries() == 1
        assert set(Delivery.objects.values_list("pk", flat=True)) == {waiting.pk, new.pk}

    def test_a_redirect_is_not_followed(self) -> None:
        self.hook("snapshot.frozen")
        self.receiver.status = 307
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        webhook_delivery.send_due()
        assert Delivery.objects.get().problem == "It answered 307."
        assert len(self.receiver.heard) == 1

    def test_a_server_that_is_away_is_said(self) -> None:
        self.hook("snapshot.frozen")
        self.receiver.server.shutdown()
        self.receiver.server.server_close()
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        webhook_delivery.send_due()
        assert "does not answer" in Delivery.objects.get().problem

    def test_a_server_that_answers_a_byte_at_a_time_is_given_up(self) -> None:
        self.hook("snapshot.frozen")
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        for answer in (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90, b"HTTP/1.1 200 " + b"O" * 900):
            with dripping(answer) as (url, sent), patch.object(safe_http, "TIMEOUT_S", 0.5):
                with pytest.raises(safe_http.Refused, match=r"not within 0\.5 seconds"):
                    safe_http.post(url, b"{}", {})
                assert len(sent) < len(answer), "it is not waited for to the end"

    def test_a_server_that_does_not_answer_is_asked_once_and_the_others_are_told(self) -> None:
        hook = self.hook("snapshot.frozen")
        Webhook.objects.filter(pk=hook.pk).update(url="http://127.0.0.1:1/")
        self.hook("snapshot.frozen")
        for number in range(3):
            webhook_delivery.notify(self.project, "snapshot.frozen", number=number)
        assert webhook_delivery.send_due() == 4
        assert len(self.receiver.heard) == 3
        assert sorted(hook.deliveries.values_list("attempts", flat=True)) == [0, 0, 1]

    def test_a_message_is_taken_when_it_is_sent_and_not_before(self) -> None:
        """Sending takes its time: what another worker would take up meanwhile is told twice."""
        self.hook("snapshot.frozen")
        for number in range(3):
            webhook_delivery.notify(self.project, "snapshot.frozen", number=number)
        taken: list[int] = []
        post = safe_http.post

        def slowly(*arguments: Any) -> int:
            taken.append(Delivery.objects.filter(attempts=1, state="waiting").count())
            return post(*arguments)

        with patch.object(safe_http, "post", slowly):
            webhook_delivery.send_due()
        assert taken == [1, 1, 1]

    def test_of_what_happens_while_it_is_paused_it_is_not_told(self) -> None:
        self.settle()
        hook = self.hook("judgment.created", "items.created", "snapshot.frozen")
        webhook_delivery.notify(self.project, "snapshot.frozen", number=1)
        webhooks.set_active(webhook=hook, active=False, actor=self.alice)
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        assert webhook_delivery.send_due() == 0
        for _ in range(2):
            webhooks.set_active(webhook=hook, active=True, actor=self.alice)
        assert webhook_delivery.notify_of_new_rows() == 0
        builders.judgment(self.project, self.bob)
        assert webhook_delivery.notify_of_new_rows() == 1
        webhook_delivery.send_due()
        assert [said["event"] for said in self.received()] == ["snapshot.frozen", "judgment.created"]

    def test_what_is_done_with_a_webhook_is_noted_without_the_keys_in_its_address(self) -> None:
        hook = self.hook("snapshot.frozen")
        for active in (False, False, True):
            webhooks.set_active(webhook=hook, active=active, actor=self.alice)
        webhooks.remove(webhook=hook, actor=self.alice)
        audit_entries = AuditEntry.objects.filter(verb__startswith="webhook.").order_by("id")
        verbs = [entry.verb.removeprefix("webhook.") for entry in audit_entries]
        assert verbs == ["added", "paused", "resumed", "removed"]
        assert {(entry.actor, entry.subject, entry.project) for entry in audit_entries} == {
            (self.alice, "127.0.0.1", self.project)
        }


@pytest.mark.parametrize(
    "header",
    ["", "t", "t=,v1=", "t={now},v1=", "t={now},v1=é", "t={now},v1=\udce9", "t=-1,v1=00", "t=²,v1=00"]
    + [f"t={'9' * digits},v1=00" for digits in (400, 5_000)],
)
def test_what_is_no_signature_is_not_verified_whatever_it_is(header: str) -> None:
    assert verified("whsec_x", b"{}", header.format(now=int(time.time()))) is False


@contextmanager
def dripping(answer: bytes) -> Iterator[tuple[str, list[int]]]:
    """The address of a server that sends a byte of its answer every 50 ms, and the bytes that it has sent."""
    sent: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            line, _ = server.accept()
            with line, suppress(OSError):
                for byte in answer:
                    line.sendall(bytes([byte]))
                    sent.append(byte)
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", sent


@pytest.mark.django_db(transaction=True)
def test_items_of_a_long_import_are_told_of_after_others_that_came_meanwhile() -> None:
    """Its rows have lower ids than theirs, and turn up later."""
    alice = builders.user("alice")
    project = builders.project(alice)
    hook = webhooks.add(project=project, url="https://example.com/", events=["items.created"], creator=alice)
    over = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield from builders.lines({"id": "slow", "prompt": "Why?", "responses": ["So.", "Ask her."]})
        over.wait(HANGS_S)

    def newest_id() -> tuple[int, bool]:
        """Of items; a sequence is no part of a transaction."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value, is_called FROM annotation_item_id_seq")
            return cursor.fetchone()

    before = newest_id()

    def long_import() -> None:
        import_rows.import_lines(project=project, lines=slowly())
        connection.close()

    with (
        patch.object(webhook_delivery, "SETTLE_TIME", timedelta(0)),
        patch.object(import_rows, "BATCH_BYTES", 1),
    ):
        other = threading.Thread(target=long_import)
        other.start()
        try:
            until(lambda: newest_id() != before, "the import has written its first item")
            prompt = Prompt.objects.create(project=project, external_id="quick", messages=[], split="train")
            Item.objects.create(project=project, prompt=prompt)
            assert webhook_delivery.notify_of_new_rows() == 0
        finally:
            over.set()
            other.join()
        assert webhook_delivery.notify_of_new_rows() == 1
    told = [item["external_id"] for item in hook.deliveries.get().body["data"]["items"]]
    assert told == ["slow", "quick"]


@override_settings(WEBHOOKS_TO_PRIVATE=False)
class PrivateTests(PalateTestCase):
    def test_addresses_of_this_network_are_refused_at_once(self) -> None:
        for url in (
            *(
                "http://127.0.0.1/",
                "http://localhost:8000/",
                "http://10.1.2.3/",
                "http://[::1]/",
                "http://169.254.169.254/",
            ),
            *(
                "http://[::ffff:10.0.0.1]/",
                "http://[64:ff9b::a00:1]/",
                "http://[2002:a00:1::]/",
                "http://0.0.0.0/",
            ),
            *("http://100.64.0.1/", "http://224.0.0.1/", "http://printer.local/"),
        ):
            with pytest.raises(WebhookError, match="private network"):
                webhooks.add(project=self.project, url=url, events=["snapshot.frozen"], creator=self.alice)

    def test_what_is_no_web_address_is_refused(self) -> None:
        for url in (
            "",
            "ftp://example.com/",
            "https://",
            "https://a b/",
            "https://u:p@example.com/",
            "https://[",
            "https://é.com/",
        ):
            with pytest.raises(WebhookError) as refused:
                webhooks.add(project=self.project, url=url, events=["snapshot.frozen"], creator=self.alice)
            assert refused.value.field == "url"
        for events in ([], ["nothing"]):
            with pytest.raises(WebhookError) as refused:
                webhooks.add(
                    project=self.project, url="https://example.com/", events=events, creator=self.alice
                )
            assert refused.value.field == "events"

    def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_checked(self) -> None:
        asked: list[str] = []

        def answers(*addresses: str) -> Callable[..., Any]:
            def resolve(host: str, port: int, **_: Any) -> Any:
                asked.append(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

            return resolve

        with (
            patch.object(socket, "getaddrinfo", answers("127.0.0.1")),
            pytest.raises(safe_http.Refused, match="private"),
        ):
            safe_http.post("http://rebind.example.com/", b"", {})
        with (
            patch.object(socket, "getaddrinfo", answers("93.184.216.34", "10.0.0.1")),
            pytest.raises(safe_http.Refused, match="private"),
        ):
            safe_http.post("http://rebind.example.com/", b"", {})
        asked.clear()
        connected: list[Any] = []

        def connect(address: Any, _: float) -> Any:
            connected.append(address)
            raise ConnectionRefusedError("not here")

        with (
            patch.object(socket, "getaddrinfo", answers("93.184.216.34")),
            patch.object(socket, "create_connection", connect),
            pytest.raises(safe_http.Refused, match="does not answer"),
        ):
            safe_http.post("http://public.example.com/", b"", {})
        assert (asked, connected) == (["public.example.com"], [("93.184.216.34", 80)])

    def test_public_addresses_are_public(self) -> None:
        for text in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"):
            assert safe_http.is_public(ipaddress.ip_address(text)), text
