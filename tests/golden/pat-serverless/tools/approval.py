"""Answers the approval that waits: approval.py Approved|Rejected, with a reason in REASON."""

import os
import sys

import aws_stack
from status import waiting_approval


def main() -> None:
    """Shows what waits and answers it; a rejection needs a reason."""
    answer, reason = sys.argv[1], os.environ.get("REASON", "").strip()
    if answer == "Rejected" and not reason:
        sys.exit('approval.py: say why: make reject REASON="..."')
    pipeline = aws_stack.outputs()["PipelineName"]
    approval = waiting_approval(pipeline)
    if approval is None:
        sys.exit("approval.py: nothing waits for an approval; see: make status")
    print(approval.text)
    if answer == "Approved" and sys.stdin.isatty() and input("Approve it? [y/N] ").lower() != "y":
        sys.exit("approval.py: nothing is approved")
    aws_stack.client("codepipeline").put_approval_result(
        pipelineName=pipeline,
        stageName=approval.stage,
        actionName=approval.action,
        token=approval.token,
        result={"status": answer, "summary": (reason or "approved with make approve")[:512]},
    )
    print(f"{answer}.")


if __name__ == "__main__":
    aws_stack.run(main)
