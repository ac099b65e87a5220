"""A run in words: what figures and sentences call it, in place of the name of its experiment."""

from esc_suite.results.spec import read_spec

# By what their weights were pretrained on
NETWORKS = {"pann": "PANN", "mn04": "mn04", "synthesised": "narrow CNN14"}
METHODS = {name.lower(): name for name in ("FlexMatch", "FreeMatch", "SoftMatch", "OpenMatch")}
OPTIMIZERS = {"sgd": "SGD", "ranger": "Ranger"}


def run_title(metrics: dict) -> str:
    """E.g. "mn04 + FixMatch, tau = 0.75, without mixup, fold 1", from the metrics of a run record."""
    seed = f", seed {metrics['seed']}" if metrics["seed"] else ""
    return f"{method_title(metrics['config'])}, fold {metrics['fold']}{seed}"


def method_title(knobs: dict) -> str:
    """Network and method of a run's config, with what sets it apart from other runs of the method."""
    network = NETWORKS[knobs["backbone"]] if knobs["pretrained"] else "CNN14"
    method, nine = knobs["method"], knobs["labelled"] == "all_but_one"
    budget = "" if nine else f" as in Table {5 if knobs['epoch_of'] == 'labelled' else 2}"
    parts = {
        "supervised": f"{network}, supervised{budget}",
        "control": f"{network}, control of FixMatch",
        "probe": f"{network}, frozen probe",
        "fixmatch": f"{network} + FixMatch, tau = {knobs['tau']:g}",
    }
    if name := METHODS.get(knobs.get("threshold")) or METHODS.get(knobs.get("open_set")):
        parts["fixmatch"] = f"{network} + {name}"
    words = [parts[method]]
    words += ["100% of the labels"] if nine else []
    words += [f"{knobs['unknown_classes']} classes unknown"] if knobs.get("unknown_classes") else []
    words += ["without mixup"] if method != "probe" and not knobs["mixup"] else []
    words += [OPTIMIZERS[knobs["optimizer"]]] if knobs["optimizer"] in OPTIMIZERS else []
    words += [f"{knobs['accumulate']} batches a step"] if knobs["accumulate"] > 1 else []
    variants = {row["experiment"]: row["label"] for row in read_spec()["sensitivity"]["rows"]}
    return ", ".join([*words, *([variants[knobs["experiment"]]] if knobs["experiment"] in variants else [])])
