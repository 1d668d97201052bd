"""Benchmark figures: medians and targets, printed as a table, Markdown or JSON."""

import dataclasses
import json
import statistics


@dataclasses.dataclass
class Figure:
    """
    One row of the table. runs has the result of each run; ideals has what each would be if only the
    agents took time (a single number applies to all). at_most or at_least is the target.
    """

    scenario: str
    name: str
    unit: str
    runs: list
    ideals: list = None
    at_most: float = None
    at_least: float = None
    note: str = ""
    details: dict = None

    def median(self):
        return statistics.median(self.runs)

    def ideal(self):
        return None if not self.ideals else statistics.median(self.ideals)

    def ratio(self):
        """The median of the ratios per run, since ideals may differ between runs."""
        if not self.ideals:
            return None
        ideals = self.ideals * len(self.runs) if len(self.ideals) == 1 else self.ideals
        return statistics.median(run / ideal for run, ideal in zip(self.runs, ideals))

    def is_met(self):
        if self.at_most is not None:
            return self.median() <= self.at_most
        if self.at_least is not None:
            return self.median() >= self.at_least
        return None

    def as_json(self):
        return {**dataclasses.asdict(self), "median": self.median(), "ideal": self.ideal(),
                "ratio": self.ratio(), "met": self.is_met()}


def digits(value):
    """Three significant digits, or the whole integer part."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def target_text(figure):
    if figure["at_most"] is not None:
        return f"at most {digits(figure['at_most'])}"
    if figure["at_least"] is not None:
        return f"at least {digits(figure['at_least'])}"
    return "-"


def met_text(figure):
    return {None: "-", True: "met", False: "not met"}[figure["met"]]


HEADINGS = ["measurement", "unit", "median", "ideal", "ratio", "target", "", "runs", "note"]


def cells(figure):
    runs = [digits(run) for run in figure["runs"]]
    return [figure["name"], figure["unit"], digits(figure["median"]), digits(figure["ideal"]),
            digits(figure["ratio"]), target_text(figure), met_text(figure), " ".join(runs),
            figure["note"]]


def table(results):
    """The results for a terminal."""
    rows = [HEADINGS] + [cells(figure) for figure in results["figures"]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    lines = []
    for row in rows:
        padded = [cell.ljust(width) if i in (0, 1, 5, 6, 7, 8) else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def markdown(results):
    """The results for docs/performance.md."""
    machine = results["machine"]
    lines = [f"Version {results['version']} on {machine['processor']}, cores "
             f"{machine['cores_used']} of {machine['cores']}, {machine['system']}, state on "
             f"{machine['state_on']}, {results['at'][:10]}, {results['runs']} runs each.", "",
             "| measurement | unit | median | ideal | x ideal | target | | runs |",
             "|---|---|---|---|---|---|---|---|"]
    for figure in results["figures"]:
        row = cells(figure)
        name = row[0] + (f" ({figure['note']})" if figure["note"] else "")
        lines.append("| " + " | ".join([name, *row[1:8]]) + " |")
    return "\n".join(lines)


def write(results, path):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
