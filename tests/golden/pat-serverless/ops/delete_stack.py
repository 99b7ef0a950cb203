"""Empties the stack's buckets and deletes the stack, for destroy.py."""

import sys

import aws_stack
from botocore.exceptions import ClientError, WaiterError


def empty(bucket: str) -> None:
    """Deletes every version and every delete marker of a bucket."""
    s3 = aws_stack.client("s3")
    count = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        if found:
            keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
            errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in errors.get("Errors", []):
                sys.exit(f"destroy.py: {bucket}/{error['Key']} stays: {error['Message']}")
            count += len(found)
            print(f"\r{bucket}: {count} versions deleted", end="", flush=True)
    print(f"\r{bucket}: empty" + " " * 30)


def stuck() -> str:
    """What CloudFormation could not delete, and why."""
    paginator = aws_stack.client("cloudformation").get_paginator("list_stack_resources")
    return "".join(
        f"\n  {item['LogicalResourceId']}: {item.get('ResourceStatusReason', 'no reason given')}"
        for page in paginator.paginate(StackName=aws_stack.STACK)
        for item in page["StackResourceSummaries"]
        if item["ResourceStatus"] == "DELETE_FAILED"
    )


def delete_stack(buckets: list[str]) -> None:
    """Empties the buckets and deletes the stack; again when a late access log came in between."""
    cloudformation = aws_stack.client("cloudformation")
    for attempt in range(3):
        for bucket in buckets:
            try:
                # Without its access log, emptying one bucket does not fill the other.
                aws_stack.client("s3").put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
                empty(bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchBucket":
                    raise
        print(f"Deleting the stack {aws_stack.STACK} ...", flush=True)
        cloudformation.delete_stack(StackName=aws_stack.STACK)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(StackName=aws_stack.STACK)
            return
        except WaiterError as error:
            if attempt == 2:
                sys.exit(
                    f"destroy.py: CloudFormation could not delete the stack: {error}{stuck()}\n"
                    "Mend that, then make destroy again"
                )
