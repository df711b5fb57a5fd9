"""What the pages point at exists: links and anchors, commands and their options, files, names, error messages."""

import argparse
import ast
import importlib
import re
import shlex

import pytest
from project import ROOT, page

from guide_lib.__main__ import parser

DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS]
FOLDERS = ("guide_lib/", "docs/", "tests/", "data/", "benchmarks/", "notebooks/", "requirements/")
MODULES = ("venv", "pytest")  # run by `python -m`, besides guide_lib
MAKEFILE = page("Makefile")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) *\?=", MAKEFILE, re.MULTILINE))


def anchors(name: str) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", page(name), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_link(name: str, target: str) -> bool:
    """Whether a relative link of a page leads nowhere."""
    path, _, fragment = target.partition("#")
    there = ((ROOT / name).parent / path).resolve() if path else ROOT / name
    if not there.exists():
        return True
    return bool(fragment) and fragment not in anchors(there.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("name", [*PAGES, "data/README.md"])
def test_relative_links_and_anchors_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)\s]+)\)", page(name))
    assert not [target for target in targets if not target.startswith("http") and broken_link(name, target)]


@pytest.mark.parametrize("target", ["docs/gone.md", "docs/results.md#gone", "#gone"])
def test_a_broken_link_is_noticed(target):
    assert broken_link("README.md", target)


def test_every_page_is_reached_from_the_readme():
    assert not [name for name in PAGES[1:] if f"]({name})" not in page("README.md")]


def spans(name: str) -> list[str]:
    """What stands in backquotes in the text of a page, on one line."""
    text = re.sub(r"```.*?```", "", page(name), flags=re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(name: str) -> list[tuple[list[str], bool]]:
    """The commands that a page quotes, as words, and whether each is whole: one in a block is meant to be copied."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", page(name), re.DOTALL))
    whole = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    verbs = r"(?:[A-Z]+=\S* )*(?:\.venv/bin/)?(?:make|guide|python3?) "
    short = [shlex.split(span) for span in spans(name) if re.match(verbs, span)]
    return [(words, True) for words in whole if words] + [(words, False) for words in short]


def complaint(words: list[str], whole: bool) -> str:
    """Why a command cannot be given, or nothing."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    verb, *rest = words
    verb = verb.removeprefix(".venv/bin/")
    if verb == "make":
        return wrong_make(rest)
    if verb == "guide":
        return wrong_guide(rest, whole)
    if verb in ("python", "python3") and rest[:1] == ["-m"]:
        known = rest[1] in MODULES or rest[1] == "guide_lib" and not wrong_guide(rest[2:], whole)
        return "" if known else f"python -m {' '.join(rest[1:])}"
    return wrong_script(rest) if verb == "python" else f"nobody knows '{verb}'"


def wrong_make(rest: list[str]) -> str:
    unknown = [word for word in rest if word.split("=")[0] not in (VARIABLES if "=" in word else TARGETS)]
    return f"no target or variable {unknown}" if unknown else ""


def wrong_guide(rest: list[str], whole: bool) -> str:
    """A whole command must be understood; of another the subcommand and the flags must be known."""
    if whole:
        try:
            parser().parse_args(rest)
        except SystemExit:
            return f"guide {' '.join(rest)} is refused"
        return ""
    subcommands = next(a.choices for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    if not rest:
        return ""
    if rest[0] not in subcommands:
        return f"no subcommand '{rest[0]}'"
    unknown = [
        word for word in rest if word.startswith("--") and word not in subcommands[rest[0]]._option_string_actions
    ]
    return f"{rest[0]} has no {unknown}" if unknown else ""


def wrong_script(rest: list[str]) -> str:
    path = ROOT / rest[0]
    if not path.is_file():
        return f"no file {rest[0]}"
    unknown = [word for word in rest if word.startswith("--") and f'"{word}"' not in path.read_text(encoding="utf-8")]
    return f"{rest[0]} has no {unknown}" if unknown else ""


@pytest.mark.parametrize("name", PAGES)
def test_commands_can_be_given(name, capsys):
    assert not list(filter(None, (complaint(words, whole) for words, whole in commands(name))))


def test_the_command_is_the_module():
    entry = re.search(r'^guide = "([\w.]+):(\w+)"$', page("pyproject.toml"), re.MULTILINE)
    assert entry[1] == "guide_lib.__main__" and callable(getattr(importlib.import_module(entry[1]), entry[2]))


def test_commands_are_found():
    assert (["make", "test"], True) in commands("README.md")
    assert (["guide", "evaluate", "--methods", "baseline"], False) in commands("README.md")
    assert sum(words[0] == "guide" and whole for name in PAGES for words, whole in commands(name)) >= 6


@pytest.mark.parametrize(
    "command",
    [
        "make demoo",
        "make demo PHOTOS=me.jpg",
        "guide unlern",
        "guide unlearn --photos me.jpg",
        "guide unlearn --preset quick",
        "python -m guide_lib evaluate --nothing",
        "python benchmarks/gone.py",
        "python tests/fuzz.py --hours 5",
        "conda activate guide",
    ],
)
def test_a_wrong_command_is_noticed(command, capsys):
    assert complaint(shlex.split(command), True)


@pytest.mark.parametrize("name", [*PAGES, "data/README.md"])
def test_named_files_are_there(name):
    named = [span.split()[0] for span in spans(name) if span.startswith(FOLDERS)]
    assert not [path for path in named if not list(ROOT.glob(path))]


def found(dotted: str) -> bool:
    """Whether guide_lib.a.b is a module, or a name in one."""
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return module != "" and found(module) and hasattr(importlib.import_module(module), name)
    return True


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])
def test_named_modules_are_there(name):
    assert not [span for span in spans(name) if re.fullmatch(r"guide_lib(\.\w+)+", span) and not found(span)]


def test_the_protocol_names_where_each_metric_is():
    table = page("docs/protocol.md").split("## What is measured")[1].split("### Attacks")[0]
    places = re.findall(r"\| `(metrics\.\w+)` \|$", table, re.MULTILINE)
    assert len(places) == 15 and all(found(f"guide_lib.{place}") for place in places)


def test_new_imports_are_there():
    """Old names in the first column, new ones in the second; a name that moved alone stands before its module."""
    rows = re.findall(r"^\| `guide_lib\.\w+` \| (.+) \|$", page("CHANGELOG.md"), re.MULTILINE)
    places = [place for row in rows for place in re.findall(r"`(guide_lib[.\w]+)`", row)]
    assert len(rows) == 22 and all(found(place) for place in places)
    assert not found("guide_lib.plots") and found("guide_lib.inversion.optimise.starting_codes")


def test_the_changelog_begins_with_the_version_that_is_cited():
    cited = dict(re.findall(r"^(version|date-released): (.+)$", page("CITATION.cff"), re.MULTILINE))
    titles = re.findall(r"^## (.+)$", page("CHANGELOG.md"), re.MULTILINE)
    assert titles[0] == "Unreleased" and titles[1] == f"{cited['version']} - {cited['date-released']}"


def strings_of_the_library() -> str:
    """Every literal piece of text in the library, and the Makefile."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "guide_lib").rglob("*.py"))
    pieces = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(piece for piece in pieces if isinstance(piece, str)) + MAKEFILE


OTHERS_SAY = {"operator torchvision::nms does not exist", "No module named venv", "ensurepip is not available"}


@pytest.mark.parametrize("name, head", [("troubleshooting", "you see"), ("endurance", "fault")])
def test_quoted_error_messages_are_ours(name, head):
    """A message in a table is quoted from its beginning or with dots for what differs."""
    lines = [line for line in page(f"docs/{name}.md").splitlines() if line.startswith("| ")]
    column = 2 if head == "fault" else 1
    quoted = [text for line in lines for text in re.findall(r"`([^`]+)`", line.split("|")[column])]
    pieces = [piece.strip(" .0123456789") for text in quoted if text not in OTHERS_SAY for piece in text.split("...")]
    known = strings_of_the_library()
    assert len(quoted) >= 10 and not [piece for piece in pieces if piece not in known]


def test_every_test_that_a_page_names_is_there():
    names = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", page("docs/endurance.md")))
    assert len(named) > 15 and named <= names


def test_the_networks_size_is_that_of_the_registry():
    from guide_lib.assets.registry import ASSETS

    archives = {asset.archive: asset.size for asset in ASSETS.values()}
    megabytes = f"{sum(archives.values()) / 1e6:.0f} MB"
    assert f"the networks are {megabytes}" in page("docs/troubleshooting.md")
    assert f"{megabytes} of networks" in page("docs/teaching.md")


def test_every_network_has_its_licence_on_the_page():
    from guide_lib.assets.official import OFFICIAL
    from guide_lib.assets.registry import ASSETS

    text = page("docs/networks.md")
    names = [asset.package for asset in ASSETS.values()] + [official.file for official in OFFICIAL.values()]
    assert len(names) >= 11 and not [name for name in names if f"`{name}`" not in text]
    learned = " ".join(entry.trained_on for entry in (*ASSETS.values(), *OFFICIAL.values()))
    counts = re.findall(r"[\d.]+ million|\d+,\d{3}", learned)
    assert len(counts) >= 7 and not [count for count in counts if count not in text]


def test_conda_and_pip_get_the_same_versions():
    """The least ones: what conda brings below them pip would install a second time."""
    names = {"pytorch": "torch", "matplotlib-base": "matplotlib", "pillow": "Pillow"}
    least = dict(re.findall(r"^  - ([\w-]+) >=([\d.]+)", page("environment.yml"), re.MULTILINE))
    assert len(least) > 10
    for name, bound in least.items():
        if name != "python":
            assert re.search(rf'"{names.get(name, name)}>={re.escape(bound)}[",]', page("pyproject.toml")), name
