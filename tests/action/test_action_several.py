"""Several checkpoints in one run, Git LFS, the comment on a pull request, code scanning; the API is played here."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from place import WEIGHTS, Place, notes_of, results

PULL = {
    "pull_request": {
        "number": 7,
        "head": {"repo": {"full_name": "a/b"}},
        "base": {"repo": {"full_name": "a/b"}, "sha": ""},
    }
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


@dataclass
class Api:
    """What the REST API of GitHub was asked, and the comments it has."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def api(place: Place) -> Iterator[Api]:
    found = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(found.comments)

        def do_POST(self) -> None:
            self._answer({})

        def do_PATCH(self) -> None:
            self._answer({})

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def _answer(self, document: Any) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            assert self.headers["Authorization"] == "Bearer secret"
            found.asked.append((self.command, self.path, json.loads(sent or b"{}")))
            self.send_response(found.status)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    place.github = {
        "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}",
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_SHA": "c0ffee",
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_WORKFLOW": "gate",
        "GITHUB_JOB": "audit",
    }
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_nothing_of_a_run_is_in_the_workspace(place: Place) -> None:
    place.write(results.passing())
    assert place.run(0).code == 0
    assert [path.name for path in place.workspace.iterdir()] == ["model.pt"]
    assert place.run(0, out_dir="reports").outputs["report-json"] == "reports/latest/report.json"


def test_several_checkpoints_give_one_summary_and_the_worst_verdict(place: Place) -> None:
    place.write(results.failing())
    (place.workspace / "folds").mkdir()
    for name in ("a", "b"):
        (place.workspace / "folds" / f"{name}.pt").write_bytes(WEIGHTS)
    (place.workspace / "folds" / "link.pt").symlink_to("a.pt")
    job = place.run(1, checkpoint="", checkpoints="folds/*.pt\n*.safetensors\nmodel.pt")
    assert (job.code, job.outputs["verdict"]) == (1, "fail")
    said = json.loads(job.outputs["results"])
    assert [(one["checkpoint"], one["verdict"]) for one in said] == [
        ("folds/a.pt", "fail"),
        ("folds/b.pt", "fail"),
        ("model.pt", "fail"),
    ]
    assert len({one["report-json"] for one in said}) == 3
    assert job.summary.startswith("## reid-audit: 3 checkpoints")
    assert all(f"<details><summary>{name}: fail" in job.summary for name in ("folds/a.pt", "folds/b.pt", "model.pt"))


def test_a_link_out_of_the_workspace_is_not_passed_over(place: Place) -> None:
    place.write(results.passing())
    (place.workspace / "other.pt").symlink_to(place.workspace.parent / "elsewhere.pt")
    job = place.run(0, checkpoints="*.pt")
    assert (job.code, job.outputs["verdict"]) == (3, "not_audited")
    assert any("other.pt is a link to no file of the workspace" in note for note in notes_of(job, "error"))


def test_a_glob_without_a_match_is_said(place: Place) -> None:
    place.write(results.passing())
    job = place.run(0, checkpoints="nowhere/*.pt")
    assert (job.code, job.outputs["verdict"]) == (0, "pass")
    assert "nowhere/*.pt" in notes_of(job, "warning")[0]


def test_one_without_a_verdict_decides(place: Place) -> None:
    place.write(results.passing())
    (place.workspace / "other.pt").write_bytes(b"other weights than the report is about")
    job = place.run(0, checkpoints="*.pt", fail_on="never")
    assert (job.code, job.outputs["verdict"], job.outputs["report-json"]) == (3, "not_audited", "")
    assert {one["verdict"] for one in json.loads(job.outputs["results"])} == {"pass", "not_audited"}


@pytest.mark.parametrize("globs", ["", "nowhere/*.pt"])
def test_nothing_to_audit_is_not_audited(place: Place, globs: str) -> None:
    job = place.run(0, checkpoint="", checkpoints=globs)
    assert (job.code, job.outputs["verdict"]) == (3, "not_audited")
    assert "matches no file" in notes_of(job, "error")[0]


def test_a_pointer_of_git_lfs_is_named(place: Place) -> None:
    (place.workspace / "model.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    job = place.run(3)
    assert job.code == 3
    assert "set lfs: true at actions/checkout" in notes_of(job, "error")[0]


def test_one_comment_stays_on_a_pull_request(place: Place, api: Api) -> None:
    place.write(results.passing())
    stranger = {"id": 1, "user": {"type": "User"}, "body": "<!-- reid-audit gate/audit -->\nnot ours"}
    api.comments = [stranger]
    assert place.run(0, "pull_request", PULL, comment="true", token="secret").code == 0
    (method, path, sent) = api.asked[-1]
    assert (method, path) == ("POST", "/repos/a/b/issues/7/comments")
    assert sent["body"].startswith("<!-- reid-audit gate/audit -->\n")
    api.comments = [stranger, {"id": 2, "user": {"type": "Bot"}, "body": sent["body"]}]
    place.run(0, "pull_request", PULL, comment="true", token="secret")
    assert api.asked[-1][:2] == ("PATCH", "/repos/a/b/issues/comments/2")
    place.run(0, comment="true", token="secret")
    assert api.asked[-1][0] == "PATCH", "a push has no pull request"


def test_reports_know_weights_by_their_path_in_the_repository(place: Place) -> None:
    place.write(results.passing())
    (place.workspace / "models").mkdir()
    (place.workspace / "models" / "a b.pt").write_bytes(WEIGHTS)
    (place.temp / "outside.pt").write_bytes(WEIGHTS)

    def said(checkpoint: str) -> list[str]:
        place.run(0, checkpoint=checkpoint)
        arguments, _ = json.loads((place.temp / "arguments.json").read_text(encoding="utf-8"))
        return [word for word in arguments if word.startswith("--published-as")]

    assert said("models/a b.pt") == ["--published-as=models/a b.pt"]
    assert said(str(place.workspace / "models" / "a b.pt")) == ["--published-as=models/a b.pt"]
    assert said(str(place.temp / "outside.pt")) == said("nowhere.pt") == said("hf://org/model@main") == []


def test_findings_go_to_code_scanning_as_they_are(place: Place, api: Api) -> None:
    place.write(results.failing())
    written = json.loads((place.prepared / "report.sarif").read_text(encoding="utf-8"))
    job = place.run(1, upload_sarif="true", token="secret")
    assert job.code == 1
    (method, path, sent) = api.asked[-1]
    assert (method, path) == ("POST", "/repos/a/b/code-scanning/sarifs")
    assert (sent["commit_sha"], sent["ref"]) == ("c0ffee", "refs/pull/7/merge")
    (run,) = json.loads(gzip.decompress(base64.b64decode(sent["sarif"])))["runs"]
    assert run["results"]
    assert run["results"] == written["runs"][0]["results"]
    assert run["automationDetails"]["id"] == "reid-audit/model.pt/"


def test_what_github_refuses_changes_no_verdict(place: Place, api: Api) -> None:
    place.write(results.passing())
    api.status = 403
    job = place.run(0, upload_sarif="true", token="secret")
    assert (job.code, job.outputs["verdict"]) == (0, "pass")
    assert "security-events: write" in notes_of(job, "warning")[0]
    assert "secret" not in job.log
    assert place.run(0).ran.count("Comment and code scanning") == 0
