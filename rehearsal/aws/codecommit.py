"""The repository: a bare git repository, its pull requests, and the events of both."""

import secrets
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from rehearsal.aws.errors import AwsError
from rehearsal.aws.events import Event, EventBus
from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape
from rehearsal.aws.stack import Stack

AUTHOR = "arn:aws:sts::123456789012:assumed-role/Team/Ada"


class CodeCommit:
    """The stack's one repository; `folder` is the bare git repository that it stands for."""

    def __init__(self, stack: Stack, bus: EventBus, folder: Path) -> None:
        self.stack, self.bus, self.folder = stack, bus, folder
        self.pull_requests: dict[str, str] = {}  # branch -> number, in the order of their opening
        self.comments: list[dict[str, str]] = []  # on pull requests, each with its `role`

    @property
    def arn(self) -> str:
        """The repository's ARN."""
        (logical,) = self.stack.of_type("CodeCommit::Repository")
        return self.stack.arn(logical)

    @property
    def name(self) -> str:
        """The repository's name."""
        return self.arn.rpartition(":")[2]

    def run_git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs git in the bare repository."""
        command = ["git", "--git-dir", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def git(self, *arguments: str) -> str:
        """What git prints in the bare repository. Raises CalledProcessError."""
        result = self.run_git(*arguments)
        result.check_returncode()
        return result.stdout

    def head(self, branch: str) -> str:
        """The commit of a branch, empty for none."""
        return self.run_git(
            "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"
        ).stdout.strip()

    # ---- Events: https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html

    def announce_push(self, branch: str, commit: str, old: str = "") -> list[object]:
        """Puts the event of a push on the bus; returns what its rules have started."""
        detail = {
            "event": "referenceUpdated" if old else "referenceCreated",
            "repositoryName": self.name,
            "repositoryId": str(uuid.uuid4()),
            "referenceType": "branch",
            "referenceName": branch,
            "referenceFullName": f"refs/heads/{branch}",
            "commitId": commit,
            "callerUserArn": AUTHOR,
        }
        if old:
            detail["oldCommitId"] = old
        return self.put("CodeCommit Repository State Change", detail)

    def announce_pull_request(self, branch: str, destination: str) -> list[object]:
        """Puts the event of a branch's pull request on the bus: it is new, or has a new revision.

        Returns what the event's rules have started.
        """
        known = branch in self.pull_requests
        number = self.pull_requests.setdefault(branch, str(len(self.pull_requests) + 1))
        now = time.ctime()
        detail = {
            "author": AUTHOR,
            "callerUserArn": AUTHOR,
            "creationDate": now,
            "description": "",
            "destinationCommit": self.head(destination),
            "destinationReference": f"refs/heads/{destination}",
            "event": "pullRequestSourceBranchUpdated" if known else "pullRequestCreated",
            "isMerged": "False",
            "lastModifiedDate": now,
            "notificationBody": f"A pull request event occurred: {number}",
            "pullRequestId": number,
            "pullRequestStatus": "Open",
            "repositoryNames": [self.name],
            "revisionId": secrets.token_hex(32),
            "sourceCommit": self.head(branch),
            "sourceReference": f"refs/heads/{branch}",
            "title": f"Merge {branch}",
        }
        return self.put("CodeCommit Pull Request State Change", detail)

    def put(self, detail_type: str, detail: Event) -> list[object]:
        """Puts an event of the repository on the bus."""
        return self.bus.put("aws.codecommit", detail_type, detail, self.arn)

    # ---- The API: https://docs.aws.amazon.com/codecommit/latest/APIReference/API_Operations.html

    def get_branch(self, request: Request) -> Shape:
        """GetBranch"""
        branch = request.parameters["branchName"]
        head = self.head(branch)
        if not head:
            raise AwsError("BranchDoesNotExistException", branch)
        return {"branch": {"branchName": branch, "commitId": head}}

    def get_commit(self, request: Request) -> Shape:
        """GetCommit"""
        commit = request.parameters["commitId"]
        formatted = "--format=%H%x00%T%x00%an%x00%ae%x00%B"
        shown = self.run_git("show", "--no-patch", formatted, commit, "--")
        if shown.returncode:
            raise AwsError("CommitIdDoesNotExistException", commit)
        commit, tree, name, email, message = shown.stdout.split("\0")
        author = {"name": name, "email": email, "date": ""}
        return {
            "commit": {
                "commitId": commit,
                "treeId": tree,
                "parents": [],
                "message": message.strip(),
                "author": author,
                "committer": author,
                "additionalData": "",
            }
        }

    def post_comment(self, request: Request) -> Shape:
        """PostCommentForPullRequest"""
        parameters, role = request.parameters, request.role
        self.check_comment(parameters)
        self.comments.append({**parameters, "role": role or ""})
        comment = {
            "commentId": str(uuid.uuid4()),
            "content": parameters["content"],
            "deleted": False,
            "authorArn": self.stack.arn(role) if role else "operator",
        }
        ids = {name: value for name, value in parameters.items() if name.endswith("Id")}
        return {**ids, "repositoryName": parameters["repositoryName"], "comment": comment}

    def check_comment(self, parameters: Shape) -> None:
        """Raises AwsError for a comment that CodeCommit would refuse."""
        before, after = parameters["beforeCommitId"], parameters["afterCommitId"]
        content = parameters["content"]
        refusals = {
            "PullRequestDoesNotExist": parameters["pullRequestId"]
            not in self.pull_requests.values(),
            "CommentContentRequired": not content.strip(),
            "CommentContentSizeLimitExceeded": len(content) > 10_240,
            "BeforeCommitIdAndAfterCommitIdAreSame": before == after,
            "CommitDoesNotExist": not (self.has_commit(before) and self.has_commit(after)),
        }
        for name, refused in refusals.items():
            if refused:
                raise AwsError(f"{name}Exception", f"refused: {name}")

    def has_commit(self, commit: str) -> bool:
        """Whether a commit was pushed."""
        return self.run_git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def operations(self) -> Mapping[str, Operation]:
        """What is answered here."""
        return {
            "GetBranch": self.get_branch,
            "GetCommit": self.get_commit,
            "PostCommentForPullRequest": self.post_comment,
        }
