"""Names that builds and operators' commands share. What they name is declared in cicd/stack.yml."""

# The pipeline's stages and artifacts.
QA, REVIEW, PRODUCTION = "QA", "Review", "Production"
DEPLOY, RUN = "Deploy", "Run"  # the actions of Production
SOURCE, WHEEL, PLAN = "Source", "Wheel", "Plan"

# CodePipeline's words for a stage whose execution has not ended.
RUNNING = ("InProgress", "Stopping")

# What the stack puts into a secret, or into a client ID, until somebody sets it.
PLACEHOLDER = "not-set"

# Exported by the build `plan`: "true" where the plan deletes or recreates what holds data, and a
# sentence for people that says the same.
LOSES_DATA, DATA_LOSS = "LOSES_DATA", "DATA_LOSS"

# Exported by the build `plan`: the checksum of the plan that its approval is about.
PLAN_SHA256 = "PLAN_SHA256"

# The pipeline's variable for the ARN of who pushed.
PUSHED_BY = "PUSHED_BY"

# Exported by the build `drift`: one of the four words below, and DRIFT, a sentence for people.
DRIFT_STATUS, DRIFT = "DRIFT_STATUS", "DRIFT"
IN_SYNC, DRIFTED, UNKNOWN, NO_RELEASE = "in-sync", "drifted", "unknown", "no-release"
