"""The pages beside the chat: they show what the API says, and do what their buttons say."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from browser.consolepage import Complaints, Console
from browser.samples import (
    ADMIN,
    JOBS,
    KEY,
    MEMBER,
    OWNER,
    days,
    in_use,
    job_events,
    listed,
    usage_rows,
)
from browser.scripted import Call, Script, ScriptedGateway

TOO_WIDE = """root => [...root.querySelectorAll('*')].filter((element) =>
  element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('pre, .table-frame, .chart')
).map((element) => element.outerHTML.slice(0, 100))"""
FAILED_LOAD = "Failed to load resource"


@pytest.fixture
def admin(closed_console: Console, script: Script) -> Console:
    in_use(script)
    closed_console.open("sk-ops")
    return closed_console


@pytest.fixture
def member(closed_console: Console, script: Script) -> Console:
    in_use(script, MEMBER)
    closed_console.open("sk-ops")
    return closed_console


def bodies(script: Script, name: str) -> list[Any]:
    return [call.body for call in script.calls if f"{call.method} {call.path}" == name]


def rows(table: Locator) -> list[list[str]]:
    """The cells of a table's body."""
    return [row.locator("td, th").all_inner_texts() for row in table.locator("tbody tr").all()]


def table(console: Console, name: str | re.Pattern[str]) -> Locator:
    return console.page.get_by_role("table", name=name)


# --- who is signed in ---


def test_who_is_signed_in_is_shown(member: Console) -> None:
    expect(member.account).to_contain_text("team-search")
    expect(member.account).to_contain_text("search")
    member.account.click()
    expect(member.key_box).to_contain_text("Member")
    member.page.keyboard.press("Escape")


def test_what_is_for_admins_is_not_offered_to_others(member: Console) -> None:
    navigation = member.page.get_by_role("navigation")
    expect(navigation.get_by_role("link", name="Keys")).to_be_visible()
    for name in ("Owners", "Audit log"):
        expect(navigation.get_by_role("link", name=name)).to_have_count(0)
    member.page.evaluate("location.hash = '#/owners'")
    expect(member.page.get_by_text("Owners are for admins.")).to_be_visible()
    member.page.evaluate("location.hash = '#/keys'")
    expect(member.page.get_by_text("Of the owner search.")).to_be_visible()


def test_signing_out_takes_everything_away(admin: Console, complaints: Complaints) -> None:
    complaints.expect(FAILED_LOAD)
    admin.account.click()
    admin.button("Sign out").click()
    expect(admin.key_box).to_contain_text("This gateway asks for a key.")
    expect(admin.model).to_be_disabled()
    admin.page.keyboard.press("Escape")
    expect(admin.page.get_by_role("link", name="Owners")).to_have_count(0)
    assert admin.stored("sessionStorage", "key") is None


# --- usage ---


def test_limits_say_what_is_left(admin: Console) -> None:
    admin.go("Usage")
    limits = admin.page.locator(".limit")
    expect(limits).to_have_count(4)
    expect(limits.nth(0)).to_contain_text("Requests a minuteFor this key83left of 120")
    expect(limits.nth(0)).to_contain_text(re.compile(r"37 used, full again in \d+ s"))
    expect(limits.nth(1)).to_contain_text("For all keys of search together0left of 2,000,000Used up")
    expect(limits.nth(2)).to_contain_text("$8.50left of $50.00Low")
    expect(limits.nth(3)).to_contain_text("For this key, on the model pilot-large")
    expect(admin.page.get_by_role("progressbar", name="Budget of the month, this key")).to_have_js_property(
        "value", 0.83
    )


def test_the_charts_table_has_the_numbers_of_the_api(admin: Console, script: Script) -> None:
    admin.go("Usage")
    admin.page.get_by_text("Tokens of each day as a table").click()
    shown = {day: values for day, *values in rows(table(admin, "Tokens of each day, by model"))}
    expected = usage_rows("model", days(30)[0])
    columns = table(admin, "Tokens of each day, by model").locator("thead th").all_inner_texts()[1:]
    assert sorted(columns) == ["model-a", "model-b"]
    assert len(shown) == 30
    long_days = admin.page.evaluate(
        "import('./js/ui/charts.js').then(({ longDay }) => (window.longDay = longDay) && 1)"
    )
    assert long_days == 1
    for row in expected:
        cells = shown[admin.page.evaluate("day => longDay(day)", row["day"])]
        cell = cells[columns.index(row["model"])]
        assert cell == f"{row['prompt_tokens'] + row['completion_tokens']:,}"
    totals = {name: cells for name, *cells in rows(table(admin, "Usage by model"))}
    for name in ("model-a", "model-b"):
        own = [row for row in expected if row["model"] == name]
        assert totals[name][0] == f"{sum(row['requests'] for row in own):,}"
        assert totals[name][2] == f"{sum(row['prompt_tokens'] for row in own):,}"
    foot = table(admin, "Usage by model").locator("tfoot td").all_inner_texts()
    assert foot[0] == f"{sum(row['requests'] for row in expected):,}"


def test_the_chart_is_drawn_and_named(admin: Console) -> None:
    admin.go("Usage")
    chart = admin.page.get_by_role("img", name=re.compile("Tokens a day from .* by model"))
    expect(chart.locator("canvas")).to_be_visible()
    painted = """canvas => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const colours = Array.from({ length: data.length / 4 }, (_, i) => data.slice(4 * i, 4 * i + 3).join());
      return new Set(colours).size;
    }"""
    assert chart.locator("canvas").evaluate(painted) > 5
    before = chart.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    admin.button("Light or dark").click()
    admin.page.wait_for_function(
        "before => document.querySelector('.chart canvas').toDataURL() !== before", arg=before
    )


def test_usage_is_asked_for_as_chosen(admin: Console, script: Script) -> None:
    admin.go("Usage")
    expect(table(admin, "Usage by model")).to_be_visible()
    admin.page.get_by_label("Parted by").select_option("owner")
    expect(table(admin, "Usage by owner")).to_be_visible()
    admin.page.get_by_label("Time", exact=True).select_option("7")
    admin.page.get_by_label("What is shown").select_option("cost")
    admin.page.get_by_text("Cost of each day as a table").click()
    expect(table(admin, "Cost of each day, by owner").locator("tbody tr")).to_have_count(7)
    asked = [call.query for call in script.calls if call.path == "/v1/usage"][-1]
    assert asked == {"group_by": "day,owner", "start": days(7)[0], "end": days(7)[-1]}


def test_names_of_models_run_nothing(admin: Console, script: Script) -> None:
    harm = "<img src=x onerror='window.harm = 1'>"
    row = {**usage_rows("model")[-1], "model": harm}
    script.replies["GET /v1/usage"] = (200, listed(row))
    script.replies["GET /v1/keys"] = (200, listed({**KEY, "name": harm, "owner": harm, "models": [harm]}))
    script.models[0]["id"] = harm
    for name in ("Usage", "Keys", "Models"):
        admin.go(name)
        expect(admin.page.locator("#page").get_by_text(harm).first).to_be_attached()
    assert admin.page.evaluate("window.harm") is None


def test_one_request_is_looked_up(admin: Console, script: Script) -> None:
    script.replies["GET /v1/requests/"] = (
        200,
        {
            "request_id": "req 9/x",
            "started_at": "2026-11-24T09:00:00Z",
            "status": 502,
            "error": "engine_closed",
            "model": "fast",
            "served_model": "pilot-small",
            "key": "ops",
            "owner": "platform",
            "route": "/v1/chat/completions",
            "prompt_tokens": 1200,
            "completion_tokens": 3,
            "estimated": True,
            "cost_usd": "0.0012",
            "attempts": 2,
            "timings": {"queue_ms": 1.0, "prefill_ms": 20.0, "decode_ms": 30.0, "total_ms": 51.0},
        },
    )
    admin.go("Usage")
    admin.page.get_by_role("textbox", name="Request id").fill("req 9/x")
    admin.button("Look it up").click()
    found = admin.page.locator(".request-found")
    expect(found).to_contain_text("502 engine_closed")
    expect(found).to_contain_text("fast (pilot-small)")
    expect(found).to_contain_text("1,200 in, 3 out, estimated")
    expect(found.get_by_role("group", name="Where the time went")).to_contain_text("Prefill 20 ms")
    assert script.calls[-1].path == "/v1/requests/req 9/x"


# --- keys and owners ---


def test_a_key_is_made_and_shown_once(admin: Console, script: Script) -> None:
    made = {**KEY, "name": "nightly", "key": "sk-slipway-secret"}

    def make(call: Call) -> tuple[int, Any]:
        script.replies["GET /v1/keys"] = (200, listed(KEY, {**KEY, "name": "nightly"}))
        return 200, made

    script.replies["POST /v1/keys"] = make
    admin.go("Keys")
    admin.button("New key").click()
    box = admin.page.get_by_role("dialog", name="New key")
    box.get_by_label("Name").fill("nightly")
    box.get_by_label("Owner").fill("research")
    box.get_by_label("Models").fill("pilot-*, embedder")
    box.get_by_label("Requests a minute").fill("ten")
    box.get_by_label("Budget a month, US$").fill("12.50")
    box.get_by_label("Expires").fill("2031-01-01")
    admin.button("Make the key").click()
    expect(box.get_by_role("alert")).to_have_text(
        "Requests a minute is a whole number of 1 or more, or empty."
    )
    assert not bodies(script, "POST /v1/keys")
    box.get_by_label("Requests a minute").fill("10")
    admin.button("Make the key").click()
    secret = admin.page.get_by_role("dialog", name="The key nightly")
    expect(secret.get_by_label("The key nightly")).to_have_value("sk-slipway-secret")
    secret.get_by_role("button", name="Copy the key").click()
    admin.wait_until("document.querySelector('#announcer').textContent === 'Copied'")
    assert admin.clipboard() == "sk-slipway-secret"
    secret.get_by_role("button", name="Done").click()
    assert "sk-slipway-secret" not in admin.page.content()
    expect(table(admin, "Keys").get_by_role("row", name=re.compile("nightly"))).to_be_visible()
    assert bodies(script, "POST /v1/keys") == [
        {
            "name": "nightly",
            "owner": "research",
            "role": "member",
            "priority": "normal",
            "models": ["pilot-*", "embedder"],
            "limits": {
                "requestsPerMinute": 10,
                "tokensPerMinute": None,
                "tokensPerDay": None,
                "maxParallel": None,
                "budgetUSD": {"day": None, "week": None, "month": "12.50"},
            },
            "expiresAt": "2031-01-01T00:00:00Z",
        }
    ]


def test_a_refusal_is_shown_where_it_was_typed(
    admin: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    script.replies["POST /v1/keys"] = (409, {"error": {"message": "There is a key of this name."}})
    admin.go("Keys")
    admin.button("New key").click()
    box = admin.page.get_by_role("dialog", name="New key")
    box.get_by_label("Name").fill("ops")
    admin.button("Make the key").click()
    expect(box.get_by_role("alert")).to_have_text("There is a key of this name.")
    expect(box.get_by_label("Name")).to_have_value("ops")


def test_a_key_is_changed_rotated_and_revoked(admin: Console, script: Script) -> None:
    script.replies |= {
        "PATCH /v1/keys/team-search": (200, KEY),
        "POST /v1/keys/team-search/rotate": (200, {**KEY, "key": "sk-new"}),
        "DELETE /v1/keys/team-search": (200, {}),
    }
    admin.go("Keys")
    expect(admin.button("Rotate the key ops")).to_be_visible()
    expect(admin.button("Revoke the key ops")).to_have_count(0)  # The one that is signed in.
    expect(admin.button("Rotate the key local")).to_have_count(0)  # An object's.
    admin.button("Change the key team-search").click()
    box = admin.page.get_by_role("dialog", name="Change team-search")
    expect(box.get_by_label("Requests a minute")).to_have_value("120")
    box.get_by_label("Refuse this key").check()
    box.get_by_role("button", name="Save").click()
    expect(box).to_be_hidden()
    (changed,) = bodies(script, "PATCH /v1/keys/team-search")
    assert changed["disabled"] is True
    assert changed["limits"]["budgetUSD"]["month"] == "50"
    admin.button("Rotate the key team-search").click()
    admin.page.get_by_label("Hours that the old secret still works").fill("2")
    admin.button("Rotate").click()
    expect(admin.page.get_by_role("textbox", name="The key team-search")).to_have_value("sk-new")
    admin.button("Done").click()
    assert bodies(script, "POST /v1/keys/team-search/rotate") == [{"graceSeconds": 7200}]
    admin.button("Revoke the key team-search").click()
    expect(admin.page.get_by_role("dialog", name="Revoke team-search?")).to_contain_text("cannot be undone")
    admin.button("Revoke").click()
    expect(admin.page.locator("#announcer")).to_have_text("The key team-search is revoked.")
    assert bodies(script, "DELETE /v1/keys/team-search") == [None]


def test_owners_are_made_changed_and_deleted(admin: Console, script: Script) -> None:
    script.replies |= {
        "POST /v1/owners": (200, OWNER),
        "PATCH /v1/owners/search": (200, OWNER),
        "DELETE /v1/owners/search": (200, {}),
    }
    admin.go("Owners")
    expect(table(admin, "Owners")).to_be_visible()
    (shown,) = rows(table(admin, "Owners"))
    assert shown[:3] == ["search", "2,000,000 tokens/day", "ann@example.com"]
    admin.button("New owner").click()
    box = admin.page.get_by_role("dialog", name="New owner")
    box.get_by_label("Name", exact=True).fill("ads")
    box.get_by_label("Who signs in").fill("bob@example.com, eve@example.com")
    admin.button("Make the owner").click()
    expect(box).to_be_hidden()
    (made,) = bodies(script, "POST /v1/owners")
    assert (made["name"], made["subjects"]) == ("ads", ["bob@example.com", "eve@example.com"])
    admin.button("Change the owner search").click()
    admin.page.get_by_label("Role").select_option("admin")
    admin.button("Save").click()
    expect(admin.page.get_by_role("dialog")).to_have_count(0)
    assert bodies(script, "PATCH /v1/owners/search")[0]["role"] == "admin"
    admin.button("Delete the owner search").click()
    admin.button("Delete").click()
    expect(admin.page.locator("#announcer")).to_have_text("The owner search is deleted.")
    assert bodies(script, "DELETE /v1/owners/search") == [None]


@pytest.mark.parametrize(("title", "path", "row"), [("Keys", "keys", KEY), ("Owners", "owners", OWNER)])
def test_keys_and_owners_are_read_page_by_page(
    admin: Console, script: Script, title: str, path: str, row: dict[str, Any]
) -> None:
    def page(call: Call) -> tuple[int, Any]:
        size = int(call.query["limit"]) // (500 if path == "keys" else 100)  # A row stands for a page.
        first = 1 + ("after" in call.query and int(call.query["after"].removeprefix("r")))
        names = [f"r{number}" for number in range(first, min(first + size, 4))]
        return 200, listed(*({**row, "name": name, "id": name} for name in names), more=names[-1] != "r3")

    script.replies[f"GET /v1/{path}"] = page
    admin.go(title)
    names = admin.page.get_by_role("rowheader")
    for number in (1, 2, 3):
        expect(names).to_have_text([f"r{each}" for each in range(1, number + 1)])
        if number < 3:
            admin.button("More").click()
    expect(admin.button("More")).to_have_count(0)


def test_the_audit_log_is_read_page_by_page(admin: Console, script: Script) -> None:
    def page(call: Call) -> tuple[int, Any]:
        number = 1 if "after" not in call.query else int(call.query["after"].removeprefix("a")) + 1
        row = {"id": f"a{number}", "at": "2026-11-24T09:12:00Z", "actor": "ops", "action": f"change {number}"}
        return 200, listed({**row, "target": "x"}, more=number < 3)

    script.replies["GET /v1/audit"] = page
    admin.go("Audit log")
    changes = admin.page.get_by_role("cell", name=re.compile("change"))
    for number in (1, 2, 3):
        expect(changes).to_have_count(number)
        if number < 3:
            admin.button("More").click()
    expect(admin.button("More")).to_have_count(0)


# --- models, batches, feedback, help ---


def test_models_say_why_they_are_not_ready(admin: Console, script: Script) -> None:
    admin.go("Models")
    cards = admin.page.locator(".card")
    expect(cards).to_have_count(3)
    expect(cards.nth(0)).to_contain_text("Ready")
    expect(cards.nth(1)).to_contain_text("Not readyChat and textIts engine is starting.")
    expect(cards.nth(2)).to_contain_text("Embeddings")
    expect(cards.nth(2).get_by_role("button", name="Chat")).to_have_count(0)
    cards.nth(1).get_by_role("button", name="Chat").click()
    expect(admin.model).to_have_value("pilot-large")


CAUSE = "ImageCannotBePulled: registry.example.com/a:1 is not there. `slipway explain m -n models` says more."
ROLLOUT: dict[str, Any] = {
    **{"reason": "Paused", "message": "Waits at step 1 of 2.", "replicas": 3, "ready_replicas": 2},
    **{"phase": "Paused"},
    "revisions": [
        {"revision": "49911d77fa", "role": "stable", "weight": 90, "ready": 2},
        {"revision": "510e0ba55d", "role": "canary", "weight": 10, "ready": 0},
    ],
}


def test_admins_see_how_services_are_doing(admin: Console, script: Script) -> None:
    script.models[0] |= {"ready": True, "reason": None, "state": "Progressing", "status": ROLLOUT}
    failed = {"reason": "ImageCannotBePulled", "message": "It is not there.", "replicas": 1}
    status = {**failed, "ready_replicas": 0, "phase": "Idle", "revisions": ROLLOUT["revisions"][:1]}
    script.models[1] |= {"ready": False, "reason": CAUSE, "state": "Failed", "status": status}
    general = {"name": "pilot-large", "ready": False, "reason": "its engine has failed."}
    script.readyz = (200, {"ready": True, "reason": None, "models": [general]})
    admin.go("Models")
    cards = admin.page.locator(".card")
    expect(cards).to_have_count(3)
    rolling, broken, _ = cards.all()
    expect(rolling.locator(".badge")).to_have_text("Progressing")
    expect(rolling.locator(".reason")).to_have_text("Paused: Waits at step 1 of 2.")
    assert rolling.locator("dd").all_inner_texts() == [
        "2 of 3 ready",
        "Paused",
        "49911d77fa stable · 90 % of requests · 2 ready",
        "510e0ba55d canary · 10 % of requests · 0 ready",
    ]
    expect(broken.locator(".badge")).to_have_text("Failed")
    expect(broken.locator(".reason")).to_have_text(CAUSE)
    assert broken.locator("dd").all_inner_texts() == ["0 of 1 ready"]
    assert admin.page.locator("#page").evaluate(TOO_WIDE) == []
    admin.page.set_viewport_size({"width": 390, "height": 800})
    assert admin.page.locator("#page").evaluate(TOO_WIDE) == []


def test_others_see_the_state_of_a_service_alone(member: Console, script: Script) -> None:
    reason = "its engine has failed. Those who run it can see why."
    script.models[1] |= {"ready": False, "reason": reason, "state": "Failed", "status": None}
    member.go("Models")
    card = member.page.locator(".card").nth(1)
    expect(card.locator(".badge")).to_have_text("Failed")
    expect(card.locator(".reason")).to_have_text("Its engine has failed. Those who run it can see why.")
    expect(card.locator("dl")).to_have_count(0)


def test_batches_show_their_state_and_can_be_cancelled(admin: Console, script: Script) -> None:
    script.replies["POST /v1/batches/batch_run/cancel"] = (200, {})
    admin.go("Batches")
    expect(table(admin, "Batches")).to_be_visible()
    shown = rows(table(admin, "Batches"))
    assert [row[1] for row in shown] == ["Running", "Complete", "Failed Line 3 is not JSON."]
    assert shown[0][2].endswith("433 of 1,200, 2 failed")
    admin.button("Cancel the batch batch_run").click()
    admin.button("Cancel the batch").click()
    expect(admin.page.locator("#announcer")).to_have_text("The batch is being cancelled.")
    assert bodies(script, "POST /v1/batches/batch_run/cancel") == [""]


def test_a_batch_is_made_from_a_file_and_its_results_are_saved(admin: Console, script: Script) -> None:
    script.replies |= {
        "POST /v1/files": (200, {"id": "file-in"}),
        "POST /v1/batches": (200, {"id": "batch_new"}),
        "GET /v1/files/file-out/content": (200, {"custom_id": "1"}),
    }
    admin.go("Batches")
    admin.button("New batch").click()
    admin.button("Begin").click()
    expect(admin.page.get_by_role("dialog").get_by_role("alert")).to_have_text("Choose a file first.")
    admin.page.get_by_label("File of requests").set_input_files(
        {"name": "in.jsonl", "mimeType": "application/jsonl", "buffer": b'{"custom_id": "1"}\n'}
    )
    admin.button("Begin").click()
    expect(admin.page.get_by_role("dialog")).to_have_count(0)
    (form,) = bodies(script, "POST /v1/files")
    assert 'name="purpose"\r\n\r\nbatch' in form
    assert '{"custom_id": "1"}' in form
    assert bodies(script, "POST /v1/batches") == [
        {"input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    ]
    with admin.page.expect_download() as download:
        admin.button("Download the results of batch_done").click()
    assert download.value.suggested_filename == "batch_done-results.jsonl"


def test_jobs_show_their_state_and_lead_to_one(admin: Console) -> None:
    admin.go("Fine-tuning")
    expect(table(admin, "Fine-tuning jobs")).to_be_visible()
    shown = rows(table(admin, "Fine-tuning jobs"))
    # The sample's end is fixed when the tests begin.
    assert re.fullmatch(r"Running done (in \d+ (min|s)|now)", shown[0][1])
    assert [row[1] for row in shown[1:]] == ["Complete", "Failed Line 3 is not JSON."]
    assert shown[1][3] == "ft:pilot-small:search:tickets:0a1b2c3d"
    admin.page.get_by_role("link", name="ftjob-run").click()
    expect(admin.page.get_by_text("epochs 3, batch size 8")).to_be_visible()
    admin.page.get_by_role("link", name="All fine-tuning jobs").click()
    expect(table(admin, "Fine-tuning jobs")).to_be_visible()


def test_a_jobs_curve_grows_while_it_runs(admin: Console, script: Script) -> None:
    admin.page.evaluate("location.hash = '#/fine-tuning/ftjob-run'")
    expect(admin.page.get_by_role("img", name="Loss by step").locator("canvas")).to_be_visible()
    admin.page.get_by_text("The loss as a table").click()
    steps = table(admin, "Loss by step").locator("tbody tr")
    expect(steps).to_have_count(12)
    assert rows(table(admin, "Loss by step"))[4] == ["5", "0.4000", "0.4200"]
    script.replies["GET /v1/fine_tuning/jobs/ftjob-run/events"] = (200, listed(*job_events(20)))
    expect(steps).to_have_count(20)
    report = admin.page.get_by_role("link", name="The model card")
    assert str(report.get_attribute("href")).endswith("/v1/fine_tuning/jobs/ftjob-run/reports/card?expires=1")
    assert rows(table(admin, "Checkpoints"))[0][:2] == ["10", "0.2100"]
    assert rows(table(admin, "Events"))[0][1] == "Warning Memory is short: micro-batches of 4."


def test_a_job_is_paused_cancelled_and_its_model_talked_to(admin: Console, script: Script) -> None:
    path = "/v1/fine_tuning/jobs/ftjob-run"
    script.replies |= {f"POST {path}/pause": (200, {}), f"POST {path}/cancel": (200, {})}
    admin.page.evaluate("location.hash = '#/fine-tuning/ftjob-run'")
    admin.button("Pause").click()
    expect(admin.page.locator("#announcer")).to_have_text("The job pauses at its next checkpoint.")
    admin.button("Cancel").click()
    admin.button("Cancel the job").click()
    expect(admin.page.locator("#announcer")).to_have_text("The job is being cancelled.")
    assert len(bodies(script, f"POST {path}/cancel")) == 1
    script.models.append({**script.models[0], "id": "ft:pilot-small:search:tickets:0a1b2c3d"})
    script.replies[f"GET {path}"] = (200, {**JOBS[1], "id": "ftjob-run"})
    admin.page.reload()
    admin.button("Chat with the new model").click()
    expect(admin.model).to_have_value("ft:pilot-small:search:tickets:0a1b2c3d")


def test_a_job_is_made_from_files(admin: Console, script: Script) -> None:
    script.replies |= {
        "POST /v1/files": (200, {"id": "file-in"}),
        "POST /v1/fine_tuning/jobs": (200, {"id": "ftjob-run"}),
    }
    admin.go("Fine-tuning")
    admin.button("New job").click()
    admin.button("Begin").click()
    expect(admin.page.get_by_role("dialog").get_by_role("alert")).to_have_text(
        "Choose a file of examples first."
    )
    admin.page.get_by_label("File of examples").set_input_files(
        {"name": "in.jsonl", "mimeType": "application/jsonl", "buffer": b'{"messages": []}\n'}
    )
    admin.page.get_by_label("Passes over the examples").fill("2")
    admin.page.get_by_label("Part of its name").fill("tickets")
    admin.button("Begin").click()
    expect(admin.page.get_by_role("dialog")).to_have_count(0)
    (form,) = bodies(script, "POST /v1/files")
    assert 'name="purpose"\r\n\r\nfine-tune' in form
    assert bodies(script, "POST /v1/fine_tuning/jobs") == [
        {
            "model": "pilot-small",
            "training_file": "file-in",
            "suffix": "tickets",
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        }
    ]
    expect(admin.page.get_by_role("heading", name="Loss")).to_be_visible()


def test_feedback_is_listed_and_narrowed(admin: Console, script: Script) -> None:
    admin.go("Feedback")
    expect(table(admin, "Feedback")).to_be_visible()
    (row,) = rows(table(admin, "Feedback"))
    assert row[1:3] == ["Bad", "pilot-small"]
    assert "Not Sydney." in row[3]
    admin.page.get_by_label("Which feedback").select_option("up")
    expect(admin.page.locator("#page [aria-busy]")).to_have_count(0)
    assert [call.query for call in script.calls if call.path == "/v1/feedback"][-1] == {
        "limit": "50",
        "rating": "up",
    }


def test_help_answers_the_first_questions(admin: Console) -> None:
    admin.go("Help")
    admin.page.get_by_text("What are queue, prefill and decode?").click()
    expect(admin.page.get_by_text("The three parts of the time")).to_be_visible()
    admin.button("curl, Python, JavaScript").click()
    expect(admin.page.get_by_role("dialog", name="Use this from a program")).to_be_visible()


# --- faults ---

FAULTS: list[tuple[int, dict[str, Any] | None, str]] = [
    (503, {"message": "The database cannot be reached."}, "The database cannot be reached."),
    (429, {"message": "This key has used its 10 requests a minute."}, "10 requests a minute."),
    (500, None, "The gateway answered 500 and did not say why."),
    (403, {"message": "This key may not do that."}, "This key may not do that."),
]


@pytest.mark.parametrize(("status", "error", "sentence"), FAULTS, ids=lambda each: str(each)[:3])
@pytest.mark.parametrize("name", ["Usage", "Keys", "Owners", "Batches", "Feedback", "Audit log"])
def test_errors_are_sentences_and_can_be_tried_again(
    admin: Console,
    script: Script,
    complaints: Complaints,
    name: str,
    status: int,
    error: dict[str, Any] | None,
    sentence: str,
) -> None:
    complaints.expect(FAILED_LOAD)
    route = f"GET /v1/{name.lower().split()[0]}"
    good = script.replies[route]
    script.replies[route] = (status, {"error": error} if error else {"detail": "x"})
    admin.go(name)
    expect(admin.page.locator("#page").get_by_role("alert")).to_contain_text(sentence)
    script.replies[route] = good
    admin.page.locator("#page").get_by_role("button", name="Try again").click()
    expect(admin.page.locator("#page").get_by_role("alert")).to_have_count(0)


def test_a_gateway_that_is_gone_is_named_on_every_page(admin: Console, complaints: Complaints) -> None:
    complaints.expect(FAILED_LOAD)
    admin.go("Keys")
    admin.go("Usage")
    admin.page.context.set_offline(True)
    admin.page.evaluate("location.hash = '#/keys'")
    expect(admin.page.get_by_text("The gateway cannot be reached. Is it still running?")).to_be_visible()
    admin.page.context.set_offline(False)
    admin.page.locator("#page").get_by_role("button", name="Try again").click()
    expect(table(admin, "Keys")).to_be_visible()


def test_a_page_opened_by_its_address_asks_for_the_key_and_then_shows(
    closed_console: Console, scripted: ScriptedGateway, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    in_use(scripted.script, ADMIN)
    page = closed_console.page
    page.goto(f"{closed_console.url}#/keys")
    expect(closed_console.key_box).to_be_visible()
    closed_console.key_box.get_by_label("API key", exact=True).fill("sk-ops")
    closed_console.button("Use this key").click()
    expect(table(closed_console, "Keys")).to_be_visible()


def test_the_menu_is_a_drawer_on_a_phone(admin: Console) -> None:
    page = admin.page
    page.set_viewport_size({"width": 360, "height": 740})
    menu = page.get_by_role("complementary", name="Menu")
    expect(menu).to_be_hidden()
    admin.button("Menu").click()
    expect(admin.button("Close the menu")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(admin.button("Menu")).to_be_focused()
    for name in ("Compare", "Usage", "Keys", "Owners", "Models", "Batches", "Feedback", "Audit log", "Help"):
        admin.button("Menu").click()
        admin.go(name)
        expect(menu).to_be_hidden()
        expect(page.locator("#page [aria-busy]")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.locator("#page").evaluate(TOO_WIDE) == [], name
