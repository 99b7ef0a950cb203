"""What the rehearsal plays of IAM, EventBridge and CodeBuild, against what AWS documents."""

import errno
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT
from loopback import Answer, serve
from rehearsal import play
from rehearsal.aws import front, iam
from rehearsal.aws.build import Build, stream_of
from rehearsal.aws.errors import Unsupported
from rehearsal.aws.events import transform
from rehearsal.aws.protocols import Request
from rehearsal.aws.stack import Stack
from rehearsal.machine import gate, indexes, process
from rehearsal.machine.network import Network
from rehearsal.machine.working_copy import copy_repository
from rehearsing import edit

BUCKET = "arn:aws:s3:::bucket"


def allow(**more: object) -> dict:
    """A statement that allows reading everything of a bucket, changed by `more`."""
    return {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{BUCKET}/*"} | more


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([allow()], True),
        ([allow(Action="s3:getobject")], True),
        ([allow(Action=["s3:PutObject", "s3:Get*"])], True),
        ([allow(Action="s3:PutObject")], False),
        ([allow(Resource=f"{BUCKET}/other/*")], False),
        ([allow(Resource=f"{BUCKET}/*/Source/?????")], True),
        ([allow(Resource=f"{BUCKET}/[p]ipe/Source/abcde")], False),
        ([allow(), allow(Effect="Deny")], False),
        ([allow(), allow(Effect="Deny", Action="s3:PutObject")], True),
        ([{"Effect": "Allow", "NotAction": "s3:PutObject", "NotResource": "x"}], True),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], False),
    ],
)
def test_iam_decides_on_actions_and_resources(statements: list[dict], allowed: bool) -> None:
    resource = f"{BUCKET}/pipe/Source/abcde"
    assert iam.allows(statements, "s3:GetObject", resource, {}) is allowed


TOKEN = {"sts:IdentityTokenAudience": ["databricks"], "sts:DurationSeconds": "900"}


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"a": ["x", "y"]}}, {"a": "y"}, True),
        ({"StringEquals": {"a": "x"}}, {"a": "y"}, False),
        ({"StringEquals": {"a": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"a": "x"}}, {}, True),
        ({"StringNotEquals": {"a": ["x", "y"]}}, {"a": "y"}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "true"}, False),
        ({"ArnLike": {"a": "arn:*:project/qa-*"}}, {"a": "arn:aws:x:project/qa-1"}, True),
        ({"NumericLessThanEquals": {"sts:DurationSeconds": 900}}, TOKEN, True),
        ({"NumericLessThanEquals": {"sts:DurationSeconds": 899}}, TOKEN, False),
        ({"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "databricks"}}, TOKEN, True),
        ({"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "databricks"}}, {}, True),
        ({"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "other"}}, TOKEN, False),
        ({"Null": {"sts:IdentityTokenAudience": "false"}}, TOKEN, True),
        ({"Null": {"sts:IdentityTokenAudience": "false"}}, {}, False),
    ],
)
def test_iam_decides_on_conditions(condition: dict, context: dict, holds: bool) -> None:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    assert iam.allows([statement], "sts:GetWebIdentityToken", "*", context) is holds


def test_iam_says_what_it_does_not_know() -> None:
    statement = allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    with pytest.raises(Unsupported, match="IpAddress"):
        iam.allows([statement], "s3:GetObject", f"{BUCKET}/x", {"aws:SourceIp": "10.0.0.1"})


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ('{"revision": <commit>, "n": <n>}', {"revision": "abc", "n": "7"}),
        ('{"revisions": [{"value": <commit>}]}', {"revisions": [{"value": "abc"}]}),
        ('"commit <commit> of <n>"', "commit abc of 7"),
    ],
)
def test_an_input_transformer_makes_json(template: str, made: object) -> None:
    paths = {"commit": "$.detail.commitId", "n": "$.detail.n"}
    event = {"detail": {"commitId": "abc", "n": "7"}}
    transformer = {"InputPathsMap": paths, "InputTemplate": template}
    assert transform(transformer, event) == made


# ---- A buildspec's phases ------------------------------------------------------------------------


@pytest.fixture
def build(default: Path, tmp_path: Path):
    """A function: runs a buildspec as the QA build; returns the build and its log's own lines."""

    def run(spec: str):
        root = tmp_path / "my-data-project"
        shutil.copytree(default, root, ignore=shutil.ignore_patterns(".git", ".venv"))
        (root / "cicd/buildspecs/qa.yml").write_text(spec)
        with play.opened(root, quick=True, engine=False, operator=False) as played:
            played.push()
            build = played.codebuild.builds[0]
            lines = build.log.read_text().splitlines()
        return build, [line for line in lines if line.startswith("say:")]

    return run


def phases(build) -> dict[str, str]:
    """Each phase with its status."""
    return {phase.name: phase.status for phase in build.phases}


def test_after_a_failed_build_only_post_build_runs(build) -> None:
    made, said = build("""
version: 0.2
env:
  shell: bash
  variables: {GIVEN: "from the buildspec"}
  exported-variables: [TOLD]
phases:
  install:
    commands: ['OWN=kept; export TOLD="$GIVEN"', 'echo "say: $PWD" >/dev/null']
  pre_build:
    commands: ['echo "say: $OWN $CODEBUILD_BUILD_SUCCEEDING"']
  build:
    commands:
      - 'echo "say: token ${#DATABRICKS_TOKEN} $DATABRICKS_TOKEN"'
      - 'false'
      - 'echo "say: never"'
    finally: ['echo "say: finally"']
  post_build:
    commands: ['echo "say: after $CODEBUILD_BUILD_SUCCEEDING"']
artifacts: {files: [README.md]}
""")
    assert made.status == "FAILED"
    assert phases(made) == {
        "DOWNLOAD_SOURCE": "SUCCEEDED",
        "INSTALL": "SUCCEEDED",
        "PRE_BUILD": "SUCCEEDED",
        "BUILD": "FAILED",
        "POST_BUILD": "SUCCEEDED",
        "UPLOAD_ARTIFACTS": "SUCCEEDED",
    }
    # the placeholder's value, masked as CodeBuild masks a secret
    assert said == ["say: kept 1", "say: token 7 ***", "say: finally", "say: after 0"]
    assert made.exported == {"TOLD": "from the buildspec"}
    assert made.artifacts == {}
    assert "Reason: exit status 1" in made.failure


def test_a_failed_install_ends_the_build_and_a_command_may_end_the_shell(build) -> None:
    made, said = build("""
version: 0.2
phases:
  install:
    commands: ['echo "say: before"', 'exit 3', 'echo "say: never"']
  build:
    commands: ['echo "say: never"']
  post_build:
    commands: ['echo "say: never"']
""")
    assert phases(made) == {"DOWNLOAD_SOURCE": "SUCCEEDED", "INSTALL": "FAILED"}
    assert said == ["say: before"]
    assert "Reason: exit status 3" in made.failure


def test_a_phase_may_go_on_after_a_failure(build) -> None:
    made, said = build("""
version: 0.2
phases:
  pre_build:
    on-failure: CONTINUE
    commands: ['false', 'echo "say: never"']
  build:
    commands: ['echo "say: HOME is the build own"', 'test "$HOME" != /root', 'touch a b']
artifacts: {files: ["a", "b"], discard-paths: yes}
""")
    assert phases(made)["PRE_BUILD"] == "FAILED"
    assert phases(made)["BUILD"] == "SUCCEEDED"
    assert said == ["say: HOME is the build own"]


def test_a_variable_that_no_action_exports_fails_the_action_that_uses_it(default, tmp_path) -> None:
    root = tmp_path / "my-data-project"
    shutil.copytree(default, root, ignore=shutil.ignore_patterns(".git", ".venv"))
    stack = root / "cicd/stack.yml"
    qa = "Configuration: {ProjectName: !Ref QaBuild"
    text = stack.read_text()
    assert text.count(qa) == 1
    variables = """'[{"name": "X", "value": "#{SourceVariables.Name}"}]'"""
    stack.write_text(text.replace(qa, f"{qa}, EnvironmentVariables: {variables}"))
    with play.opened(root, quick=True, engine=False, operator=False) as played:
        execution = played.push()
    assert execution.stopped_in.name == "QA"
    assert (
        execution.stopped_in.actions[0].message
        == "#{SourceVariables.Name}: there is no such variable"
    )


UNREADABLE = {
    "version: 0.1\nphases: {build: {commands: [ls]}}\n": "knows version 0.2",
    "version: 0.2\nphases: {build: [\n": "YAML_FILE_ERROR",
    "version: 0.2\nphase: {build: {commands: [ls]}}\n": "unknown keys: ['phase']",
}


def test_a_buildspec_that_cannot_be_read(default: Path) -> None:
    with play.opened(default, quick=True, engine=False, operator=False) as played:
        for spec in UNREADABLE:
            (played.repository / "cicd/buildspecs/qa.yml").write_text(spec)
            played.push()
        builds = played.codebuild.builds
    assert [phases(build) for build in builds] == [{"DOWNLOAD_SOURCE": "FAILED"}] * 3
    for build, message in zip(builds, UNREADABLE.values(), strict=True):
        assert message in build.failure


# ---- Events --------------------------------------------------------------------------------------

ON_A_PUSH = """
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [aws.codecommit], detail-type: [CodeCommit Repository State Change]}
      Targets:
"""
TO_A_BUILD = """\
        - Id: build
          Arn: !GetAtt PullRequestBuild.Arn
          RoleArn: !GetAtt BuildRuleRole.Arn
"""
TO_A_QUEUE = """\
        - {Id: queue, Arn: !Sub "arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:queue"}
"""


@pytest.fixture
def with_rule(default: Path, tmp_path: Path):
    """A function: rehearses the default rendering with one more rule, before all others."""

    def run(rule: str):
        root = tmp_path / "my-data-project"
        shutil.copytree(default, root, ignore=shutil.ignore_patterns(".git", ".venv"))
        edit(root, "cicd/stack.yml", "\n  PushRule:\n", f"\n  AnotherRule:{rule}\n  PushRule:\n")
        build = "version: 0.2\nphases: {build: {commands: [ls]}}\n"
        (root / "cicd/buildspecs/pull_request.yml").write_text(build)
        return play.opened(root, quick=True, engine=False, operator=False)

    return run


def test_a_rule_on_a_push_may_start_a_build(with_rule) -> None:
    with with_rule(ON_A_PUSH + TO_A_BUILD) as played:
        played.working_copy.push(played.branch)
        (build,) = played.send("feature")
        assert build.project == "my-data-project-pull-request"
        assert build.status == "SUCCEEDED", build.failure
        assert played.codebuild.builds == [build]
        assert [event.rules for event in played.aws.bus.history] == [["AnotherRule"], []]


def test_a_push_starts_what_each_of_its_rules_names(with_rule) -> None:
    with with_rule(ON_A_PUSH + TO_A_BUILD) as played:
        build, execution = played.send(played.branch)
        assert played.aws.bus.history[0].rules == ["AnotherRule", "PushRule"]
        assert [build] == played.codebuild.builds[:1]
        assert [execution] == played.pipeline.executions


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (ON_A_PUSH + TO_A_QUEUE, "AnotherRule: the rehearsal has no target arn:aws:sqs:us-east-1:"),
        (
            ON_A_PUSH + TO_A_BUILD + "          InputPath: $.detail\n",
            r"AnotherRule: the rehearsal knows no \['InputPath'\] of a target",
        ),
        (
            ON_A_PUSH.replace("      Event", "      EventBusName: own\n      Event") + TO_A_BUILD,
            "AnotherRule: the rehearsal has the default event bus only",
        ),
        (
            "\n    Type: AWS::Events::Rule\n    Properties:\n      Targets:\n" + TO_A_BUILD,
            "AnotherRule: a rule without EventPattern or ScheduleExpression",
        ),
    ],
    ids=["target", "input", "bus", "pattern"],
)
def test_what_the_bus_does_not_know_is_an_error(with_rule, rule: str, message: str) -> None:
    with with_rule(rule) as played, pytest.raises(Unsupported, match=message):
        played.send("feature")


def test_a_rule_that_is_disabled_starts_nothing(with_rule) -> None:
    disabled = ON_A_PUSH.replace("      EventPattern", "      State: DISABLED\n      EventPattern")
    with with_rule(disabled + TO_A_QUEUE) as played:
        assert played.send("feature") == []


# ---- Logs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "stream"),
    [({"StreamName": "qa"}, "qa/00000001"), ({}, "00000001")],
)
def test_a_stream_has_its_projects_prefix(tmp_path: Path, log: dict, stream: str) -> None:
    project = {"LogsConfig": {"CloudWatchLogs": {"GroupName": "/aws/codebuild/stack", **log}}}
    build = Build("stack-qa:00000001", "stack-qa", "QaBuildRole", tmp_path / "build.log")
    assert stream_of(project, build) == ("/aws/codebuild/stack", stream)


ONE_GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/codebuild/stack:log-stream:"


def test_a_right_on_a_log_group_is_decided_by_stream() -> None:
    place = {"logGroupName": "/aws/codebuild/stack", "logStreamName": "qa/00000001"}
    request = Request("logs", "PutLogEvents", place, "QaBuildRole")
    stack = Stack.__new__(Stack)
    stack.region = "us-east-1"
    (right,) = front.required(request, front.Facts(stack, lambda bucket, key: True))
    assert right.resource == f"{ONE_GROUP}qa/00000001"
    statement = {"Effect": "Allow", "Action": "logs:*", "Resource": f"{ONE_GROUP}qa/*"}
    assert iam.allows([statement], right.action, right.resource, {})
    others = statement | {"Resource": f"{ONE_GROUP}prod/*"}
    assert not iam.allows([others], right.action, right.resource, {})


# ---- The network ---------------------------------------------------------------------------------


@pytest.fixture
def client_through(tmp_path: Path):
    """A function: a client's connection through a network's proxy to a host."""

    def connect(network: Network, host: str) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=network.bundle)
        port = network.server.server_port
        through = http.client.HTTPSConnection("127.0.0.1", port, context=context)
        through.set_tunnel(host, 443)
        return through

    return connect


def test_the_users_own_proxy_is_used_but_not_for_loopback(
    tmp_path: Path, monkeypatch, client_through
) -> None:
    for name in ("users", "ours"):
        (tmp_path / name).mkdir()
    index = "https://registry.example/simple"
    with Network(tmp_path / "users") as users, Network(tmp_path / "ours", [index]) as ours:
        users.hosts["registry.example"] = lambda *request: (200, b"by the user's proxy")
        for name, value in users.environment().items():
            monkeypatch.setenv(name, value)
        ours.bundle = users.bundle
        through = client_through(ours, "registry.example")
        through.request("GET", "/")
        assert through.getresponse().read() == b"by the user's proxy"
        port = ours.server.server_port
        with gate.connection("127.0.0.1", port) as direct:
            assert direct.getpeername()[1] == port
        users.gone = True
        with pytest.raises(ConnectionError):
            gate.connection("registry.example", 443)


REFUSED = "evil.example is refused: builds reach package indexes only; to let them: --allow-host "


def test_other_hosts_than_indexes_are_refused_by_name(tmp_path: Path, client_through) -> None:
    with Network(tmp_path) as network:
        through = client_through(network, "evil.example")
        with pytest.raises(OSError, match=f"403 {REFUSED}evil.example"):
            through.request("GET", "/")
        plain = http.client.HTTPConnection("127.0.0.1", network.server.server_port)
        plain.request("POST", "http://evil.example/x", b"a secret")
        reply = plain.getresponse()
        assert (reply.status, reply.read()) == (403, f"{REFUSED}evil.example\n".encode())
        assert list(network.refused) == ["evil.example"]


def test_an_index_is_reached_without_tls_too_and_so_are_the_hosts_of_its_files(
    tmp_path: Path,
) -> None:
    page = b'<a href="https://files.example/pip.whl#x">pip</a> <a href="pip.zip">pip</a>'
    with serve(lambda request: Answer(200, page)) as (url, seen):
        with Network(tmp_path, [f"{url}/simple/"]) as network:
            assert network.reaches("files.example")
            assert not network.reaches("evil.example")
        assert [request.path for request in seen] == ["/simple/pip/"]
        with Network(tmp_path, [], ["127.0.0.1"]) as network:
            plain = http.client.HTTPConnection("127.0.0.1", network.server.server_port)
            plain.request("POST", f"{url}/a?b=c", b"body")
            assert plain.getresponse().read() == page
        assert (seen[-1].path, seen[-1].body) == ("/a?b=c", b"body")


CONFIGURED = {
    "pip.conf": "[install]\nextra-index-url =\n  http://one.example/x\n  http://two.example/\n",
    "uv.toml": 'find-links = ["https://three.example/links"]\n[pip]\nindex-url = "http://four.example"',
    "pyproject.toml": '[[tool.uv.index]]\nname = "own"\nurl = "https://u:p@five.example:8443/simple"',
}


def test_the_indexes_are_those_of_pip_and_uv(tmp_path: Path, monkeypatch) -> None:
    for name, text in CONFIGURED.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_INDEX", "six=https://six.example/simple https://seven.example")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "https://eight.example")
    hosts = {indexes.host(url) for url in indexes.index_urls(tmp_path)}
    found = {host for host in hosts if host.endswith(".example")}
    numbers = ("one", "two", "three", "four", "five", "six", "seven")
    assert found == {f"{number}.example" for number in numbers}
    assert indexes.host(indexes.default()) in hosts


GUARDED = """
import socket, sys
calls = {
    "name": lambda: socket.create_connection(("evil.example", 80)),
    "bytes": lambda: socket.getaddrinfo(b"evil.example", 80),
    "address": lambda: socket.create_connection(("192.0.2.7", 80)),
    "6": lambda: socket.create_connection(("2001:db8::7", 80)),
    "datagram": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.7", 53)),
}
for call in calls.values():
    try:
        call()
    except OSError as error:
        print(error)
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(("localhost", listener.getsockname()[1]))
socket.getaddrinfo(socket.gethostname(), 80)
"""


def test_the_builds_python_names_the_host_that_it_refuses(tmp_path: Path) -> None:
    with Network(tmp_path) as network:
        result = subprocess.run(
            [sys.executable, "-c", GUARDED],
            env=os.environ | network.environment(),
            capture_output=True,
            text=True,
        )
    names = ("evil.example", "evil.example", "192.0.2.7", "2001:db8::7", "192.0.2.7")
    why = "is refused: in a rehearsal nothing leaves this machine"
    assert result.stdout.splitlines() == [f"{name} {why}" for name in names]
    assert result.returncode == 0, result.stderr


BEHIND = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from rehearsal.machine import gate
host, port = sys.argv[2], int(sys.argv[3])
print(gate.close_network())
try:
    socket.create_connection((host, port), 5)
except OSError as error:
    print(error.errno)
gate.reach(host, port).sendall(b"by the gate")
try:
    gate.reach(host, 1)
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(
    not gate.works_in_a_child(), reason="this machine lets nobody leave its network"
)
def test_behind_the_gate_nothing_leaves_the_machine_but_what_it_opens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # of another loopback than its own
        place = [str(ROOT), *map(str, listener.getsockname())]
        shown = subprocess.run(
            [sys.executable, "-c", BEHIND, *place], capture_output=True, text=True, check=True
        ).stdout
        with listener.accept()[0] as arrived:
            assert arrived.recv(100) == b"by the gate"
            assert arrived.recv(1) == b""  # the gate has ended, too
    refused = os.strerror(errno.ECONNREFUSED)
    assert shown == f"True\n{errno.ECONNREFUSED}\n[Errno {errno.ECONNREFUSED}] {refused}\n"


def test_a_body_in_chunks_is_read_whole(tmp_path: Path) -> None:
    with Network(tmp_path) as network:
        network.hosts["workspace.example"] = lambda method, path, headers, body: (200, body[::-1])
        context = ssl.create_default_context(cafile=network.bundle)
        port = network.server.server_port
        through = http.client.HTTPSConnection("127.0.0.1", port, context=context)
        through.set_tunnel("workspace.example", 443)
        for _ in range(2):  # what is left of the first would break the second
            through.request("POST", "/", iter([b"abc", b"def"]), encode_chunked=True)
            assert through.getresponse().read() == b"fedcba"


# ---- The machine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("git", [True, False])
def test_what_is_no_file_is_not_copied(tmp_path: Path, git: bool) -> None:
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src/file").write_text("x")
    (root / ".venv").mkdir()
    (root / ".venv/program").write_text("x")
    (root / ".gitignore").write_text(".venv\n")
    (root / "link").symlink_to("src/file")
    (root / "dangling").symlink_to("/nowhere")
    (root / "loop").symlink_to("loop")
    (root / "folder").symlink_to("/etc")
    os.mkfifo(root / "fifo")
    Path(os.fsdecode(bytes(root) + b"/f\xff")).write_text("x")
    if git:
        subprocess.run(["git", "init", "--quiet", root], check=True)
    copy_repository(root, tmp_path / "copy")
    names = {os.path.relpath(path, tmp_path / "copy") for path in (tmp_path / "copy").rglob("*")}
    assert names == {".gitignore", "src", "src/file", "link", os.fsdecode(b"f\xff")}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-data-project", "my-data-project"),
        ("a space $and 'more'", "a-space-and-more"),
        ("\u00e4\u00f6", "stack"),
        ("-2026", "stack-2026"),
        ("new\nline", "new-line"),
        ("x" * 99, "x" * 40),
    ],
)
def test_a_stack_has_a_name_that_cloudformation_takes(tmp_path, folder: str, name: str) -> None:
    assert play.stack_name(tmp_path / folder) == name


def test_a_program_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    with process.group(["sh", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE) as made:
        pid = int(made.stdout.readline())
    with pytest.raises(ProcessLookupError):
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)


@pytest.mark.parametrize("missing", play.PROGRAMS)
def test_a_program_that_is_missing_is_named(default: Path, tmp_path, monkeypatch, missing) -> None:
    for name in set(play.PROGRAMS) - {missing}:
        (tmp_path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(play.Unplayable, match=f"{missing} is not on PATH; install it"):
        play.check_repository(default)
