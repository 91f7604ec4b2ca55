# What models still identify when attention is cut or tokens are removed: all conditions of a model in one job.


rule perturbations:
    """Class identifiability without attention to others, without context, without the object"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        tokens=tokens_if_masks,
    output:
        ranks="<results>/perturbations/{model}/{dataset}.parquet",
        accuracy="<results>/perturbations/{model}/{dataset}_accuracy.parquet",
    log:
        "<logs>/perturbations/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/perturbations/{model}/{dataset}.tsv"
    cache: CACHING
    conda:
        "../envs/classlens.yaml"
    threads: paired(len(set(plan.models_with("attention")) | set(plan.models_with("tokens"))))
    resources:
        **ON_DEVICE,
        mem_mb=memory(8),
        runtime=240,
        root=root,
        batch_size=settings["compute"]["batch_size"],
        workers=settings["compute"]["workers"],
    params:
        settings=lambda wildcards: plan.perturbation_settings(wildcards.model),
        code=code("perturb.py"),
    message:
        "Cutting attention and removing tokens of {wildcards.model} on {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/perturb.py --log {log:q} --threads {threads}'
        " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
        " --batch-size {resources.batch_size:q} --workers {resources.workers:q} --precision {params.settings[precision]:q}"
        " --manifest {input.manifest:q} --root {resources.root:q}"
        ' --model "$(dirname {input.card:q})"'
        " --tokens {input.tokens:q} --analyses {params.settings[analyses]:q}"
        " --protocol {params.settings[protocol]:q} --ranks {output.ranks:q} --accuracy {output.accuracy:q}"
