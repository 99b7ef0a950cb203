"""`make protect`: pull requests to the pipeline's branch need a reviewer's approval."""

import json
from typing import Any

from ops import Stop
from ops.aws import Stack

APPROVALS = 1  # how many a pull request needs


def rule_template(stack: Stack) -> str:
    """The name of the approval rule template."""
    return f"{stack.name}-reviewers"


def holders(iam: Any, policy: str) -> list[tuple[str, str]]:
    """Who has a policy: each a "User", "Group" or "Role", and its name. Not whom it only bounds."""
    paginator = iam.get_paginator("list_entities_for_policy")
    pages = paginator.paginate(PolicyArn=policy, PolicyUsageFilter="PermissionsPolicy")
    return [
        (kind, item[f"{kind}Name"])
        for page in pages
        for kind in ("User", "Group", "Role")
        for item in page[f"Policy{kind}s"]
    ]


def pool(stack: Stack) -> list[str]:
    """The ARNs of the reviewers: who has the stack's policy for them."""
    iam, policy = stack.client("iam"), stack.output("ReviewerPolicyArn")
    members: set[str] = set()
    for kind, name in holders(iam, policy):
        if kind == "Role":
            _, partition, _, _, account, _ = stack.description["StackId"].split(":", 5)
            members.add(f"arn:{partition}:sts::{account}:assumed-role/{name}/*")
        elif kind == "User":
            members.add(iam.get_user(UserName=name)["User"]["Arn"])
        else:
            pages = iam.get_paginator("get_group").paginate(GroupName=name)
            members |= {user["Arn"] for page in pages for user in page["Users"]}
    if not members:
        raise Stop(
            f"nobody has the policy of the reviewers, {policy}. Attach it to their role first"
            " (docs/security.md)"
        )
    return sorted(members)


def rule(branch: str, members: list[str]) -> str:
    """The content of the approval rule template."""
    approvers = {
        "Type": "Approvers",
        "NumberOfApprovalsNeeded": APPROVALS,
        "ApprovalPoolMembers": members,
    }
    references = [f"refs/heads/{branch}"]
    content = {"Version": "2018-11-08", "DestinationReferences": references}
    return json.dumps(content | {"Statements": [approvers]})


def put_template(codecommit: Any, name: str, content: str) -> str:
    """Creates the template, or changes it if it says something else; returns what was done."""
    try:
        template = codecommit.get_approval_rule_template(approvalRuleTemplateName=name)
    except codecommit.exceptions.ApprovalRuleTemplateDoesNotExistException:
        codecommit.create_approval_rule_template(
            approvalRuleTemplateName=name,
            approvalRuleTemplateContent=content,
            approvalRuleTemplateDescription="Made by make protect",
        )
        return "created"
    existing = template["approvalRuleTemplate"]["approvalRuleTemplateContent"]
    if json.loads(existing) == json.loads(content):
        return "unchanged"
    codecommit.update_approval_rule_template_content(
        approvalRuleTemplateName=name, newRuleContent=content
    )
    return "updated"


def protect(stack: Stack) -> None:
    """Makes and associates the template, and says what it did. Repeating it changes nothing."""
    repository = stack.output("CodeCommitUrl").rpartition("/")[2]
    branch, name = stack.parameters["BranchName"], rule_template(stack)
    members, codecommit = pool(stack), stack.client("codecommit")
    done = put_template(codecommit, name, rule(branch, members))
    print(f"Approval rule template {name}: {done}. A pull request to {branch} needs {APPROVALS} of")
    for member in members:
        print(f"  {member}")
    answer = codecommit.list_associated_approval_rule_templates_for_repository(
        repositoryName=repository  # a repository has at most 25, one page
    )
    if name in answer["approvalRuleTemplateNames"]:
        print(f"Repository {repository}: associated already.")
    else:
        codecommit.associate_approval_rule_template_with_repository(
            approvalRuleTemplateName=name, repositoryName=repository
        )
        print(f"Repository {repository}: associated.")
    print("Pull requests that are open already keep the rules that they have.")
