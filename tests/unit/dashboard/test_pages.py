"""Pages from given shapes: every state, and nothing that strangers chose acts in them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from holdfast.dashboard.shown import Filters
from holdfast.dashboard.templates import Templates
from holdfast.dashboard.topics import times_of
from holdfast.dashboard.words import ago_text, health, is_command
from holdfast.errors import HoldfastError
from holdfast.model.copy import CopyReport, VolumeCopy
from holdfast.model.drill import LastDrill, phases_of
from holdfast.model.finding import Finding, Verdict
from holdfast.model.history import HistoryReport
from holdfast.model.plan import Cause, Plan, PlannedStep, StepName, Strategy
from holdfast.model.policy import Attempt, OnLoss, OnWorse, Policy
from holdfast.model.receipt import Receipt
from holdfast.model.served import (
    AlertsShown,
    DestinationShown,
    DrillsShown,
    JobShown,
    MomentShown,
    PolicyShown,
    ProcessShown,
    RestorationShown,
    ShownVolume,
    StandingShown,
    StepShown,
    StoppedShown,
    UserShown,
    UsersShown,
    WatchShown,
)
from holdfast.model.trouble import Trouble
from holdfast.model.volume import GateReport, LegReport, LegState, VolumeState

HOSTILE = "</code><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\x1b[31m\udce9"
SHOWN = "</code><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\\u202e\\x1b[31m\\xe9"
TEMPLATES = Templates("/base")


class Reader(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        text.encode()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(template: str, /, **values: Any) -> Reader:
    found = Reader(TEMPLATES.page(template, **values))
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "script":
            assert (attributes["src"] or "").startswith("/base/static/")
        assert tag != "img"
        for name in ("href", "action"):
            assert (attributes.get(name) or "/base/").startswith(("/base/", "#"))
    return found


def volume(
    name: str = "shop", state: VolumeState = VolumeState.HEALTHY, **more: Any
) -> ShownVolume:
    values: dict[str, Any] = {
        "kind": "gated", "mount": "/srv/shop", "filesystem": "ext4", "size_bytes": 1 << 30,
        "device": "/dev/loop0", "id": "1", "options": "", "label": "", "uuid": "",
        "journal": "unflushed", "epoch": 1,
    }  # fmt: skip
    return ShownVolume(name=name, state=state, **{**values, **more})


def gate(**more: Any) -> GateReport:
    values: dict[str, Any] = {
        "keeper_pid": 1, "worker_pid": 2, "held": False, "hold_reason": "", "hold_deadline": None,
        "in_flight": 0, "takeovers": 0, "errors_returned": 0, "longest_wait_ms": 1.0,
    }  # fmt: skip
    return GateReport(**{**values, **more})


def receipt(**more: Any) -> Receipt:
    values: dict[str, Any] = {
        "id": "abcdef", "volume": "shop", "strategy": "failover", "cause": "errors",
        "started": 1.7e9, "finished": 1.7e9 + 1, "outcome": "continued",
    }  # fmt: skip
    return Receipt(**{**values, **more})


def overview(*volumes: ShownVolume, **more: Any) -> Reader:
    words, tone = health(volumes)
    values: dict[str, Any] = {
        "volumes": volumes, "watch": WatchShown(True, ("mail",), 0), "restorations": (),
        "jobs": (), "receipts": (), "health": words, "health_tone": tone,
    }  # fmt: skip
    return page("overview_part.html", **{**values, **more})


@pytest.mark.parametrize("state", VolumeState)
def test_every_state_is_a_word(state: VolumeState) -> None:
    legs = tuple(LegReport(n, "x", f"file:/{n}", each) for n, each in enumerate(LegState, 1))
    shown = volume(state=state, legs=legs, gate=gate(held=True, in_flight=7))
    assert f" {state}" in overview(shown).text
    part = page("volume_part.html", volume=shown, restorations=(), receipts=())
    for each in LegState:
        assert f" {each}" in part.text


def test_health_and_what_mends_it() -> None:
    assert "there is no volume yet" in overview().text
    assert "all volumes are well" in overview(volume()).text
    ill = volume("books", troubles=(Trouble("books", "it is sick", "holdfast recover"),))
    found = overview(volume(), ill, watch=WatchShown(False, (), 3))
    assert "1 of 2 volumes needs attention" in found.text
    assert "it is sick" in found.text and "holdfast recover" in found.text
    assert "Nobody watches" in found.text and "Nobody would be told" in found.text
    mild = replace(ill, troubles=(replace(ill.troubles[0], grave=False),))
    assert (health((ill,))[1], health((mild,))[1]) == ("bad", "warn")


def test_commands_can_be_typed_and_nothing_else_looks_like_one() -> None:
    assert is_command("holdfast volume attach shop")
    assert not is_command("Bring the storage of a leg back; holdfast volume show shop names them.")
    assert not is_command("See holdfast history shop; --off ends it.")
    assert is_command('holdfast restore shop --at "2026-11-29 12:00:00+00:00"')
    assert is_command("holdfast policy set shop --from block:/dev/vg/shop")
    for end in ("; reboot", "$(reboot)", "`reboot`", "& reboot", "> /etc/passwd", "\nreboot", "'a",
                "a\u202eb", "a\x1b[31m", "\\", "*", "!1", "# a"):  # fmt: skip
        assert not is_command(f"holdfast volume attach shop {end}")


def test_what_strangers_chose_only_stands_there() -> None:
    hostile = volume(
        HOSTILE, mount=HOSTILE, filesystem=HOSTILE, device=HOSTILE, gate=gate(hold_reason=HOSTILE),
        legs=(LegReport(1, HOSTILE, HOSTILE, LegState.FAILED, 5.0, HOSTILE),),
        troubles=(Trouble(HOSTILE, HOSTILE, HOSTILE), Trouble("x", HOSTILE, f"holdfast {HOSTILE}")),
    )  # fmt: skip
    told = receipt(volume=HOSTILE, strategy=HOSTILE, cause=HOSTILE, outcome=HOSTILE, id=HOSTILE)
    process = ProcessShown(1, HOSTILE)
    under_way = RestorationShown(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1.7e9, HOSTILE,
        (StepShown(HOSTILE, HOSTILE, 1.7e9, 1.0, HOSTILE),), 1.7e9, 1.7e9, 1.0, (process,),
    )  # fmt: skip
    job = JobShown("x", HOSTILE, {"volume": HOSTILE}, 1, 1.7e9, said=HOSTILE, percent=5.0)
    found = overview(hostile, restorations=(under_way,), jobs=(job,), receipts=(told,))
    assert found.text.count(SHOWN) > 10
    part = page("volume_part.html", volume=hostile, restorations=(under_way,), receipts=(told,))
    assert part.text.count(SHOWN) > 10
    step = page("restoration_part.html", restoration=under_way, now=1.7e9)
    assert step.text.count(SHOWN) > 5
    for name in ("receipt.html", "restoration_end.html"):
        assert page(name, receipt=told).text.count(SHOWN) > 3
    filters = Filters(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    listed = page("receipts.html", receipts=(told,), filters=filters, older=HOSTILE, error=None)
    assert ("input", {"name": "since", "value": SHOWN, "placeholder": "2h ago",
                      "autocomplete": "off"}) in listed.tags  # fmt: skip
    error = HoldfastError(HOSTILE, HOSTILE)
    assert page("problem.html", error=error, again=True).text.count(SHOWN) == 2
    copy = VolumeCopy("x", HOSTILE, "x", HOSTILE, 1, 1, 1.7e9, 1)
    rest = page(
        "volume_rest.html", volume=hostile, history=HistoryReport(HOSTILE, "written", HOSTILE,
        reason=HOSTILE, findings=(HOSTILE,)), history_reason="", line=None, chosen=None,
        copies=(CopyReport(copy, HOSTILE, HOSTILE),), points=(), users_reason="",
        users=UsersShown("x", "x", (UserShown(1, HOSTILE, HOSTILE, {HOSTILE: 1}, 1),), 3, {}),
    )  # fmt: skip
    assert rest.text.count(SHOWN) > 6
    finding = Finding(HOSTILE, Verdict.BLOCKS, HOSTILE, HOSTILE, HOSTILE)
    judged = moment(
        volume=HOSTILE, copy=HOSTILE, refused=HOSTILE, mend=f"holdfast {HOSTILE}",
        plan=plan(findings=(finding,), steps=(PlannedStep(StepName.FREEZE, HOSTILE),)),
        processes=(StoppedShown(1, HOSTILE, {HOSTILE: 1}),),
    )  # fmt: skip
    ends = [
        {"end": "finished", "result": {"strategy": HOSTILE, "id": HOSTILE, "outcome": HOSTILE}},
        {"end": "finished", "result": [HOSTILE]}, {"end": HOSTILE, "words": HOSTILE},
        {"end": "failed", "message": HOSTILE, "mend": f"holdfast {HOSTILE}"},
    ]  # fmt: skip
    jobs = page("jobs_part.html", running=(job,), restorations=(under_way,), now=1.7e9,
                ended=[replace(job, ended=1.7e9, end=end) for end in ends])  # fmt: skip
    assert jobs.text.count(SHOWN) == 19
    phase = {"name": HOSTILE, "measured_ms": 5.0}
    drilled = replace(told, details={"phases": [phase], "mend": HOSTILE, "last_pause": HOSTILE,
                                     "predicted_pause_ms": HOSTILE})  # fmt: skip
    drill = DrillsShown(HOSTILE, True, 3600.0, 1.7e9, HOSTILE, drilled, drilled, drilled)
    bare = replace(drill, last=None, every_seconds=None)
    drills = page("drills_part.html", drills=(drill, bare, replace(bare, can_be_drilled=False)),
                  now=1.7e9, times=times_of, phases=phases_of)  # fmt: skip
    assert drills.text.count(SHOWN) > 12
    attempt = Attempt(HOSTILE, 1, 1.7e9, words=HOSTILE, mend=HOSTILE)
    restores = Policy(OnLoss.RESTORE, f"{HOSTILE}1", HOSTILE)
    policy = PolicyShown(HOSTILE, restores, attempt, HOSTILE, HOSTILE, HOSTILE,
                         LastDrill(HOSTILE, 1.7e9, True, HOSTILE), False)  # fmt: skip
    policies = page("policies_part.html", watches=False, policies=[
        (HOSTILE, policy, ""), (HOSTILE, None, HOSTILE),
        (HOSTILE, replace(policy, policy=Policy(), has_gate=True), "")])  # fmt: skip
    assert policies.text.count(SHOWN) > 15
    standing = StandingShown(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1.7e9, None, grave=True)
    alerts = AlertsShown(False, (DestinationShown(HOSTILE, HOSTILE, 2, 3),), (standing,))
    page_of_alerts = page("alerts_part.html", alerts=alerts, now=1.7e9,
                          unknown=(Trouble(HOSTILE, HOSTILE, HOSTILE),))  # fmt: skip
    assert page_of_alerts.text.count(SHOWN) > 7
    part = page("moment_part.html", moment=judged, words=HOSTILE, at=HOSTILE, now=1.7e9)
    assert part.text.count(SHOWN) > 10


def test_drills_are_predicted_and_measured() -> None:
    phases = [{"name": "read all of it", "measured_ms": 719.4, "predicted_ms": 1300.0},
              {"name": "remove it", "measured_ms": 74.8, "predicted_ms": 84.6}]  # fmt: skip
    last = receipt(strategy="drill", outcome="done: it would", details={
        "phases": phases, "predicted_pause_ms": 2e3, "last_pause": {"measured_ms": 1500.0},
    })  # fmt: skip
    shown = DrillsShown("shop", True, 604800.0, 2e9, "/bin/check", last, None, None)
    found = page("drills_part.html", drills=(shown,), now=1.9e9, times=times_of, phases=phases_of)
    for words in ("worked", "1.3 s", "719.4 ms", "1.4 s", "794.2 ms", "2.0 s",
                  "1.5 s in its last", "2033-05-18", "every 7 days", "/bin/check"):  # fmt: skip
        assert words in found.text
    failed = receipt(outcome="failed: no", details={"mend": "holdfast copy list shop"})
    broken = replace(shown, last=failed, every_seconds=None, next_at=None)
    found = page("drills_part.html", drills=(broken,), now=1.9e9, times=times_of, phases=phases_of)
    for words in ("failed: no", "holdfast copy list shop", "holdfast drill shop --every 7d"):
        assert words in found.text


def test_policies_say_what_would_happen_and_why() -> None:
    drill = LastDrill("abc", 1.7e9, True, "done: it would")
    quiet = Policy(on_worse=OnWorse.REPLACE, quiet="22:00-06:00", quiet_zone="Europe/Berlin")
    held = PolicyShown("shop", quiet, None, "nothing", "its policy says so", "", None, True)
    taken = Policy(OnLoss.RESTORE, "file:/c.img", after_seconds=30.0)
    restores = PolicyShown("data", taken, None, "restore", "contents of file:/c.img", "", drill,
                           has_gate=False)  # fmt: skip
    found = page("policies_part.html", watches=True, policies=[
        ("shop", held, ""), ("data", restores, ""), ("gone", None, "it hangs")])  # fmt: skip
    for words in ("would only tell", "its policy says so", "takes a spare", "would restore",
                  "30 s without a break", "2 days old at most", "dead-mount, read-only",
                  "it hangs", "replaced by a spare",
                  "22:00-06:00", "Europe/Berlin",
                  "holdfast policy set shop --on-loss restore"):  # fmt: skip
        assert words in found.text
    assert "Nobody watches" not in found.text


def test_alerts_say_who_is_told_of_what() -> None:
    standing = StandingShown("shop", "leg 1", "leg 1 is gone", "holdfast leg", 1.7e9, 1.7e9, True)
    alerts = AlertsShown(True, (DestinationShown("mail", "ops@example.org", 0, 0),), (standing,))
    new = Trouble("books", "it is sick", "")
    found = page("alerts_part.html", alerts=alerts, now=1.7e9 + 60, unknown=(new,))
    for words in ("leg 1 is gone", "told 60 s ago", "it is sick", "not told yet",
                  "ops@example.org", "nothing waits"):  # fmt: skip
        assert words in found.text
    nobody = page("alerts_part.html", alerts=AlertsShown(False, (), ()), now=1.7e9, unknown=())
    assert "Nobody watches" in nobody.text and "holdfast alert add" in nobody.text


def plan(**more: Any) -> Plan:
    values: dict[str, Any] = {
        "volume": "shop", "strategy": Strategy.REWIND, "cause": Cause.PLANNED, "steps": (),
        "deadline_seconds": 60.0, "pause_budget_seconds": 30.0, "predicted_pause_seconds": 1.25,
    }  # fmt: skip
    return Plan(**{**values, **more})


def moment(**more: Any) -> MomentShown:
    values: dict[str, Any] = {
        "volume": "shop", "at": "noon", "moment": None, "position": 4096, "copy": "file:/c.img",
        "copy_made": 1.7e9, "history_bytes": 1 << 20, "written": None, "plan": plan(),
        "refused": "", "mend": "", "processes": (), "more": 0,
    }  # fmt: skip
    return MomentShown(**{**values, **more})


def test_no_command_to_go_back_where_that_would_be_refused() -> None:
    limited = Finding("moment", Verdict.LIMITED, "the last write", "what was written since")
    user = StoppedShown(7, "postgres", {"kept": 3})
    shown = moment(plan=plan(findings=(limited,)), processes=(user,), more=2)
    found = page("moment_part.html", moment=shown, words="noon", at="noon", now=1.7e9)
    for words in ("1.2 s predicted", "postgres", "3 kept", "and 2 more", "the last write",
                  "holdfast restore shop --at noon", "holdfast clone shop shop-then"):  # fmt: skip
        assert words in found.text
    for plan_of_it in (plan(strategy=Strategy.REFUSE), None):
        refused = moment(plan=plan_of_it, refused="a database", mend="Stop it.")
        found = page("moment_part.html", moment=refused, words="noon", at="noon", now=1.7e9)
        assert "a database" in found.text and "Stop it." in found.text
        assert "holdfast restore" not in found.text
        assert "holdfast clone shop shop-then" in found.text


def test_the_whole_page_of_a_volume() -> None:
    found = page("volume.html", part=TEMPLATES_PART, name="shop")
    scripts = [attributes["src"] for tag, attributes in found.tags if tag == "script"]
    assert len(scripts) == 4
    for source in scripts:
        name = re.split(r"[/?]", source or "")[3]
        assert name in TEMPLATES.files


class TEMPLATES_PART:  # noqa: N801 (what `shown.volume` gives)
    html = "<p>part</p>"


def test_a_restoration_says_how_long_they_stand_still() -> None:
    steps = (StepShown("freeze", "finished", 100.0, 0.25, "3 processes"),
             StepShown("restore", "started", 100.5), StepShown("thaw", "waiting"))  # fmt: skip
    shown = RestorationShown("i", "shop", "migrate", "planned", 90.0, "running", steps, 100.0,
                             160.0, 0.5, (ProcessShown(7, "postgres"),))  # fmt: skip
    found = page("restoration_part.html", restoration=shown, now=102.0)
    for words in ("2.0 s", "58.0 s at most", "500.0 ms", "250.0 ms", "1.5 s", "postgres"):
        assert words in found.text
    preparing = replace(shown, frozen_at=None, deadline=None, stage="preparing", processes=(),
                        predicted_pause_seconds=None)  # fmt: skip
    assert "not yet" in page("restoration_part.html", restoration=preparing, now=102.0).text


def test_history_that_is_off_says_how_to_keep_one() -> None:
    found = page(
        "volume_rest.html", volume=volume(), history=HistoryReport("shop", "off"),
        history_reason="", line=None, chosen=None, copies=(), points=(),
        users=None, users_reason="it is not attached",
    )  # fmt: skip
    assert "holdfast history shop --at" in found.text
    assert "it is not attached" in found.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (89, "89 s ago"), (600, "10 min ago"), (7200, "2 h ago"),
     (200000, "2 days ago"), (-5, "0 s ago")],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    now = time.time()
    assert ago_text(now - seconds, now) == text
