"""The features of a network, and the runs that train on them."""


def run_of(w):
    return RUNS[f"{w.experiment}/fold{w.fold}_seed{w.seed}"]


rule features:
    output:
        touch(f"{OUT}/.stores/{{network}}"),
    log:
        f"{OUT}/.stores/{{network}}.log",
    threads: config["threads"]
    shell:
        "{SUITE} features {config[place]} {config[data]} --network {wildcards.network} >{log:q} 2>&1"


# Whether a run is finished is told from its record (esc_suite/run/finished.py), not from times or from Snakemake's notes.
rule run:
    input:
        store=lambda w: ancient(f"{OUT}/.stores/{run_of(w)['network']}"),
        notebook=lambda w: ancient(run_of(w)["notebook"]),
    output:
        f"{OUT}/runs/{{experiment}}/fold{{fold}}_seed{{seed}}/notebook.ipynb",
    log:
        f"{OUT}/runs/{{experiment}}/fold{{fold}}_seed{{seed}}/papermill.log",
    params:
        given=lambda w: run_of(w)["given"],
        running=lambda w, output: str(Path(output[0]).with_name("running.ipynb")),
    threads: config["run_threads"]
    resources:
        gpu=config["gpus"],
        mem_mb=config["mem_mb"],
    shell:
        "{config[on_gpu]} {PAPERMILL} {input.notebook} {params.running:q} {params.given}"
        " >{log:q} 2>&1 && mv {params.running:q} {output:q}"
