"""Starts the pipeline on the head of its branch, as a push does."""

import aws_stack
import pipeline


def main() -> None:
    """Starts it and says how to follow it."""
    name = pipeline.deployed().name
    started = aws_stack.client("codepipeline").start_pipeline_execution(name=name)
    branch = aws_stack.parameters().get("BranchName", "its branch")
    print(f"Started execution {started['pipelineExecutionId']} on the head of {branch}.")
    print("Follow it: make status, make logs")


if __name__ == "__main__":
    aws_stack.run(main)
