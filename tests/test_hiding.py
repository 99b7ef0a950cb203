"""cicd/steps/hiding.py: what looks secret in a plan is not shown, and what a reviewer needs is."""

import base64
import json
import time

import pytest

from steps import load

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAhunter2\n-----END RSA PRIVATE KEY-----\n"
JOB = "resources.jobs.x"

# family: {path of a field: its value}, and the part of the value that nobody may read.
# Tokens are put together here, so that no scanner takes this file for a leak.
HUNTER = "hunter2"
AT_KEYS = [
    "db_password",
    "configuration['pwd']",
    "configuration['pass']",
    "spark_env_vars['DB_PASS']",
    "spark_env_vars['DBPASSWORD']",
    "base_parameters['passphrase']",
    "configuration['sas']",
    "base_parameters['sasToken']",
    "spark_conf['spark.hadoop.fs.s3a.access.key']",
    "spark_conf['fs.s3a.secret.key']",
    "spark_conf['fs.azure.account.key.acme.dfs.core.windows.net']",
    "configuration['fs.azure.account.oauth2.client.secret']",
    "base_parameters['apiKey']",
    "base_parameters['APIKEY']",
    "base_parameters['client-secret']",
    "base_parameters['github_pat']",
    "base_parameters['signing_key']",
    "headers['Authorization']",
    "headers['Cookie']",
    "parameters[name='db_password'].default",
    "tasks[task_key='x'].credentials.user",
]
IN_TEXTS = [
    "jdbc:postgresql://db.acme.com:5432/sales?user=ada&password=hunter2",
    "jdbc:sqlserver://db:1433;database=sales;user=ada;password={hunter2};encrypt=true",
    "jdbc:mysql://ada:hunter2@db:3306/sales",
    "jdbc:oracle:thin:ada/hunter2@//db:1521/sales",
    "postgresql://ada:x/hunter2@db/sales",
    "ada:hunter2@tcp(db:3306)/sales",
    "Server=db;Database=sales;Uid=ada;Pwd=hunter2;",
    "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=hunter2==;EndpointSuffix=x",
    "Endpoint=sb://acme.net/;SharedAccessKeyName=root;SharedAccessKey=hunter2=",
    "https://acme.blob.core.windows.net/c/f?sv=2024-01-01&sp=r&sig=hunter2%3D",
    "https://bucket.s3.amazonaws.com/x?X-Amz-Expires=60&X-Amz-Signature=hunter2",
    "https://hunter2hunter2hunter2@github.com/acme/x.git",
    "load --password hunter2 --table sales",
    "load --password=hunter2",
    "load --api-key 'hunter2'",
    '{"user": "ada", "password": "hunter2"}',
    "Authorization: Bearer hunter2",
    "curl -H 'X-Auth: Basic hunter2=='",
    "https://hooks.slack.com/services/T0/B0/hunter2",
]
IN_LISTS = [
    ["--user", "ada", "--password", "hunter2"],
    ["--catalog=prod", "--token=hunter2"],
    ["--db-pwd", "hunter2", "--verbose"],
    [{"name": "API_TOKEN", "value": "hunter2"}],
    [{"key": "db_password", "value": "hunter2"}],
    {"host": "db", "login": {"passwd": "hunter2"}},
]
LETTERS = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC2dE3fG4h"
DIGITS = "0123456789abcdef" * 4
TOKENS = {
    "Databricks": f"dapi{DIGITS[:32]}",
    "Databricks, of an application": f"dose{DIGITS[:32]}-2",
    "AWS, ID": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS, ID of a session": "ASIA" + "IOSFODNN7EXAMPLE",
    "AWS, key": "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
    "AWS, session": "FwoGZXIvYXdzE" + LETTERS,
    "GitHub": "ghp_" + LETTERS[:36],
    "GitHub, of an application": "ghs_" + LETTERS[:36],
    "GitHub, fine-grained": "github_pat_" + LETTERS,
    "GitLab": "glpat-" + LETTERS[:20],
    "GitLab, of a runner": "glrt-" + LETTERS[:20],
    "Slack": "xoxb-" + "123456789012-" + LETTERS[:24],
    "Slack, of an application": "xapp-1-A0-" + LETTERS[:24],
    "Google": "AIza" + LETTERS[:35],
    "Google, OAuth": "ya29." + LETTERS,
    "Hugging Face": "hf_" + LETTERS[:34],
    "SendGrid": "SG." + LETTERS[:22] + "." + LETTERS,
    "OpenAI": "sk-" + "proj-" + LETTERS,
    "Stripe": "sk_" + "live_" + LETTERS[:24],
    "npm": "npm_" + LETTERS[:36],
    "PyPI": "pypi-" + LETTERS,
    "Azure, of an application": "abc8Q~" + LETTERS[:34],
    "Azure, of an account": LETTERS + LETTERS + "==",
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0." + LETTERS,
    "web token, short": "eyJhbGciOiJub25lIn0.e30.",
    "key": PEM,
    "key in base64": base64.b64encode(PEM.encode()).decode(),
}
PROBES = {
    **{f"key: {path}": (path, HUNTER, HUNTER) for path in AT_KEYS},
    **{f"text: {text}": ("description", text, HUNTER) for text in IN_TEXTS},
    **{f"list: {value}": ("tasks[0].parameters", value, HUNTER) for value in IN_LISTS},
    **{f"token: {name}": ("tags['note']", f"now {text}", text) for name, text in TOKENS.items()},
}


def plan_of(path: str, before: object, after: object) -> str:
    """A plan that changes a field."""
    change = {"action": "update", "old": before, "new": after, "remote": before}
    entry = {"action": "update", "remote_state": {"x": 1}, "changes": {path: change}}
    return json.dumps({"plan_version": 2, "plan": {JOB: entry}})


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("way", ["added", "removed", "created"])
def test_no_secret_is_shown(probe: str, way: str) -> None:
    path, value, secret = PROBES[probe]
    plans = load("plan")
    plan = {
        "added": plan_of(path, None, value),
        "removed": plan_of(path, value, None),
        "created": json.dumps(
            {
                "plan_version": 2,
                "plan": {JOB: {"action": "create", "new_state": {"value": {path: value}}}},
            }
        ),
    }
    text = plans.show(plans.Plan(plan[way]))
    assert "(hidden)" in text
    assert secret not in text and secret[:20] not in text and json.dumps(secret)[1:-1] not in text


# {path of a field: its value}, which a reviewer has to read.
SHOWN = {
    "base_parameters['max_tokens']": "100",
    "base_parameters['token_budget']": 4000,
    "base_parameters['passenger_count']": "passenger_count > 2",
    "base_parameters['compass']": "north",
    "base_parameters['bypass']": "bypass=true",
    "base_parameters['primary_key']": "trip_id",
    "base_parameters['partition_key']": "pickup_date",
    "base_parameters['sort_keys']": "a,b",
    "base_parameters['secret_scope']": "acme-prod",
    "base_parameters['token_url']": "https://login.example.com/oauth2/token",
    "base_parameters['db_password']": "{{secrets/acme-prod/db_password}}",
    "base_parameters['source_table']": "samples.nyctaxi.trips",
    "base_parameters['enable_token_refresh']": True,
    "tasks[task_key='refresh_token'].notebook_task.notebook_path": "/Workspace/a/token_export",
    "tasks[task_key='refresh_token'].environment_key": "main",
    "aws_attributes.instance_profile_arn": "arn:aws:iam::123456789012:instance-profile/etl",
    "git_source.git_commit": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "schedule.quartz_cron_expression": "0 30 7 * * ?",
    "schedule.timezone_id": "America/Argentina/ComodRivadavia",
    "run_as.service_principal_name": "7a117ac8-0108-0de6-7a11-7ac801080e9b",
    "environments[environment_key='main'].spec.dependencies": [
        "/Volumes/x/demo-1-py3-none-any.whl"
    ],
    "email_notifications.on_failure": ["ada@example.com"],
    "libraries[0].maven.coordinates": "com.acme:reader:1.2.3",
    "spark_conf['spark.sql.shuffle.partitions']": "200",
    "parameters[name='catalog'].default": "prod",
    "description": "Basic checks of trips: pass rate, then a refresh of the token table",
    "tags['note']": "sk-learn-pipeline-for-sales glue-job-for-production-runs dosefinder",
    "configuration['uri']": "https://host.example.com:8443/path?page=2&size=10",
    "storage_location": "abfss://raw@acme.dfs.core.windows.net/trips",
    "checksum": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}


@pytest.mark.parametrize("path", SHOWN)
def test_what_is_no_secret_stays_readable(path: str) -> None:
    plans = load("plan")
    text = plans.show(plans.Plan(plan_of(path, None, SHOWN[path])))
    assert "(hidden)" not in text
    assert json.dumps(SHOWN[path]) in text


def test_only_the_secret_part_of_a_text_is_hidden() -> None:
    plans = load("plan")
    text = plans.show(plans.Plan(plan_of("description", None, IN_TEXTS[0])))
    assert '"jdbc:postgresql://db.acme.com:5432/sales?user=ada&password=(hidden)"' in text


def test_a_secret_that_changes_is_seen_to_change() -> None:
    plans = load("plan")
    text = plans.show(plans.Plan(plan_of("description", "password=one", "password=two")))
    assert '"password=(hidden)"\n      -> "password=(hidden)" (what is hidden changes)' in text
    text = plans.show(plans.Plan(plan_of("password", "one", "two")))
    assert "  - password: (hidden) -> (hidden) (what is hidden changes)\n" in text


def test_an_item_of_a_list_is_known_by_the_one_before_it() -> None:
    """The client names only the item that changes: `parameters[1]`."""
    entry = {
        "action": "update",
        "remote_state": {"x": 1},
        "new_state": {"value": {"parameters": ["--password", "hunter2", "sales"]}},
        "changes": {
            "parameters[1]": {"action": "update", "old": "a", "new": "hunter2", "remote": "a"},
            "parameters[2]": {"action": "update", "old": "b", "new": "sales", "remote": "b"},
        },
    }
    plans = load("plan")
    text = plans.show(plans.Plan(json.dumps({"plan_version": 2, "plan": {JOB: entry}})))
    assert "parameters[1]: (hidden) -> (hidden)" in text
    assert 'parameters[2]: "b" -> "sales"' in text


@pytest.mark.parametrize("part", ["a", "a.b-", "-a ", "a=", "token=", "://a:", "eyJ", "aB1/"])
def test_a_long_value_takes_no_time(part: str) -> None:
    started = time.process_time()
    load("hiding").redacted(part * 10_000)
    assert time.process_time() - started < 2
