"""The page: its numbers, its bold ones, what is left out of it, and what no name can do to it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

import fedsim
from fedsim.analysis.collect import collect
from fedsim.analysis.compare import compare
from fedsim.analysis.spending import Spending
from fedsim.cli.app import main
from fedsim.errors import RunFolderError
from fedsim.report.export import latex
from fedsim.report.html import render
from fedsim.report.page import page_of
from fedsim.runlog import lock

THREE = {
    "fedavg": (0.90, 0.91, 0.92),
    "fedprox": (0.90, 0.92, 0.91),
    "scaffold": (0.95, 0.96, 0.975),
}


def html(*paths: Path, **asked) -> str:
    return render(page_of(collect(list(paths), **asked)))


def cells(page: str) -> dict[str, list[str]]:
    """Return the rows of the first table as text."""
    first = page.split("<table>")[1].split("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in first.split("<tr")[1:]]
    plain = [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in rows]
    return {row[0]: row[1:] for row in plain}


def test_the_numbers_are_those_of_the_rounds(runs, tmp_path: Path) -> None:
    folder = runs(**THREE)
    shown = cells(html(folder))
    for strategy in THREE:
        finals = []
        for seed in (1, 2, 3):
            lines = (folder / f"{strategy}-{seed}" / "rounds.jsonl").read_text().splitlines()
            finals.append(json.loads(lines[-1])["accuracy"])
        mean = sum(finals) / 3
        deviation = math.sqrt(sum((one - mean) ** 2 for one in finals) / 2)
        half = 4.302652729911275 * deviation / math.sqrt(3)
        assert shown[strategy] == [f"{mean:.3f} ± {half:.3f}"]


def test_the_json_file_has_the_pages_numbers(runs, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out" / "report.html"
    words = [
        "--csv",
        str(tmp_path / "csv"),
        "--latex",
        str(tmp_path),
        "--svg",
        str(tmp_path / "svg"),
    ]
    assert main(["report", str(runs(**THREE)), "-o", str(out), *words]) == 0
    said = json.loads(out.with_suffix(".json").read_text())
    means = {one["level"]: one["interval"]["mean"] for one in said["places"]}
    shown = cells(out.read_text())
    table = (tmp_path / "main.tex").read_text()
    for strategy, mean in means.items():
        assert shown[strategy][0].startswith(f"{mean:.3f} ")
        assert f"{mean:.3f}" in table
    rounds = (tmp_path / "csv" / "rounds.csv").read_text().splitlines()
    assert len(rounds) == 1 + 9 * 2
    assert list((tmp_path / "svg").glob("curves-*.svg"))


def test_the_page_stands_alone(runs) -> None:
    page = html(runs(**THREE))
    assert len(page) < 300_000
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)|src=", page)
    assert set(re.findall(r"https?://[^\"' <]*", page)) <= {
        *("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"),
    }


def test_the_page_is_the_same_to_the_last_byte(runs, tmp_path: Path) -> None:
    folder = runs(**THREE)
    code = (
        "import sys; from pathlib import Path; from fedsim.analysis.collect import collect; "
        "from fedsim.report.page import page_of; from fedsim.report.html import render; "
        "sys.stdout.buffer.write(render(page_of(collect([Path(sys.argv[1])]))).encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.decode() == html(folder)


def places(folder: Path) -> dict[str, tuple[bool, bool]]:
    made = compare(collect([folder]))
    return {one.level: (one.is_best, one.is_apart) for one in made.places}


def test_bold_is_what_every_paired_difference_sets_apart(runs) -> None:
    folder = runs(**THREE)
    assert places(folder)["scaffold"] == (True, True)
    assert re.findall(r"<b>([^<]*)</b>", html(folder)) == ["0.962 ± 0.031"]


@pytest.mark.parametrize(
    ("best", "why"),
    [
        ((0.95, 0.90, 0.975), "one of its differences is not clear of zero"),
        ((0.91, 0.93, 0.92), "it overlaps with one of the two"),
    ],
)
def test_nothing_is_bold_where_a_difference_may_be_zero(runs, best, why: str) -> None:
    folder = runs(fedavg=THREE["fedavg"], fedprox=THREE["fedprox"], scaffold=best)
    assert [name for name, (_, apart) in places(folder).items() if apart] == [], why
    assert "<b>" not in html(folder)


def test_paired_runs_can_be_apart_though_their_intervals_overlap(runs) -> None:
    folder = runs(a=(0.70, 0.80, 0.90), b=(0.72, 0.821, 0.919))
    assert places(folder)["b"] == (True, True)


def test_two_seeds_make_nothing_bold(runs) -> None:
    assert places(runs(a=(0.1, 0.2), b=(0.8, 0.9))) == {"a": (False, False), "b": (True, False)}


def test_a_run_that_was_lost_keeps_its_strategy_from_being_best(runs, write_run, tmp_path) -> None:
    folder = runs(fedavg=(0.5, 0.5, 0.51))
    for seed, losses in enumerate(([1.0, 0.1], [1.0, 0.1], [1.0, None]), 1):
        said = {"strategy": {"use": "wild"}, "seed": seed, "losses": losses}
        write_run(folder / f"wild-{seed}", [0.4, 0.9], **said)
    assert places(folder)["wild"] == (False, False)
    assert "1 of 3 diverged" in html(folder)
    assert "seed 3: diverged, the loss is not finite from round 2" in html(folder)


def test_a_target_that_was_not_reached_is_not_dropped(runs) -> None:
    found = compare(collect([runs(fedavg=(0.9, 0.9, 0.4), slow=(0.4, 0.9, 0.3))])).reached
    fedavg, slow = sorted(found, key=lambda one: one.level)
    assert (fedavg.rounds, fedavg.times, fedavg.median("rounds")) == ((2, 2, None), 2, 2)
    assert (slow.rounds, slow.times, slow.median("rounds")) == ((None, 2, None), 1, None)
    assert fedavg.bytes[0] == 6000


def test_runs_that_cannot_be_compared_are_named_and_left_out(runs, write_run) -> None:
    folder = runs(**THREE)
    write_run(folder / "torn", [0.1], seed=7)
    (folder / "torn" / "rounds.jsonl").write_text("{\n{}\n")
    write_run(folder / "old", [0.1], schema="fedsim/0")
    write_run(folder / "cut", [0.1, 0.2], seed=8)
    (folder / "cut" / "result.json").unlink()
    write_run(folder / "busy", [0.1, 0.2], seed=9)
    with lock.hold(folder / "busy"):
        page = html(folder)
    for name, why in {
        "torn": "is damaged",
        "old": "its scenario is fedsim/0, not fedsim/1",
        "cut": "was interrupted (2 of 2 rounds)",
        "busy": "is still running",
    }.items():
        assert re.search(rf"<code>{name}</code> {re.escape(why)}", page), name
    assert cells(page)["fedavg"] == ["0.910 ± 0.025"]


def test_a_run_that_is_there_twice_counts_once(runs, write_run) -> None:
    folder = runs(fedavg=(0.5, 0.6))
    write_run(folder / "fedavg-9", [0.1, 0.8], strategy={"use": "fedavg"}, seed=2)
    found = collect([folder])
    assert [one.name for one in found.trials] == ["fedavg-1", "fedavg-9"]
    assert found.left_out == (("fedavg-2", "fedavg-9 is the same scenario, run later"),)


def test_runs_of_different_settings_never_share_a_panel(write_run, tmp_path: Path) -> None:
    for alpha in (0.1, 1.0):
        part = {"partition": {"use": "dirichlet", "alpha": alpha}}
        write_run(tmp_path / "runs" / f"a{alpha}", [0.1, 0.5], data=part)
    assert collect([tmp_path / "runs"]).settings == ("alpha=0.1", "alpha=1.0")


def test_runs_that_were_judged_on_other_parts_never_share_a_panel(write_run, tmp_path) -> None:
    for part in ("test", "val"):
        write_run(tmp_path / "runs" / part, [0.1, 0.5], evaluation={"clients": 1, "part": part})
    assert collect([tmp_path / "runs"]).settings == ("part=test", "part=val")


def test_a_metric_that_runs_do_not_have_is_no_number(runs) -> None:
    made = compare(collect([runs(a=(0.5, 0.6), b=(0.7, 0.8))], primary="client_worst_10@9"))
    assert [one.interval for one in made.places] == [None, None]


def test_a_study_can_be_about_one_domain(write_run, tmp_path) -> None:
    judged = [{"plain": 0.9, "blurred": accuracy} for accuracy in (0.2, 0.25)]
    write_run(tmp_path / "a", [0.1, 0.5], by_domain=judged)
    question = "domain_blurred@final"
    (place,) = compare(collect([tmp_path / "a"], primary=question)).places
    assert place.interval is not None
    assert place.interval.mean == 0.25
    assert "Accuracy on blurred after the last round" in html(tmp_path / "a", primary=question)


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        collect([tmp_path / "absent"])


def test_sections_without_data_are_absent(write_run, tmp_path: Path) -> None:
    write_run(tmp_path / "one", [0.1, 0.5])
    page = html(tmp_path / "one")
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == ["Learning curves", "What it costs", "Who holds what", "To reproduce"]
    assert "fedavg reaches a test accuracy of 0.500." in page


def test_domains_have_a_table_of_their_own(write_run, tmp_path: Path) -> None:
    rows = [(4, 0.5), (4, 0.75), (8, 1.0), (4, 0.25)]
    write_run(tmp_path / "one", [0.1, 0.5], rows=rows, domains=("photo", "sketch"))
    page = html(tmp_path / "one")
    assert "<h3>By domain</h3>" in page
    found = page_of(collect([tmp_path / "one"])).spreads[0]
    assert (found.weighted.mean, found.uniform.mean, found.worst.mean) == (0.7, 0.625, 0.25)
    assert {name: one.mean for name, one in found.domains.items()} == {"photo": 0.75, "sketch": 0.5}


def test_load_gives_data_frames(runs) -> None:
    frames = fedsim.load(runs(**THREE))
    assert list(frames.cells.groupby("strategy").accuracy.mean().round(3)) == [0.91, 0.91, 0.962]
    assert (len(frames.rounds), len(frames.clients)) == (18, 36)


def test_diff_says_in_what_two_runs_differ(runs, capsys) -> None:
    folder = runs(**THREE)
    assert main(["diff", str(folder / "fedavg-1"), str(folder / "scaffold-1"), "-q"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"strategy\.use +fedavg +scaffold", out)
    assert "environment: the same" in out
    assert re.search(r"first apart in round 1: accuracy +0.45 +0.475", out)
    assert main(["diff", str(folder / "fedavg-1"), str(folder / "fedavg-1"), "-q"]) == 0
    assert "metrics: the same" in capsys.readouterr().out


HOSTILE = [
    "<script>alert(1)</script>", "</style><script>x</script>", "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)', "' onload='x", "</svg><svg onload=alert(1)>", "&lt;b&gt;", "<!--",
    "]]><b>", "{{ 7*7 }}{% raw %}", "javascript:alert(1)", "\\input{/etc/passwd}",
    "$\\frac{1}{0}$ % ^ _ # & ~ { }", "\\end{table}\\write18{ls}", "a$b_c^d\\", "x" * 5000,
    "שלום עולם", "\u202e gpj.exe \u202c", "مرحبا <b>", "模型 💥 ﷽",
]  # fmt: skip


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.seen.append((tag, *(name for name, _ in attrs)))


def tags(page: str) -> list[tuple[str, ...]]:
    parser = Tags()
    parser.feed(page)
    return [
        one for one in parser.seen if one[0] not in ("g", "path", "text", "tspan", "use", "defs")
    ]


def named(folder: Path, write_run, names: Sequence[str]) -> Path:
    """Write runs in which everything that can have a name has one of ``names``."""
    for which, name in enumerate(names):
        for seed in (1, 2):
            write_run(
                folder / f"{which}-{seed}",
                [0.2, 0.5 + 0.01 * seed + 0.02 * which],
                name=name,
                strategy={"use": name},
                data={"partition": {"use": names[which % 2]}},
                seed=seed,
                rows=[(4, 0.5)] * 4,
                domains=(name, "other"),
            )
        (folder / f"{which}-1" / "manifest.json").write_text(json.dumps({"cpu": name}))
    return folder


def test_no_name_becomes_markup(write_run, tmp_path: Path) -> None:
    harmless = tags(html(named(tmp_path / "plain", write_run, [f"plain {k}" for k in range(5)])))
    for first in range(0, len(HOSTILE), 5):
        names = HOSTILE[first : first + 5]
        page = html(named(tmp_path / str(first), write_run, names))
        assert sorted(tags(page)) == sorted(harmless), names
        assert "49{" not in page


def test_no_name_breaks_latex(tmp_path: Path) -> None:
    texts = [latex(name) for name in HOSTILE]
    for text in texts:
        assert text.isascii()
        bare = re.sub(r"\\(?:[#$%&_{}]|text\w+\{\}|dots\{\})|\$\\(?:cdot|pm)\$", "", text)
        assert not re.search(r"[#$%&_^~\\]", bare), text
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    body = "\n\n".join(texts)
    document = rf"\documentclass{{article}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "all.tex").write_text(document)
    subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )


def test_a_private_study_shows_its_statements_and_no_two_units_on_one_axis(runs) -> None:
    folder = collect([runs(a=(0.5, 0.6), b=(0.7, 0.8), c=(0.4, 0.5))])
    spent = [
        Spending("a", "", "client", 1e-3, ((1, 4.0), (2, 8.0)), 9.0, (("spent", "epsilon <8>"),)),
        Spending("b", "", "record", 1e-3, ((2, 2.0),), None, (("spent", "epsilon 2"),)),
        Spending("c", "", "record", 1e-3, ((2, 4.0),), None, (("spent", "epsilon 2"),)),
    ]
    page = page_of(folder, spent)
    assert [one.name for one in page.epsilons] == [
        *("epsilon-1", "epsilon-2", "spending-1", "spending-2"),
    ]
    text = render(page)
    assert '>8.00</td><td class="n">9.00</td>' in text
    assert "epsilon &lt;8&gt;" in text
    assert "<h3>b; c</h3>" in text


def test_the_last_picture_of_a_run_stands_in_the_page(runs) -> None:
    folder = runs(feddm=(0.5, 0.6))
    for seed, number in ((1, 9), (1, 10), (2, 10)):
        pictures = folder / f"feddm-{seed}" / "pictures"
        pictures.mkdir(exist_ok=True)
        (pictures / f"round_{number:04d}.png").write_bytes(b"png %d" % number)
    text = html(folder)
    assert "data:image/png;base64,cG5nIDEw" in text
    assert text.count("data:image/png") == 1
    assert "Round 10, seed 1." in text
