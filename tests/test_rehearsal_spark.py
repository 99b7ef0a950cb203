"""The rehearsal's compute: the same tasks on Spark and, with --quick, on DuckDB."""

import base64
import hashlib
import json
import os
import re
import shutil
import textwrap
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conftest import need_java
from rehearsal.databricks import compute, reports, spark
from rehearsal.databricks import workspace as model
from rehearsal.databricks.compute import Compute, Outcome
from rehearsal.databricks.job import run_job

BUNDLE = "/Workspace/Users/qa@example.com/.bundle/data/qa/files"
CATALOGS = ["qa", "prod", "dev-catalog"]
PIPELINE = """\
    from pyspark import pipelines as dp
    from pyspark.sql import functions as F

    @dp.materialized_view(name="last", comment="reads what comes after it in the file")
    def by_zip():
        return spark.read.table("middle").groupBy("pickup_zip").agg(F.count("*").alias("n"))

    @dp.temporary_view
    def middle():
        return spark.read.table("first").where(F.col("pickup_zip") > int(spark.conf.get("a.limit")))

    @dp.materialized_view
    def first():
        return spark.read.table("samples.nyctaxi.trips").select("pickup_zip")
    """
ENGINES = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("quick", "spark")]
# What does not depend on the engine is tested on the faster engine.
once = pytest.mark.parametrize("workspace", ENGINES[:1], indirect=True)


class Workspace:
    """A stand-in workspace that the default rendering has been deployed to."""

    def __init__(self, engine: str, home: Path):
        self.engine, self.files = engine, home / "files"
        self.compute = Compute(home / "engine", self.files)

    def path(self, name: str) -> Path:
        file = self.files / f"{BUNDLE}/{name}".lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def write(self, name: str, *cells: str) -> str:
        """Write a file, as a notebook where it has cells; return its workspace path."""
        text = "\n# COMMAND ----------\n".join(map(textwrap.dedent, cells))
        self.path(name).write_text(f"# Databricks notebook source\n{text}")
        return f"{BUNDLE}/{name}"

    def run(self, *cells: str, **parameters: str) -> Outcome:
        return self.compute.notebook(self.write("scratch/notebook.py", *cells), parameters, [])

    def says(self, *cells: str, **parameters: str) -> str:
        """Return what a notebook that has to end well has printed."""
        outcome = self.run(*cells, **parameters)
        assert outcome.ok, outcome
        return outcome.output

    def pipeline(self, source: str, **spec: object) -> Outcome:
        self.write("pipeline/source.py", source)
        include = f"{BUNDLE}/pipeline/**"
        spec = {"libraries": [{"glob": {"include": include}}]} | spec
        return self.compute.pipeline({"catalog": "qa", "schema": "made"} | spec)


@pytest.fixture(scope="module", params=ENGINES)
def workspace(request, tmp_path_factory, rendering, wheel) -> Workspace:
    """One engine for all tests, so for both environments' tasks, as in a rehearsal."""
    if request.param == "spark":
        need_java()
    home, default = tmp_path_factory.mktemp(request.param), rendering("pat-serverless")
    workspace = Workspace(request.param, home)
    for folder in ("src", "tests/nutter"):
        shutil.copytree(default / folder, workspace.path(folder))
    shutil.copytree(wheel, workspace.path("dist"))
    with spark.start(home / "engine", request.param == "quick", CATALOGS):
        yield workspace


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process only")
@pytest.mark.xdist_group("quick")
def test_the_tests_of_an_engine_share_a_worker(request):
    """Otherwise each worker starts a Spark of its own. xdist sends what follows the @ together."""
    assert request.node.nodeid.endswith("@quick")


# --- the default rendering ------------------------------------------------------------------------


def test_the_notebook_of_the_default_rendering(workspace):
    notebook = f"{BUNDLE}/src/notebooks/sample_notebook.py"

    outcome = workspace.compute.notebook(notebook, {"source_table": "samples.nyctaxi.trips"}, [])

    assert outcome.ok, outcome
    assert re.search(r"\| *48 *\| *4 *\| *2016-02-01 00:00:00 *\|", outcome.output)


def test_the_pipeline_and_the_wheel_of_the_default_rendering(workspace):
    spec = {
        "name": "etl",
        "catalog": "dev-catalog",
        "schema": "taxi",
        "root_path": f"{BUNDLE}/src",
        "libraries": [
            {"glob": {"include": f"{BUNDLE}/src/my_data_project_etl/transformations/**"}}
        ],
        "configuration": {"bundle.source_table": "samples.nyctaxi.trips"},
    }
    (wheel,) = workspace.path("dist").glob("*.whl")
    parameters = ["--catalog=dev-catalog", "--schema=taxi", "--limit=2"]
    libraries = [f"{BUNDLE}/dist/{wheel.name}"]

    updates = [workspace.compute.pipeline(spec) for _ in ("create", "refresh")]
    report = workspace.compute.wheel("my_data_project", "main", parameters, libraries)

    for update in updates:
        assert update.ok, update
        assert re.search(r"trips_by_day .*COMPLETED", update.output)
    assert report.ok, report
    assert [" ".join(line.split()) for line in report.output.splitlines()] == [
        "2016-02-03 12 trips 43.40 miles 212.50 USD",
        "2016-02-02 11 trips 43.40 miles 130.00 USD",
    ]


def test_nutter_of_the_default_rendering(workspace):
    run, results = f"{BUNDLE}/tests/nutter/run_fixtures", f"{BUNDLE}/nutter/1"

    outcome = workspace.compute.notebook(run, {"results": results}, ["nutter==0.1.35"])

    assert outcome.ok, outcome
    assert f"nutter: 2 passed, 0 failed; reports in {results}" in outcome.output
    assert "<failure" not in workspace.path("nutter/1/SampleNotebookFixture.xml").read_text()


def test_a_failing_nutter_test(workspace):
    fixture = workspace.path("tests/nutter/sample_notebook_fixture.py")
    shutil.copytree(fixture.parent, workspace.path("tests/failing"))
    broken = fixture.read_text().replace("profile.trips == 3", "profile.trips == 4")
    workspace.path("tests/failing/sample_notebook_fixture.py").write_text(broken)
    run, results = f"{BUNDLE}/tests/failing/run_fixtures", f"{BUNDLE}/nutter/2"

    outcome = workspace.compute.notebook(run, {"results": results}, ["nutter==0.1.35"])

    assert not outcome.ok
    assert outcome.error.startswith("NutterTestsFailed: 1 of 2 failed\n")
    assert "<failure" in workspace.path("nutter/2/SampleNotebookFixture.xml").read_text()


# --- notebooks ------------------------------------------------------------------------------------


def test_an_error_names_file_and_line(workspace):
    outcome = workspace.run(
        "", "\ndef f():\n    raise ValueError('boom')\n", "print('before')\nf()"
    )

    assert (outcome.ok, outcome.output) == (False, "before\n")
    assert outcome.error.startswith("ValueError: boom\n")
    assert f"""{BUNDLE}/scratch/notebook.py", line 10, in <module>\n    f()""" in outcome.error
    assert f"""{BUNDLE}/scratch/notebook.py", line 6, in f\n    raise Value""" in outcome.error
    assert str(workspace.files) not in outcome.error


def test_a_missing_table(workspace):
    outcome = workspace.run('display(spark.read.table("samples.nyctaxi.rides"))')

    assert not outcome.ok
    assert "rides" in outcome.error.splitlines()[0]


def test_a_script_is_run_as_a_program(workspace):
    script = workspace.path("scratch/script.py")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.with_name("helper.py").write_text("WORD = 'hello'\n")
    script.write_text("import sys\nfrom helper import WORD\nprint(__name__, WORD, sys.argv[1:])\n")

    outcome = workspace.compute.script(f"{BUNDLE}/scratch/script.py", ["--day=1"], [])

    assert (outcome.ok, outcome.output) == (True, "__main__ hello ['--day=1']\n")


@once
@pytest.mark.parametrize("magic", ["%r x <- 1", "%sh ls"])
def test_a_magic_that_is_not_played(workspace, magic):
    outcome = workspace.run("print('before')", f"\n# MAGIC {magic}")

    assert (outcome.ok, outcome.output) == (False, "before\n")
    assert f"{BUNDLE}/scratch/notebook.py:5: {magic}" in outcome.error.splitlines()[0]


def test_what_the_runtime_lacks_fails(workspace):
    printed = workspace.says(
        """\
        uses = (
            lambda: dbutils.fs.ls("/"),
            lambda: dbutils.secrets.get("scope", "key"),
            lambda: dbutils.jobs.submit,
            lambda: __import__("pyspark.sql.functions").sql.functions.no_such_function,
            lambda: __import__("pyspark.no_such_module"),
        )
        for use in uses:
            try:
                use()
                print("played")
            except (AttributeError, ImportError) as error:
                print(type(error).__name__)
        """
    )
    assert printed.split() == [*["UnsupportedHere"] * 3, "AttributeError", "ModuleNotFoundError"]


@once
@pytest.mark.parametrize(("name", "text"), [("json.ipynb", "{}"), ("plain.py", "print('played')")])
def test_what_is_not_a_notebook_in_source_format(workspace, name, text):
    workspace.path(f"scratch/{name}").write_text(text)

    outcome = workspace.compute.notebook(f"{BUNDLE}/scratch/{Path(name).stem}", {}, [])

    assert (outcome.ok, outcome.output) == (False, "")
    assert outcome.error.startswith(f"ValueError: {BUNDLE}/scratch/{name}")
    assert "not a notebook" in outcome.error


def test_sql_in_notebooks(workspace):
    query = "# MAGIC %sql\n# MAGIC SELECT count(*) AS n FROM samples.nyctaxi.trips\n"
    assert "48" in workspace.says(f"{query}# MAGIC WHERE pickup_zip >= :zip", zip="10001")
    assert workspace.says(query, "print(_sqldf.first().n)").endswith("48\n")
    workspace.path("scratch/query.sql").write_text(
        "-- Databricks notebook source\nSELECT 1 AS one\n"
        "-- COMMAND ----------\n-- MAGIC %python\n-- MAGIC print('two')\n"
    )
    outcome = workspace.compute.notebook(f"{BUNDLE}/scratch/query", {}, [])
    assert outcome.ok and "one" in outcome.output and outcome.output.endswith("two\n")


@once
def test_a_jupyter_notebook(workspace):
    sources = ["a = 1\nprint(a)", "%sql\nSELECT 2 AS two", "%pip install x\nprint('b')", "1 / 0"]
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    text = json.dumps({"cells": [{"cell_type": "markdown", "source": "#"}, *cells]})
    workspace.path("scratch/jupyter.ipynb").write_text(text)

    outcome = workspace.compute.notebook(f"{BUNDLE}/scratch/jupyter", {}, [])

    assert outcome.output.startswith("1\n") and "two" in outcome.output
    assert outcome.output.endswith("noted, not run: %pip install x\nb\n")
    assert 'jupyter.ipynb (code cell 4)", line 1, in <module>\n    1 / 0' in outcome.error


@once
def test_a_module_that_pip_would_have_installed(workspace):
    outcome = workspace.run("# MAGIC %pip install some-tool", "import some_tool")

    assert outcome.error.startswith("UnsupportedHere: %pip install some-tool: ")


@once
def test_task_values(workspace):
    get = "print(dbutils.jobs.taskValues.get('before', 'n'), "
    get += "dbutils.jobs.taskValues.get(taskKey='x', key='y', default=5, debugValue=0))"
    notebook = workspace.write(
        "scratch/notebook.py", f"dbutils.jobs.taskValues.set('k', [1])\n{get}"
    )

    outcome = workspace.compute.notebook(notebook, {}, [], {"before": {"n": 3}})

    assert (outcome.output, outcome.values) == ("3 5\n", {"k": [1]})
    assert workspace.run("dbutils.jobs.taskValues.get('a', 'b')").error.startswith("ValueError: ")


@once
def test_a_missing_notebook(workspace):
    outcome = workspace.compute.notebook(f"{BUNDLE}/scratch/none", {}, [])

    assert outcome.error.startswith(f"FileNotFoundError: no notebook {BUNDLE}/scratch/none")


@once
def test_parameters_and_widgets(workspace):
    printed = workspace.says(
        """\
        dbutils.widgets.text("given", "default")
        dbutils.widgets.dropdown("left", "default", ["default", "other"])
        dbutils.widgets.text("gone", "default")
        dbutils.widgets.remove("gone")
        print(dbutils.widgets.getAll(), dbutils.widgets.get("undeclared"))
        """,
        given="",
        undeclared="x y",
    )
    assert printed == "{'given': '', 'undeclared': 'x y', 'left': 'default'} x y\n"
    assert workspace.run('dbutils.widgets.get("none")').error.startswith("KeyError: 'none: neither")


@once
def test_run_shares_names_and_pip_is_noted(workspace):
    workspace.write("scratch/deep/inner.py", "inner = outer + 1")
    workspace.write("scratch/other.py", "outer = 1", "# MAGIC %run ./deep/inner", "outer = 5")
    printed = workspace.says(
        "# MAGIC %md\n# MAGIC %sql is only mentioned",
        "# MAGIC %pip install polars",
        '# MAGIC %run "./other"',
        "print(outer, inner, __name__)",
    )
    assert printed == "noted, not run: %pip install polars\n5 2 __main__\n"


@once
def test_a_child_notebook_has_names_of_its_own(workspace):
    workspace.write(
        "scratch/deep/child.py",
        """\
        import os
        assert "mine" not in globals()
        dbutils.notebook.exit(dbutils.widgets.get("n") + os.path.basename(os.getcwd()))
        """,
    )
    workspace.write("scratch/deep/failing.py", "1 / 0")
    printed = workspace.says(
        """\
        mine = 1
        import os
        print(dbutils.notebook.run("deep/child", 60, {"n": 7}), mine, os.path.basename(os.getcwd()))
        try:
            dbutils.notebook.run("deep/failing")
        except ZeroDivisionError:
            print("failed")
        """
    )
    assert printed == "7deep 1 scratch\nfailed\n"


@once
def test_how_a_notebook_ends(workspace):
    caught = "try:\n    dbutils.notebook.exit('value')\nexcept Exception:\n    print('caught')\n"
    assert workspace.says(caught, "print('after')") == "Notebook exited: value\n"
    assert workspace.says("import sys; sys.exit()") == ""
    assert workspace.run("import sys; sys.exit(3)").error.startswith("SystemExit: 3\n")
    ended = workspace.run("import os; print('x'); os._exit(0)")
    assert (ended.ok, ended.output) == (False, "x\n")
    assert ended.error.startswith("ProcessEnded: ")


@once
def test_a_task_that_hangs(workspace, monkeypatch):
    workspace.says("")  # waits for the engine, which has a limit of its own
    monkeypatch.setattr(compute, "TASK_LIMIT", 1)
    outcome = workspace.run("import time; time.sleep(60)")

    assert not outcome.ok
    assert outcome.error.startswith("TimeoutExpired: the task was stopped after 1 s")


@once
def test_workspace_paths(workspace):
    folder = f"/Workspace/of-a-test-{os.getpid()}"
    printed = workspace.says(
        f"""\
        import os, shutil, sys
        from pathlib import Path

        folder = Path("{folder}")
        (folder / "deep").mkdir(parents=True)
        (folder / "module_here.py").write_text("value = 7")
        with open("{folder}/deep/a.txt", "w") as file:
            file.write("text")
        shutil.copy(folder / "deep/a.txt", folder / "b.txt")
        os.rename(folder / "b.txt", folder / "c.txt")
        os.symlink("{folder}/c.txt", "{folder}/d.txt")
        shutil.copytree(folder / "deep", folder / "gone")
        shutil.rmtree(folder / "gone")
        print(sorted(os.listdir("{folder}")), [len(files) for _, _, files in os.walk(folder)])
        print(sorted(path.name for path in folder.rglob("*.txt")), os.path.exists("{folder}/gone"))
        sys.path.append(str(folder))
        import module_here
        print(module_here.value, open(file=folder / "d.txt").read(), Path("/Workspaces").exists())
        """
    )
    assert printed == (
        "['c.txt', 'd.txt', 'deep', 'module_here.py'] [3, 1]\n"
        "['a.txt', 'c.txt', 'd.txt'] False\n7 text False\n"
    )
    real = workspace.files / folder.lstrip("/")
    assert (real / "c.txt").read_text() == "text"
    assert not os.path.lexists(folder), "on the host"
    assert not list(workspace.files.rglob("__pycache__"))


@once
def test_the_notebooks_folder_is_where_it_runs(workspace):
    workspace.path("scratch/neighbour.py").write_text("value = 3")
    workspace.path("scratch/data.csv").write_text("a,b")
    assert workspace.says("import neighbour\nprint(neighbour.value, open('data.csv').read())") == (
        "3 a,b\n"
    )


def test_a_task_sees_nothing_of_the_build(workspace, monkeypatch):
    for name in ("DATABRICKS_TOKEN", "AWS_SECRET_ACCESS_KEY", "UV_INDEX_X_PASSWORD", "OTHER"):
        monkeypatch.setenv(name, "canary")
    printed = workspace.says(
        """\
        import importlib.util, os
        print(sorted(name for name in os.environ if not name.startswith("SPARK_")))
        print("canary" in str(os.environ), importlib.util.find_spec("cookiecutter"))
        """
    )
    assert printed == "['HOME', 'LANG', 'PATH', 'TZ']\nFalse None\n"


def test_tables(workspace):
    assert workspace.pipeline(PIPELINE, configuration={"a.limit": "0"}).ok, "it makes the schema"
    printed = workspace.says(
        """\
        from pyspark.sql import functions as F

        rows = spark.createDataFrame([("a", 1), ("b", 2), ("a", 3)], "name string, n int")
        table = "`qa`.`made`.t"
        """,
        "rows.write.mode('overwrite').saveAsTable(table)",
        "rows.write.mode('append').saveAsTable(table)\nrows.write.insertInto(table)",
        """\
        try:
            rows.write.saveAsTable(table)
        except Exception as error:
            print("exists" in str(error))
        read = spark.read.table(table)
        read.createOrReplaceTempView("seen")
        print(spark.read.table("seen").where(F.col("name") == "a").count())
        rows.limit(1).write.mode("overwrite").saveAsTable(table)
        print(spark.read.table(table).count(), spark.read.table("samples.nyctaxi.trips").count())
        """,
    )
    assert printed == "True\n6\n1 48\n"


# --- pipelines ------------------------------------------------------------------------------------


def test_a_pipeline_refreshes_in_the_order_of_what_reads_what(workspace):
    for limit, zips in ((10003, 2), (10004, 1)):
        outcome = workspace.pipeline(PIPELINE, configuration={"a.limit": str(limit)})
        assert outcome.ok, outcome
        assert workspace.says('print(spark.read.table("qa.made.last").count())') == f"{zips}\n"
    assert not workspace.run('spark.read.table("qa.made.middle").count()').ok, "a view is not kept"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("from pyspark.pipelines import no_such_thing", "no_such_thing"),
        (PIPELINE.replace('"first"', '"nowhere"'), "nowhere"),
    ],
    ids=["an error", "a missing name", "a missing table"],
)
def test_a_pipeline_that_fails(workspace, source, message):
    outcome = workspace.pipeline(source, configuration={"a.limit": "0"}, schema="failing")

    assert not outcome.ok
    assert message in outcome.error + outcome.output
    assert str(workspace.files) not in outcome.error + outcome.output
    assert not workspace.run('spark.read.table("qa.failing.last").count()').ok


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            {"catalog": "other"},
            "CatalogNotFound: other; there are dev-catalog, prod, qa, samples",
        ),
        (
            {"libraries": [{"file": {"path": f"{BUNDLE}/none.py"}}]},
            "FileNotFoundError: no source in",
        ),
        (
            {"libraries": [{"jar": "x.jar"}]},
            "UnsupportedHere: library {'jar': 'x.jar'}",
        ),
    ],
    ids=["catalog", "no source", "kind of library"],
)
def test_a_pipeline_that_cannot_run(workspace, spec, error):
    outcome = workspace.pipeline(PIPELINE, **spec)

    assert not outcome.ok
    assert outcome.error.startswith(error)


@pytest.mark.parametrize(
    ("decorator", "error"),
    [
        ("create_auto_cdc_flow()", "UnsupportedHere: pyspark.pipelines.create_auto_cdc_flow"),
        ("materialised_view", "AttributeError: module 'pyspark.pipelines' has no attribute"),
    ],
)
def test_what_only_a_workspace_has_is_told_from_what_nobody_has(workspace, decorator, error):
    outcome = workspace.pipeline(PIPELINE.replace("temporary_view", decorator))

    assert not outcome.ok
    assert outcome.error.startswith(error)


EXPECTATIONS = """\
    {module}

    @dp.table(comment="a stream", table_properties={{"quality": "bronze"}})
    def bronze():
        return spark.readStream.table("samples.nyctaxi.trips")

    @dp.table(name="silver")
    @dp.expect("long", "trip_distance > 1")
    @dp.expect_or_drop("paid", "fare_amount > 0")
    @dp.expect_all_or_fail({{"zip": "pickup_zip > 0", "moved": "trip_distance >= {least}"}})
    def from_bronze():
        return spark.read.table("LIVE.bronze").select("pickup_zip", "trip_distance", "fare_amount")

    dp.create_streaming_table("flows", expect_all_or_drop={{"paid": "fare_amount > 0"}})

    @dp.append_flow(target="flows")
    def first_flow():
        return spark.readStream.table("bronze").where("pickup_zip = 10001")

    @dp.append_flow(target="flows")
    def second_flow():
        return spark.readStream.table("bronze").where("pickup_zip = 10002")
    """
MODULES = ["from pyspark import pipelines as dp", "import dlt as dp"]


def count_of(workspace, *tables: str) -> list[int]:
    """How many rows the tables of the pipeline have."""
    names = ", ".join(f"spark.read.table('qa.made.{table}').count()" for table in tables)
    return [int(word) for word in workspace.says(f"print({names})").split()]


@pytest.mark.parametrize("module", MODULES)
def test_streaming_tables_flows_and_expectations(workspace, module):
    outcome = workspace.pipeline(EXPECTATIONS.format(module=module, least=0))

    assert outcome.ok, outcome
    assert "silver: 4 rows do not meet paid (fare_amount > 0): drop\n" in outcome.output
    assert "silver: 10 rows do not meet long (trip_distance > 1): warn\n" in outcome.output
    assert count_of(workspace, "bronze", "silver", "flows") == [48, 44, 18]


def test_an_expectation_that_fails_the_update(workspace):
    outcome = workspace.pipeline(EXPECTATIONS.format(module=MODULES[0], least=0.5))

    assert not outcome.ok
    assert (
        outcome.error
        == "ExpectationFailed: silver: 5 rows do not meet moved: trip_distance >= 0.5\n"
    )


SQL = """\
    -- bronze; silver
    CREATE OR REFRESH STREAMING TABLE bronze (
      CONSTRAINT paid EXPECT (fare_amount > 0) ON VIOLATION DROP ROW,
      CONSTRAINT long EXPECT (trip_distance > 1)
    ) COMMENT 'raw; as it is' TBLPROPERTIES ('quality' = 'bronze')
    AS SELECT * FROM STREAM(${source});
    CREATE TEMPORARY VIEW zips AS SELECT pickup_zip FROM LIVE.bronze;
    CREATE OR REFRESH MATERIALIZED VIEW gold CLUSTER BY (pickup_zip)
    AS SELECT pickup_zip, count(*) AS n FROM zips GROUP BY pickup_zip;
    CREATE OR REFRESH STREAMING TABLE flows;
    CREATE FLOW one AS INSERT INTO flows BY NAME SELECT pickup_zip FROM STREAM bronze;
    CREATE FLOW two AS INSERT INTO ONCE flows BY NAME SELECT pickup_zip FROM samples.nyctaxi.trips;
    CREATE OR REFRESH LIVE TABLE old AS SELECT count(*) AS n FROM LIVE.gold;
    """


def sql_pipeline(workspace, text: str) -> Outcome:
    """Update a pipeline in SQL."""
    source = workspace.path("sql/source.sql")
    source.write_text(textwrap.dedent(text))
    libraries = [{"glob": {"include": f"{BUNDLE}/sql/**"}}]
    configuration = {"source": "samples.nyctaxi.trips"}
    return workspace.pipeline("", libraries=libraries, configuration=configuration)


def test_a_pipeline_in_sql_as_databricks_has_it(workspace):
    outcome = sql_pipeline(workspace, SQL)

    assert outcome.ok, outcome
    assert "bronze: 4 rows do not meet paid (fare_amount > 0): drop\n" in outcome.output
    assert count_of(workspace, "bronze", "gold", "flows", "old") == [44, 5, 92, 1]


@once
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CREATE FLOW f AS AUTO CDC INTO t FROM STREAM s KEYS (id)", "AUTO CDC INTO t"),
        ("CREATE STREAMING TABLE t AS SELECT * FROM STREAM read_files('/V')", "read_files()"),
        ("CREATE STREAMING TABLE t (a INT MASK f) AS SELECT 1 AS a", "MASK"),
        ("CREATE STREAMING TABLE t WITH ROW FILTER f ON (a) AS SELECT 1 AS a", "WITH ROW FILTER"),
        ("CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE FUNCTION f"),
    ],
)
def test_sql_that_is_not_played_is_named_with_its_place(workspace, text, reason):
    outcome = sql_pipeline(workspace, f"-- first\n{text}")

    first = outcome.error.partition("\n")[0]
    assert first.startswith(f"UnsupportedHere: {BUNDLE}/sql/source.sql:2: ") and reason in first


def test_an_error_in_sql_is_the_teams_where_the_engine_knows_sql(workspace):
    """DuckDB does not: it may lack what Spark has."""
    outcome = sql_pipeline(workspace, "CREATE MATERIALIZED VIEW t AS SELEC 1")

    begin = {"spark": "ParseException: ", "quick": "UnsupportedHere: ParseError: "}
    assert outcome.error.startswith(begin[workspace.engine]) and "SELEC" in outcome.error


def test_the_rest_of_a_pipeline_runs_beside_what_cannot(workspace):
    source = """\
        from pyspark import pipelines as dp

        @dp.table
        def files():
            return spark.readStream.format("cloudFiles").load("/Volumes/a")

        @dp.table
        def reader():
            return spark.read.table("files")

        @dp.table
        def beside():
            return spark.range(3)
        """
    outcome = workspace.pipeline(source)

    assert outcome.error.startswith("UnsupportedHere: spark.readStream.format('cloudFiles')\n")
    assert count_of(workspace, "beside") == [3]
    own = workspace.pipeline(source.replace("range(3)", "range(1 // 0)"))
    assert own.error.startswith("ZeroDivisionError: ")


# --- what DuckDB, open-source Spark and this machine lack -----------------------------------------


ROWS = """\
    from pyspark.sql import functions as F
    rows = spark.createDataFrame([(1, "a", 1.5), (2, "b", None)], "id int, name string, n double")
    spark.sql("CREATE SCHEMA IF NOT EXISTS qa.lacks")
    """


def test_ordinary_code_runs_on_both_engines(workspace):
    printed = workspace.says(
        ROWS,
        """\
        print(spark.sql("SELECT count(*) AS n FROM samples.nyctaxi.trips").first().n)
        print(rows.selectExpr("max(id) AS x").first().x, dict(rows.dtypes)["name"])
        rows.createOrReplaceTempView("seen")
        print(spark.sql("SELECT * FROM seen WHERE id > :least", args={"least": 1}).count())
        rows.write.mode("overwrite").saveAsTable("qa.lacks.kept")
        spark.sql("INSERT INTO qa.lacks.kept VALUES (3, 'c', 2.0)")
        print([row.col_name for row in spark.sql("DESCRIBE TABLE qa.lacks.kept").collect()])
        print(spark.table("qa.lacks.kept").count(), spark.conf.get("none", "default"))
        """,
    )
    assert printed == "48\n2 string\n1\n['id', 'name', 'n']\n3 default\n"


@pytest.mark.parametrize(
    "code",
    [
        "spark.sql('OPTIMIZE qa.lacks.kept')",
        "from delta.tables import DeltaTable",
        "open('/Volumes/a/b/c.csv')",
        "dbutils.fs.ls('/')",
        "spark.sql(\"SELECT ai_query('a', 'b')\").show()",
    ],
)
def test_what_no_engine_here_has_is_no_error_of_the_team(workspace, code):
    assert workspace.run(ROWS, code).error.startswith("UnsupportedHere: ")


@once
@pytest.mark.parametrize(
    "code",
    [
        "rows.select(F.udf(str.upper, 'string')('name'))",
        "rows.fillna('x').agg(F.no_such_function('id'))",
        "rows.no_such_method()",
        "spark.sql('SELECT nam FROM qa.lacks.kept').show()",
        "rows.write.partitionBy('id').saveAsTable('qa.lacks.parts')",
    ],
)
def test_what_duckdb_lacks_is_not_run(workspace, code):
    workspace.says(ROWS, "rows.write.mode('overwrite').saveAsTable('qa.lacks.kept')")
    first = workspace.run(ROWS, code).error.partition("\n")[0]

    assert first.startswith("UnsupportedHere: ") and first.endswith("because of --quick)")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("assert rows.count() == 3", "AssertionError"),
        ("class A: pass\nA().x", "AttributeError"),
        ("raise NotImplementedError('later')", "NotImplementedError: later"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("open('/tmp/no/such')", "FileNotFoundError"),
    ],
)
def test_an_error_of_the_team_stays_one(workspace, code, error):
    assert workspace.run(ROWS, code).error.startswith(error)


LACKING = "UnsupportedHere: the rehearsal's catalogs cannot do what Delta's can"


@pytest.mark.parametrize(
    "code",
    [
        "spark.sql('DELETE FROM qa.lacks.kept WHERE id = 1')",
        "spark.sql('CREATE OR REPLACE VIEW qa.lacks.v AS SELECT 1 AS one')",
        "spark.sql('UPDATE qa.lacks.kept SET id = 2')",
    ],
)
def test_what_delta_has_and_the_catalogs_on_spark_lack(workspace, code):
    workspace.says(ROWS, "rows.write.mode('overwrite').saveAsTable('qa.lacks.kept')")
    error = workspace.run(ROWS, code).error

    assert error[: len(LACKING)] == {"spark": LACKING, "quick": ""}[workspace.engine]


# --- wheels ---------------------------------------------------------------------------------------


def write_wheel(folder: Path, code: str) -> None:
    """Write a wheel of a package `tool`, whose entry point `start` is its function `run`."""
    about = "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n"
    about += "Requires-Dist: pyspark==0.0\n"  # there is none: the runtime's own is not installed
    files = {
        "tool/__init__.py": textwrap.dedent(code),
        "tool-1.0.dist-info/METADATA": about,
        "tool-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\nstart = tool:run\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},{len(text)}\n"
        for name, text in files.items()
        if (digest := hashlib.sha256(text.encode()).digest())
    )
    with zipfile.ZipFile(folder / "tool-1.0-py3-none-any.whl", "w") as archive:
        for name, text in files.items() | {("tool-1.0.dist-info/RECORD", record)}:
            archive.writestr(name, text)


@pytest.fixture
def tool(workspace) -> str:
    """The workspace path of a wheel whose entry point counts trips, and says "new"."""
    write_wheel(workspace.path("dist"), TOOL.format(version="new"))
    return f"{BUNDLE}/dist/tool-1.0-py3-none-any.whl"


TOOL = """\
    import sys
    from pyspark.sql import SparkSession

    def run():
        session = SparkSession.builder.getOrCreate()
        print("{version}", sys.argv, session.read.table("samples.nyctaxi.trips").count())

    def other():
        sys.exit("no")
    """


def test_what_runs_is_what_the_file_holds(workspace, tool):
    new = workspace.compute.wheel("tool", "start", ["--a", "b c"], [tool])
    write_wheel(workspace.path("dist"), TOOL.format(version="old"))
    old = workspace.compute.wheel("tool", "start", ["--a", "b c"], [tool])

    assert new[:3] == (True, "new ['tool', '--a', 'b c'] 48\n", "")
    assert old[:3] == (True, "old ['tool', '--a', 'b c'] 48\n", "")


@pytest.mark.parametrize(
    ("entry_point", "error"),
    [
        ("other", "SystemExit: no\n"),
        ("none", "AttributeError: module 'tool' has no attribute 'none'\n"),
    ],
)
def test_an_entry_point_by_the_name_of_a_function(workspace, tool, entry_point, error):
    outcome = workspace.compute.wheel("tool", entry_point, [], [tool])

    assert outcome.error.startswith(error)


def test_a_package_that_is_not_installed(workspace):
    outcome = workspace.compute.wheel("tool", "start", [], [])

    assert outcome.error.startswith("PackageNotFoundError: ")


@once
@pytest.mark.parametrize(
    ("library", "message"),
    [(f"{BUNDLE}/dist/none.whl", "none.whl"), ("tool @ file:///none.whl", "Failed: error: ")],
)
def test_libraries_that_cannot_be_installed(workspace, library, message):
    outcome = workspace.compute.wheel("tool", "start", [], [library])

    assert outcome.error.startswith("LibraryInstallationFailed: ")
    assert message in outcome.error


# --- jobs -----------------------------------------------------------------------------------------


class Jobs:
    """A workspace whose jobs run on an engine."""

    def __init__(self, workspace: Workspace, home: Path):
        self.model = model.Workspace(model.Storage(home, "https://w.example"), "me@example.com")
        self.files = self.model.files.root
        self.compute = Compute(workspace.compute.home, self.files)

    def write(self, path: str, *cells: str) -> str:
        """Write a notebook; return its path."""
        file = self.files / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "\n# COMMAND ----------\n".join(map(textwrap.dedent, cells))
        file.write_text(f"# Databricks notebook source\n{text}")
        return path

    def notebook(self, key: str, code: str, *needs: object, **more: object) -> dict:
        """A task that runs a notebook with this code."""
        path = self.write(f"/Workspace/{key}.py", code)
        after = [need if isinstance(need, dict) else {"task_key": need} for need in needs]
        return {
            "task_key": key,
            "depends_on": after,
            "notebook_task": {"notebook_path": path, **more},
        }

    def run(self, *tasks: dict, ids: tuple[str, str] = ("7", "8"), **parameters: str):
        return run_job(self.model, self.compute, {"name": "j", "tasks": tasks}, parameters, ids)


@pytest.mark.parametrize(
    "cell",
    [
        "import socket; socket.create_connection(('evil.example', 80))",
        """
        import urllib.request
        try:
            urllib.request.urlopen("https://evil.example")
        except OSError as error:
            raise RuntimeError("no answer") from error
        """,
    ],
)
def test_a_task_that_needs_the_network_counts_as_not_run(workspace, cell):
    outcome = workspace.run(cell)

    why = "evil.example is refused: in a rehearsal nothing leaves this machine"
    assert outcome[:3] == (False, "", f"UnsupportedHere: {why}\n")


@pytest.fixture
def jobs(workspace, tmp_path) -> Jobs:
    return Jobs(workspace, tmp_path)


def test_a_job_of_every_kind_that_runs_here(jobs):
    values = "dbutils.jobs.taskValues.set('list', [{'n': 1}, {'n': 2}])\n"
    script = jobs.write("/Workspace/script.py", "import sys\nprint(sys.argv[1:])")
    inner = jobs.notebook("inner", "print('n', dbutils.widgets.get('n'))")
    inner["notebook_task"]["base_parameters"] = {"n": "{{input.n}}"}
    loop = {"inputs": "{{tasks.first.values.list}}", "concurrency": 2, "task": inner}
    condition = {"op": "EQUAL_TO", "left": "{{tasks.first.values.word}}", "right": "x"}
    arguments = ["{{job.id}}", "{{job.run_id}}", "{{job.start_time.iso_date}}", "{{task.name}}"]
    other = {"name": "other", "tasks": [jobs.notebook("child", "print('child')")]}
    jobs.model.keep("create", "jobs", "99", other)

    run = jobs.run(
        jobs.notebook("first", f"{values}dbutils.jobs.taskValues.set(key='word', value='x')"),
        {"task_key": "each", "depends_on": [{"task_key": "first"}], "for_each_task": loop},
        {"task_key": "if", "depends_on": [{"task_key": "first"}], "condition_task": condition},
        jobs.notebook("no", "1 / 0", {"task_key": "if", "outcome": "false"}),
        {
            "task_key": "yes",
            "depends_on": [{"task_key": "if", "outcome": "true"}],
            "spark_python_task": {"python_file": script, "parameters": arguments},
        },
        {"task_key": "sub", "run_job_task": {"job_id": 99}},
    )

    assert (run.failed, run.not_run) == (False, {}), run
    assert run.states["no"] == "EXCLUDED"
    assert run.outputs["each"].split() == ["n", "1", "n", "2"]
    assert run.outputs["sub"] == "child\n"
    today = datetime.now(UTC).date()
    assert run.outputs["yes"] == f"['7', '8', '{today}', 'yes']\n"


def test_what_reads_a_table_that_was_not_made_is_not_run_either(jobs):
    query = {"task_key": "make", "sql_task": {"warehouse_id": "1"}}
    reads = "spark.read.table('qa.nowhere.made').count()"

    alone = jobs.run(jobs.notebook("reader", reads))
    run = jobs.run(query, jobs.notebook("reader", reads, "make"), jobs.notebook("bad", "1 / 0"))

    assert alone.failed and alone.not_run == {}
    assert run.not_run.keys() == {"make", "reader"} and run.errors.keys() == {"bad"}
    assert run.not_run["reader"].startswith("j: make, which may make what it reads, was not run: ")


@once
@pytest.mark.parametrize(
    ("code", "reports"),
    [
        ("raise NutterTestsFailed('1 of 1 failed\\nA.t: BinderException: no\\n')", "not-run.xml"),
        ("%scala", "not-run.xml"),
    ],
)
def test_tests_that_could_not_run_count_as_skipped(jobs, code, reports):
    magic = "class NutterTestsFailed(Exception): pass\n" + code
    notebook = jobs.notebook("nutter", magic.replace("%scala", "\n# MAGIC %scala\n"))

    run = jobs.run(notebook, results="/Workspace/results")

    assert not run.failed and run.not_run.keys() == {"nutter"}
    (report,) = (jobs.files / "Workspace/results").glob("*.xml")
    assert report.name == reports and "<skipped" in report.read_text()


@once
def test_a_failed_test_beside_one_that_could_not_run_fails(jobs):
    text = "2 of 2 failed\\nA.t: BinderException: no\\nA.u: AssertionError: 1\\n"
    code = f"class NutterTestsFailed(Exception): pass\nraise NutterTestsFailed('{text}')"

    assert jobs.run(jobs.notebook("nutter", code), results="/Workspace/results").failed


def test_failures_that_are_limits_are_skipped_in_their_report(tmp_path):
    suite = '<testsuites failures="1"><testsuite failures="1" tests="2"><testcase name="a"/>'
    suite += '<testcase name="b"><failure message="x"/></testcase></testsuite></testsuites>'
    (tmp_path / "A.xml").write_text(suite)

    reports.skip(tmp_path, "why")

    text = (tmp_path / "A.xml").read_text()
    assert '<skipped message="why"' in text and "<failure" not in text
    assert 'failures="1"' not in text
