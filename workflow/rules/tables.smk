"""What is made of finished runs: tables, claims, rendered notebooks, report. All are made anew where what makes them has
changed: drive.py then renews the file .reporting."""

REPORTING = f"{OUT}/.reporting"


rule table:
    input:
        lambda w: records(WANTED if w.n == "1" else [w.n]),  # Table 1 is read off the runs
        "params/tables.yaml",
        "params/beyond.yaml",
        REPORTING,
    output:
        multiext(f"{OUT}/tables/table{{n}}", ".csv", ".md", ".html"),
    log:
        f"{OUT}/tables/table{{n}}.log",
    shell:
        "{SUITE} tables {config[place]} --tables {wildcards.n} >{log:q} 2>&1"


rule sensitivity:
    input:
        records(["sensitivity"]),
        "params/tables.yaml",
        REPORTING,
    output:
        multiext(f"{OUT}/tables/sensitivity", ".csv", ".md", ".html"),
    log:
        f"{OUT}/tables/sensitivity.log",
    shell:
        "{SUITE} sensitivity {config[place]} >{log:q} 2>&1"


rule claims:
    input:
        records(TABLES),
        "params/tables.yaml",
        REPORTING,
    output:
        f"{OUT}/tables/claims.json",
    log:
        f"{OUT}/tables/claims.log",
    shell:
        "{SUITE} claims {config[place]} >{log:q} 2>&1"


rule notebook:
    input:
        notebook=lambda w: ancient(f"notebooks/{w.name}.ipynb"),
        store=f"{OUT}/.stores/cnn14",
        results=lambda w: (
            [*(f"{OUT}/tables/table{n}.csv" for n in TABLES), f"{OUT}/tables/claims.json"]
            if config["books"].get(w.name) == "tables"
            else [f"{OUT}/tables/table{n}.csv" for n in WANTED if w.name in config["beyond"]]
        ),
        reporting=REPORTING,
    output:
        f"{OUT}/notebooks/{{name}}.ipynb",
    log:
        f"{OUT}/notebooks/{{name}}.log",
    params:
        running=lambda w, output: str(Path(output[0]).with_name(f"{w.name}.running.ipynb")),
    shell:
        "{PAPERMILL} {input.notebook} {params.running:q} {config[given]} >{log:q} 2>&1 && mv {params.running:q} {output:q}"


rule report:
    input:
        [f"{OUT}/notebooks/{name}.ipynb" for name in config["books"]],
        [f"{OUT}/tables/table{n}.csv" for n in TABLES],
        f"{OUT}/tables/claims.json",
        REPORTING,
    output:
        f"{OUT}/report/index.html",
    log:
        f"{OUT}/report/report.log",
    shell:
        "{SUITE} report {config[place]} >{log:q} 2>&1"
