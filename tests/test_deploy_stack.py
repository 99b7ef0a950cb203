"""`make stack`: what a change set would do is shown, asked about, executed and followed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from operating import NOW, SLUG, Cloud, Operator, Refusal, Shape, at_work

ID = f"arn:aws:cloudformation:us-east-1:123456789012:stack/{SLUG}/x"
NOBODY = "there is no terminal to ask at. To do it unasked, add YES=1"


def change(action: str, resource: str, replacement: str = "", *names: str) -> Shape:
    """A change of a change set."""
    more = {"Replacement": replacement} if replacement else {}
    details = [{"Target": {"Attribute": "Properties", "Name": name}} for name in names]
    shown = {"LogicalResourceId": resource, "ResourceType": "AWS::X::Y", "Details": details}
    return {"Type": "Resource", "ResourceChange": {"Action": action, **shown, **more}}


UPDATE = change("Modify", "Pipeline", "False", "Stages")


class Changing(Cloud):
    """An account whose stack has changes."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.protected = "CREATE_COMPLETE", False
        self.changes: list[Shape] = [UPDATE]
        self.reason = ""
        self.outputs["CicdBucketName"] = "cicd-1"
        self.ends = [("Pipeline", "UPDATE_COMPLETE", ""), (SLUG, "UPDATE_COMPLETE", "")]
        self.events = [self.event(SLUG, "CREATE_COMPLETE", "")]

    def event(self, resource: str, status: str, reason: str) -> Shape:
        """An event of the stack."""
        return {
            "StackId": ID,
            "StackName": SLUG,
            "EventId": f"{resource}-{status}-{len(getattr(self, 'events', []))}",
            "Timestamp": NOW,
            "LogicalResourceId": resource,
            "PhysicalResourceId": ID if resource == SLUG else resource,
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
        }

    def DescribeStacks(self, request: Shape) -> Shape | Refusal:
        if not self.status:
            return Refusal("ValidationError", f"Stack with id {SLUG} does not exist")
        answer = super().DescribeStacks(request)
        state = {"StackStatus": self.status, "EnableTerminationProtection": self.protected}
        answer["Stacks"][0] |= state
        return answer

    def CreateChangeSet(self, request: Shape) -> Shape:
        return {"Id": "change-set", "StackId": ID}

    def DescribeChangeSet(self, request: Shape) -> Shape:
        if self.reason:
            return {"Status": "FAILED", "StatusReason": self.reason}
        if "NextToken" in request:
            return {"Status": "CREATE_COMPLETE", "Changes": self.changes[1:]}
        more = {"NextToken": "t"} if self.changes[1:] else {}
        return {"Status": "CREATE_COMPLETE", "Changes": self.changes[:1], **more}

    def DeleteChangeSet(self, request: Shape) -> Shape:
        return {}

    def ExecuteChangeSet(self, request: Shape) -> Shape:
        for end in self.ends:
            self.events.insert(0, self.event(end[0], end[1].split("_")[0] + "_IN_PROGRESS", ""))
            self.events.insert(0, self.event(*end))
        self.status = self.ends[-1][1]
        return {}

    def DescribeStackEvents(self, request: Shape) -> Shape | Refusal:
        return {"StackEvents": self.events}

    def HeadObject(self, request: Shape) -> Shape | Refusal:
        return Refusal("404")

    def PutObject(self, request: Shape) -> Shape:
        return {}

    def UpdateTerminationProtection(self, request: Shape) -> Shape:
        self.protected = request["EnableTerminationProtection"]
        return {}


DEPLOYED = "cicd/ is deployed: the next execution of the pipeline runs it."


@pytest.fixture
def repository(default: Path, tmp_path: Path) -> Path:
    """A repository whose client is pinned: without that, make stack looks for its checksum."""
    root = shutil.copytree(default, tmp_path / SLUG)
    tools = root / "cicd/tools.env"
    tools.write_text(tools.read_text().replace("_SHA256=\n", f"_SHA256={64 * 'a'}\n"))
    return root


@pytest.fixture
def operator(repository: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator whose stack differs from cicd/stack.yml."""
    with at_work(repository, monkeypatch, capsys, Changing()) as operator:
        yield operator


def test_what_changes_is_shown_and_each_resource_as_it_ends(operator: Operator) -> None:
    screen = operator.run("stack", "--tags", "project=x 'cost-center=a b'", "RepoName=copy")
    assert (screen.code, screen.err) == (0, "")
    assert screen.lines == [
        "Comparing",
        "This changes the stack:",
        "change Pipeline (AWS::X::Y) Stages",
        "UPDATE_COMPLETE Pipeline",
        f"UPDATE_COMPLETE {SLUG}",
        "The stack is as cicd/stack.yml says.",
        DEPLOYED,
    ]
    assert [item["Key"] for item in operator.cloud.called("PutObject")] == ["cicd.zip"]
    (request,) = operator.cloud.called("CreateChangeSet")
    assert (request["ChangeSetType"], request["Capabilities"]) == ("UPDATE", ["CAPABILITY_IAM"])
    tags = [{"Key": "project", "Value": "x"}, {"Key": "cost-center", "Value": "a b"}]
    assert request["Tags"] == tags
    assert {"ParameterKey": "RepoName", "ParameterValue": "copy"} in request["Parameters"]
    assert operator.cloud.called("DeleteChangeSet") == []


RISKS = [
    (change("Remove", "Old"), "remove Old (AWS::X::Y)"),
    (change("Modify", "Key", "True", "KeySpec"), "replace Key (AWS::X::Y) KeySpec"),
    (change("Modify", "Key", "Conditional", "B", "A"), "perhaps replace Key (AWS::X::Y) A, B"),
]


@pytest.mark.parametrize(("risk", "line"), RISKS)
@pytest.mark.parametrize(
    ("typed", "yes", "refused"),
    [
        ("y\n", [], None),
        (None, ["--yes"], None),
        ("n\n", [], "the stack is not changed"),
        (None, [], f"the stack is not changed: {NOBODY}"),
    ],
)
def test_what_is_replaced_or_removed_needs_a_word(
    operator, risk, line, typed, yes, refused
) -> None:
    operator.cloud.changes = [UPDATE, risk]
    screen = operator.run("stack", *yes, typed=typed)
    assert screen.lines[2] == line
    expected = (0, "") if refused is None else (1, f"stack: {refused}\n")
    assert (screen.code, screen.err) == expected
    done = [len(operator.cloud.called(f"{name}ChangeSet")) for name in ("Execute", "Delete")]
    assert done == ([1, 0] if refused is None else [0, 1])


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information",
        "No updates are to be performed.",
    ],
)
def test_no_change_is_a_success(operator: Operator, reason: str) -> None:
    operator.cloud.reason = reason
    screen = operator.run("stack")
    assert (screen.code, screen.err) == (0, "")
    assert screen.lines[-2] == "Nothing to change: the stack is as cicd/stack.yml says."
    assert len(operator.cloud.called("DeleteChangeSet")) == 1


def test_a_change_that_cannot_be_made_says_why(operator: Operator) -> None:
    operator.cloud.reason = "Template error: x"
    screen = operator.run("stack")
    assert screen == (
        1,
        "Comparing \n",
        "stack: CloudFormation cannot change the stack: Template error: x\n",
    )
    assert len(operator.cloud.called("DeleteChangeSet")) == 1


def test_a_resource_that_fails_says_why(operator: Operator) -> None:
    operator.cloud.ends = [
        ("Topic", "UPDATE_FAILED", "Resource update cancelled"),
        ("Key", "UPDATE_FAILED", "Access denied to kms:PutKeyPolicy"),
        (SLUG, "UPDATE_ROLLBACK_COMPLETE", ""),
    ]
    screen = operator.run("stack")
    assert screen.code == 1
    assert screen.err == (
        "stack: the stack is UPDATE_ROLLBACK_COMPLETE. Key: Access denied to kms:PutKeyPolicy\n"
        "Then: fix that, then make stack\n"
    )


@pytest.mark.parametrize("status", ["", "REVIEW_IN_PROGRESS"])
def test_a_new_stack_is_created_unasked(operator: Operator, status: str) -> None:
    cloud = operator.cloud
    cloud.status, cloud.changes = status, [change("Add", "Key"), change("Add", "Topic")]
    cloud.ends = [("Key", "CREATE_COMPLETE", ""), (SLUG, "CREATE_COMPLETE", "")]
    screen = operator.run("stack")
    assert (screen.code, screen.err) == (0, "")
    assert screen.lines[1] == "This creates the stack. Resources: 2."
    assert cloud.called("CreateChangeSet")[0]["ChangeSetType"] == "CREATE"
    assert cloud.called("UpdateTerminationProtection") == []  # nothing is deployed yet


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        ("ROLLBACK_COMPLETE", "make destroy, then make stack"),
        ("UPDATE_ROLLBACK_FAILED", f"continue-update-rollback --stack-name {SLUG}"),
    ],
)
def test_a_stack_that_cannot_be_changed_says_what_to_do(operator, status, fix) -> None:
    operator.cloud.status = status
    screen = operator.run("stack")
    assert (screen.code, f"the stack is {status}: " in screen.err, fix in screen.err) == (
        1,
        True,
        True,
    )
    assert operator.cloud.called("CreateChangeSet") == []


@pytest.mark.parametrize(
    ("released", "before", "calls"), [(True, False, 1), (True, True, 0), (False, False, 0)]
)
def test_a_stack_with_a_release_is_protected(operator, released, before, calls) -> None:
    if released:
        operator.cloud.release("aaaaaaaa-1", "0123abcd99")
    operator.cloud.protected = before
    assert operator.run("stack").code == 0
    on = {"StackName": SLUG, "EnableTerminationProtection": True}
    assert operator.cloud.called("UpdateTerminationProtection") == [on] * calls


# ---- make protect --------------------------------------------------------------------------------


class Reviewed(Cloud):
    """An account with reviewers, and CodeCommit's approval rule templates."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs["CodeCommitUrl"] = f"codecommit::us-east-1://{SLUG}"
        self.outputs["ReviewerPolicyArn"] = "arn:aws:iam::123456789012:policy/r"
        self.template = ""
        self.associated: list[str] = []
        self.roles, self.users, self.groups = ["Reviewer"], ["grace"], ["leads"]

    def DescribeStacks(self, request: Shape) -> Shape:
        answer = super().DescribeStacks(request)
        answer["Stacks"][0]["StackId"] = ID
        return answer

    def ListEntitiesForPolicy(self, request: Shape) -> Shape:
        assert request["PolicyArn"] == self.outputs["ReviewerPolicyArn"]
        return {
            "PolicyRoles": [{"RoleName": name} for name in self.roles],
            "PolicyUsers": [{"UserName": name} for name in self.users],
            "PolicyGroups": [{"GroupName": name} for name in self.groups],
        }

    def user(self, name: str) -> Shape:
        arn = f"arn:aws:iam::123456789012:user/people/{name}"
        about = {"UserId": "AIDAEXAMPLEEXAMPLE00", "CreateDate": NOW, "Path": "/people/"}
        return {"UserName": name, "Arn": arn, **about}

    def GetUser(self, request: Shape) -> Shape:
        return {"User": self.user(request["UserName"])}

    def GetGroup(self, request: Shape) -> Shape:
        name = request["GroupName"]
        arn = f"arn:aws:iam::123456789012:group/{name}"
        about = {"GroupId": "AGPAEXAMPLEEXAMPLE00", "CreateDate": NOW, "Path": "/"}
        return {"Group": {"GroupName": name, "Arn": arn, **about}, "Users": [self.user("ada")]}

    def GetApprovalRuleTemplate(self, request: Shape) -> Shape | Refusal:
        if not self.template:
            return Refusal("ApprovalRuleTemplateDoesNotExistException")
        return {"approvalRuleTemplate": {"approvalRuleTemplateContent": self.template}}

    def CreateApprovalRuleTemplate(self, request: Shape) -> Shape:
        self.template = request["approvalRuleTemplateContent"]
        return {"approvalRuleTemplate": {}}

    def UpdateApprovalRuleTemplateContent(self, request: Shape) -> Shape:
        self.template = request["newRuleContent"]
        return {"approvalRuleTemplate": {}}

    def ListAssociatedApprovalRuleTemplatesForRepository(self, request: Shape) -> Shape:
        assert request["repositoryName"] == SLUG
        return {"approvalRuleTemplateNames": self.associated}

    def AssociateApprovalRuleTemplateWithRepository(self, request: Shape) -> Shape:
        self.associated.append(request["approvalRuleTemplateName"])
        return {}


@pytest.fixture
def administrator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An administrator whose reviewers are known."""
    with at_work(default, monkeypatch, capsys, Reviewed()) as operator:
        yield operator


NAME = f"{SLUG}-reviewers"


def test_protect_makes_the_rule_and_repeats_itself(administrator: Operator) -> None:
    cloud = administrator.cloud
    first = administrator.run("protect")
    assert (first.code, first.err) == (0, "")
    assert json.loads(cloud.template) == {
        "Version": "2018-11-08",
        "DestinationReferences": ["refs/heads/main"],
        "Statements": [
            {
                "Type": "Approvers",
                "NumberOfApprovalsNeeded": 1,
                "ApprovalPoolMembers": [
                    "arn:aws:iam::123456789012:user/people/ada",
                    "arn:aws:iam::123456789012:user/people/grace",
                    "arn:aws:sts::123456789012:assumed-role/Reviewer/*",
                ],
            }
        ],
    }
    assert cloud.associated == [NAME]
    assert first.lines[0] == (
        f"Approval rule template {NAME}: created. A pull request to main needs 1 of"
    )
    assert f"Repository {SLUG}: associated." in first.lines
    before = len(cloud.calls)
    second = administrator.run("protect")
    assert f"{NAME}: unchanged." in second.out and "associated already." in second.out
    names = {name for name, _ in cloud.calls[before:]}
    assert not [name for name in names if name.startswith(("Create", "Update", "Associate"))]
    cloud.roles = ["Reviewer", "Lead"]
    assert f"{NAME}: updated." in administrator.run("protect").out
    assert "assumed-role/Lead/*" in cloud.template
    assert cloud.associated == [NAME]


def test_without_reviewers_there_is_no_rule(administrator: Operator) -> None:
    cloud = administrator.cloud
    cloud.roles = cloud.users = cloud.groups = []
    screen = administrator.run("protect")
    assert screen.code == 1
    assert screen.err.startswith("protect: nobody has the policy of the reviewers, arn:aws:iam::")
    assert cloud.template == ""


# ---- A template that is too long for a request ---------------------------------------------------


def lengthen(repository: Path) -> None:
    """Makes the template longer than CloudFormation takes in a request."""
    with (repository / "cicd/stack.yml").open("a") as template:
        template.write(f"# {'x' * 60_000}\n")


def test_a_long_template_goes_through_the_bucket(operator: Operator, repository: Path) -> None:
    lengthen(repository)
    assert operator.run("stack").code == 0
    (request,) = operator.cloud.called("CreateChangeSet")
    assert "TemplateBody" not in request
    assert request["TemplateURL"].endswith("/cicd-1/stack.yml")
    keys = [item["Key"] for item in operator.cloud.called("PutObject")]
    assert keys == ["stack.yml", "cicd.zip"]


def test_a_new_stack_takes_no_long_template(operator: Operator, repository: Path) -> None:
    lengthen(repository)
    operator.cloud.status = ""
    screen = operator.run("stack")
    assert screen.code == 1
    assert "a new stack has no bucket for it. Create the stack from an earlier" in screen.err
    assert operator.cloud.called("CreateChangeSet") == []


@pytest.mark.parametrize("git", [True, False], ids=["with git", "without git"])
@pytest.mark.parametrize("target", ["steps", "tools.env", "nowhere"])
def test_a_link_in_cicd_is_not_left_out_unseen(operator, repository: Path, git, target) -> None:
    """The plan would stop at each commit that has it, and say that the commit has added it."""
    (repository / "cicd/link").symlink_to(target)
    (repository / ".git").rename(repository / (".git" if git else "no-git"))
    screen = operator.run("stack")
    assert screen.code == 1
    assert "cicd/link is no plain file; replace it by one, or remove it" in screen.err
    assert operator.cloud.called("PutObject") == []
