"""The log-mels of a dataset, computed once for all runs: python -m esc_suite features --profile lite
--network mn04"""

import argparse

from tqdm import tqdm

from esc_suite.inputs import open_dataset
from esc_suite.run.together import exit_with
from esc_utils.config import for_run
from esc_utils.features import open_store, store_path


def main() -> None:
    """Write the dataset of a profile where it is synthesised, and build the feature store of one network."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--network", default="cnn14", choices=["cnn14", "mn04"])
    parser.add_argument("--data", default="")
    parser.add_argument("--outputs", default="")
    options = parser.parse_args()
    with exit_with():
        knobs = {"outputs": options.outputs} | ({"data_dir": options.data} if options.data else {})
        config = for_run(options.profile, "", **knobs, pretrained=options.network == "mn04")
        dataset = open_dataset(config)
        store = open_store(config, dataset, progress=tqdm)
        print(
            f"{len(store)} clips, {store.shape[1]} frames x {store.shape[2]} mels: "
            f"{store_path(config, dataset)}"
        )


if __name__ == "__main__":
    main()
