"""The claims of a profile's claims.json as lines of Markdown, for the pages of `evidence_pages`."""

import re
from collections import Counter

from esc_suite.tables.claims import OPEN, summary
from esc_suite.tables.claims import VERDICTS as GLYPHS
from esc_suite.tables.view import NO_RUN, level

VERDICTS = {verdict: f"{glyph} {verdict}" for verdict, glyph in GLYPHS.items()}


def line(cells) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def common_scope(claims: list[dict]) -> str:
    """What all verdicts are limited to, such as another network in PANN's place; "" for nothing, or not the
    same."""
    scopes = {claim["scope"] for claim in claims}
    return scopes.pop() if len(scopes) == 1 else ""


def claim_count(claims: list[dict]) -> str:
    found = Counter(claim["verdict"] for claim in claims)
    words = ", ".join(
        f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict] or verdict != "blocked"
    )
    return f"Of the paper's {found.total()} claims, on these runs: {words}."


def of_claims(claims: list[dict]) -> list[str]:
    scope = common_scope(claims)
    words = (
        "Differences in points, of a claim's first rule; it is supported if all its rules are, "
        "contradicted if one is."
    )
    known = all("could_be_decided" in claim for claim in claims)
    words = " ".join(
        filter(None, [words, scope and f"Every verdict is {scope}.", known and of_the_paper(claims)])
    )
    lines = ["## The paper's claims", "", words, ""]
    lines += map(line, (["Claim", "Verdict", "Here", "Paper"], ["---"] * 4))
    for claim in claims:
        here = level(claim["difference"], claim["low"], claim["high"], "+")
        paper = NO_RUN if claim["paper"] is None else f"{claim['paper']:+.2f}"
        lines.append(line([f"({claim['id']}) {claim['claim']}", VERDICTS[claim["verdict"]], here, paper]))
    lines += ["", "The evidence, rule by rule:", ""]
    for claim in claims:
        about = " ".join(
            filter(None, (claim["note"], claim["scope"] and not scope and f"Scope: {claim['scope']}."))
        )
        lines.append(f"- ({claim['id']}) {claim['claim']} {about}".rstrip())
        lines += [f"  - {_plain(rule['evidence'])}" for rule in claim["rules"]]
    return [*lines, ""]


def of_the_paper(claims: list[dict]) -> str:
    """How many claims are settled for the paper itself, and how many these runs could decide at all."""
    still = sum(claim["of_the_paper"] == OPEN for claim in claims)
    return f"Of the paper itself {still} of {len(claims)} claims are open. {summary(claims)}".strip()


def _plain(text: str) -> str:
    """Text that Markdown would take for a list if it began with its mark, as the label "+ FixMatch" does."""
    return re.sub(r"^([-+*]+) ", r"\\\1 ", text)
