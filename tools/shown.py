"""What of a finished profile is collected under outputs/evidence/, and which of it README shows."""

import re

RUN_FIGURES = {
    "supervised_learning_curves": "pann_table2/fold1_seed0/learning_curves",
    "supervised_confusion_matrix": "pann_table2/fold1_seed0/confusion_matrix",
} | {
    f"tau{tau}_{name}": f"fixmatch_tau{tau}/fold1_seed0/{name}"
    for tau in ("095", "075")
    for name in ("confidence_mask", "pseudo_labels", "pseudo_labels_by_class")
}
# Rendered notebooks of the gallery: where papermill leaves each under outputs/<profile>/, the figure that
# stands for it under outputs/<profile>/figures/, and its question in English and in Chinese.
GALLERY = {
    "01_data_exploration": (
        "notebooks/01_data_exploration", "class_fold_counts", "What is in the data, do the folds leak?",
        "資料裡有什麼？各折之間有沒有洩漏？",
    ),
    "02_specaugment_visualization": (
        "notebooks/02_specaugment_visualization", "specaugment_views", "What do the two views hide? (Table "
                                                                       "1)",
        "弱、強兩種視圖各遮住什麼？（表 1）",
    ),
    "03_supervised_pann_baseline": (
        "runs/pann_table2/fold1_seed0/notebook", "pann_table2/fold1_seed0/learning_curves",
        "Network, loss and one supervised run", "網路、損失函數，以及一次監督式訓練",
    ),
    "04_fixmatch_ablations": (
        "runs/fixmatch_tau075/fold1_seed0/notebook", "fixmatch_tau075/fold1_seed0/confidence_mask",
        "One FixMatch step by hand, and one run", "逐步拆解 FixMatch 的一步，以及一次訓練",
    ),
    "05_ten_fold_aggregation": (
        "notebooks/05_ten_fold_aggregation", "table5_folds", "How much do ten folds differ? (Table 5)",
        "十折之間差多少？（表 5）",
    ),
    "06_tables_and_claims": (
        "notebooks/06_tables_and_claims", "tables_forest", "All tables; which claims "
                                                           "hold?", "所有的表；哪些主張成立？",
    ),
    "07_your_own_clips": (
        "notebooks/07_your_own_clips", "own_clips_curve", "Your own clips: how many labels are enough?",
        "自己的錄音：要標多少才夠？",
    ),
    "08_beyond_the_paper": (
        "notebooks/08_beyond_the_paper", "table6_forest",
        "One step beyond: thresholds of each class, unknown sounds",
        "再進一步：各類別的門檻、未知的聲音",
    ),
}  # fmt: skip
BEYOND = (6, 7)  # tables that are ours, where they have been made; and figures of theirs
OURS = ("table6_forest", "table7_forest", "unknown_fixmatch", "unknown_openmatch")
REAL = {
    # name in the evidence -> name under outputs/<profile>/figures/
    "figures": {
        "tables_forest": "tables_forest",
        "claims": "claims",
        "table5_folds": "table5_folds",
        "mean_roc": "table5_roc",
        "threshold_comparison": "threshold_comparison",
    }
    | RUN_FIGURES
    | {name: name for name in OURS},
    "gallery": True,
    "predictions": True,  # of every run
    "picture": "tables_forest",  # that README opens with
    "table": 5,  # that README shows
}
SHOWN = {
    "paper": REAL,
    "lite": REAL | {"table": 2},
    "paper-partial": {
        "figures": {
            name: place for name, place in RUN_FIGURES.items() if re.match("tau075_(conf|.*by_class)", name)
        },
        "gallery": False,  # its runs were made on another machine, so none is rendered
        "predictions": False,
        "picture": "tau075_confidence_mask",
        "table": None,
    },
    # Synthesised audio: no page of results, and no number of it in README.
    "quick": {"figures": {}, "gallery": True, "predictions": False, "picture": None, "table": None},
}
